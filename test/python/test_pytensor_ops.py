"""export_pytensor, op by op: the exported file, evaluated in NumPy, against PyTensor without rewrites."""

import os
import pathlib
import sys

import numpy as np
import pytest

pytensor = pytest.importorskip("pytensor")
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "python"))

import gcomp  # noqa: E402
import gcomp_cli  # noqa: E402
import pytensor.scalar as ps  # noqa: E402
import pytensor.tensor as pt  # noqa: E402
from numpy_eval import CheckFailed, Evaluator  # noqa: E402
from pytensor.compile.builders import OpFromGraph  # noqa: E402
from pytensor.compile.mode import Mode  # noqa: E402
from pytensor.raise_op import Assert  # noqa: E402
from pytensor.tensor.elemwise import CAReduce, Elemwise  # noqa: E402

RAW = Mode(linker="py", optimizer=None)
# The ways of running a file: GCOMP_TEST_RUNS="interpret compile" (the default).
RUNS = [["--interpret"] if r == "interpret" else [] for r in os.environ.get("GCOMP_TEST_RUNS", "interpret compile").split()]
RNG = np.random.default_rng(0)


def check(tmp_path, inputs, outputs, arrays, rtol=1e-12, **options):
    """Exports, evaluates, compares with PyTensor; returns the evaluator."""
    inputs = inputs if isinstance(inputs, list) else [inputs]
    outputs = outputs if isinstance(outputs, list) else [outputs]
    path = gcomp.export_pytensor(
        inputs,
        outputs,
        tmp_path / "graph.json",
        input_names=[f"in{i}" for i in range(len(inputs))],
        output_names=[f"out{i}" for i in range(len(outputs))],
        **options,
    )
    with np.errstate(all="ignore"):
        f = pytensor.function(inputs, outputs, mode=RAW, on_unused_input="ignore")
        wanted = f(*arrays)
    evaluator = Evaluator(path)
    named = {f"in{i}": np.asarray(a) for i, a in enumerate(arrays)}
    compare(evaluator.run(named), wanted, rtol)
    for options in RUNS:
        compare(gcomp_cli.run(path, named, *options), wanted, rtol)
    return evaluator


def compare(found, wanted, rtol):
    for (name, got), want in zip(found.items(), wanted):
        want = np.asarray(want)
        assert got.dtype == want.dtype and got.shape == want.shape, f"{name}: {got!r} {want!r}"
        tolerance = 1e-6 if want.dtype == "float32" else 2e-3 if want.dtype == "float16" else rtol
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=name)


def sample(dtype, shape=(2, 3)):
    if dtype == "bool":
        return RNG.integers(0, 2, shape).astype(bool)
    if np.dtype(dtype).kind in "iu":
        return RNG.integers(0 if dtype[0] == "u" else -3, 4, shape).astype(dtype)
    return RNG.uniform(-2, 2, shape).astype(dtype)


# ---- scalar ops ----

UNARY = [
    "neg", "abs", "sign", "sqr", "sqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p",
    "reciprocal", "ceil", "floor", "trunc", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh",
    "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "erf", "erfc", "erfcx", "erfinv", "gammaln", "psi",
    "tri_gamma", "gamma", "sigmoid", "softplus", "log1mexp", "deg2rad", "rad2deg", "isnan", "isinf",
]  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "int64", "bool"])
def test_unary(tmp_path, name, dtype):
    x = pt.tensor("x", dtype=dtype, shape=(4, 5))
    try:
        y = getattr(pt, name)(x)
    except TypeError:
        pytest.skip("PyTensor has no such op on this dtype")
    value = sample(dtype, (4, 5))
    if name == "log1mexp" and dtype != "bool":
        value = -np.abs(value)
    if dtype == "bool" and name in ("sigmoid", "softplus"):
        pytest.skip("PyTensor computes in float16 here")
    check(tmp_path, x, y, [value], rtol=1e-11)


