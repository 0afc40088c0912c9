#!/usr/bin/env python3
"""Times the real ONNX models: ONNX Runtime and gcomp, on the same real inputs, in one run.

    scripts/bench_onnx.py [--only NAME ...] [--seconds S] [--json FILE]

All are called from Python, in turn, several rounds; the best time per call of each is shown. Exits with 1 when
gcomp on one thread takes more than 1.5 times as long as ONNX Runtime on one.
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
SIZES = {  # as their own packages call them
    "magika": (1,),
    "ppocr_cls": (6, 48, 192),
    "ppocr_det": (1, 736, 736),
    "deepcut": (200,),
    "attacut_c": (200,),
}


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


def measure(case: model_inputs.Case, folder: Path, seconds: float) -> dict:
    paths = fetch_models.fetch([case.name])
    inputs = case.inputs(SIZES[case.name], paths)
    artifact = folder / f"{case.name}.so"
    begin = time.perf_counter()
    gcomp.compile(paths[case.name], artifact)
    compile_seconds = time.perf_counter() - begin
    calls = {}
    for threads in (1, 2):
        calls[f"onnxruntime {threads}"] = onnx_call(paths[case.name], inputs, threads)
        calls[f"gcomp {threads}"] = gcomp_call(artifact, inputs, threads)
    return {"compile": compile_seconds, **best_seconds(calls, seconds)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=1.5, help="of calls for each entry")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    print("Milliseconds per call from Python; the ratio is gcomp's time over ONNX Runtime's (below 1: gcomp is faster).\n")
    print("| model | input | ONNX Runtime, 1 thread | gcomp, 1 thread | ratio | ONNX Runtime, 2 | gcomp, 2 | ratio | compiled in |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in model_inputs.CASES:
            if case.name not in args.only:
                continue
            f = figures[case.name] = measure(case, Path(folder), args.seconds)
            cells = [case.name, " x ".join(map(str, SIZES[case.name]))]
            for threads in (1, 2):
                theirs, ours = f[f"onnxruntime {threads}"], f[f"gcomp {threads}"]
                cells += [f"{theirs * 1e3:.3g}", f"{ours * 1e3:.3g}", f"{ours / theirs:.2f}"]
            print("| " + " | ".join([*cells, f"{f['compile']:.2f} s"]) + " |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    slow = [name for name, f in figures.items() if f["gcomp 1"] > SLOWEST * f["onnxruntime 1"]]
    if slow:
        print(f"\nmore than {SLOWEST} times ONNX Runtime's time on one thread: {', '.join(slow)}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
