#!/usr/bin/env python3
"""Times compilation, from the start of the process to the finished artifact, on two threads.

    scripts/bench_compile.py [--deep] [--json FILE]

--deep adds the 1,000,000-deep chain and the sum of 1,000,000 terms, under `ulimit -s 256`. Exits with 1 when a
graph takes longer than its goal.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GCOMP = ROOT / "build" / "gcomp"

import fetch_models  # noqa: E402

UNARY = ["sin", "tanh", "exp", "abs", "neg", "sqrt", "sigmoid", "erf"]
BINARY = ["add", "sub", "mul", "div", "max", "min"]


def graph(inputs: int, nodes: list[dict], outputs: list[int], shape: list) -> dict:
    return {
        "version": 1,
        "symbols": [],
        "inputs": [{"id": i, "name": f"x{i}", "dtype": "float32", "shape": shape} for i in range(inputs)],
        "constants": [],
        "nodes": nodes,
        "outputs": [{"name": f"y{i}", "id": v} for i, v in enumerate(outputs)],
    }


def random_dag(size: int) -> dict:
    """Elementwise nodes on random earlier values; every value that nothing reads is an output."""
    rng = random.Random(size)
    inputs, nodes, unread = 4, [], set()
    for i in range(inputs, inputs + size):
        window = range(max(0, i - 50), i)
        operands = [rng.choice(window) for _ in range(rng.choice((1, 2, 2)))]
        nodes.append({"op": rng.choice(UNARY if len(operands) == 1 else BINARY), "in": operands, "out": [i]})
        unread -= set(operands)
        unread.add(i)
    return graph(inputs, nodes, sorted(unread), [1000])


def chain(length: int) -> dict:
    nodes = [{"op": ("sin", "tanh")[i % 2], "in": [i], "out": [i + 1]} for i in range(length)]
    return graph(1, nodes, [length], [16])


def long_sum(terms: int) -> dict:
    """x0 + sin(x0 * c0) + sin(x0 * c1) + ...: distinct terms, left-deep, over few inputs."""
    nodes, total, next_id = [], 0, 8
    for i in range(terms // 8):
        for x in range(1, 8):
            nodes.append({"op": ("sin", "tanh", "exp")[(i + x) % 3], "in": [next_id - 1 if x == 1 and i else x], "out": [next_id]})
            nodes.append({"op": "add", "in": [total, next_id], "out": [next_id + 1]})
            total, next_id = next_id + 1, next_id + 2
    return graph(8, nodes, [total], [16])


def small_stack() -> None:
    resource.setrlimit(resource.RLIMIT_STACK, (256 << 10, 256 << 10))


def compile_seconds(path: Path | str, folder: Path, times: int, limit_stack: bool = False) -> float:
    best = float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        command = [str(GCOMP), str(path), "-O", "fast_run", "-j", "2", "-o", str(folder / "out.so")]
        subprocess.run(command, check=True, preexec_fn=small_stack if limit_stack else None)
        best = min(best, time.perf_counter() - begin)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deep", action="store_true")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    models = fetch_models.fetch(["magika", "ppocr_det"])
    figures = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def written(name: str, content: dict) -> Path:
            path = folder / f"{name}.json"
            path.write_text(json.dumps(content))
            return path

        cases = [
            ("100-node random DAG", written("dag100", random_dag(100)), 0.2, False),
            ("eight schools", ROOT / "graphs" / "eight_schools.json", 0.3, False),
            ("magika", models["magika"], 1.5, False),
            ("PP-OCRv4 det", models["ppocr_det"], 3.0, False),
            ("10,000-node random DAG", written("dag10000", random_dag(10_000)), 1.5, False),
        ]
        if args.deep:
            cases += [
                ("1,000,000-deep chain, 256 KB stack", written("chain", chain(1_000_000)), None, True),
                ("sum of 1,000,000 terms, 256 KB stack", written("sum", long_sum(1_000_000)), None, True),
            ]
        print("| graph | start to artifact | goal |\n|---|---|---|", flush=True)
        for name, path, goal, deep in cases:
            seconds = compile_seconds(path, folder, 1 if deep else 3, deep)
            figures[name] = {"seconds": seconds, "goal": goal}
            print(f"| {name} | {seconds:.2f} s | {f'{goal} s' if goal else ''} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if any(f["goal"] and f["seconds"] > f["goal"] for f in figures.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