def test_rounding(tmp_path):
    x = pt.dvector("x")
    value = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, np.inf, np.nan])
    check(tmp_path, x, [pt.round(x, "half_to_even"), pt.round(x, "half_away_from_zero")], [value])


@pytest.mark.parametrize("name", ["add", "sub", "mul", "true_div", "pow", "maximum", "minimum", "arctan2",
                                  "eq", "neq", "lt", "le", "gt", "ge", "mod", "int_div"])  # fmt: skip
@pytest.mark.parametrize("dtypes", [("float64", "float64"), ("float32", "float64"), ("int8", "float32"),
                                    ("int64", "float32"), ("int8", "int64"), ("uint8", "int8"),
                                    ("bool", "float64"), ("bool", "bool")])  # fmt: skip
def test_binary(tmp_path, name, dtypes):
    x, y = (pt.tensor(dtype=d, shape=(4, 5)) for d in dtypes)
    try:
        z = getattr(pt, name)(x, y)
    except TypeError:
        pytest.skip("PyTensor has no such op on these dtypes")
    a, b = (sample(d, (4, 5)) for d in dtypes)
    if name in ("mod", "int_div", "true_div") and dtypes[1] != "float64":
        b = np.where(b == 0, 1, b).astype(dtypes[1])
    if name in ("mod", "int_div") and "bool" in dtypes:
        pytest.skip("NumPy divides bools as int8")
    if name == "pow":
        a, b = np.abs(a), np.abs(b)
    check(tmp_path, [x, y], z, [a, b])


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64"])
def test_bitwise(tmp_path, dtype):
    x, y = pt.tensor(dtype=dtype, shape=(6,)), pt.tensor(dtype=dtype, shape=(6,))
    check(tmp_path, [x, y], [x & y, x | y, x ^ y, ~x], [sample(dtype, 6), sample(dtype, 6)])


def test_ternary_and_special(tmp_path):
    x, y, z = pt.dvectors("x", "y", "z")
    c = pt.ivector("c")
    a = np.array([-2.0, -0.0, 0.0, 1.0, np.nan, np.inf])
    b, d = np.array([1.0, 2.0, 0.5, np.nan, 0.0, -1.0]), np.array([2.0, 1.0, 0.75, 3.0, 1.0, 1.0])
    out = [
        pt.switch(c, x, y),
        pt.switch(c, 1, x.astype("float32")),
        pt.clip(x, y, z),
        pt.xlogx.xlogx(z),
        pt.xlogx.xlogy0(x, z),
        pt.second(x, 3),
        pt.cast(x, "float32"),
        pt.cast(z, "int8"),
    ]
    check(tmp_path, [x, y, z, c], out, [a, b, d, np.array([0, 1, -1, 0, 2, 0], "int32")])


def test_add_of_many_and_composite(tmp_path):
    x, y, z = pt.dvectors("x", "y", "z")
    a, b = ps.float64("a"), ps.float64("b")
    inner = ps.Composite([a, b], [ps.exp(a) * b + ps.constant(2.0)])
    outer = ps.Composite([a, b], [inner(a, b) - a])
    v = [sample("float64", 5) for _ in range(3)]
    check(tmp_path, [x, y, z], [pt.add(x, y, z), pt.mul(x, y, z), Elemwise(outer)(x, y)], v)


# ---- broadcasting ----


@pytest.mark.parametrize("static", [True, False])
def test_broadcasting(tmp_path, static):
    shape = (3, 4) if static else (None, None)
    m, row = pt.tensor("m", dtype="float64", shape=shape), pt.tensor("r", dtype="float64", shape=(1, shape[1]))
    v, s = pt.tensor("v", dtype="float64", shape=shape[:1]), pt.dscalar("s")
    out = [m + row, m * v[:, None], v[:, None] * row, m + s, pt.exp(s) * row + v[:, None], m + m.T.T]
    args = [sample("float64", (3, 4)), sample("float64", (1, 4)), sample("float64", 3), np.array(0.5)]
    check(tmp_path, [m, row, v, s], out, args)


