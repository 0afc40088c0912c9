"""Tensor ops: one function per op class, in the table TENSOR_OPS, by the name that the class has in PyTensor.

A function gets the exporter (`cx.g` is the graph writer), the apply node and its operands as values (None
for operands that are no tensors: None and slices) and returns the list of results. What cannot be
expressed is reported by `raise Unsupported(why)`.
"""

import numpy as np

from .._graph import is_static

TENSOR_OPS = {}


class Unsupported(Exception):
    """The node cannot be exported; the text says what about it."""


def handles(*names):
    def register(f):
        for name in names:
            TENSOR_OPS[name] = f
        return f

    return register


def static_int(v, what):
    if v.data is None:
        raise Unsupported(f"{what} computed at run time")
    return int(v.data)


# ---- the same value ----


@handles(
    "TensorFromScalar",
    "ScalarFromTensor",
    "DeepCopyOp",
    "ViewOp",  # and those that only act on gradients, which have been taken already
    "CpuContiguous",
)
def same(cx, node, ins):
    return [ins[0]]


@handles("CheckAndRaise")
def check(cx, node, ins):
    g = cx.g
    value, conds = ins[0], [g.to_bool(c) for c in ins[1:]]
    action = cx.check_action(node.op)
    if action == "remove" or not conds:
        return [value]
    ok = conds[0]
    for c in conds[1:]:
        ok = g.binary("bit_and", ok, c)
    if action == "ninf":
        ok = g.broadcast(ok, value.shape, [])
        return [g.where(ok, value, g.full_like(value, -np.inf))]
    message = node.op.msg or node.op.exc_type.__name__
    return [g.node("check", [value, ok], value.dtype, value.shape, {"message": message})]


# ---- shapes ----


@handles("Shape")
def shape(cx, node, ins):
    return [cx.g.shape_vector(ins[0])]


@handles("Shape_i")
def shape_i(cx, node, ins):
    return [cx.g.extent_value(ins[0].shape[node.op.i])]


@handles("SpecifyShape")
def specify_shape(cx, node, ins):
    g = cx.g
    x = ins[0]
    wanted = [d if s is None else g.element(s) for d, s in zip(x.shape, ins[1:])]
    return [g.specify(x, wanted)]


@handles("Reshape")
def reshape(cx, node, ins):
    g = cx.g
    x, vector = ins
    vector = g.specify(vector, (node.op.ndim,))
    dims = [g.element(vector, i) for i in range(node.op.ndim)]
    if -1 in dims:
        known = 1
        for d in dims:
            if d != -1:
                known = g.dim_op("mul", known, d)
        at = dims.index(-1)
        dims[at] = g.dim_op("floor_div", _size(g, x), known)
    elif not is_static(dims) and not cx.is_shape_arithmetic(node.inputs[1]):
        # Some element may be -1 at run time.
        total = g.extent_value(_size(g, x))
        vector = g.cast(vector, "int64")
        negative = g.binary("lt", vector, g.full_like(vector, 0))
        rest = g.reduce("reduce_prod", g.where(negative, g.full_like(vector, 1), vector), [0])
        missing = g.binary("floor_div", total, rest)
        vector = g.where(negative, g.broadcast(missing, vector.shape, []), vector)
        dims = [d if isinstance(d, int) else g.element(vector, i) for i, d in enumerate(dims)]
    return [g.reshape(x, dims)]


def _size(g, x):
    total = 1
    for d in x.shape:
        total = g.dim_op("mul", total, d)
    return total


@handles("JoinDims")
def join_dims(cx, node, ins):
    g = cx.g
    (x,) = ins
    first, last = node.op.start_axis, node.op.start_axis + node.op.n_axes
    joined = 1
    for d in x.shape[first:last]:
        joined = g.dim_op("mul", joined, d)
    return [g.reshape(x, (*x.shape[:first], joined, *x.shape[last:]))]


@handles("SplitDims")
def split_dims(cx, node, ins):
    g = cx.g
    x, vector = ins
    axis, n = node.op.axis, node.outputs[0].type.ndim - node.inputs[0].type.ndim + 1
    vector = g.specify(vector, (n,))
    return [
        g.reshape(
            x,
            (*x.shape[:axis], *(g.element(vector, i) for i in range(n)), *x.shape[axis + 1 :]),
        )
    ]


