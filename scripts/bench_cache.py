#!/usr/bin/env python3
"""What the cache costs and saves: a compilation without it, one that fills it, and hits, process start included.

    scripts/bench_cache.py

Exits with 1 when a hit of the model of 10 MB takes longer than its goal.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fetch_models
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parent.parent
GCOMP = ROOT / "build" / "gcomp"
GOAL = 0.050  # seconds


def both_seconds(*command) -> tuple[float, float]:
    """From start to end, and of CPU time."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return time.perf_counter() - begin, used.ru_utime + used.ru_stime


def seconds(*command) -> float:
    return both_seconds(*command)[0]


def dense(path: Path, megabytes: int, external: bool = False) -> Path:
    """tanh(x W0) W1 ...: two layers, weights inside the model or beside it."""
    rng = np.random.default_rng(3)
    width = int((megabytes * 1e6 / 8) ** 0.5)
    weights = []
    for i in range(2):
        w = numpy_helper.from_array(rng.standard_normal((width, width), np.float32), f"w{i}")
        if external:
            name = f"{path.stem}.{i}.bin"
            (path.parent / name).write_bytes(w.raw_data)
            w.ClearField("raw_data")
            w.data_location = TensorProto.EXTERNAL
            w.external_data.add(key="location", value=name)
        weights.append(w)
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", width]) for n in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    return path


def measure(folder: Path, name: str, model: Path, hits: int) -> float:
    """Prints a row; the median of a hit."""
    out, cache = folder / "out.so", folder / f"cache of {name}"
    without = min(seconds(GCOMP, model, "-o", out) for _ in range(3))
    size = out.stat().st_size
    miss = seconds(GCOMP, model, "-o", out, "--cache-dir", cache)
    times, cpu = zip(*(both_seconds(GCOMP, model, "-o", out, "--cache-dir", cache) for _ in range(hits)))
    hit = statistics.median(times)
    print(
        f"| {name} | {size / 1e6:.1f} MB | {without * 1e3:.0f} | {miss * 1e3:.0f} | {hit * 1e3:.1f} "
        f"| {min(times) * 1e3:.1f} | {statistics.median(cpu) * 1e3:.1f} | {without / hit:.0f} |",
        flush=True,
    )
    return hit


def changed(model: Path, path: Path, which: int) -> Path:
    """The model with the activation number `which` replaced by another."""
    loaded = onnx.load(model)
    activations = [n for n in loaded.graph.node if n.op_type in ("Relu", "Sigmoid", "HardSigmoid", "HardSwish", "Clip")]
    node = activations[which % len(activations)]
    del node.input[1:], node.attribute[:]
    node.op_type = "Softsign" if node.op_type != "Softsign" else "Relu"
    onnx.save(loaded, path)
    return path


def measure_change(folder: Path, name: str, model: Path):
    """One activation changed, at several places in turn; the cache holds the model as it was."""
    out, cache, report = folder / "out.so", folder / f"changes of {name}", folder / "profile.json"
    filled = ("--cache-dir", cache)
    subprocess.run([GCOMP, model, "-o", out, *map(str, filled)], check=True)
    without, with_cache, hits, modules = [], [], 0, 0
    for which in (1, 5, 9, 13, 17):
        graph = changed(model, folder / "changed.onnx", which)
        without.append(min(seconds(GCOMP, graph, "-o", out) for _ in range(2)))
        with_cache.append(seconds(GCOMP, graph, "-o", out, *filled, f"--profile={report}"))
        told = json.loads(report.read_text())["cache"]
        hits, modules = hits + told["code_hits"], modules + told["code_hits"] + told["code_misses"]
    a, b = statistics.median(without), statistics.median(with_cache)
    print(f"| {name} | {a * 1e3:.0f} | {b * 1e3:.0f} | {hits} of {modules} |", flush=True)


def main():
    start, cpu = (statistics.median(x) for x in zip(*(both_seconds(GCOMP, "--version") for _ in range(30))))
    print(
        f"Milliseconds from start to end of the process; `gcomp --version` takes {start * 1e3:.1f} of them "
        f"({cpu * 1e3:.1f} of CPU time).\n"
    )
    print("| graph | artifact | without a cache | first time | hit, median | hit, best | hit, CPU time | times as fast |")
    print("|---|---|---|---|---|---|---|---|")
    models = {n: p for n, p in fetch_models.fetch(["magika", "ppocr_det"]).items() if p.endswith(".onnx")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model, path in models.items():
            measure(folder, model, Path(path), 20)
        hit = measure(folder, "two layers, 10 MB", dense(folder / "ten.onnx", 10), 30)
        measure(folder, "two layers, 10 MB beside", dense(folder / "beside.onnx", 10, external=True), 30)
        measure(folder, "two layers, 1 GB beside", dense(folder / "large.onnx", 1000, external=True), 3)
        print("\n| one activation changed | without a cache | with | modules from it |\n|---|---|---|---|")
        measure_change(folder, "ppocr_det", Path(models["ppocr_det"]))
    print(f"\nGoal for 10 MB: {GOAL * 1e3:.0f} ms.")
    return hit > GOAL


if __name__ == "__main__":
    sys.exit(main())