def test_unknown_extents_are_checked(tmp_path):
    x, y = pt.dvectors("x", "y")
    evaluator = check(tmp_path, [x, y], x + y, [np.ones(3), np.ones(3)])
    with pytest.raises(CheckFailed):
        evaluator.run({"in0": np.ones(3), "in1": np.ones(1)})  # 1 is not known to repeat


def test_named_dims(tmp_path):
    x, y = pt.dvectors("x", "y")
    path = gcomp.export_pytensor([x, y], x + y, tmp_path / "g.json", dims={"x": ["N"], "y": ["N"]})
    graph = Evaluator(path).graph
    assert graph["symbols"] == ["N"] and [i["shape"] for i in graph["inputs"]] == [["N"], ["N"]]
    assert [n["op"] for n in graph["nodes"]] == ["add"]


# ---- shapes and layout ----


@pytest.mark.parametrize("static", [True, False])
def test_shapes(tmp_path, static):
    x = pt.tensor("x", dtype="float64", shape=(2, 3, 4) if static else (None, None, None))
    n = pt.lscalar("n")
    out = [
        x.shape,
        x.shape[1] * 2,
        x.reshape((-1, x.shape[2])),
        x.reshape((6, 4)),
        x.reshape((n, -1)),
        x.reshape(pt.stack([n, 12])),
        x.flatten(2),
        x.dimshuffle(2, "x", 0, 1),
        x.transpose(),
        pt.alloc(1.5, x.shape[0], 3),
        pt.alloc(x[0, 0], n, x.shape[2]),
        pt.zeros_like(x),
        pt.specify_shape(x, (2, None, 4)),
        pt.specify_shape(x, (None, x.shape[1], 4)),
        pt.expand_dims(x, 1),
        pt.expand_dims(x, 1).squeeze(1),
        pt.join_dims(x, 0, 2),
        pt.split_dims(x, (2, 2), 2),
    ]
    check(tmp_path, [x, n], out, [sample("float64", (2, 3, 4)), np.array(2)])


def test_reshape_with_minus_one_at_run_time(tmp_path):
    x, s = pt.dmatrix("x"), pt.lvector("s")
    y = x.reshape(s, ndim=2)
    evaluator = check(tmp_path, [x, s], y, [np.arange(6.0).reshape(2, 3), np.array([3, -1])])
    assert evaluator.run({"in0": np.ones((2, 3)), "in1": np.array([1, 6])})["out0"].shape == (1, 6)


@pytest.mark.parametrize("static", [True, False])
def test_join_and_split(tmp_path, static):
    x = pt.tensor("x", dtype="float64", shape=(2, 3) if static else (None, None))
    y = pt.tensor("y", dtype="float32", shape=(2, 5) if static else (None, None))
    sizes = pt.lvector("sizes")
    joined = pt.join(1, x, y)
    a, b, c = pt.split(joined, [1, 3, 4], n_splits=3, axis=1)
    d, e = pt.split(joined, sizes, n_splits=2, axis=1)
    out = [joined, pt.join(-1, x, x, x), pt.stack([x, x]), a, b, c, d, e, pt.tile(x, (2, 1))]
    check(tmp_path, [x, y, sizes], out, [sample("float64", (2, 3)), sample("float32", (2, 5)), np.array([6, 2])])


def test_making(tmp_path):
    n, m, f = pt.lscalar("n"), pt.lscalar("m"), pt.dscalar("f")
    out = [
        pt.arange(5),
        pt.arange(1, 2, 0.25),
        pt.arange(n),
        pt.arange(n, m),
        pt.arange(m, n, -2),
        pt.arange(m, n),
        pt.arange(0.0, f, 0.3),
        pt.eye(3, 4, 1),
        pt.eye(n, m, -1),
        pt.stack([n, m, 3]),
        pt.as_tensor([1.0, np.inf, np.nan]),
        pt.empty((2, 3)) * 0,
    ]
    check(tmp_path, [n, m, f], out, [np.array(3), np.array(8), np.array(1.7)])


