"""Graphs compiled for CPU and GPU into one file: run on the fake driver with emulated kernels, on the CPU, and by
ONNX Runtime; the file itself."""

import json
import re
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from fake_gpu import compile_kernels, environment
from gcomp_cli import ROOT, gcomp, gcomp_ok, random_inputs
from onnx import TensorProto, helper, numpy_helper


def block_model(path):
    """A transformer block over a batch of any size, small."""
    width, heads, length = 16, 2, 6
    rng = np.random.default_rng(5)
    weights, nodes = [], []

    def weight(name, *shape):
        weights.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) * 0.3, name))
        return name

    def node(op, inputs, name, **attributes):
        nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def ints(name, values):
        weights.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    split = ints("split", [0, length, heads, width // heads])
    together = ints("together", [0, length, width])
    gain, shift = weight("gain", width), weight("shift", width)
    normal = node("LayerNormalization", ["x", gain, shift], "normal", axis=-1, epsilon=1e-5)
    parts = []
    for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        product = node("MatMul", [normal, weight("w_" + part, width, width)], "m_" + part)
        shaped = node("Reshape", [product, split], "s_" + part)
        parts.append(node("Transpose", [shaped], part, perm=order))
    scores = node("MatMul", parts[:2], "scores")
    attention = node("Softmax", [scores], "attention", axis=-1)
    mixed = node("Transpose", [node("MatMul", [attention, parts[2]], "mixed")], "back", perm=[0, 2, 1, 3])
    flat = node("Reshape", [mixed, together], "flat")
    first = node("Add", ["x", node("MatMul", [flat, weight("w_o", width, width)], "m_o")], "first")
    up = node("Relu", [node("MatMul", [first, weight("w_1", width, 4 * width)], "up")], "relu")
    down = node("MatMul", [up, weight("w_2", 4 * width, width)], "down")
    node("Add", [first, down], "y")
    shape = ["batch", length, width]
    graph = helper.make_graph(
        nodes,
        "block",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return {"x": rng.standard_normal((3, length, width)).astype(np.float32)}


def nested_model(path):
    """Turns and branches: LSTM and GRU over sequences of several lengths, a Scan, a loop that data end, an If of its result."""
    rng = np.random.default_rng(7)
    length, batch, width, hidden = 5, 3, 4, 6

    def tensor(name, value):
        return numpy_helper.from_array(np.asarray(value), name)

    def floats(name, *shape):
        return tensor(name, (rng.standard_normal(shape) * 0.5).astype(np.float32))

    def info(name, dtype, shape):
        return helper.make_tensor_value_info(name, dtype, shape)

    # Doubles the state while it is small; every state is a row.
    turn = helper.make_graph(
        [
            helper.make_node("Add", ["state", "state"], ["twice"]),
            helper.make_node("Add", ["twice", "step"], ["next"]),
            helper.make_node("ReduceMax", ["next"], ["most"], keepdims=0),
            helper.make_node("Less", ["most", "limit"], ["go_on"]),
            helper.make_node("Identity", ["next"], ["row"]),
        ],
        "turn",
        [info("k", TensorProto.INT64, []), info("was", TensorProto.BOOL, []), info("state", TensorProto.FLOAT, None)],
        [info("go_on", TensorProto.BOOL, []), info("next", TensorProto.FLOAT, None), info("row", TensorProto.FLOAT, None)],
    )

    def branch(op):
        node = helper.make_node(op, ["last"], [op + "_of"])
        return helper.make_graph([node], op, [], [info(op + "_of", TensorProto.FLOAT, None)])

    # A running mean that forgets, and how far each row is from it.
    scanned = helper.make_graph(
        [
            helper.make_node("Mul", ["mean", "keep"], ["kept"]),
            helper.make_node("Add", ["kept", "element"], ["new_mean"]),
            helper.make_node("Sub", ["element", "new_mean"], ["apart"]),
        ],
        "scanned",
        [info("mean", TensorProto.FLOAT, [batch, width]), info("element", TensorProto.FLOAT, [batch, width])],
        [info("new_mean", TensorProto.FLOAT, [batch, width]), info("apart", TensorProto.FLOAT, [batch, width])],
    )
    nodes = [
        helper.make_node("GRU", ["x", "gru_w", "gru_r", "", "lengths"], ["gru_all", "gru_last"], hidden_size=hidden, linear_before_reset=1),
        helper.make_node("Scan", ["no_mean", "x"], ["mean_last", "deviations"], body=scanned, num_scan_inputs=1, scan_input_directions=[1]),
        helper.make_node("LSTM", ["x", "w", "r", "b", "lengths"], ["all", "last_h", "last_c"], hidden_size=hidden, direction="bidirectional"),
        helper.make_node("Abs", ["last_c"], ["begin"]),
        helper.make_node("Exp", ["shift"], ["step"]),
        helper.make_node("Loop", ["most_turns", "yes", "begin"], ["last", "rows"], body=turn),
        helper.make_node("ReduceSum", ["rows"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "limit"], ["large"]),
        helper.make_node("If", ["large"], ["chosen"], then_branch=branch("Tanh"), else_branch=branch("Neg")),
        helper.make_node("Sqrt", ["rows"], ["roots"]),
    ]
    weights = [floats("w", 2, 4 * hidden, width), floats("r", 2, 4 * hidden, hidden), floats("b", 2, 8 * hidden)]
    weights += [floats("gru_w", 1, 3 * hidden, width), floats("gru_r", 1, 3 * hidden, hidden)]
    weights += [tensor("keep", np.float32(0.7)), tensor("no_mean", np.zeros((batch, width), np.float32))]
    weights += [tensor("most_turns", np.int64(40)), tensor("yes", True), tensor("limit", np.float32(100))]
    graph = helper.make_graph(
        nodes,
        "nested",
        [
            info("x", TensorProto.FLOAT, [length, batch, width]),
            info("lengths", TensorProto.INT32, [batch]),
            info("shift", TensorProto.FLOAT, [2, batch, hidden]),
        ],
        [info(name, TensorProto.FLOAT, None) for name in ("all", "chosen", "roots", "gru_all", "gru_last", "mean_last", "deviations")],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return {
        "x": rng.standard_normal((length, batch, width)).astype(np.float32),
        "lengths": np.array([5, 2, 4], np.int32),
        "shift": rng.standard_normal((2, batch, hidden)).astype(np.float32),
    }


@pytest.fixture(scope="module", params=["block", "nested", "logistic", "eight_schools"])
def case(request, tmp_path_factory):
    """Graph, inputs, artifact for both devices, environment with a GPU."""
    folder = tmp_path_factory.mktemp(request.param)
    models = {"block": block_model, "nested": nested_model}
    if request.param in models:
        graph = folder / "model.onnx"
        inputs = models[request.param](graph)
    else:
        graph = ROOT / "graphs" / f"{request.param}.json"
        inputs = random_inputs(graph)
    artifact = folder / "model.so"
    gcomp_ok(graph, "--target", "cpu,cuda", "--cuda-everything", "--cuda-arch", "sm_90", "-o", artifact)
    np.savez(folder / "in.npz", **inputs)
    return graph, inputs, artifact, environment(compile_kernels(graph, folder))


def run(artifact, *options, env=None):
    folder = artifact.parent
    done = gcomp("run", artifact, "--inputs", folder / "in.npz", "--outputs", folder / "out.npz", *options, env=env)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "out.npz") as outputs:
        return {name: outputs[name] for name in outputs.files}, done


def agree(a, b, dtype):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-10 if dtype == np.float64 else 1e-4, atol=1e-5)


def test_gpu_and_cpu_agree(case):
    graph, inputs, artifact, gpu = case
    dtype = next(iter(inputs.values())).dtype
    on_cpu, _ = run(artifact, "--device", "cpu")
    on_gpu, done = run(artifact, "--device", "cuda", "--repeat", "3", "--threads", "1", env=gpu)
    assert done.stderr == ""
    agree(on_gpu, on_cpu, dtype)
    chosen, done = run(artifact, env=gpu)  # without being asked
    assert done.stderr == ""
    agree(chosen, on_gpu, dtype)
    if graph.suffix == ".onnx":
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        agree(on_gpu, dict(zip(names, session.run(names, inputs), strict=True)), dtype)


def test_kernel_times_name_kernels_of_the_gpu(case):
    _, _, artifact, gpu = case
    _, done = run(artifact, "--kernel-times", env=gpu)
    on_gpu = {line.split()[-1] for line in done.stdout.splitlines()[1:]}
    described = json.loads(gcomp_ok("inspect", artifact, "--json"))["cuda"]
    assert on_gpu <= {k["name"] for k in described["kernels"]} | set(described["host_kernels"])
    assert on_gpu & {k["name"] for k in described["kernels"]}


def test_a_loop_that_a_failed_kernel_would_never_end(tmp_path):
    def info(name, dtype, shape):
        return helper.make_tensor_value_info(name, dtype, shape)

    # As long as picked % 2 < 5: always.
    turn = helper.make_graph(
        [
            helper.make_node("GatherElements", ["state", "places"], ["picked"]),
            helper.make_node("Mod", ["picked", "two"], ["rest"]),
            helper.make_node("ReduceMax", ["rest"], ["most"], keepdims=0),
            helper.make_node("Less", ["most", "five"], ["go_on"]),
            helper.make_node("Add", ["state", "picked"], ["next"]),
        ],
        "turn",
        [info("k", TensorProto.INT64, []), info("was", TensorProto.BOOL, []), info("state", TensorProto.INT64, [4])],
        [info("go_on", TensorProto.BOOL, []), info("next", TensorProto.INT64, [4])],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["", "yes", "table"], ["y"], body=turn)],
        "endless",
        [info("table", TensorProto.INT64, [4]), info("places", TensorProto.INT64, [4])],
        [info("y", TensorProto.INT64, [4])],
        [numpy_helper.from_array(np.array(True), "yes")]
        + [numpy_helper.from_array(np.array(n, np.int64), name) for name, n in (("two", 2), ("five", 5))],
    )
    model, artifact = tmp_path / "model.onnx", tmp_path / "model.so"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    gcomp_ok(model, "--target", "cpu,cuda", "--cuda-everything", "--cuda-arch", "sm_90", "-o", artifact)
    np.savez(tmp_path / "in.npz", table=np.arange(4), places=np.array([0, 1, 2, 1000]))
    gpu = environment(compile_kernels(model, tmp_path))
    runs = [
        gcomp("run", artifact, "--inputs", tmp_path / "in.npz", "--device", device, env=gpu, timeout=60)
        for device in ("cpu", "cuda")
    ]
    assert runs[0].returncode == runs[1].returncode != 0
    assert runs[0].stderr == runs[1].stderr
    assert "turn" in runs[0].stderr or "GatherElements" in runs[0].stderr or "index" in runs[0].stderr