@handles("DimShuffle")
def dim_shuffle(cx, node, ins):
    g = cx.g
    (x,) = ins
    kept = [d for d in node.op.new_order if d != "x"]
    dropped = [a for a in range(x.rank) if a not in kept]
    x = g.specify(x, [1 if a in dropped else d for a, d in enumerate(x.shape)])
    order = sorted(kept)
    x = g.reshape(x, [x.shape[a] for a in order])
    x = g.transpose(x, [order.index(a) for a in kept])
    dims = iter(x.shape)
    return [g.reshape(x, [1 if d == "x" else next(dims) for d in node.op.new_order])]


# ---- making tensors ----


@handles("Alloc")
def alloc(cx, node, ins):
    g = cx.g
    value, *extents = ins
    shape = [g.element(e) for e in extents]
    return g.align([value], shape)


@handles("AllocEmpty")
def alloc_empty(cx, node, ins):  # any contents will do
    g = cx.g
    return [g.full([g.element(e) for e in ins], 0, node.op.dtype)]


@handles("MakeVector")
def make_vector(cx, node, ins):
    g = cx.g
    dtype = node.outputs[0].dtype
    if not ins:
        return [g.constant(np.zeros(0, dtype))]
    return [g.concat([g.reshape(g.cast(x, dtype), (1,)) for x in ins], 0)]


@handles("ARange")
def arange(cx, node, ins):
    """start + i * step for i < ceil((stop - start) / step)."""
    g = cx.g
    dtype = node.op.dtype
    if all(x.data is not None for x in ins):
        n = len(np.arange(*[x.data.item() for x in ins], dtype=dtype))
    elif any("float" in x.dtype for x in ins):
        start, stop, step = [g.cast(x, "float64") for x in ins]
        n = g.unary("ceil", g.binary("div", g.binary("sub", stop, start), step))
        n = g.dim_op("max", g.element(g.cast(n, "int64")), 0)
    else:
        start, stop, step = [g.element(x) for x in ins]
        # ceil(a / b) = -floor(-a / b)
        n = g.dim_op("floor_div", g.dim_op("sub", start, stop), step)
        n = g.dim_op("max", g.dim_op("sub", 0, n), 0)
    start, _, step = [g.cast(x, dtype) for x in ins]
    result = g.iota((n,), 0, dtype)
    if not (step.data is not None and step.data == 1):
        result = g.binary("mul", result, g.broadcast(step, (n,), []))
    if not start.zero:
        result = g.binary("add", result, g.broadcast(start, (n,), []))
    return [result]


@handles("Eye")
def eye(cx, node, ins):
    g = cx.g
    shape = (g.element(ins[0]), g.element(ins[1]))
    row, column = g.iota(shape, 0), g.iota(shape, 1)
    shifted = g.binary("add", row, g.broadcast(g.cast(ins[2], "int64"), shape, []))
    return [g.cast(g.binary("eq", shifted, column), node.op.dtype)]


@handles("ExtractDiag")
def extract_diag(cx, node, ins):
    g = cx.g
    (x,) = ins
    op = node.op
    rest = [a for a in range(x.rank) if a not in (op.axis1, op.axis2)]
    x = g.transpose(x, [op.axis1, op.axis2, *rest])
    down, right = max(-op.offset, 0), max(op.offset, 0)
    n = g.dim_op("min", g.dim_op("sub", x.shape[0], down), g.dim_op("sub", x.shape[1], right))
    at = g.iota((g.dim_op("max", n, 0), 2), 0)
    at = g.binary("add", at, g.broadcast(g.constant(np.array([down, right])), at.shape))
    result = g.node("gather_nd", [x, at], x.dtype, (at.shape[0], *x.shape[2:]))
    return [g.transpose(result, [*range(1, result.rank), 0])]


# ---- joining and splitting ----


@handles("Join")
def join(cx, node, ins):
    g = cx.g
    axis = static_int(ins[0], "axis") % node.outputs[0].type.ndim
    parts = [g.cast(x, node.outputs[0].dtype) for x in ins[1:]]
    common = list(parts[0].shape)
    for p in parts[1:]:
        common = [d if isinstance(d, int) else c for c, d in zip(common, p.shape)]
    return [
        g.concat([g.specify(p, [*common[:axis], p.shape[axis], *common[axis + 1 :]]) for p in parts], axis)
    ]


