#!/usr/bin/env python3
"""Times single kernels on one thread: products and convolutions against the CPU's measured peak, rows and sums
against the bytes they move, and ONNX Runtime on the same graph.

    scripts/bench_kernels.py [--cpu LEVEL] [--only WORD] [--rounds N]

Kernel times are those that `gcomp run --kernel-times` prints; ONNX Runtime's are of whole calls (of its node, for
convolutions, which gcomp's graphs surround with transposes). Needs the program bench_peak beside gcomp. Exits with 1
when a product stays below 80 % or a 3 x 3 convolution below 75 % of the peak.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "python"))

import gcomp  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

PRODUCT_GOAL, CONV_GOAL = 0.80, 0.75
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
random = np.random.default_rng(1)


def numbers(*shape):
    return random.standard_normal(shape).astype(np.float32)


def model(nodes, inputs: dict, constants: dict, rank: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape) for k, v in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def product(m, k, n, constant):
    x, w = {"x": numbers(m, k)}, {"w": numbers(k, n)}
    inputs, constants = (x, w) if constant else (x | w, {})
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return model([node], inputs, constants, 2), inputs, 2 * m * k * n


def convolution(batch, channels, height, width, features, size=3):
    inputs = {"x": numbers(batch, channels, height, width)}
    constants = {"w": numbers(features, channels, size, size), "b": numbers(features)}
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[size // 2] * 4)
    return model([node], inputs, constants, 4), inputs, 2 * batch * channels * height * width * features * size**2


def rows(op, m, n, **attributes):
    inputs = {"x": numbers(m, n)}
    constants = {"s": numbers(n), "b": numbers(n)} if op == "LayerNormalization" else {}
    if op == "ReduceSum":
        constants["axes"] = np.array(attributes.pop("axes"), np.int64)
    node = helper.make_node(op, ["x", *constants], ["y"], **attributes)
    return model([node], inputs, constants, 1 if attributes.get("keepdims") == 0 else 2), inputs, 4 * m * n


# name, graph, what it is measured by, goal
CASES = [
    ("sgemm 1024 x 1024 x 1024", lambda: product(1024, 1024, 1024, False), "flops", PRODUCT_GOAL),
    ("the same, B constant", lambda: product(1024, 1024, 1024, True), "flops", PRODUCT_GOAL),
    ("sgemm 512 x 512 x 512", lambda: product(512, 512, 512, False), "flops", PRODUCT_GOAL),
    ("dense layer 64 x 784 x 512", lambda: product(64, 784, 512, True), "flops", PRODUCT_GOAL),
    ("conv 3 x 3, 64 x 56 x 56 to 64", lambda: convolution(1, 64, 56, 56, 64), "flops", CONV_GOAL),
    ("conv 3 x 3, 128 x 28 x 28 to 128", lambda: convolution(1, 128, 28, 28, 128), "flops", CONV_GOAL),
    ("conv 3 x 3, 256 x 14 x 14 to 256", lambda: convolution(1, 256, 14, 14, 256), "flops", CONV_GOAL),
    ("conv 3 x 3, 512 x 7 x 7 to 512", lambda: convolution(1, 512, 7, 7, 512), "flops", CONV_GOAL),
    ("conv 3 x 3, 8 of 32 x 32 x 32 to 32", lambda: convolution(8, 32, 32, 32, 32), "flops", CONV_GOAL),
    ("conv 1 x 1, 64 x 56 x 56 to 256", lambda: convolution(1, 64, 56, 56, 256, 1), "flops", None),
    ("softmax 4096 x 4096", lambda: rows("Softmax", 4096, 4096, axis=1), "bytes", None),
    ("layer norm 4096 x 1024", lambda: rows("LayerNormalization", 4096, 1024, axis=1), "bytes", None),
    ("sum of rows 4096 x 4096", lambda: rows("ReduceSum", 4096, 4096, axes=[1], keepdims=0), "bytes", None),
    ("sum of columns 4096 x 4096", lambda: rows("ReduceSum", 4096, 4096, axes=[0], keepdims=0), "bytes", None),
]


def peaks() -> dict:
    program = Path(gcomp.find_gcomp()).parent / "bench_peak"
    if not program.is_file():
        sys.exit(f"bench_kernels: {program} is not built; `scripts/build release bench_peak` builds it")
    lines = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines)}


def kernel_seconds(artifact: Path, npz: Path, rounds: int, word: str) -> float:
    """Of the kernels whose names contain `word`."""
    command = [gcomp.find_gcomp(), "run", artifact, "--inputs", npz, "--threads", "1"]
    command += ["--repeat", str(rounds), "--kernel-times"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    rows_ = [line.split() for line in lines]
    return sum(float(row[0]) * UNITS[row[1]] for row in rows_ if word in row[-1])


def runtime_seconds(proto: onnx.ModelProto, inputs: dict, rounds: int) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        session.run(None, inputs)
        best = min(best, time.perf_counter() - begin)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cpu", default="native", help="--mcpu of the artifacts")
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose names contain it")
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    peak = peaks()
    flops = peak.get("avx512", peak["avx2"]) if args.cpu in ("native", "x86-64-v4") else peak["avx2"]
    print(f"One thread, --mcpu={args.cpu}; peak {flops:.0f} GFLOP/s, reading {peak['read']:.0f} GB/s.\n")
    print("| kernel | ms | GFLOP/s or GB/s read | of the peak | ONNX Runtime, ms |")
    print("|---|---|---|---|---|", flush=True)
    missed = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, make, measure, goal in CASES:
            if args.only not in title:
                continue
            proto, inputs, work = make()
            onnx.save(proto, folder / "g.onnx")
            np.savez(folder / "in.npz", **inputs)
            gcomp.compile(folder / "g.onnx", folder / "g.so", cpu=args.cpu)
            word = "_conv" if "conv" in title else ""
            best = min(kernel_seconds(folder / "g.so", folder / "in.npz", args.rounds, word) for _ in range(3))
            theirs = runtime_seconds(proto, inputs, 2 * args.rounds)
            rate = 1e-9 * work / best
            share = rate / (flops if measure == "flops" else peak["read"])
            print(f"| {title} | {best * 1e3:.3g} | {rate:.3g} | {share:.0%} | {theirs * 1e3:.3g} |", flush=True)
            if goal and share < goal:
                missed.append(title)
    if missed:
        print(f"\nbelow the goal: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