@pytest.mark.parametrize("offset", [0, 1, -2])
def test_diagonals(tmp_path, offset):
    x, v, t = pt.dmatrix("x"), pt.dvector("v"), pt.dtensor3("t")
    out = [pt.diagonal(x, offset), pt.diag(v, offset), pt.diagonal(t, offset, 0, 2), pt.diagonal(t, offset, 2, 1)]
    check(tmp_path, [x, v, t], out, [sample("float64", (4, 5)), sample("float64", 3), sample("float64", (4, 3, 5))])


# ---- indexing ----

SLICES = [
    np.s_[1], np.s_[-1], np.s_[1:], np.s_[:-1], np.s_[1:3], np.s_[::2], np.s_[::-1], np.s_[3:0:-1],
    np.s_[5:1:-2], np.s_[-3:-1], np.s_[:, 2], np.s_[1:, ::-1], np.s_[..., -1], np.s_[2, 1:3], np.s_[10:],
    np.s_[:100], np.s_[2:1], np.s_[-100:2], np.s_[:-100], np.s_[None, 1:, None], np.s_[:, 1:-1:2],
]  # fmt: skip


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("index", SLICES, ids=str)
def test_basic_indexing(tmp_path, index, static):
    x = pt.tensor("x", dtype="float64", shape=(5, 4) if static else (None, None))
    y = x[index]
    out = [y, pt.grad((y**2).sum(), x), pt.inc_subtensor(x[index], 2.0), pt.set_subtensor(x[index], y * 3.0)]
    if None in (index if isinstance(index, tuple) else ()):
        out = out[:2]  # PyTensor assigns to no new axis
    check(tmp_path, x, out, [sample("float64", (5, 4))])


@pytest.mark.parametrize("i", [0, 2, -1])
def test_run_time_positions(tmp_path, i):
    x, n = pt.dmatrix("x"), pt.lscalar("n")
    out = [x[n], x[:, n], x[n, 1:], x[n:], x[:n], x[n - 3 : n], pt.set_subtensor(x[n], 7.0),
           pt.inc_subtensor(x[1:, n], x[0, 0]), pt.inc_subtensor(x[n:], 1.0), pt.grad(pt.exp(x[:, n]).sum(), x)]  # fmt: skip
    check(tmp_path, [x, n], out, [sample("float64", (5, 4)), np.array(i)])


def test_increments_broadcast(tmp_path):
    x, row, col = pt.dmatrix("x"), pt.drow("r"), pt.dcol("c")
    v = pt.dvector("v")
    out = [
        pt.set_subtensor(x[1:3], row),
        pt.inc_subtensor(x[:, 1:3], col),
        pt.inc_subtensor(x[:2], v),
        pt.set_subtensor(pt.zeros((5, 4))[::2, 1], 1.0),
        pt.inc_subtensor(pt.zeros((5, 4))[1:], x[1:]),
    ]
    args = [sample("float64", (5, 4)), sample("float64", (1, 4)), sample("float64", (5, 1)), sample("float64", 4)]
    check(tmp_path, [x, row, col, v], out, args)


