#!/usr/bin/env python3
"""Measures `gcomp batch` on a corpus of a thousand graphs (scripts/batch_corpus.py), and checks that it does its work.

    scripts/bench_batch.py [--graphs 1000] [--folder DIR]

One graph at a time against two; what the scheduler costs; a batch that is killed ten times; a second run that finds all in
the cache; plans and summaries of 100,000 graphs. Exits with 1 when a goal is missed or a graph is not as it should be.
"""

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import batch_corpus
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
GCOMP = ROOT / "build" / "gcomp"
LIMITS = ["--time-limit=4", "--max-memory=400M"]
sys.path.insert(0, str(ROOT / "test"))

from gcomp_cli import random_inputs, run  # noqa: E402


def results(out):
    told = {}
    for path in out.glob("results*.jsonl"):
        with open(path) as file:
            for line in file:
                result = json.loads(line)
                told[result["name"]] = result
    return told


def batch(corpus, out, *options):
    """Seconds on the clock, and seconds of processors of all processes."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [GCOMP, "batch", corpus, "-o", out, "--keep-going", *LIMITS, *options]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode in (0, 9), done.returncode
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def one_against_two(corpus, folder, parts=4):
    """The corpus one graph at a time and two at a time, a part of it in turn, as a machine's speed changes with time.

    Seconds on the clock and of processors of each.
    """
    sums = {"one": np.zeros(2), "two": np.zeros(2)}
    for i in range(parts):
        turn = ("one", "two") if i % 2 == 0 else ("two", "one")
        for name in turn:
            jobs = "1" if name == "one" else "2"
            sums[name] += batch(corpus, folder / name, "-j", jobs, "--shard", f"{i + 1}/{parts}")
    return (*sums["one"], *sums["two"])


def killed_batch(corpus, out, kills, seconds):
    """The same, killed again and again, then left to end; how often it was killed."""
    rng, times = random.Random(3), 0
    command = [GCOMP, "batch", corpus, "-o", out, "--keep-going", "-j", "2", *LIMITS, "--resume"]
    while True:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(rng.uniform(0.05, seconds / kills) if times < kills else None)
            return times
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            times += 1


class Report:
    def __init__(self):
        self.missed = False
        print("| what | figure | goal |\n|---|---|---|")

    def row(self, what, figure, goal="", met=True):
        self.missed |= not met
        print(f"| {what} | {figure}{'' if met else ' (missed)'} | {goal} |", flush=True)


def wrong(told, expected):
    """Names whose status is not the expected one. What meets a limit on one machine meets the other on another."""
    limits = {"time", "memory"}
    return [n for n, s in expected.items() if n not in told or told[n]["status"] != s and not {told[n]["status"], s} <= limits]


def differing(a, b, told):
    return [n for n, r in told.items() if r["status"] == "ok" and (a / r["artifact"]).read_bytes() != (b / r["artifact"]).read_bytes()]


def magnitude(value):
    """Of the largest finite element."""
    return np.max(np.abs(value), initial=0, where=np.isfinite(value))


def check_values(corpus, out, told, count):
    """Of so many small graphs: the artifact's outputs against the reference evaluator's; names of those that differ.

    What cancels keeps the rounding of what it was made from, of the size of the largest outputs.
    """
    small = sorted(n for n, r in told.items() if r["status"] == "ok" and r["graph_bytes"] < 30_000)
    bad = []
    for name in random.Random(1).sample(small, min(count, len(small))):
        graph, artifact = told[name]["graph"], out / told[name]["artifact"]
        inputs = random_inputs(graph)
        ours, truth = run(artifact, inputs), run(graph, inputs, "--interpret")
        digits = max((np.finfo(v.dtype).eps * magnitude(v) for v in truth.values() if v.dtype.kind == "f"), default=0)
        for key, value in truth.items():
            scale = np.nanmean(np.abs(np.where(np.isfinite(value), value, 0))) if value.size else 0
            if not np.allclose(ours[key], value, rtol=1e-5, atol=1e-5 * scale + digits, equal_nan=True):
                bad.append(name)
                break
    return bad


def peak_of(command):
    """Seconds and MiB of a process."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    begin = time.monotonic()
    said = subprocess.run([sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True, check=True).stdout
    return time.monotonic() - begin, int(said) / 1024


def second_run(report, folder, good):
    """The good graphs compiled into an empty cache, and all of them once more."""
    manifest, seconds = folder / "good.jsonl", []
    manifest.write_text("".join(json.dumps({"graph": r["graph"], "name": r["name"]}) + "\n" for r in good))
    for name in ("cold", "warm"):
        command = [GCOMP, "batch", "--manifest", manifest, "-o", folder / name, "-j", "2", "--cache-dir", folder / "cache"]
        begin = time.monotonic()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        seconds.append(time.monotonic() - begin)
    told = results(folder / "warm")
    missed = [n for n, r in told.items() if not (r.get("cached") or r.get("same_as"))]
    other = differing(folder / "cold", folder / "warm", told)
    figure = f"{seconds[0]:.1f} s, then {seconds[1]:.2f} s: {seconds[0] / seconds[1]:.0f} times as fast"
    report.row(f"{len(good)} good graphs with a cache, two at a time", figure, "20", seconds[0] >= 20 * seconds[1])
    report.row("not taken from the cache, or of other bytes", f"{len(missed) + len(other)}", "0", not missed and not other)
    for name in ("cold", "warm", "cache"):
        shutil.rmtree(folder / name)


def overhead(report, folder, count=300):
    """What the scheduler adds to its workers' time, by graphs so small that nothing else weighs."""
    text = (ROOT / "graphs" / "user" / "chain.json").read_text()
    (folder / "small").mkdir()
    for i in range(count):
        (folder / "small" / f"{i}.json").write_text(text + " " * i)
    seconds, cpu = batch(folder / "small", folder / "small_out", "-j", "1")
    told = results(folder / "small_out").values()
    mine = 1e3 * (seconds - sum(r["seconds"] for r in told)) / count
    starts = 1e3 * (cpu - sum(r["cpu_seconds"] for r in told)) / count
    report.row("the scheduler's own time a graph, on the clock", f"{mine:.2f} ms", "2 ms", mine < 2)
    report.row("of a processor, with what starting a process takes", f"{starts:.2f} ms")


def large_numbers(report, folder, example):
    sums = {}
    for count in (1_000, 100_000):
        with open(folder / f"{count}.jsonl", "w") as file:
            for i in range(count):
                file.write(json.dumps({**example, "name": f"folder{i % 100}/graph{i}"}) + "\n")
        sums[count] = peak_of([GCOMP, "batch", "--summary", folder / f"{count}.jsonl"])
    seconds, peak = sums[100_000]
    more = peak - sums[1_000][1]
    size = (folder / "100000.jsonl").stat().st_size / 2**20
    report.row("summary of 100,000 results", f"{seconds:.1f} s, {more:.0f} MiB more than of 1,000 (the file: {size:.0f} MiB)", "16 MiB", more < 16)
    text = (ROOT / "graphs" / "user" / "chain.json").read_text()
    (folder / "many").mkdir()
    for i in range(100_000):
        if i % 1000 == 0:
            (folder / "many" / str(i // 1000)).mkdir()
        (folder / "many" / str(i // 1000) / f"{i}.json").write_text(text + f" {i}")
    seconds, peak = peak_of([GCOMP, "batch", folder / "many", "-o", folder / "none", "--plan"])
    report.row("plan of 100,000 graphs", f"{seconds:.1f} s, {peak:.0f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=int, default=1000, metavar="N")
    parser.add_argument("--folder", type=Path, help="where the corpus stays for the next time")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpus = args.folder or folder / "corpus"
        expected = batch_corpus.make(corpus, args.graphs)
        measure(corpus, expected, folder, report := Report())
    return report.missed


def measure(corpus, expected, folder, report):
    bad = sum(status != "ok" for status in expected.values())
    for path in corpus.rglob("*"):  # into memory: neither run is to wait for the disk
        if path.is_file():
            subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)
    one, cpu_one, two, cpu_two = one_against_two(corpus, folder)
    told = results(folder / "one")
    wrongs = wrong(told, expected)
    report.row("graphs as expected", f"{len(expected) - len(wrongs)} of {len(expected)}, {bad} of them broken", "all", not wrongs)
    report.row("one at a time", f"{one:.1f} s ({cpu_one:.1f} s of processors)")
    report.row("two at a time", f"{two:.1f} s ({cpu_two:.1f} s of processors)")
    report.row("two at a time, times as fast", f"{one / two:.2f}", "1.7", one / two >= 1.7)
    kills = killed_batch(corpus, folder / "killed", 10, two)
    again = results(folder / "killed")
    lost = wrong(again, expected) + differing(folder / "one", folder / "killed", told) + differing(folder / "one", folder / "two", told)
    lines = sum(1 for _ in open(folder / "killed" / "results.jsonl"))
    report.row("killed and resumed", f"{kills} times; lost, done twice or other bytes: {len(lost) + lines - len(again)} graphs", "0", not lost and lines == len(again))
    bad_values = check_values(corpus, folder / "one", told, 200)
    report.row("outputs of 200 artifacts against the reference evaluator", f"{len(bad_values)} differ", "0", not bad_values)
    second_run(report, folder, [r for r in told.values() if r["status"] == "ok"])
    for name in wrongs + lost + bad_values:
        print(f"bench_batch: {name}: expected {expected[name]}, {json.dumps(told.get(name))[:500]}", file=sys.stderr)
    shutil.rmtree(folder / "two")
    shutil.rmtree(folder / "killed")
    overhead(report, folder)
    large_numbers(report, folder, next(r for r in told.values() if r["status"] == "ok"))


if __name__ == "__main__":
    sys.exit(main())
