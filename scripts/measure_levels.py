#!/usr/bin/env python3
"""Measures what the levels, passes and stages cost and bring, on user-group graphs and real ONNX models.

    scripts/measure_levels.py [--graphs NAME ...] [--tables levels slow] [--readme] [--gcomp FILE]

levels   for every level and graph: seconds from start to artifact, nodes left, time of a call, peak memory
slow     for every pass and stage, and the costliest rules: what leaving it out of fast_run saves and costs. What saves
         more than a tenth of the time from start to artifact and adds at most 30 % to that of a call is to be tagged
         `slow`; the last row leaves out all that is

Seconds are processor time of one thread, the best of several, so that a busy machine does not count; a call is the
best of many. --readme writes the tables into lib/pass/README.md, which test/scripts/test_levels.py holds against the tags.
Exits with 1 when a goal is missed, and says which.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import fetch_models  # noqa: E402
import model_inputs  # noqa: E402
import user_graphs  # noqa: E402
from graph_builder.files import write  # noqa: E402

LEVELS = ["none", "merge", "o1", "o2", "stabilize", "o3", "o4", "unsafe"]
RISING = ["o1", "o2", "o3", "o4"]  # each does what the one before does, and more
USERS = {"hmm": 80, "mixture": 40, "rnn": 80, "char_rnn": 90, "knowledge_tracing": 20, "normal_terms": 238}
MODELS = {"magika": (1,), "ppocr_cls": (1, 48, 192), "ppocr_det": (1, 96, 256), "deepcut": (10,)}
README = ROOT / "lib" / "pass" / "README.md"
SAVES, COSTS = 0.10, 1.30  # the threshold of `slow`
NOISE = 1.05  # of two measurements of the same thing


class Graph:
    """A graph file, with inputs in an .npz file."""

    def __init__(self, name, path, inputs, folder):
        self.name, self.path = name, path
        self.inputs = folder / f"{name}.npz"
        np.savez(self.inputs, **inputs)


def run(command):
    """CPU seconds and peak bytes of a command, which must succeed, and its output."""
    read, written = os.pipe()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, written, 1)])
    os.close(written)
    with os.fdopen(read) as output:
        text = output.read()
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, text


class Meter:
    def __init__(self, gcomp, folder, times):
        self.gcomp, self.folder, self.times = str(gcomp), folder, times

    def call(self, *args):
        return run([self.gcomp, *map(str, args)])

    def compile(self, graph, *options):
        """Seconds to the artifact, peak bytes, and the artifact."""
        artifact = self.folder / "model.so"
        runs = [self.call(graph.path, "-o", artifact, "-j", 1, *options) for _ in range(self.times)]
        return min(r[0] for r in runs), max(r[1] for r in runs), artifact

    def run_seconds(self, graph, artifact):
        """Of one call, on one thread: the best of what fits into a quarter of a second, of one at least."""

        def best(repeat):
            text = self.call("run", artifact, "--inputs", graph.inputs, "--threads", 1, "--repeat", repeat)[2]
            value, unit = re.search(r"best ([0-9.e+-]+) (us|ms|s)", text).groups()
            return float(value) * {"us": 1e-6, "ms": 1e-3, "s": 1}[unit]

        first = best(1)
        return first if first > 0.1 else best(max(3, int(0.25 / first)))

    def nodes(self, graph, *options):
        """Nodes left, a fused group and a node that renames memory counted as one each."""
        optimised = self.folder / "optimised.gcb"
        self.call("opt", graph.path, "-o", optimised, *options)
        told = json.loads(self.call("inspect", optimised, "--json")[2])
        return told["nodes"], told["fused"]["groups"] + told["fused"]["views"]


def random_inputs(meter, path):
    """Numbers between 0.1 and 0.9 (most user graphs take probabilities, weights and data), zeros for integers."""
    rng = np.random.default_rng(0)
    inputs = {}
    for port in json.loads(meter.call("inspect", path, "--json")[2])["inputs"]:
        if np.dtype(port["dtype"]).kind == "f":
            inputs[port["name"]] = rng.uniform(0.1, 0.9, port["dims"]).astype(port["dtype"])
        else:
            inputs[port["name"]] = np.zeros(port["dims"], port["dtype"])
    return inputs


def graphs(meter, folder, names):
    for name, size in USERS.items():
        if names and name not in names:
            continue
        path = folder / f"{name}.gcb"
        write(user_graphs.make(name, size), path)
        yield Graph(name, path, random_inputs(meter, path), folder)
    wanted = [name for name in MODELS if not names or name in names]
    paths = fetch_models.fetch(wanted) if wanted else {}
    for case in model_inputs.CASES:
        if case.name in wanted:
            yield Graph(case.name, Path(paths[case.name]), case.inputs(MODELS[case.name], paths), folder)


def row(*cells):
    return "| " + " | ".join(str(c) for c in cells) + " |\n"


def header(*cells):
    return row(*cells) + "|" + "---|" * len(cells) + "\n"


def unit(seconds):
    return f"{seconds * 1e6:.3g} us" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"


def mean(ratios):
    """The geometric one."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


class Table:
    """Lines that are shown as they are made, for measuring takes minutes."""

    def __init__(self):
        self.text = ""

    def add(self, lines):
        print(lines, end="", flush=True)
        self.text += lines


