"""Products and convolutions by a library: artifacts compiled with --cuda-libs=all on the fake driver, with a cuBLASLt and
a cuDNN that are as fake (fake_cublaslt.cpp, fake_cudnn.cpp), compared with the reference evaluator and ONNX Runtime; what
is told of it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import bench_gpu
import gpu_device
import numpy as np
import onnx
import onnxruntime
import pytest
from fake_gpu import FAKE, compile_kernels, environment
from gcomp_cli import gcomp, gcomp_ok
from onnx import TensorProto, helper

CUBLASLT, CUDNN = FAKE.parent / "libcublasLt.so", FAKE.parent / "libcudnn.so"
HERE = ("--target", "cpu,cuda", "--cuda-everything", "--cuda-arch", "sm_90")


class Net:
    """A graph in the making; constants are rank 0."""

    def __init__(self):
        self.inputs, self.constants, self.nodes, self.outputs = [], [], [], []
        self.next, self.types = 0, {}

    def new(self, dtype, shape):
        self.types[self.next] = (dtype, shape)
        self.next += 1
        return self.next - 1

    def input(self, dtype, *shape):
        i = self.new(dtype, list(shape))
        self.inputs.append({"id": i, "name": f"x{i}", "dtype": dtype, "shape": list(shape)})
        return i

    def node(self, op, operands, result, **attrs):
        i = self.new(self.types[operands[0]][0], list(result))
        self.nodes.append({"op": op, "in": list(operands), "out": [i], "loc": f"{op}_{i}"} | ({"attrs": attrs} if attrs else {}))
        return i

    def splat(self, value, like):
        dtype, shape = self.types[like]
        i = self.new(dtype, [])
        self.constants.append({"id": i, "dtype": dtype, "shape": [], "data": [value]})
        return self.node("broadcast", [i], shape, shape=shape, axes=[])

    def output(self, i):
        self.outputs.append({"name": f"y{i}", "id": i})

    def product(self, dtype, batch, rows, columns, depth, trans="", alpha=None, bias=False, relu=False, scaled_bias=None):
        """Of inputs of its own; what follows it, in this order."""
        a = self.input(dtype, *batch, *((depth, rows) if "a" in trans else (rows, depth)))
        b = self.input(dtype, *batch, *((columns, depth) if "b" in trans else (depth, columns)))
        y = self.node("matmul", [a, b], [*batch, rows, columns], trans_a=int("a" in trans), trans_b=int("b" in trans))
        shape = self.types[y][1]
        if alpha is not None:
            y = self.node("mul", [y, self.splat(alpha, y)], shape)
        if bias:
            row = self.node("broadcast", [self.input(dtype, columns)], shape, shape=shape, axes=[len(shape) - 1])
            y = self.node("add", [row, y], shape)
        if scaled_bias is not None:  # no library does that: bias before alpha
            y = self.node("mul", [y, self.splat(scaled_bias, y)], shape)
        if relu:
            y = self.node("max", [y, self.splat(0.0, y)], shape)
        self.output(y)
        return y

    def convolution(self, dtype, x, features, window, layout="nchw", group=1, alpha=None, bias=False, relu=False, result=None, **attrs):
        """Of inputs of its own; x: images, channels, extents; `result`: images, features, extents, where symbols are."""
        images, channels, *extents = x
        axes = range(len(extents))
        low, strides, dilations = (attrs.get(name, [d] * len(extents)) for name, d in (("low", 0), ("strides", 1), ("dilations", 1)))
        attrs = {"low": low, "high": low, "strides": strides, "dilations": dilations, "group": group, "layout": layout} | attrs
        high = attrs["high"]
        result = result or [images, features] + [
            (extents[i] + low[i] + high[i] - dilations[i] * (window[i] - 1) - 1) // strides[i] + 1 for i in axes
        ]
        weights = [features, channels // group, *window]
        if layout == "nhwc":
            x, weights = [images, *extents, channels], [*window, channels // group, features]
            result = [result[0], *result[2:], result[1]]
        operands = [self.input(dtype, *x), self.input(dtype, *weights)] + ([self.input(dtype, features)] if bias else [])
        y = self.node("conv", operands, result, **attrs)
        if alpha is not None:
            y = self.node("mul", [y, self.splat(alpha, y)], result)
        if relu:
            y = self.node("max", [y, self.splat(0.0, y)], result)
        self.output(y)
        return y

    def write(self, path, symbols=()):
        graph = {"version": 1, "symbols": list(symbols), "inputs": self.inputs, "constants": self.constants}
        path.write_text(json.dumps(graph | {"nodes": self.nodes, "outputs": self.outputs}))

    def random(self, seed, **symbols):
        rng = np.random.default_rng(seed)
        arrays = {}
        for port in self.inputs:
            v = rng.standard_normal([symbols.get(e, e) for e in port["shape"]])
            if port["dtype"] == "bfloat16":
                arrays[port["name"]] = (v.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
            else:
                arrays[port["name"]] = v.astype(port["dtype"])
        return arrays


def numbers(dtype, v):
    return ((v.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else v).astype(np.float64)


def run(file, folder, *options, env=None):
    done = gcomp("run", file, "--inputs", folder / "in.npz", "--outputs", folder / "out.npz", *options, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    with np.load(folder / "out.npz") as outputs:
        return {name: outputs[name] for name in outputs.files}


def with_library(libraries, folder):
    (folder / "log").unlink(missing_ok=True)
    paths = {"GCOMP_CUBLASLT": str(CUBLASLT), "GCOMP_CUDNN": str(CUDNN)}
    return environment(libraries) | paths | {f"GCOMP_FAKE_{name}_LOG": str(folder / "log") for name in ("CUBLASLT", "CUDNN")}


def log(folder):
    path = folder / "log"
    return path.read_text().splitlines() if path.exists() else []


# Of one rounding to the dtype, and the sums before it.
PRECISION = {"float64": 1e-13, "float32": 2e-6, "float16": 2**-10, "bfloat16": 2**-7}


def agree(net, got, want):
    assert got.keys() == want.keys()
    for port in net.outputs:
        dtype = net.types[port["id"]][0]
        a, b = (numbers(dtype, v[port["name"]]) for v in (got, want))
        np.testing.assert_allclose(a, b, rtol=PRECISION[dtype], atol=8 * PRECISION[dtype], err_msg=port["name"])


def check_all_by_library(net, folder, artifact, want):
    env = with_library([], folder)  # no kernels: nothing else can have done it
    agree(net, run(artifact, folder, "--device", "cuda", env=env), want)
    lines = log(folder)
    assert len(lines) == len(net.outputs)
    assert {line.split()[0] for line in lines} == set(PRECISION)
    assert len(set(lines)) == len(lines)
    # Launched as graphs from the second run on.
    agree(net, run(artifact, folder, "--device", "cuda", "--repeat", "4", env=env), want)


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """All dtypes, layouts, batches and endings a library can do."""
    folder = tmp_path_factory.mktemp("products")
    net = Net()
    for dtype in PRECISION:
        for trans in ("", "a", "b", "ab"):
            net.product(dtype, [], 5, 7, 9, trans)
        net.product(dtype, [3], 4, 6, 5, "b")
        net.product(dtype, [2, 3], 4, 6, 5, "a", alpha=0.5, bias=True)
        net.product(dtype, [], 33, 20, 17, bias=True)
        net.product(dtype, [], 1, 12, 30, alpha=0.25)
    net.write(folder / "graph.json")
    artifact = folder / "model.so"
    gcomp_ok(folder / "graph.json", *HERE, "--cuda-libs=all", "-o", artifact)
    np.savez(folder / "in.npz", **net.random(1))
    return net, folder, artifact, run(folder / "graph.json", folder, "--interpret")


def test_all_that_a_library_can_do(products):
    check_all_by_library(*products)


def test_its_own_kernels_where_there_is_no_library(products):
    net, folder, artifact, want = products
    env = with_library(compile_kernels(folder / "graph.json", folder, "--cuda-libs=all"), folder)
    for missing in ({"GCOMP_CUBLASLT": "/nowhere.so"}, {"GCOMP_FAKE_CUBLASLT_NO_ALGORITHM": "1"}):
        agree(net, run(artifact, folder, "--device", "cuda", env=env | missing), want)
    assert log(folder) == []


def compiled(net, folder, *options, symbols=()):
    """The artifact, what it tells of its products, and what the compiler told."""
    net.write(folder / "graph.json", symbols)
    done = gcomp(folder / "graph.json", *HERE, *options, "-o", folder / "model.so")
    assert done.returncode == 0, done.stderr
    kernels = json.loads(gcomp_ok("inspect", folder / "model.so", "--json"))["cuda"]["kernels"]
    return folder / "model.so", [k["library"] for k in kernels if "library" in k], done.stderr


def test_what_is_told_of_it(tmp_path):
    net = Net()
    net.product("float32", [], 40, 50, 60, bias=True)
    y = net.nodes[0]["loc"]
    for options, told, explained in (
        (["--cuda-libs=all"], ["cuBLASLt: --cuda-libs=all"], "cuBLASLt, where a run finds it: --cuda-libs=all"),
        (["--cuda-libs=none"], [], "none: --cuda-libs=none"),
        (["--cuda-libs=auto"], [], "none: no measurement says that it is faster"),
    ):
        profile = tmp_path / "profile.json"
        artifact, libraries, text = compiled(net, tmp_path, *options, "--explain", y, f"--profile={profile}")
        assert libraries == told
        assert f"  library       {explained}\n" in text
        placement = json.loads(profile.read_text())["placement"]
        assert (placement["products"], placement["library_products"]) == (1, len(told))
        assert ("or cuBLASLt: --cuda-libs=all" in gcomp_ok("inspect", artifact)) == bool(told)
    assert gcomp(tmp_path / "graph.json", "--cuda-libs=all", "-o", tmp_path / "x.so").returncode == 2
    done = gcomp(tmp_path / "graph.json", *HERE, "--cuda-libs=mkl", "-o", tmp_path / "x.so")
    assert done.returncode == 2
    assert "one of auto, all, none" in done.stderr


def test_a_library_makes_nan_zero_so_max_needs_fast_math(tmp_path):
    net = Net()
    net.product("float32", [], 6, 8, 10, bias=True, relu=True)
    given = net.random(2)
    np.savez(tmp_path / "in.npz", **given)
    _, told, text = compiled(net, tmp_path, "--cuda-libs=all", "--explain", net.nodes[0]["loc"])
    assert told == []
    assert "its max(x, 0) makes NaN 0, only --fast-math allows that" in text
    artifact, told, _ = compiled(net, tmp_path, "--cuda-libs=all", "--fast-math")
    assert told == ["cuBLASLt: --cuda-libs=all"]
    agree(net, run(artifact, tmp_path, "--device", "cuda", env=with_library([], tmp_path)),
          run(tmp_path / "graph.json", tmp_path, "--interpret"))  # fmt: skip
    assert len(log(tmp_path)) == 1


def test_what_no_library_does_is_left_to_kernels(tmp_path):
    net = Net()
    net.product("float32", [], 6, 8, 10, bias=True, scaled_bias=3.0)
    net.output(net.node("matmul", [net.product("int32", [], 6, 8, 10), net.input("int32", 8, 4)], [6, 4]))
    net.output(net.node("exp", [net.product("float64", [], 6, 8, 10)], [6, 8]))  # beside the product itself
    net.outputs = net.outputs[:3] + net.outputs[4:]
    _, told, _ = compiled(net, tmp_path, "--cuda-libs=all")
    assert told == []


def test_rounded_factors_only_where_allowed(tmp_path):
    net = Net()
    net.product("float32", [], 6, 8, 10)
    np.savez(tmp_path / "in.npz", **net.random(3))
    results = []
    for options, dtype in (([], "float32"), (["--allow-tf32"], "tf32")):
        artifact, _, _ = compiled(net, tmp_path, "--cuda-libs=all", *options)
        results.append(run(artifact, tmp_path, "--device", "cuda", env=with_library([], tmp_path)))
        assert [line.split()[0] for line in log(tmp_path)] == [dtype]
    (exact,), (rounded,) = (list(r.values()) for r in results)
    assert 1e-5 < abs(exact - rounded).max() < 1e-2


def test_sizes_that_change_and_nodes_of_a_failed_call(tmp_path):
    net = Net()
    net.product("float64", ["b"], "n", 6, "k", "b", bias=True)
    artifact, _, _ = compiled(net, tmp_path, "--cuda-libs=all", symbols=["b", "n", "k"])
    for b, n, k in ((1, 5, 7), (3, 2, 4), (2, 1, 1), (0, 5, 3)):
        np.savez(tmp_path / "in.npz", **net.random(4, b=b, n=n, k=k))
        env = with_library([], tmp_path)
        agree(net, run(artifact, tmp_path, "--device", "cuda", env=env), run(tmp_path / "graph.json", tmp_path, "--interpret"))
        assert len(log(tmp_path)) == (1 if b else 0)
    np.savez(tmp_path / "in.npz", **net.random(4, b=1, n=2, k=3))
    done = gcomp("run", artifact, "--inputs", tmp_path / "in.npz", "--device", "cuda",
                 env=env | {"GCOMP_FAKE_CUBLASLT_FAIL_AT": "1"})  # fmt: skip
    assert done.returncode == 6
    assert "CUBLAS_STATUS_EXECUTION_FAILED in cublasLtMatmul, k" in done.stderr
    assert "matmul add" in done.stderr


def test_products_of_a_loop_s_turns(tmp_path):
    """s := s w, five times, in memory that changes."""
    matrix = {"dtype": "float64", "shape": [6, 6]}
    body = {
        "inputs": [{"id": 0, "name": "k", "dtype": "int64", "shape": []}] + [{"id": i, "name": "sw"[i - 1]} | matrix for i in (1, 2)],
        "constants": [{"id": 3, "dtype": "bool", "shape": [], "data": [True]}],
        "nodes": [{"op": "matmul", "in": [1, 2], "out": [4]}],
        "outputs": [{"name": "go_on", "id": 3}, {"name": "s", "id": 4}],
    }
    net = Net()
    x, w = (net.input("float64", 6, 6) for _ in range(2))
    for dtype, value in (("int64", 5), ("bool", True)):
        net.constants.append({"id": net.new(dtype, []), "dtype": dtype, "shape": [], "data": [value]})
    net.output(net.node("loop", [2, 3, x, w], [6, 6], bodies=[body], index=1))
    net.types[net.next - 1] = ("float64", [6, 6])
    np.savez(tmp_path / "in.npz", **net.random(5))
    artifact, told, _ = compiled(net, tmp_path, "--cuda-libs=all")
    assert told == ["cuBLASLt: --cuda-libs=all"]
    env = with_library(compile_kernels(tmp_path / "graph.json", tmp_path), tmp_path)
    agree(net, run(artifact, tmp_path, "--device", "cuda", env=env), run(tmp_path / "graph.json", tmp_path, "--interpret"))
    assert len(log(tmp_path)) == 5
    agree(net, run(artifact, tmp_path, "--device", "cuda", "--repeat", "4", env=env), run(tmp_path / "graph.json", tmp_path, "--interpret"))


# Layouts stay.
PLAIN = ("--optimizer-excluding=layout", "--cuda-libs=all")


@pytest.fixture(scope="module")
def convolutions(tmp_path_factory):
    """All dtypes, layouts and shapes a library can do."""
    folder = tmp_path_factory.mktemp("convolutions")
    net = Net()
    for dtype in PRECISION:
        for layout in ("nchw", "nhwc"):
            net.convolution(dtype, [2, 3, 7, 6], 5, [3, 2], layout)
            net.convolution(dtype, [1, 4, 9, 8], 6, [3, 2], layout, 2, bias=True, low=[1, 2], strides=[2, 1], dilations=[1, 2])
            net.convolution(dtype, [2, 6, 5, 4], 6, [3, 3], layout, 6, low=[1, 1], bias=True)
            net.convolution(dtype, [1, 8, 4, 3], 7, [1, 1], layout, alpha=0.5)
    net.write(folder / "graph.json")
    artifact = folder / "model.so"
    gcomp_ok(folder / "graph.json", *HERE, *PLAIN, "-o", artifact)
    np.savez(folder / "in.npz", **net.random(1))
    return net, folder, artifact, run(folder / "graph.json", folder, "--interpret")


def test_all_convolutions_that_a_library_can_do(convolutions):
    check_all_by_library(*convolutions)


def test_own_kernels_for_convolutions_where_there_is_no_library(convolutions):
    net, folder, artifact, want = convolutions
    env = with_library(compile_kernels(folder / "graph.json", folder, *PLAIN), folder)
    for missing in ({"GCOMP_CUDNN": "/nowhere.so"}, {"GCOMP_FAKE_CUDNN_NO_ALGORITHM": "1"}):
        agree(net, run(artifact, folder, "--device", "cuda", env=env | missing), want)
    assert log(folder) == []


def test_what_is_told_of_a_convolution(tmp_path):
    net = Net()
    net.convolution("float32", [1, 16, 12, 12], 32, [3, 3], "nhwc", bias=True)
    for libraries, told, explained in (
        ("all", ["cuDNN: --cuda-libs=all"], "cuDNN, where a run finds it: --cuda-libs=all"),
        ("none", [], "none: --cuda-libs=none"),
        ("auto", [], "none: no measurement says that it is faster"),
    ):
        options = [f"--cuda-libs={libraries}", "--explain", net.nodes[0]["loc"], f"--profile={tmp_path / 'profile.json'}"]
        artifact, libraries, text = compiled(net, tmp_path, *options)
        assert libraries == told
        assert f"  library       {explained}\n" in text
        placement = json.loads((tmp_path / "profile.json").read_text())["placement"]
        assert [placement[key] for key in ("products", "convolutions", "library_convolutions")] == [0, 1, len(told)]
        assert ("or cuDNN: --cuda-libs=all" in gcomp_ok("inspect", artifact)) == bool(told)


def test_convolutions_left_to_kernels(tmp_path):
    net = Net()
    net.convolution("float32", [1, 3, 8, 8], 4, [3, 3], low=[1, 1], high=[1, 0])
    net.convolution("float32", [1, 3, 8], 4, [3])
    net.convolution("float32", [1, 3, 4, 4, 4], 4, [2, 2, 2])
    net.convolution("int32", [1, 3, 8, 8], 4, [3, 3])
    net.convolution("float32", [1, 3, 8, 8], 4, [3, 3], bias=True, alpha=0.5)
    net.convolution("float32", [1, 3, 8, 8], 4, [3, 3], bias=True, relu=True)  # without --fast-math
    _, told, _ = compiled(net, tmp_path, *PLAIN)
    assert told == []
    net = Net()
    net.convolution("float32", [1, 3, 8, 8], 4, [3, 3], relu=True)  # cuDNN wants a bias
    net.convolution("float32", [2, 3, 8, 8], 4, [3, 3], bias=True, relu=True)
    np.savez(tmp_path / "in.npz", **net.random(2))
    artifact, told, _ = compiled(net, tmp_path, *PLAIN, "--fast-math")
    assert told == ["cuDNN: --cuda-libs=all"]
    env = with_library(compile_kernels(tmp_path / "graph.json", tmp_path, *PLAIN, "--fast-math"), tmp_path)
    agree(net, run(artifact, tmp_path, "--device", "cuda", env=env), run(tmp_path / "graph.json", tmp_path, "--interpret"))
    assert [line.split("groups")[1] for line in log(tmp_path)] == [" 1 first bias relu"]


def test_rounded_factors_of_convolutions_only_where_allowed(tmp_path):
    net = Net()
    net.convolution("float32", [1, 8, 6, 6], 4, [3, 3])
    np.savez(tmp_path / "in.npz", **net.random(3))
    results = []
    for options, dtype in (([], "float32"), (["--allow-tf32"], "tf32")):
        artifact, _, _ = compiled(net, tmp_path, *PLAIN, *options)
        results.append(run(artifact, tmp_path, "--device", "cuda", env=with_library([], tmp_path)))
        assert [line.split()[0] for line in log(tmp_path)] == [dtype]
    (exact,), (rounded,) = (list(r.values()) for r in results)
    assert 1e-5 < abs(exact - rounded).max() < 1e-2


def test_images_that_change_and_nodes_of_a_failed_convolution(tmp_path):
    net = Net()
    net.convolution("float64", ["n", 4, "h", 5], 6, [3, 3], "nhwc", 2, bias=True, low=[1, 1], result=["n", 6, "h", 5])
    artifact, _, _ = compiled(net, tmp_path, *PLAIN, symbols=["n", "h"])
    for n, h in ((1, 5), (3, 2), (2, 1), (0, 5)):
        np.savez(tmp_path / "in.npz", **net.random(4, n=n, h=h))
        env = with_library([], tmp_path)
        agree(net, run(artifact, tmp_path, "--device", "cuda", env=env), run(tmp_path / "graph.json", tmp_path, "--interpret"))
        assert len(log(tmp_path)) == (1 if n else 0)
    np.savez(tmp_path / "in.npz", **net.random(4, n=1, h=2))
    done = gcomp("run", artifact, "--inputs", tmp_path / "in.npz", "--device", "cuda",
                 env=env | {"GCOMP_FAKE_CUDNN_FAIL_AT": "2"})  # fmt: skip
    assert done.returncode == 6
    assert "CUDNN_STATUS_EXECUTION_FAILED in cudnnConvolutionForward, k" in done.stderr
    assert f"({net.nodes[0]['loc']}: conv)" in done.stderr


def test_a_network_of_convolutions_against_onnx_runtime(tmp_path):
    """All passes, weights that are constants, channels first as given."""
    rng = np.random.default_rng(6)
    shapes = {"w0": [8, 3, 3, 3], "b0": [8], "w1": [8, 1, 3, 3], "b1": [8], "w2": [12, 8, 1, 1], "b2": [12]}
    weights = [onnx.numpy_helper.from_array(rng.standard_normal(s, np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["p"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("Conv", ["q", "w1", "b1"], ["r"], pads=[1, 1, 1, 1], group=8),
        helper.make_node("Relu", ["r"], ["s"]),
        helper.make_node("Conv", ["s", "w2", "b2"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "net", [value("x", TensorProto.FLOAT, [2, 3, 10, 8])], [value("y", TensorProto.FLOAT, None)], weights)
    path, artifact = tmp_path / "net.onnx", tmp_path / "net.so"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    x = rng.standard_normal([2, 3, 10, 8], np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    options = ["--cuda-libs=all", "--fast-math"]
    gcomp_ok(path, *HERE, *options, "-o", artifact)
    env = with_library(compile_kernels(path, tmp_path, *options), tmp_path)
    got = run(artifact, tmp_path, "--device", "cuda", env=env)["y"]
    (want,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * abs(want).max())
    assert [line.split("groups")[1] for line in log(tmp_path)] == [" 1 last bias relu", " 8 last bias relu", " 1 last bias"]


def rows_of_the_table(folder: Path):
    """In a process with the fake driver: the rows of one small product and one small convolution."""
    device, _ = gpu_device.find()
    bench_gpu.ARCH, bench_gpu.LIBRARY_KINDS = f"sm_{device.capability}", [("float64", [])]
    bench_gpu.libraries(device, folder, [(3, 8)], [(1, 4, 3, 3)])


def test_rows_for_the_table_of_measurements(tmp_path):
    kernels = []
    for chain, extents in ((bench_gpu.chain_of_products, (3, 8)), (bench_gpu.chain_of_convolutions, (1, 4, 3, 3))):
        folder = tmp_path / chain.__name__
        folder.mkdir()
        chain("float64", *extents, folder / "chain.json")
        kernels += compile_kernels(folder / "chain.json", folder)
    env = with_library(kernels, tmp_path)

    def rows(env):
        done = subprocess.run([sys.executable, __file__, tmp_path], capture_output=True, text=True, env=env, check=True)
        return done.stdout

    text = rows(env).splitlines()
    assert len(text) == 2
    for kind, line in zip(("Product", "Convolution"), text, strict=True):
        assert re.fullmatch(r" {4}\{LibraryKind::k" + kind + r", 90, DType::kFloat64, false, 0, \d+\.\d, \d+\.\d\},", line)
    lines = log(tmp_path)
    assert len([line for line in lines if "groups" in line]) >= bench_gpu.CHAIN
    assert len([line for line in lines if "epilogue" in line]) >= bench_gpu.CHAIN
    assert rows(env | {"GCOMP_CUBLASLT": "/nowhere.so", "GCOMP_CUDNN": "/nowhere.so"}).count("not measured") == 2


def test_sizes_that_are_measured_are_one_of_each_class():
    for size, (rows, n) in enumerate(bench_gpu.LIBRARY_SIZES):
        least, work = min(rows, n), rows * n * n
        assert size == 3 * ((least >= 16) + (least >= 128)) + (work >= 2**24) + (work >= 2**30)
    for size, (images, extent, channels, window) in enumerate(bench_gpu.CONVOLUTION_SIZES):
        least, work = min(images * extent**2, channels), images * extent**2 * window**2 * channels**2
        assert size == 3 * ((least >= 16) + (least >= 128)) + (work >= 2**24) + (work >= 2**30)


if __name__ == "__main__":
    rows_of_the_table(Path(sys.argv[1]))
