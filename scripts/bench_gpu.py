#!/usr/bin/env python3
"""Measures gcomp on this machine's GPU, all in one run: bandwidth-bound kernels against a copy within the device, gemm
and convolution against cuBLASLt and cuDNN through PyTorch, own products and convolutions against theirs, whole models against
ONNX Runtime, the cost of a call.

    scripts/bench_gpu.py [--elements N]

Exits with 77 where there is no GPU, after telling what was not run.
"""

import argparse
import ctypes
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "test")]

import gpu_device  # noqa: E402
from gcomp_cli import gcomp_ok  # noqa: E402

import gcomp  # noqa: E402

ROW = 4096  # of the matrices that rows are reduced of
SECTIONS = {
    "bandwidth": "fused elementwise, row, column and full reductions, softmax, layernorm against a copy",
    "products": "gemm and convolution against cuBLASLt and cuDNN (PyTorch)",
    "libraries": "own products and convolutions against cuBLASLt's and cuDNN's: rows of lib/artifact/library_table.cpp",
    "models": "the real ONNX models against ONNX Runtime (CUDA)",
    "calls": "the cost of a call of a small graph",
}


# Of each class of sizes (rt::product_class in gcomp/runtime/plan.h) rows and columns of a product with a square matrix.
LIBRARY_SIZES = [(8, 512), (8, 4096), (8, 16384), (64, 256), (64, 2048), (64, 8192), (128, 256), (512, 1024), (4096, 4096)]
# The same of a convolution: images, extent, channels = features, window.
CONVOLUTION_SIZES = [
    *[(1, 16, 8, 3), (32, 112, 8, 3), (40, 224, 8, 3), (1, 16, 32, 3), (2, 28, 64, 3), (16, 56, 64, 3)],
    *[(2, 8, 128, 1), (1, 28, 256, 3), (32, 28, 256, 3)],
]
LIBRARY_KINDS = [(d, []) for d in ("float32", "float64", "float16", "bfloat16")] + [("float32", ["--allow-tf32"])]
CHAIN = 8  # products in a call, one after the other


