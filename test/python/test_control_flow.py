"""Recurrent networks, loops and conditions of realistic size, compiled, against ONNX Runtime and NumPy."""

import pathlib
import resource
import sys
import time

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto as T  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts" / "python")]

import gcomp  # noqa: E402
import gcomp_cli  # noqa: E402

rng = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def command(monkeypatch):
    monkeypatch.setenv("GCOMP", str(gcomp_cli.GCOMP))


def value(name, dtype, shape):
    return helper.make_tensor_value_info(name, dtype, shape)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def write(path, nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    path = path / "model.onnx"
    onnx.save(model, path)
    return path


def load(path, threads=1, level="fast_run"):
    return gcomp.load(gcomp.compile(path, path.with_suffix(f".{level}.so"), level), threads=threads)


def agree(path, feeds, tolerance=1e-5):
    """All outputs are ONNX Runtime's, at two levels, with the same bits on one thread and two."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    models = [load(path), load(path, threads=2), load(path, level="none")]
    for feed in feeds:
        wanted = dict(zip(names, session.run(None, feed), strict=True))
        found = [m.run_dict(**feed) for m in models]
        for name, want in wanted.items():
            for got in found:
                assert got[name].dtype == want.dtype and got[name].size == want.size, name
                # Of a loop without turns it forgets the other extents.
                assert got[name].shape == want.shape or want.size == 0, name
                if want.size != 0:
                    assert np.abs(got[name] - want).max() <= tolerance * np.abs(want).max(), name
            assert found[0][name].tobytes() == found[1][name].tobytes()


CELLS = {"LSTM": 4, "GRU": 3, "RNN": 1}


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_recurrent_layers(kind, direction, tmp_path):
    """Dynamic steps and batch, lengths of sequences, first states: 96 inputs, 160 hidden."""
    gates, inputs, hidden = CELLS[kind], 96, 160
    ways = 2 if direction == "bidirectional" else 1

    def weights(*shape):
        return rng.normal(0, 0.1, shape).astype("f")

    constants = [
        constant("W", weights(ways, gates * hidden, inputs)),
        constant("R", weights(ways, gates * hidden, hidden)),
        constant("B", weights(ways, 2 * gates * hidden)),
    ]
    state = [ways, "batch", hidden]
    cell = kind == "LSTM"
    layer = node(kind, "x W R B lengths h" + (" c" if cell else ""), "y yh" + (" yc" if cell else ""))
    layer.attribute.extend([helper.make_attribute("hidden_size", hidden), helper.make_attribute("direction", direction)])
    given = [value("x", T.FLOAT, ["steps", "batch", inputs]), value("lengths", T.INT32, ["batch"])]
    given += [value(s, T.FLOAT, state) for s in ("h", "c")[: 1 + cell]]
    results = [value("y", T.FLOAT, ["steps", ways, "batch", hidden])]
    results += [value(s, T.FLOAT, state) for s in ("yh", "yc")[: 1 + cell]]
    path = write(tmp_path, [layer], given, results, constants)

    def feed(steps, batch):
        lengths = rng.integers(1, steps + 1, batch).astype(np.int32)
        lengths[0] = steps
        states = {s: rng.normal(0, 1, (ways, batch, hidden)).astype("f") for s in ("h", "c")[: 1 + cell]}
        return {"x": rng.normal(0, 1, (steps, batch, inputs)).astype("f"), "lengths": lengths, **states}

    agree(path, [feed(70, 3), feed(1, 1), feed(33, 8)], 2e-5)


def test_scan_with_two_states_and_two_results(tmp_path):
    """An exponential average and a running maximum over the rows of a matrix, forwards and backwards."""
    body = helper.make_graph(
        [
            node("Mul", "mean keep", "a"),
            node("Mul", "row take", "b"),
            node("Add", "a b", "mean_out"),
            node("Max", "top row", "top_out"),
            node("Sub", "top_out mean_out", "gap"),
            node("ReduceSum", "back", "total", keepdims=0),
        ],
        "body",
        [value(n, T.FLOAT, [64]) for n in ("mean", "top", "row", "back")],
        [value("mean_out", T.FLOAT, [64]), value("top_out", T.FLOAT, [64]), value("gap", T.FLOAT, [64]),
         value("total", T.FLOAT, [])],
    )
    scan = node("Scan", "mean0 top0 rows rows", "mean top gaps totals", body=body, num_scan_inputs=2,
                scan_input_directions=[0, 1], scan_output_directions=[1, 0])
    path = write(
        tmp_path,
        [scan],
        [value("mean0", T.FLOAT, [64]), value("top0", T.FLOAT, [64]), value("rows", T.FLOAT, ["n", 64])],
        [value("mean", T.FLOAT, [64]), value("top", T.FLOAT, [64]), value("gaps", T.FLOAT, ["n", 64]),
         value("totals", T.FLOAT, ["n"])],
        [constant("keep", np.float32(0.9)), constant("take", np.float32(0.1))],
    )
    feeds = []
    for n in (1, 200, 37):
        first = rng.normal(size=(2, 64)).astype("f")
        feeds.append({"mean0": first[0], "top0": first[1], "rows": rng.normal(size=(n, 64)).astype("f")})
    agree(path, feeds)


def test_newton_iterations_end_by_data(tmp_path):
    """Square roots by Newton's method while the largest step is above 1e-6; all iterates stacked."""
    body = helper.make_graph(
        [
            node("Div", "a x", "q"),
            node("Add", "x q", "s"),
            node("Mul", "s half", "y"),
            node("Sub", "y x", "d"),
            node("Abs", "d", "e"),
            node("ReduceMax", "e", "worst", keepdims=0),
            node("Greater", "worst eps", "go"),
            node("Identity", "y", "each"),
        ],
        "body",
        [value("k", T.INT64, []), value("c", T.BOOL, []), value("x", T.FLOAT, ["n"])],
        [value("go", T.BOOL, []), value("y", T.FLOAT, ["n"]), value("each", T.FLOAT, ["n"])],
    )
    path = write(
        tmp_path,
        [node("Loop", "limit begin a", "root all", body=body)],
        [value("limit", T.INT64, []), value("begin", T.BOOL, []), value("a", T.FLOAT, ["n"])],
        [value("root", T.FLOAT, ["n"]), value("all", T.FLOAT, ["turns", "n"])],
        [constant("half", np.float32(0.5)), constant("eps", np.float32(1e-6))],
    )
    a = np.exp(rng.normal(0, 3, 1000)).astype("f")
    turns = [(100, True), (3, True), (0, True), (100, False)]
    agree(path, [{"limit": np.array(n), "begin": np.array(go), "a": a} for n, go in turns])
    roots = load(path).run_dict(limit=np.array(100), begin=np.array(True), a=a)["root"]
    np.testing.assert_allclose(roots, np.sqrt(a), rtol=1e-6)


def test_a_branch_in_a_loop_with_another_extent_each_turn(tmp_path):
    """Odd turns append the turn's number, even ones drop the last element: values and extents by data."""
    append = helper.make_graph(
        [node("Cast", "k", "f", to=T.FLOAT), node("Unsqueeze", "f zero1", "u"), node("Concat", "x u", "y", axis=0)],
        "append", [], [value("y", T.FLOAT, ["p"])])
    drop = helper.make_graph([node("Slice", "x zero1 minus1", "z")], "drop", [], [value("z", T.FLOAT, ["q"])])
    body = helper.make_graph(
        [
            node("Mod", "k three", "r"),
            node("Cast", "r", "odd", to=T.BOOL),
            node("If", "odd", "next", then_branch=append, else_branch=drop),
            node("Mul", "next factor", "x_out"),
            node("ReduceSum", "x_out", "sum", keepdims=0),
            node("Identity", "c", "c_out"),
        ],
        "body",
        [value("k", T.INT64, []), value("c", T.BOOL, []), value("x", T.FLOAT, ["m"])],
        [value("c_out", T.BOOL, []), value("x_out", T.FLOAT, ["w"]), value("sum", T.FLOAT, [])],
    )
    path = write(
        tmp_path,
        [node("Loop", "limit yes x0", "x1 sums", body=body)],
        [value("limit", T.INT64, []), value("x0", T.FLOAT, ["n"])],
        [value("x1", T.FLOAT, ["e"]), value("sums", T.FLOAT, ["limit"])],
        [constant("yes", np.array(True)), constant("three", np.int64(3)), constant("zero1", np.array([0])),
         constant("minus1", np.array([-1])), constant("factor", np.float32(0.75))],
    )
    x = rng.normal(size=6).astype("f")
    agree(path, [{"limit": np.array(n), "x0": x} for n in (0, 1, 2, 50)])


def logistic_map(tmp_path):
    body = helper.make_graph(
        [node("Sub", "one x", "a"), node("Mul", "x a", "b"), node("Mul", "r b", "y"), node("Identity", "c", "d")],
        "body",
        [value("k", T.INT64, []), value("c", T.BOOL, []), value("x", T.DOUBLE, [])],
        [value("d", T.BOOL, []), value("y", T.DOUBLE, [])],
    )
    return load(write(
        tmp_path,
        [helper.make_node("Loop", ["n", "", "x0"], ["xn"], body=body)],
        [value("x0", T.DOUBLE, []), value("n", T.INT64, [])],
        [value("xn", T.DOUBLE, [])],
        [constant("one", np.float64(1)), constant("r", np.float64(3.7))],
    ))


def test_a_million_turns_are_quick_and_take_no_memory(tmp_path):
    model = logistic_map(tmp_path)
    model.run_dict(x0=np.array(0.3), n=np.array(1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    found = model.run_dict(x0=np.array(0.3), n=np.array(1_000_000))["xn"]
    seconds = time.perf_counter() - start
    x = 0.3
    for _ in range(1_000_000):
        x = 3.7 * (x * (1 - x))
    assert found == x
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024  # KiB
    assert seconds < 0.5, "about 0.015 s on an idle machine"