I = np.array([0, 2, 2, -1])
J = np.array([[1, 0], [-2, 1]])
ADVANCED = {
    "vector": lambda x, i, j: x[i],
    "matrix": lambda x, i, j: x[j],
    "second axis": lambda x, i, j: x[:, i],
    "both": lambda x, i, j: x[i, i],
    "outer": lambda x, i, j: x[i[:, None], i[None, :]],
    "with slice": lambda x, i, j: x[1:, i],
    "with step": lambda x, i, j: x[::-2, j],
    "constant": lambda x, i, j: x[[0, 1, 1]],
    "mask": lambda x, i, j: x[np.array([True, False, True, True, False])],
    "run-time mask": lambda x, i, j: x[x > 0],
    "run-time row mask": lambda x, i, j: x[x[:, 0] > 0],
    "scalar and vector": lambda x, i, j: x[1, i],
    "new axis": lambda x, i, j: x[i, None],
    "three axes": lambda x, i, j: x[None][:, i, i],
    "apart": lambda x, i, j: (x[:, :, None] * np.ones(5))[i, :, i],
    "apart, sliced": lambda x, i, j: (x[:, :, None] * np.ones(5))[i, 1:3, i],
    "neighbours, late": lambda x, i, j: (x[:, :, None] * np.arange(5.0))[1:, i, i],
}


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("case", ADVANCED)
def test_advanced_indexing(tmp_path, case, static):
    x = pt.tensor("x", dtype="float64", shape=(5, 4) if static else (None, None))
    i, j = pt.lvector("i"), pt.lmatrix("j")
    y = ADVANCED[case](x, i, j)
    out = [y, pt.grad((y * (1 + y)).sum(), x)]
    if y.owner.op.__class__.__name__.startswith("AdvancedSubtensor") and y.owner.inputs[0] is x:
        out += [pt.set_subtensor(y, 0.5), pt.inc_subtensor(y, y * 2), pt.inc_subtensor(y, 1.0, ignore_duplicates=True)]
    check(tmp_path, [x, i, j], out, [sample("float64", (5, 4)), I, J])


# ---- reductions, scans, products, order ----


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8", "uint8", "bool"])
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2), -1])
def test_reductions(tmp_path, dtype, axis):
    x = pt.tensor("x", dtype=dtype, shape=(2, 3, 4))
    out = [x.sum(axis), x.prod(axis), x.max(axis), x.min(axis), pt.any(x, axis), pt.all(x, axis), pt.argmax(x, axis)]
    if dtype != "bool":
        out += [x.mean(axis), pt.prod(x, axis, no_zeros_in_input=False), x.sum(axis, keepdims=True)]
    if dtype == "float32":
        out += [x.sum(axis, dtype="float64"), x.sum(axis, acc_dtype="float32")]
    if dtype == "bool":
        out[2:4] = []
    check(tmp_path, x, out, [sample(dtype, (2, 3, 4))], rtol=1e-10)


def test_other_reductions(tmp_path):
    x = pt.dmatrix("x")
    out = [pt.math.ProdWithoutZeros(axis=1)(x), CAReduce(ps.maximum, axis=0)(x), x.var(0), pt.logsumexp(x, 1),
           pt.max(x * np.nan), pt.cumsum(x, 0), pt.cumprod(x, 1), pt.cumsum(x), pt.grad(pt.prod(x), x)]  # fmt: skip
    check(tmp_path, x, out, [np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 5.0]])])


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_softmax(tmp_path, axis):
    x = pt.dmatrix("x")
    s, t = pt.special.softmax(x, axis), pt.special.log_softmax(x, axis)
    check(tmp_path, x, [s, t, pt.grad((s**2).sum(), x), pt.grad(pt.sin(t).sum(), x)], [sample("float64", (4, 5))])


def test_products(tmp_path):
    m, n = pt.dmatrices("m", "n")
    v, w = pt.dvectors("v", "w")
    a, b = pt.dtensor3("a"), pt.dtensor3("b")
    k = pt.lmatrix("k")
    out = [m @ n, m @ v, w @ m, v @ v, pt.dot(k, m.T.astype("float32")), pt.dot(k, k.T), a @ b, a @ n,
           pt.batched_dot(a, b), pt.outer(v, w), pt.tensordot(a, b, [[2], [1]]),
           pt.grad((m @ n).sum(), m), pt.grad((a @ b).sum(), b)]  # fmt: skip
    args = [sample("float64", (2, 3)), sample("float64", (3, 4)), sample("float64", 3), sample("float64", 2),
            sample("float64", (2, 2, 3)), sample("float64", (2, 3, 2)), sample("int64", (5, 3))]  # fmt: skip
    check(tmp_path, [m, n, v, w, a, b, k], out, args)