def test_without_a_gpu_it_runs_on_the_cpu_and_says_so(case):
    _, _, artifact, gpu = case
    _, done = run(artifact, env=gpu | {"GCOMP_FAKE_CUDA_DEVICES": "0"})
    assert done.stderr == "gcomp: note: there is no GPU; it runs on the CPU\n"
    _, done = run(artifact, env=gpu | {"GCOMP_DEVICE": "cpu"})
    assert done.stderr == ""
    done = gcomp("run", artifact, "--inputs", artifact.parent / "in.npz", "--device", "cuda:7", env=gpu)
    assert done.returncode != 0
    assert "no GPU number 7" in done.stderr


def test_the_file_describes_its_code(case):
    _, _, artifact, _ = case
    described = json.loads(gcomp_ok("inspect", artifact, "--json"))
    assert described["targets"] == ["cpu", "cuda"]
    cuda = described["cuda"]
    assert cuda["archs"] == ["sm_90", "compute_90"]
    assert cuda["nvrtc"].count(".") == 1
    assert cuda["num_kernels"] == len(cuda["kernels"]) > 0
    assert all(k["sm_90"]["registers"] > 0 for k in cuda["kernels"])
    assert described["file_bytes"] == artifact.stat().st_size > cuda["code_bytes"] > 0


