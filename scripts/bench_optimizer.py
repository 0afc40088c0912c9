#!/usr/bin/env python3
"""Measures the graph phases: on user-group graphs of growing size, and against Theano's and PyTensor's rewriting.

    scripts/bench_optimizer.py [--sections models growth speed] [--levels LEVEL ...] [--json FILE]

models   RNN, HMM and mixture with gradients: time of the graph phases against Theano 1.0.5 and PyTensor, nodes left,
         time of a call
growth   every user-group graph from 10,000 to a million nodes, at every level: the slope of log time over log nodes
speed    a million nodes: canonicalize, the whole of `gcomp opt`, memory; ResNet-46, sums and doublings

Figures of gcomp are those of --profile=FILE.json, times the share of a core that the process had (graph phases use one
thread), so that a busy machine does not count. Exits with 1 when a goal is missed, and says which.
"""

import argparse
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import user_graphs  # noqa: E402
from graph_builder.files import write  # noqa: E402
from graph_builder.frameworks import MODELS  # noqa: E402

GCOMP = Path(os.environ.get("GCOMP", ROOT / "build" / "gcomp"))
LEVELS = ["none", "merge", "fast_compile", "o2", "o3", "fast_run", "stabilize", "unsafe"]
PEER_SECONDS = 150  # of CPU time, what a peer may take for one model
GROWTH = (10_000, 100_000, 1_000_000)


class Report:
    """The missed goals, and figures for --json."""

    def __init__(self):
        self.missed = []
        self.figures = {}

    def goal(self, what, value, limit, unit=""):
        """Notes a value that must not exceed its limit."""
        if value > limit:
            self.missed.append(f"{what}: {value:.3g}{unit}, goal {limit:g}{unit}")

    def end(self):
        """Says which goals were missed; the exit code."""
        print("\n".join(["Goals missed:", *self.missed]) if self.missed else "All goals are met.")
        return 1 if self.missed else 0


def row(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |", flush=True)


def header(*cells):
    row(*cells)
    print("|" + "---|" * len(cells), flush=True)


class Optimised:
    """One run of `gcomp opt`: seconds of its phases and passes, nodes before and after, peak memory."""

    def __init__(self, graph, folder, level, *options):
        profile, self.output = folder / "profile.json", folder / "optimised.gcb"
        command = [GCOMP, "opt", graph, "-o", self.output, "-O", level, f"--profile={profile}", *options]
        cpu, wall, self.peak_bytes = usage([str(c) for c in command])
        told = json.loads(profile.read_text())
        share = min(1.0, cpu / wall)
        phases = {phase["name"]: phase["seconds"] for phase in told["phases"]}
        self.optimise_seconds = share * phases["optimise"]
        self.seconds = share * sum(phases.values())
        self.passes = {p["name"]: p for p in told["passes"]["passes"]}
        for p in self.passes.values():
            p["seconds"] *= share
        self.graph_seconds = sum(p["seconds"] for p in self.passes.values())
        self.nodes_after = list(self.passes.values())[-1]["nodes_after"] if self.passes else None

    def left(self):
        """Nodes left as Theano counts them: a fused group is one, a node that renames memory another."""
        told = json.loads(subprocess.run([GCOMP, "inspect", self.output, "--json"], check=True, capture_output=True).stdout)
        return told["fused"]["groups"] + told["fused"]["views"]


def peer(python, *command):
    """What framework_peer.py tells; None after PEER_SECONDS of CPU time."""

    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (PEER_SECONDS, PEER_SECONDS))

    script = [python, ROOT / "scripts" / "framework_peer.py", *command]
    done = subprocess.run(script, capture_output=True, text=True, preexec_fn=limit)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return None
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, script))}:\n{done.stderr}")
    return json.loads(done.stdout)


PEERS = {"Theano": "py", "PyTensor C": "cvm", "PyTensor Numba": "numba"}  # and their backends