@handles("Split")
def split(cx, node, ins):
    g = cx.g
    x, axis, sizes = ins
    axis = static_int(axis, "axis") % x.rank
    sizes = g.specify(sizes, (node.op.len_splits,))
    extents = [g.element(sizes, i) for i in range(node.op.len_splits)]
    total = 0
    for e in extents:
        total = g.dim_op("add", total, e)
    x = g.specify(x, [*x.shape[:axis], total, *x.shape[axis + 1 :]])
    results, at = [], 0
    for e in extents:
        starts = [0] * x.rank
        starts[axis] = at
        results.append(g.slice(x, starts, [*x.shape[:axis], e, *x.shape[axis + 1 :]], [1] * x.rank))
        at = g.dim_op("add", at, e)
    return results


@handles("Repeat")
def repeat(cx, node, ins):
    g = cx.g
    x, repeats = ins
    if repeats.data is None:
        raise Unsupported("numbers of repeats computed at run time")
    axis = node.op.axis
    if repeats.data.shape[0] == 1:
        if not isinstance(x.shape[axis], int):
            raise Unsupported("repeats of an axis of unknown extent")
        repeats = np.repeat(repeats.data, x.shape[axis])
    else:
        repeats = repeats.data
    indices = g.constant(np.repeat(np.arange(len(repeats)), repeats))
    dims = (*x.shape[:axis], indices.shape[0], *x.shape[axis + 1 :])
    return [g.node("gather", [x, indices], x.dtype, dims, {"axis": axis})]


# ---- reductions and scans ----

_REDUCTIONS = {
    "Add": "reduce_sum",
    "Mul": "reduce_prod",
    "MulWithoutZeros": "reduce_prod",
    "Maximum": "reduce_max",
    "Minimum": "reduce_min",
    "AND": "reduce_and",
    "OR": "reduce_or",
}
_BOOL_REDUCTIONS = {
    "reduce_max": "reduce_or",
    "reduce_min": "reduce_and",
    "reduce_and": "reduce_and",
    "reduce_or": "reduce_or",
}


@handles("CAReduce")
def ca_reduce(cx, node, ins):
    g = cx.g
    (x,) = ins
    scalar_op = type(node.op.scalar_op).__name__
    op = _REDUCTIONS.get(scalar_op)
    if op is None:
        raise Unsupported(f"reduction by {scalar_op}")
    axes = range(x.rank) if node.op.axis is None else [a % x.rank for a in node.op.axis]
    out = node.outputs[0].dtype
    if op in ("reduce_sum", "reduce_prod"):
        accumulator = getattr(node.op, "acc_dtype", None) or out
        x = g.cast(x, accumulator)
        if scalar_op == "MulWithoutZeros":
            zero = g.binary("eq", x, g.full_like(x, 0))
            x = g.where(zero, g.full_like(x, 1), x)
    elif x.dtype == "bool":
        op = _BOOL_REDUCTIONS[op]
    elif op in ("reduce_and", "reduce_or"):
        raise Unsupported(f"bitwise reduction of {x.dtype}")
    return [g.cast(g.reduce(op, x, axes), out)]


@handles("Argmax")
def argmax(cx, node, ins):
    g = cx.g
    (x,) = ins
    axes = list(range(x.rank)) if node.op.axis is None else [a % x.rank for a in node.op.axis]
    kept = [a for a in range(x.rank) if a not in axes]
    x = g.transpose(x, [*kept, *axes])
    flat = 1
    for d in x.shape[len(kept) :]:
        flat = g.dim_op("mul", flat, d)
    x = g.reshape(x, (*x.shape[: len(kept)], flat))
    if x.dtype == "bool":
        x = g.cast(x, "uint8")
    return [g.node("argmax", [x], "int64", x.shape[:-1], {"axis": len(kept)})]


@handles("CumOp")
def cum_op(cx, node, ins):
    x = ins[0]
    op = "cumsum" if node.op.mode == "add" else "cumprod"
    return [cx.g.node(op, [x], x.dtype, x.shape, {"axis": node.op.axis})]


def _softmax_axes(op, x):
    axis = getattr(op, "axis", -1)  # Theano has none: rows
    return list(range(x.rank)) if axis is None else [axis % x.rank]