def test_profilers_are_told_nodes_and_lines(case, tmp_path):
    graph, _, plain, _ = case
    options = ["--target", "cpu,cuda", "--cuda-everything", "--cuda-arch", "sm_90"]
    artifact, again = tmp_path / "a.so", tmp_path / "b.so"
    gcomp_ok(graph, *options, "--cuda-line-info", "-o", artifact)
    gcomp_ok(graph, *options, "--cuda-line-info", "-o", again, cwd=tmp_path)
    told, silent = artifact.read_bytes(), plain.read_bytes()
    assert again.read_bytes() == told
    for kernel in json.loads(gcomp_ok("inspect", artifact, "--json"))["cuda"]["kernels"]:
        # Of the text for later GPUs; machine code has the same in a table of its own form.
        assert re.search(rb'\.file\s+\d+ "/gcomp/' + re.escape(kernel["nodes"].encode()) + b'"', told), kernel["nodes"]
    assert b".debug_line" in told and b".debug_line" not in silent


def test_the_same_bytes_again(case, tmp_path):
    graph, _, artifact, _ = case
    again = tmp_path / "again.so"
    gcomp_ok(graph, "--target", "cpu,cuda", "--cuda-everything", "--cuda-arch", "sm_90", "-j", "3", "-o", again)
    assert again.read_bytes() == artifact.read_bytes()