def levels_table(meter, all_graphs, missed):
    table = Table()
    table.add(header("graph", "level", "start to artifact", "nodes, fused", "a call", "peak memory"))
    for graph in all_graphs:
        calls, compiles = {}, {}
        for level in LEVELS:
            seconds, peak, artifact = meter.compile(graph, "-O", level)
            calls[level], compiles[level] = meter.run_seconds(graph, artifact), seconds
            nodes, fused = meter.nodes(graph, "-O", level)
            left = f"{nodes:,}" if level in ("none", "merge", "o1", "stabilize") else f"{nodes:,}, {fused:,}"
            table.add(row(graph.name, f"`{level}`", f"{seconds:.2f} s", left, unit(calls[level]), f"{peak / 2**20:.0f} MB"))
        accurate = meter.compile(graph, "-O", "o2", "--optimizer-including=stabilize")[2]
        before_o3 = max(calls["o2"], meter.run_seconds(graph, accurate))
        for before, after in zip(RISING, RISING[1:]):
            # Accuracy is not lost time: o3 is held against o2 with the accurate forms that it has.
            if calls[after] > NOISE * (before_o3 if after == "o3" else calls[before]):
                missed.append(f"{graph.name}: a call at {after} takes longer than at {before}")
            if compiles[before] > NOISE * compiles[after]:
                missed.append(f"{graph.name}: {after} compiles in less time than {before}")
    return table.text


def costliest_rules(meter, all_graphs, count=5):
    """Rules by their share of the time from start to artifact, in all graphs together."""
    profile = meter.folder / "profile.json"
    seconds, total = {}, 0.0
    for graph in all_graphs:
        total += meter.call(graph.path, "-o", meter.folder / "model.so", f"--profile={profile}")[0]
        for p in json.loads(profile.read_text())["passes"]["passes"]:
            for sweep in p["sweeps"]:
                for rule in sweep["rules"]:
                    seconds[rule["name"]] = seconds.get(rule["name"], 0) + rule["seconds"]
    shares = {name: s / total for name, s in seconds.items()}
    return sorted(shares.items(), key=lambda item: -item[1])[:count]


def slow_table(meter, all_graphs, missed):
    listed = meter.call("list", "passes")[2].splitlines()
    rows = {line.split()[0]: "slow" in re.findall(r"\w+", line[line.rindex("[") :]) for line in listed}
    base = {}
    for graph in all_graphs:
        seconds, _, artifact = meter.compile(graph)
        base[graph.name] = (seconds, meter.run_seconds(graph, artifact), meter.nodes(graph)[0])
    table = Table()
    table.add(header("left out of fast_run", "start to artifact", "a call", "nodes left", "tagged slow"))

    def line(word, is_slow):
        times, calls, nodes = [], [], []
        for graph in all_graphs:
            option = f"--optimizer-excluding={word}"
            seconds, _, artifact = meter.compile(graph, option)
            times.append(seconds / base[graph.name][0])
            calls.append(meter.run_seconds(graph, artifact) / base[graph.name][1])
            nodes.append(meter.nodes(graph, option)[0] / base[graph.name][2])
        spread = f" ({min(times):.2f} to {max(times):.2f})"
        worst = f" ({min(calls):.2f} to {max(calls):.2f})"
        told = "" if is_slow is None else "yes" if is_slow else "no"
        table.add(row(f"`{word}`", f"{mean(times):.2f}{spread}", f"{mean(calls):.2f}{worst}", f"{mean(nodes):.2f}", told))
        return mean(times), mean(calls), max(calls)

    for word, is_slow in rows.items():
        time, call, _ = line(word, is_slow)
        if is_slow != (time < 1 - SAVES and call <= COSTS):
            missed.append(f"{word} is {'' if is_slow else 'not '}tagged slow")
    time, _, call = line("slow", None)
    if time > 0.7 or call > COSTS:
        missed.append(f"excluding slow: {time:.2f} of the time (goal 0.70), a call {call:.2f} (goal {COSTS})")
    costliest = ", ".join(f"`{name}` {100 * share:.1f} %" for name, share in costliest_rules(meter, all_graphs))
    table.add(f"\nThe costliest rules, of the time from start to artifact: {costliest}.\n")
    return table.text


def write_readme(name, text):
    begin, end = f"<!-- {name}: written by scripts/measure_levels.py --readme -->", f"<!-- end of {name} -->"
    head, rest = README.read_text().split(begin)
    README.write_text(f"{head}{begin}\n\n{text}\n{end}{rest.split(end)[1]}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=__doc__.partition("\n\n")[2], formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--graphs", nargs="+", metavar="NAME", choices=[*USERS, *MODELS])
    parser.add_argument("--tables", nargs="+", choices=["levels", "slow"], default=["levels", "slow"])
    parser.add_argument("--times", type=int, default=3, help="compilations, of which the best counts")
    parser.add_argument("--gcomp", type=Path, default=ROOT / "build" / "gcomp")
    parser.add_argument("--readme", action="store_true")
    args = parser.parse_args()
    missed = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        meter = Meter(args.gcomp, folder, args.times)
        all_graphs = list(graphs(meter, folder, args.graphs))
        for name in args.tables:
            print(f"\n### {name}\n")
            text = {"levels": levels_table, "slow": slow_table}[name](meter, all_graphs, missed)
            if args.readme:
                write_readme(name, text)
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