def models(report, folder, peers):
    """gcomp on the graphs of Theano and of PyTensor, as these have them before any rewriting."""
    theano_python = ROOT / os.environ.get("GCOMP_THEANO_VENV", ".venv-theano") / "bin" / "python"
    print("Milliseconds of rewriting at fast_run, of the same graph by the package and by gcomp; nodes as built, after merging")
    print("and left (a fused group is one); microseconds of a call, gcomp on one thread.\n")
    header("model", "as built", "merged", "left", "gcomp's", "rewriting", "gcomp's", "times faster", "call", "gcomp's")
    for name, (_, size) in MODELS.items():
        for package in peers:
            backend = PEERS[package]
            python = theano_python if package == "Theano" else sys.executable
            graph, artifact = folder / f"{name}.json", folder / f"{name}.so"
            built = peer(python, name, "--export", graph)
            runs = sorted((Optimised(graph, folder, "fast_run") for _ in range(5)), key=lambda run: run.optimise_seconds)
            ours = runs[len(runs) // 2]
            calls = []
            if backend != "py":
                subprocess.run([GCOMP, graph, "-o", artifact], check=True)
                calls = ["--beside", artifact]
            told = peer(python, name, "--backend", backend, *calls)
            what = f"{name} {size}, {package}"
            report.figures[what] = {"peer": told, "gcomp": ours.optimise_seconds, "left": ours.left()}
            if told is None:
                ratio = PEER_SECONDS / ours.optimise_seconds
                report.goal(f"rewriting, {what}", 100 / ratio, 1.0, " of the goal's time")
                over = f"> {PEER_SECONDS * 1e3:.0f}"
                row(what, built["nodes"], "", "", ours.left(), over, f"{ours.optimise_seconds * 1e3:.1f}", f"> {ratio:.0f}", "", "")
                continue
            ratio = told["rewriting"] / ours.optimise_seconds
            report.goal(f"rewriting, {what}", 100 / ratio, 1.0, " of the goal's time")
            if package == "Theano":
                report.goal(f"nodes left, {what}", ours.left(), told["left"])
            call = [f"{told[key] * 1e6:.1f}" for key in ("call", "gcomp_call") if key in told]
            if len(call) == 2:
                report.goal(f"a call, {what}", told["gcomp_call"] / told["call"], 1.0, " of the peer's time")
            times = [f"{told['rewriting'] * 1e3:.0f}", f"{ours.optimise_seconds * 1e3:.1f}", f"{ratio:.0f}"]
            row(what, told["nodes"], told["merged"], told["left"], ours.left(), *times, *(call or ["", ""]))


# A small process between this one and the command: Linux lets a child begin with its parent's peak of memory.
_RUN = """
import json, os, sys, time
begin = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
wall = time.perf_counter() - begin
print(json.dumps([usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024]))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def usage(command):
    """CPU and wall seconds and peak bytes of a command, which must succeed."""
    done = subprocess.run([sys.executable, "-S", "-c", _RUN, *command], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def slope(points):
    """The least-squares slope of log y over log x."""
    xs, ys = zip(*[(math.log(x), math.log(y)) for x, y in points])
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / sum((x - mx) ** 2 for x in xs)


def growth(report, folder, levels, names, sizes):
    """Time of `gcomp opt` as a whole: reading, all passes, writing."""
    print("Seconds of reading, all graph passes and writing of graphs of growing size; in brackets the slope of log time over")
    print("log nodes (goal: 1.1).\n")
    header("graph", "nodes", "nodes left", *[f"`-O {level}`" for level in levels])
    for name in names:
        graph_row = user_graphs.GRAPHS[name]
        times = {level: [] for level in levels}
        for nodes in sizes:
            graph = graph_row.make(name, graph_row.size_for(name, nodes))
            path = folder / "graph.gcb"
            write(graph, path)
            count = len(graph.nodes)
            del graph
            for level in levels:
                runs = [Optimised(path, folder, level) for _ in range(3 if nodes <= 20_000 else 1)]
                times[level].append((count, min(run.seconds for run in runs)))
                left = runs[0].nodes_after
        cells = []
        for level in levels:
            s = slope(times[level])
            report.goal(f"growth of {name} at {level}", s, 1.1)
            report.figures[f"growth {name} {level}"] = {"points": times[level], "slope": s}
            cells.append(" / ".join(f"{t:.3f}" for _, t in times[level]) + f" ({s:.2f})")
        row(name, f"{count:,}", f"{left:,}", *cells)


def speed(report, folder):
    """The figures for a million nodes and the graphs of the reports."""
    header("what", "nodes", "figure", "goal")

    def line(what, nodes, value, limit, unit):
        report.goal(what, value, limit, unit)
        report.figures[what] = value
        row(what, f"{nodes:,}", f"{value:.2f}{unit}", f"{limit:g}{unit}")

    def made(name, size):
        graph = user_graphs.make(name, size)
        path = folder / f"{name}.gcb"
        write(graph, path)
        return path, len(graph.nodes)

    path, nodes = made("training_step", 32_000)
    run = Optimised(path, folder, "fast_run")
    sweep = run.passes["canonicalize"]
    line("canonicalize, training step", nodes, sweep["seconds"] / sweep["nodes_before"] * 1e6, 1.0, " us a node")
    line("reading, graph passes, writing, training step", nodes, run.seconds * 1e6 / nodes, 5.0, " us a node")
    line("peak memory, training step", nodes, run.peak_bytes / nodes / 1024, 1.0, " KB a node")
    for what, name, size in (
        ("graph passes, ResNet-46", "resnet", 46),
        ("graph passes, left-deep sum of 333,333 rows", "left_sum", 333_333),
        ("graph passes, left-deep sum of a million terms", "repeated_sum", 1_000_000),
        ("graph passes, a million doublings", "doubling", 1_000_000),
    ):
        path, nodes = made(name, size)
        line(what, nodes, Optimised(path, folder, "fast_run").graph_seconds, 2.0, " s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sections", nargs="+", choices=["models", "growth", "speed"], default=["models", "growth", "speed"])
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--levels", nargs="+", default=LEVELS)
    parser.add_argument("--graphs", nargs="+", choices=list(user_graphs.GRAPHS), default=list(user_graphs.GRAPHS), metavar="NAME")
    parser.add_argument("--nodes", nargs="+", type=int, default=GROWTH, metavar="N")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "models" in args.sections:
            models(report, folder, args.peers)
            print()
        if "speed" in args.sections:
            speed(report, folder)
            print()
        if "growth" in args.sections:
            growth(report, folder, args.levels, args.graphs, args.nodes)
            print()
    if args.json:
        args.json.write_text(json.dumps(report.figures, indent=1) + "\n")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