def test_long_sums_transposes_and_maps_of_any_length(tmp_path):
    """What several blocks or squares of shared memory do, and accesses of 16 bytes; against NumPy in float64."""
    shapes = {"x": ["n", 50], "row": [50], "scale": []}
    nodes = [
        ("broadcast", [1], {"shape": ["n", 50], "axes": [1]}),
        ("mul", [0, 3], {}),  # 4
        ("reduce_sum", [4], {"axes": [0, 1]}),  # 5
        ("reduce_max", [4], {"axes": [0]}),  # 6
        ("transpose", [4], {"perm": [1, 0]}),  # 7
        ("neg", [7], {}),  # 8
        ("broadcast", [2], {"shape": ["n", 50], "axes": []}),
        ("sub", [0, 9], {}),  # 10
        ("mul", [5, 5], {}),  # 11
    ]
    graph = {
        "version": 1,
        "symbols": ["n"],
        "inputs": [{"id": i, "name": name, "dtype": "float32", "shape": shapes[name]} for i, name in enumerate(shapes)],
        "constants": [],
        "nodes": [{"op": op, "in": given, "out": [3 + i], "attrs": attrs} for i, (op, given, attrs) in enumerate(nodes)],
        "outputs": [{"name": name, "id": i} for name, i in (("sum", 11), ("most", 6), ("turned", 8), ("moved", 10))],
    }
    path, artifact = tmp_path / "graph.json", tmp_path / "model.so"
    path.write_text(json.dumps(graph))
    gcomp_ok(path, "--target", "cpu,cuda", "--cuda-everything", "--cuda-arch", "sm_90", "-o", artifact)
    gpu = environment(compile_kernels(path, tmp_path))
    rng = np.random.default_rng(4)
    for n in (1, 901):
        given = {name: rng.random([n if e == "n" else e for e in shape], np.float32) for name, shape in shapes.items()}
        np.savez(tmp_path / "in.npz", **given)
        got, _ = run(artifact, "--device", "cuda", env=gpu)
        x, row, scale = (given[name].astype(np.float64) for name in shapes)
        want = {"sum": (x * row).sum() ** 2, "most": (x * row).max(axis=0), "turned": -(x * row).T, "moved": x - scale}
        for name, value in want.items():
            np.testing.assert_allclose(got[name], value, rtol=2e-6, atol=1e-7)