def _reduce_keep(g, op, x, axes):
    """A reduction whose result is broadcast back to x's shape."""
    kept = [a for a in range(x.rank) if a not in axes]
    return g.broadcast(g.reduce(op, x, axes), x.shape, kept)


@handles("Softmax")
def softmax(cx, node, ins):
    g = cx.g
    (x,) = ins
    axes = _softmax_axes(node.op, x)
    e = g.unary("exp", g.binary("sub", x, _reduce_keep(g, "reduce_max", x, axes)))
    return [g.binary("div", e, _reduce_keep(g, "reduce_sum", e, axes))]


@handles("LogSoftmax")
def log_softmax(cx, node, ins):
    g = cx.g
    (x,) = ins
    axes = _softmax_axes(node.op, x)
    shifted = g.binary("sub", x, _reduce_keep(g, "reduce_max", x, axes))
    total = _reduce_keep(g, "reduce_sum", g.unary("exp", shifted), axes)
    return [g.binary("sub", shifted, g.unary("log", total))]


@handles("SoftmaxGrad")
def softmax_grad(cx, node, ins):
    g = cx.g
    dtype = node.outputs[0].dtype
    dy, sm = g.align([g.cast(x, dtype) for x in ins])
    product = g.binary("mul", dy, sm)
    total = _reduce_keep(g, "reduce_sum", product, _softmax_axes(node.op, sm))
    return [g.binary("sub", product, g.binary("mul", total, sm))]


# ---- products of matrices ----


def _matmul(g, x, y):
    """Of equal ranks; leading extents and the common one are made equal."""
    batch = g.common_shape([x.shape[:-2], y.shape[:-2]])
    k = next((d for d in (x.shape[-1], y.shape[-2]) if isinstance(d, int)), x.shape[-1])
    (x,) = g.align([g.specify(x, [*x.shape[:-1], k])], (*batch, x.shape[-2], k))
    (y,) = g.align([g.specify(y, [*y.shape[:-2], k, y.shape[-1]])], (*batch, k, y.shape[-1]))
    return g.node("matmul", [x, y], x.dtype, (*batch, x.shape[-2], y.shape[-1]))


@handles("Dot", "BatchedDot")
def dot(cx, node, ins):
    g = cx.g
    dtype = node.outputs[0].dtype
    x, y = [g.cast(v, dtype) for v in ins]
    if dtype == "bool":
        raise Unsupported("products of bool matrices")
    row, column = x.rank == 1, y.rank == 1  # Theano's vectors; PyTensor's dot has matrices only
    x = g.reshape(x, (1, *x.shape)) if row else x
    y = g.reshape(y, (*y.shape, 1)) if column else y
    product = _matmul(g, x, y)
    return [g.reshape(product, product.shape[row : product.rank - column])]


@handles("Blockwise")
def blockwise(cx, node, ins):
    """Core ops whose functions work with leading batch axes as they are."""
    core = node.op.core_op
    name = type(core).__name__
    if name == "Dot":
        return dot(cx, node, ins)
    batch = node.outputs[0].type.ndim - len(node.op.outputs_sig[0])
    if batch == 0 and name in TENSOR_OPS:
        return TENSOR_OPS[name](cx, node.op._create_dummy_core_node(node.inputs), ins)
    raise Unsupported(f"Blockwise of {name}")


# ---- ordering ----


def _sorted(cx, node, ins, result):
    g = cx.g
    x, axis = ins
    axis = static_int(axis, "axis") % x.rank
    types = [(x.dtype, x.shape), ("int64", x.shape)]
    return [g.nodes("sort", [x], types, {"axis": axis})[result]]


@handles("SortOp")
def sort(cx, node, ins):
    return _sorted(cx, node, ins, 0)


@handles("ArgSortOp")
def argsort(cx, node, ins):
    # NumPy's default order of equals is unspecified; ours is stable.
    return _sorted(cx, node, ins, 1)


@handles("Nonzero")
def nonzero(cx, node, ins):
    g = cx.g
    (x,) = ins
    found = g.node_unknown("nonzero", [x], "int64", 2, {"symbols": [g.fresh_symbol("nonzero")]})
    found.shape = (x.rank, found.shape[1])
    return [
        g.reshape(g.slice(found, [a, 0], [1, found.shape[1]], [1, 1]), (found.shape[1],))
        for a in range(x.rank)
    ]