def model(nodes, inputs, output, folder, name, weights=()):
    """An artifact of an ONNX graph: nodes (op, inputs, output, attributes), inputs by name with their shapes."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, i, [o], **a) for op, i, o, a in nodes],
        name,
        [value(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [value(output, TensorProto.FLOAT, None)],
        list(weights),
    )
    graph_file, artifact = folder / f"{name}.onnx", folder / f"{name}.so"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), graph_file)
    gcomp_ok(graph_file, "--target", "cpu,cuda", "--cuda-everything", "--cuda-arch", ARCH, "-o", artifact)
    return gcomp.load(artifact, device="cuda")


def best_time(call, seconds=1.0):
    """Of a call, after it was made twice: graphs are recorded at the second."""
    call(), call()
    best, begin = float("inf"), time.perf_counter()
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def bandwidth(device, elements, folder):
    shape = [elements // ROW, ROW]
    x = gpu_device.Array(device, np.random.default_rng(1).standard_normal(shape, np.float32))
    y = gpu_device.Array(device, np.zeros(shape, np.float32))
    size = x.like.nbytes
    copied = 2 * size / best_time(lambda: device.copy_within(y, x))
    print(f"copy within the device: {copied / 1e9:.0f} GB/s, {elements} elements of float32")
    gain = [onnx.numpy_helper.from_array(np.ones(ROW, np.float32), n) for n in ("g", "b")]
    cases = {
        "fused elementwise": ([("Mul", "xx", "a", {}), ("Sigmoid", "a", "s", {}), ("Add", "sx", "z", {})], 2, ()),
        "row sums": ([("ReduceMean", "x", "z", {"axes": [1], "keepdims": 0})], 1, ()),
        "column sums": ([("ReduceMean", "x", "z", {"axes": [0], "keepdims": 0})], 1, ()),
        "sum of all": ([("ReduceMean", "x", "z", {"keepdims": 0})], 1, ()),
        "softmax": ([("Softmax", "x", "z", {"axis": -1})], 2, ()),
        "layernorm": ([("LayerNormalization", ["x", "g", "b"], "z", {"axis": -1})], 2, gain),
    }
    for name, (nodes, passes, weights) in cases.items():
        function = model([(o, list(i), t, a) for o, i, t, a in nodes], {"x": shape}, "z", folder, name.split()[0], weights)
        rate = passes * size / best_time(lambda f=function: f.on_device(x))
        print(f"{name:20} {rate / 1e9:7.0f} GB/s  {100 * rate / copied:4.0f}% of the copy")


def products(device, folder):
    try:
        import torch
    except ImportError:
        torch = None
    if torch is None or not torch.cuda.is_available():
        print("cuBLASLt and cuDNN: not measured, this Python has no PyTorch with CUDA")
        torch = None
    rng = np.random.default_rng(2)
    convolution = {"pads": [1, 1, 1, 1]}
    for name, op, shapes, attributes, flops in [
        ("gemm 1024", "MatMul", [(1024, 1024)] * 2, {}, 2 * 1024**3),
        ("gemm 4096", "MatMul", [(4096, 4096)] * 2, {}, 2 * 4096**3),
        ("conv 3x3", "Conv", [(32, 64, 56, 56), (64, 64, 3, 3)], convolution, 2 * 32 * 64 * 64 * 9 * 56 * 56),
    ]:
        a, b = (rng.standard_normal(s, np.float32) for s in shapes)
        inputs = dict(zip("xw", shapes, strict=True))
        function = model([(op, ["x", "w"], "z", attributes)], inputs, "z", folder, name.replace(" ", "_"))
        there = [gpu_device.Array(device, v) for v in (a, b)]
        ours = flops / best_time(lambda f=function, t=there: f.on_device(*t))
        line = f"{name:20} {ours / 1e12:7.2f} TFLOP/s"
        if torch:
            p, q = (torch.tensor(v, device="cuda") for v in (a, b))
            peer = torch.matmul if op == "MatMul" else lambda p, q: torch.nn.functional.conv2d(p, q, padding=1)

            def call(peer=peer, p=p, q=q):
                peer(p, q)
                torch.cuda.synchronize()

            theirs = flops / best_time(call)
            line += f"  PyTorch {theirs / 1e12:.2f}, {100 * ours / theirs:.0f}%"
        print(line)


def chain_of_products(dtype, rows, n, path):
    graph = {
        "version": 1,
        "symbols": [],
        "inputs": [{"id": i, "name": "xw"[i], "dtype": dtype, "shape": [(rows, n)[i], n]} for i in range(2)],
        "constants": [],
        "nodes": [{"op": "matmul", "in": [i and 1 + i, 1], "out": [2 + i]} for i in range(CHAIN)],
        "outputs": [{"name": "y", "id": 1 + CHAIN}],
    }
    path.write_text(json.dumps(graph))
    return [[rows, n], [n, n]]


def chain_of_convolutions(dtype, images, extent, channels, window, path):
    """Channels last, as the passes make them."""
    shapes = [[images, extent, extent, channels], [window, window, channels, channels]]
    attrs = {"strides": [1, 1], "dilations": [1, 1], "low": [window // 2] * 2, "high": [window // 2] * 2, "layout": "nhwc"}
    graph = {
        "version": 1,
        "symbols": [],
        "inputs": [{"id": i, "name": "xw"[i], "dtype": dtype, "shape": shapes[i]} for i in range(2)],
        "constants": [],
        "nodes": [{"op": "conv", "in": [i and 1 + i, 1], "out": [2 + i], "attrs": attrs} for i in range(CHAIN)],
        "outputs": [{"name": "y", "id": 1 + CHAIN}],
    }
    path.write_text(json.dumps(graph))
    return shapes


def numbers(dtype, shape):
    """Such that products neither grow nor vanish."""
    scale = np.float32(np.prod(shape[:-1]) if len(shape) == 4 else shape[-1])
    v = np.random.default_rng(3).standard_normal(shape, np.float32) / np.sqrt(scale)
    return (v.view(np.uint32) >> 16).astype(np.uint16) if dtype == "bfloat16" else v.astype(dtype)


def has_library(variable, *names):
    given = os.environ.get(variable)
    for name in [given] if given is not None else names:
        try:
            ctypes.CDLL(name)
            return True
        except OSError:
            pass
    return False


def libraries(device, folder, sizes=LIBRARY_SIZES, convolutions=CONVOLUTION_SIZES):
    """Prints rows ready to be committed."""
    for kind, chain, variable, names, all_sizes in [
        ("Product", chain_of_products, "GCOMP_CUBLASLT", ["libcublasLt.so.13", "libcublasLt.so.12"], sizes),
        ("Convolution", chain_of_convolutions, "GCOMP_CUDNN", ["libcudnn.so.9"], convolutions),
    ]:
        if not has_library(variable, *names):
            print(f"{kind.lower()}s by a library: not measured, there is no {' or '.join(names)}")
            continue
        for dtype, options in LIBRARY_KINDS:
            for size, extents in enumerate(all_sizes):
                times = library_times(device, folder, chain, dtype, options, extents)
                name = "DType::k" + {"b": "BFloat"}.get(dtype[0], "Float") + dtype[-2:]
                row = f"{device.capability}, {name}, {str(bool(options)).lower()}, {size}, {times[0]:.1f}, {times[1]:.1f}"
                print(f"    {{LibraryKind::k{kind}, {row}}},", flush=True)


def library_times(device, folder, chain, dtype, options, extents):
    """Microseconds of one of a chain, by own kernels and by the library."""
    path = folder / "chain.json"
    given = [gpu_device.Array(device, numbers(dtype, s), dtype == "bfloat16") for s in chain(dtype, *extents, path)]
    times = []
    for which in ("none", "all"):
        artifact = folder / f"{chain.__name__}_{dtype}_{len(options)}_{'_'.join(map(str, extents))}_{which}.so"
        gcomp_ok(path, "--target", "cpu,cuda", "--cuda-everything", "--cuda-arch", ARCH, f"--cuda-libs={which}", *options, "-o", artifact)
        function = gcomp.load(artifact, device="cuda")
        times.append(1e6 / CHAIN * best_time(lambda f=function: f.on_device(*given), 0.3))
    return times


def models(folder):
    import fetch_models
    import model_inputs
    import onnxruntime
    from bench_onnx import SIZES

    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if not has_cuda:
        print("ONNX Runtime: not measured, it was built without CUDA")
    for case in model_inputs.CASES:
        paths = fetch_models.fetch([case.name])
        path, artifact = paths[case.name], folder / f"{case.name}.so"
        gcomp_ok(path, "--target", "cpu,cuda", "--cuda-arch", ARCH, "-o", artifact)
        calls_of = {key: gcomp.load(artifact, device=key) for key in ("cuda", "cpu")}
        if has_cuda:
            session = onnxruntime.InferenceSession(path, providers=["CUDAExecutionProvider"])
            calls_of["ONNX Runtime"] = lambda s=session, **inputs: s.run(None, inputs)
        for size in SIZES[case.name]:
            inputs = case.inputs(size, paths)
            times = {key: best_time(lambda f=f, i=inputs: f(**i)) for key, f in calls_of.items()}
            line = ", ".join(f"{key} {1e3 * seconds:.3f} ms" for key, seconds in times.items())
            print(f"{case.name} {' x '.join(map(str, size))}: {line}")


def calls(device, folder):
    x = np.ones(1000, np.float32)
    chain = [("Sigmoid", ["x"], "a", {}), ("ReduceMean", ["a"], "m", {"keepdims": 1}), ("Sub", ["a", "m"], "z", {})]
    function = model(chain, {"x": [1000]}, "z", folder, "small")
    there = gpu_device.Array(device, x)
    print(f"arrays of the host:   {1e6 * best_time(lambda: function(x)):.1f} us a call")
    print(f"arrays of the device: {1e6 * best_time(lambda: function.on_device(there)):.1f} us a call")


def main() -> int:
    global ARCH
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=64 << 20)
    elements = parser.parse_args().elements
    device, why = gpu_device.find()
    if device is None:
        print(f"bench gpu: no device: {why}. Not run:")
        for name, what in SECTIONS.items():
            print(f"  {name}: {what}")
        return gpu_device.NO_DEVICE
    ARCH = f"sm_{device.capability}"
    print(f"GPU {ARCH}, driver for CUDA {device.version // 1000}.{device.version % 1000 // 10}")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        bandwidth(device, elements, folder)
        products(device, folder)
        libraries(device, folder)
        models(folder)
        calls(device, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