# Half a unit in the last place of the dtype, and what rounding both factors costs a product.
@pytest.mark.parametrize("dtype, rounding, of_factors", [
    ("float16", 2**-11, 0),
    ("bfloat16", 2**-8, 0),
    ("float32", 2**-24, 2**-10),
])  # fmt: skip
def test_products_by_matrix_units(dtype, rounding, of_factors, tmp_path):
    rows, depth, columns = 70, 90, 40
    shapes = {"x": [rows, depth], "w": [depth, columns]}
    graph = {
        "version": 1,
        "symbols": [],
        "inputs": [{"id": i, "name": name, "dtype": dtype, "shape": shapes[name]} for i, name in enumerate(shapes)],
        "constants": [],
        "nodes": [{"op": "matmul", "in": [0, 1], "out": [2]}],
        "outputs": [{"name": "y", "id": 2}],
    }
    path, artifact = tmp_path / "graph.json", tmp_path / "model.so"
    path.write_text(json.dumps(graph))
    gcomp_ok(path, "--target", "cpu,cuda", "--cuda-everything", "--allow-tf32", "-o", artifact)
    cuda = json.loads(gcomp_ok("inspect", artifact, "--json"))["cuda"]
    assert all(0 < cuda["kernels"][0][arch]["registers"] <= 255 for arch in ("sm_80", "sm_90", "sm_100"))
    rng = np.random.default_rng(3)
    given = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    if dtype == "bfloat16":  # as the upper half of a float32
        given = {name: (v.view(np.uint32) >> 16).astype(np.uint16) for name, v in given.items()}
    elif dtype == "float16":
        given = {name: v.astype(np.float16) for name, v in given.items()}
    np.savez(tmp_path / "in.npz", **given)
    outputs, _ = run(artifact, "--device", "cuda", env=environment(compile_kernels(path, tmp_path, "--allow-tf32")))

    def exact(v):
        return ((v.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else v).astype(np.float64)

    x, w = exact(given["x"]), exact(given["w"])
    of_sums = (of_factors + depth * 2**-22) * (abs(x) @ abs(w))
    assert np.all(abs(exact(outputs["y"]) - x @ w) <= of_sums + rounding * (abs(x @ w) + of_sums))


def test_scripts_for_gpus_say_what_they_find(tmp_path):
    def script(name, *arguments, env):
        command = [sys.executable, ROOT / "scripts" / name, *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, env=env)

    gpu = environment(compile_kernels(ROOT / "graphs" / "eight_schools.json", tmp_path))
    none = gpu | {"GCOMP_FAKE_CUDA_DEVICES": "0"}
    done = script("test_gpu.py", "eight_schools", env=none)
    assert (done.returncode, done.stdout) == (77, "test-gpu: no device: a driver, but no GPU. Not run: eight_schools.\n")
    done = script("bench_gpu.py", env=none)
    assert done.returncode == 77
    assert "no device" in done.stdout
    done = script("test_gpu.py", "eight_schools", env=gpu)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 agree with the CPU" in done.stdout


def test_a_file_for_the_cpu_has_none_of_it(tmp_path):
    plain = tmp_path / "plain.so"
    gcomp_ok(ROOT / "graphs" / "logistic.json", "-o", plain)
    assert b"libcuda" not in plain.read_bytes()
    assert "targets" not in json.loads(gcomp_ok("inspect", plain, "--json"))
    done = gcomp("run", plain, "--device", "cuda")
    assert done.returncode != 0
    assert "has no code for a GPU" in done.stderr


def test_wrong_options_are_told_before_anything_is_read(tmp_path):
    for options, words in [
        (["--target", "cpu,cuda", "--cuda-arch", "sm_1x"], "sm_1x"),
        (["--target", "gpu"], "gpu"),
    ]:
        done = gcomp(tmp_path / "none.json", *options, "-o", tmp_path / "x.so")
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