def test_order(tmp_path):
    x, v = pt.dmatrix("x"), pt.dvector("v")
    out = [pt.sort(x, 0), pt.sort(x, -1), pt.argsort(x, 0), pt.argsort(v), pt.nonzero(x > 0)[0],
           pt.repeat(v, 2), pt.repeat(x[:2], [2, 1], axis=0), pt.argmax(v)]  # fmt: skip
    inputs, args = [x, v], [sample("float64", (4, 5)), sample("float64", 3)]
    out[5] = pt.repeat(pt.specify_shape(v, (3,)), 2)
    check(tmp_path, inputs, out, args)


# ---- inner graphs, checks, state ----


def test_op_from_graph_is_inlined(tmp_path):
    x, y = pt.dvectors("x", "y")
    a, b = pt.dvectors("a", "b")
    inner = OpFromGraph([a, b], [a * b + 1, a - b])
    outer = OpFromGraph([a, b], [inner(a, b)[0] * inner(b, a)[1]])
    check(tmp_path, [x, y], [outer(x, y), pt.grad(outer(x, y).sum(), x)], [sample("float64", 4), sample("float64", 4)])


def test_assert(tmp_path):
    x = pt.dvector("x")
    y = Assert("x must be positive")(x * 2, (x > 0).all())
    evaluator = check(tmp_path, x, y, [np.array([1.0, 2.0])])
    with pytest.raises(CheckFailed, match="x must be positive"):
        evaluator.run({"in0": np.array([1.0, -2.0])})


@pytest.mark.parametrize("action, want", [("ninf", -np.inf), ("remove", np.log(0.5) - 0.5 * np.log(2 * np.pi))])
def test_parameter_checks(tmp_path, action, want):
    utils = pytest.importorskip("pymc.logprob.utils")
    x, ok = pt.dscalar("x"), pt.dscalar("ok")
    y = utils.CheckParameterValue("ok > 0", can_be_replaced_by_ninf=True)(pt.log(x) - 0.5 * np.log(2 * np.pi), ok > 0)
    path = gcomp.export_pytensor([x, ok], [y], tmp_path / "g.json", checks=action)
    out = Evaluator(path).run({"x": np.array(0.5), "ok": np.array(-1.0)})
    np.testing.assert_allclose(list(out.values())[0], want)
    path = gcomp.export_pytensor([x, ok], [y], tmp_path / "g.json")
    with pytest.raises(CheckFailed, match="ok > 0"):
        Evaluator(path).run({"x": np.array(0.5), "ok": np.array(-1.0)})


def test_shared_variables_with_updates_are_states(tmp_path):
    total = pytensor.shared(np.zeros(3), name="total")
    scale = pytensor.shared(2.0, name="scale")
    x = pt.dvector("x")
    path = gcomp.export_pytensor([x], [total.sum()], tmp_path / "g.json", updates={total: total + scale * x},
                                 output_names=["sum"])  # fmt: skip
    graph = Evaluator(path)
    assert [i["name"] for i in graph.graph["inputs"]] == ["x", "total"]
    assert [o["name"] for o in graph.graph["outputs"]] == ["sum", "new_total"]
    initial = {"dtype": "float64", "shape": [3], "data": [0.0, 0.0, 0.0]}
    assert graph.graph["states"] == [{"input": 1, "output": 1, "initial": initial}]
    out = graph.run({"x": np.ones(3), "total": np.arange(3.0)})
    np.testing.assert_array_equal(out["new_total"], [2.0, 3.0, 4.0])
    with pytest.raises(CheckFailed):  # a state keeps its extents
        graph.run({"x": np.ones(1), "total": np.arange(1.0)})


