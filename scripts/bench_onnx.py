#!/usr/bin/env python3
"""Times the real ONNX models: ONNX Runtime and gcomp, on the same real inputs, in one run.

    scripts/bench_onnx.py [--only NAME ...] [--seconds S] [--json FILE]

All are called from Python, in turn, several rounds; the best time per call of each is shown. gcomp compiles each model
once for x86-64-v3, its portable default, and once for this CPU, as ONNX Runtime always does. Exits with 1 when either
takes more than 1.5 times as long as ONNX Runtime, all on one thread.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "python"))

import fetch_models  # noqa: E402
import gcomp  # noqa: E402
import model_inputs  # noqa: E402
import onnxruntime  # noqa: E402

ROUNDS = 7
SLOWEST = 1.5  # of ONNX Runtime's time, on one thread
SIZES = {  # small, and as their own packages call them
    "magika": [(1,), (4,)],
    "ppocr_cls": [(1, 48, 192), (6, 48, 192)],
    "ppocr_det": [(1, 96, 320), (1, 736, 736)],
    "deepcut": [(1,), (200,)],
    "attacut_c": [(1,), (13,), (200,)],
}
CPUS = {"v3": "x86-64-v3", "native": "native"}


def onnx_call(path: str, inputs: dict, threads: int):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)


def gcomp_call(artifact: Path, inputs: dict, threads: int):
    function = gcomp.load(artifact, threads=threads)
    return lambda: function(**inputs)


def best_seconds(calls: dict, seconds: float) -> dict:
    """Best time per call of each, taken in turn so that all see the same machine."""
    best = {}
    for name, call in calls.items():  # the first calls warm caches and start threads
        call()
        begin = time.perf_counter()
        call()
        best[name] = time.perf_counter() - begin
    counts = {name: max(1, int(seconds / ROUNDS / once)) for name, once in best.items()}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begin = time.perf_counter()
            for _ in range(counts[name]):
                call()
            best[name] = min(best[name], (time.perf_counter() - begin) / counts[name])
    return best


def compiled(case: model_inputs.Case, model: str, folder: Path) -> tuple[dict, float]:
    """The artifact for each of CPUS, and the seconds the first took."""
    artifacts, taken = {}, []
    for key, cpu in CPUS.items():
        begin = time.perf_counter()
        artifacts[key] = gcomp.compile(model, folder / f"{case.name}-{key}.so", cpu=cpu)
        taken.append(time.perf_counter() - begin)
    return artifacts, taken[0]


def measure(model: str, inputs: dict, artifacts: dict, seconds: float) -> dict:
    calls = {}
    for threads in (1, 2):
        calls[f"onnxruntime {threads}"] = onnx_call(model, inputs, threads)
    for key, artifact in artifacts.items():
        calls[f"gcomp {key} 1"] = gcomp_call(artifact, inputs, 1)
    calls["gcomp native 2"] = gcomp_call(artifacts["native"], inputs, 2)
    return best_seconds(calls, seconds)


def row(f: dict) -> list[str]:
    """Times, each of gcomp's with its ratio to ONNX Runtime's on as many threads."""
    cells = []
    for name, seconds in f.items():
        theirs = f[f"onnxruntime {name.split()[-1]}"]
        ratio = "" if name.startswith("onnx") else f" ({seconds / theirs:.2f})"
        cells.append(f"{seconds * 1e3:.3g}{ratio}")
    return cells


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=1.5, help="of calls for each entry")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    print("Milliseconds per call from Python; in brackets gcomp's time over ONNX Runtime's (below 1: gcomp is faster).\n")
    print("| model | input | ONNX Runtime, 1 thread | 2 threads | gcomp, x86-64-v3, 1 | this CPU, 1 | this CPU, 2 |")
    print("|---|---|---|---|---|---|---|", flush=True)
    figures, compile_times = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for case in model_inputs.CASES:
            if case.name not in args.only:
                continue
            paths = fetch_models.fetch([case.name])
            model = paths[case.name]
            artifacts, seconds = compiled(case, model, Path(folder))
            compile_times.append(f"{case.name} {seconds:.2f} s")
            for size in SIZES[case.name]:
                title = f"{case.name} | {' x '.join(map(str, size))}"
                f = figures[title] = measure(model, case.inputs(size, paths), artifacts, args.seconds)
                print(f"| {title} | {' | '.join(row(f))} |", flush=True)
    print(f"\nCompiled for x86-64-v3 in: {', '.join(compile_times)}.")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    slow = [
        f"{name} ({key})"
        for name, f in figures.items()
        for key in CPUS
        if f[f"gcomp {key} 1"] > SLOWEST * f["onnxruntime 1"]
    ]
    if slow:
        print(f"\nmore than {SLOWEST} times ONNX Runtime's time on one thread: {', '.join(slow)}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