def test_states_without_update_default_updates_and_donated_inputs(tmp_path):
    count = pytensor.shared(np.int64(3), name="count")
    count.default_update = count + 1
    scale = pytensor.shared(np.float32(2.0), name="scale")
    x, y = pt.fvectors("x", "y")
    path = gcomp.export_pytensor([x, y], [x * scale + y * count.astype("float32")], tmp_path / "g.json",
                                 states=[scale], donate=[y], dims={"x": ["N"], "y": ["N"]})  # fmt: skip
    graph = Evaluator(path).graph
    assert [i.get("donate", False) for i in graph["inputs"]] == [False, True, False, False]
    assert graph["states"] == [
        {"input": 2, "initial": {"dtype": "float32", "shape": [], "data": [2.0]}},
        {"input": 3, "output": 1, "initial": {"dtype": "int64", "shape": [], "data": [3]}},
    ]
    with pytest.raises(TypeError, match="states: y is not a shared variable"):
        gcomp.export_pytensor([x], [x], tmp_path / "g.json", states=[y])
    with pytest.raises(ValueError, match="donate: y is not among the inputs"):
        gcomp.export_pytensor([x], [x], tmp_path / "g.json", donate=[y])


# ---- errors and size ----


def test_unsupported_ops_are_listed_together(tmp_path):
    x = pt.dmatrix("x")
    a, b = pt.linalg.cholesky(x), pt.linalg.inv(x)
    a.name = "factor"
    y = (a + b).sum() + pt.gammainc(1.5, x).sum()
    with pytest.raises(gcomp.UnsupportedOps) as e:
        gcomp.export_pytensor([x], [y], tmp_path / "g.json")
    text = str(e.value)
    assert "Cholesky" in text and "factor" in text and "MatrixInverse" in text and "GammaInc" in text
    assert len(e.value.places) == 3
    assert not (tmp_path / "g.json").exists()


def test_mistakes_are_named(tmp_path):
    x, y = pt.dvectors("x", "y")
    with pytest.raises(ValueError, match="not inputs: y"):
        gcomp.export_pytensor([x], [x + y], tmp_path / "g.json")
    with pytest.raises(ValueError, match="two inputs are named 'x'"):
        gcomp.export_pytensor([x, y], [x + y], tmp_path / "g.json", input_names=["x", "x"])
    with pytest.raises(TypeError, match="cannot be exported"):
        z = pt.zvector("z")
        gcomp.export_pytensor([z], [z], tmp_path / "g.json")
    with pytest.raises(ValueError, match="rank 1"):
        gcomp.export_pytensor([x], [x], tmp_path / "g.json", dims={"x": ["N", "M"]})


def test_big_constants_go_beside_the_graph(tmp_path):
    big = np.arange(40_000, dtype="float64").reshape(200, 200)
    middle = np.linspace(0, 1, 500, dtype="float32")
    x = pt.dscalar("x")
    evaluator = check(tmp_path, x, [(x * big).sum(0), x + middle], [np.array(0.5)])
    kinds = [("file" in c, "base64" in c, "data" in c) for c in evaluator.graph["constants"]]
    assert (True, False, False) in kinds and (False, True, False) in kinds
    assert (tmp_path / "graph.safetensors").exists()


def test_same_graph_same_bytes(tmp_path):
    def build(name):
        x = pt.dmatrix("x")
        y = pt.exp(x) @ x.T
        return gcomp.export_pytensor([x], [y, pt.grad(y.sum(), x)], tmp_path / name, output_names=["y", "g"])

    assert build("a.json").read_bytes() == build("b.json").read_bytes()


def test_deep_graph(tmp_path):
    x = pt.dvector("x")
    y = x
    depth = 20_000  # far beyond Python's recursion limit
    for i in range(depth // 2):
        y = pt.tanh(pt.sin(y))
    path = gcomp.export_pytensor([x], [y], tmp_path / "g.json", output_names=["y"], dims={"x": ["N"]})
    graph = Evaluator(path)
    assert len(graph.graph["nodes"]) == depth
    want = np.array([0.3, 1.0])
    for _ in range(depth // 2):
        want = np.tanh(np.sin(want))
    np.testing.assert_allclose(graph.run({"x": np.array([0.3, 1.0])})["y"], want, rtol=1e-9)
