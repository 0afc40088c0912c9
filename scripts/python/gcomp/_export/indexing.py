"""Indexing: Subtensor and its advanced and incrementing relatives.

Basic indexing becomes slice, reverse and gather; incrementing it becomes pad (of the increment, or of a
mask for set). Advanced indexing becomes gather along one axis or gather_nd; incrementing it becomes
scatter_nd. Indices may be negative everywhere, as in NumPy.
"""

import numpy as np

from .tensor import Unsupported, handles

_FULL = slice(None)
_NEW = "new axis"


# ---- ranges ----


def _clamped(g, bound, extent, low, high):
    """A slice bound (None, or an int value) counted from the start and clamped, as a dim. `low`, `high`:
    the limits as dims; canonical, so that equal slices have equal extents."""
    at = g.element(bound)
    if isinstance(at, int):
        if at < 0:
            return g.dim_op("max", g.dim_op("add", extent, at), low)
        return at if at == low else g.dim_op("min", at, high)
    at = g.extent_value(at)
    negative = g.binary("lt", at, g.scalar(0, "int64"))
    at = g.element(g.where(negative, g.binary("add", at, g.extent_value(extent)), at))
    return g.dim_op("max", g.dim_op("min", at, high), low)


def _range(g, s, extent):
    """A slice of values on an axis of that extent: (first, count, step)."""
    step = 1 if s.step is None else g.element(s.step)
    if not isinstance(step, int):
        raise Unsupported("slice step computed at run time")
    if step > 0:
        first = 0 if s.start is None else _clamped(g, s.start, extent, 0, extent)
        last = extent if s.stop is None else _clamped(g, s.stop, extent, 0, extent)
        span = g.dim_op("sub", last, first)
    else:
        top = g.dim_op("sub", extent, 1)
        first = top if s.start is None else _clamped(g, s.start, extent, -1, top)
        last = -1 if s.stop is None else _clamped(g, s.stop, extent, -1, top)
        span = g.dim_op("sub", first, last)
    if span is extent or span == extent:
        count = span
    else:
        count = g.dim_op("max", span, 0)
    size = abs(step)
    if size != 1:
        count = g.dim_op("floor_div", g.dim_op("add", count, size - 1), size)
    return first, count, step


def _is_full(s):
    return s.start is None and s.stop is None and s.step is None


# ---- basic indexing ----


def _basic_indices(op, operands, rank):
    """One entry an axis: an int value, or a slice of values."""
    rest = iter(operands)

    def value(entry):
        return None if entry is None else next(rest)

    indices = []
    for entry in op.idx_list:
        if isinstance(entry, slice):
            indices.append(slice(value(entry.start), value(entry.stop), value(entry.step)))
        else:
            indices.append(next(rest))
    return indices + [_FULL] * (rank - len(indices))


def _position(g, index, extent):
    """A constant integer index as a dim; None if it is known only at run time."""
    at = g.element(index)
    if not isinstance(at, int):
        return None
    if at < 0:
        return g.dim_op("add", extent, at)
    return at


@handles("Subtensor")
def subtensor(cx, node, ins):
    g = cx.g
    x = ins[0]
    indices = _basic_indices(node.op, ins[1:], x.rank)
    starts, shape, strides, dropped = [0] * x.rank, list(x.shape), [1] * x.rank, []
    for a, index in enumerate(indices):
        if isinstance(index, slice):
            if not _is_full(index):
                starts[a], shape[a], strides[a] = _range(g, index, x.shape[a])
            continue
        at = _position(g, index, x.shape[a])
        dropped.append(a)
        shape[a] = 1
        if at is None:
            gathered = (*x.shape[:a], 1, *x.shape[a + 1 :])
            x = g.node("gather", [x, g.reshape(index, (1,))], x.dtype, gathered, {"axis": a})
        else:
            starts[a] = at
    x = g.slice(x, starts, shape, strides)
    return [g.reshape(x, [d for a, d in enumerate(x.shape) if a not in dropped])]


def _spread(g, y, region, dropped):
    """y broadcast (NumPy's rule, static extents of 1 repeat) to the region without the dropped axes, then
    given those back with extent 1."""
    shape = [d for a, d in enumerate(region) if a not in dropped]
    while y.rank > len(shape):  # leading extents of 1
        y = g.reshape(g.specify(y, (1, *y.shape[1:])), y.shape[1:])
    (y,) = g.align([y], shape)
    return g.reshape(y, region)


@handles("IncSubtensor")
def inc_subtensor(cx, node, ins):
    g = cx.g
    x, y = ins[0], g.cast(ins[1], node.outputs[0].dtype)
    indices = _basic_indices(node.op, ins[2:], x.rank)
    set_instead = node.op.set_instead_of_inc
    ranges, dropped = [], []
    for a, index in enumerate(indices):
        if isinstance(index, slice):
            ranges.append(_range(g, index, x.shape[a]))
        else:
            dropped.append(a)
            at = _position(g, index, x.shape[a])
            ranges.append(None if at is None else (at, 1, 1))
    if any(r is None or abs(r[2]) != 1 for r in ranges):
        return [_scatter_ranges(g, x, y, indices, ranges, dropped, set_instead)]
    region = [count for _, count, _ in ranges]
    y = _spread(g, y, region, dropped)
    back = [a for a, r in enumerate(ranges) if r[2] == -1]
    if back:
        y = g.node("reverse", [y], y.dtype, y.shape, {"axes": back})
    low, high = [], []
    for (first, count, step), extent in zip(ranges, x.shape):
        start = first if step == 1 else g.dim_op("sub", g.dim_op("add", first, 1), count)
        low.append(start)
        high.append(g.dim_op("sub", g.dim_op("sub", extent, start), count))
    if all(d == 0 for d in low) and tuple(region) == x.shape:
        return [y if set_instead or x.zero else g.binary("add", x, y)]
    padded = g.specify(g.pad(y, 0, low, high), x.shape)
    if x.zero:
        return [padded]
    if not set_instead:
        return [g.binary("bit_or" if x.dtype == "bool" else "add", x, padded)]
    mask = g.specify(g.pad(g.full(y.shape, True, "bool"), False, low, high), x.shape)
    return [g.where(mask, padded, x)]


def _scatter_ranges(g, x, y, indices, ranges, dropped, set_instead):
    """Steps other than 1, or positions known only at run time: the region's coordinates one by one."""
    region = [1 if r is None else r[1] for r in ranges]
    columns = []
    for a, r in enumerate(ranges):
        if r is None:
            at = g.reshape(g.cast(indices[a], "int64"), (1,))
        else:
            first, count, step = r
            at = g.binary("mul", g.iota((count,), 0), g.full((count,), step, "int64"))
            at = g.binary("add", at, g.broadcast(g.extent_value(first), (count,), []))
        columns.append(g.reshape(g.broadcast(at, region, [a]), (*region, 1)))
    return _scatter(g, x, g.concat(columns, x.rank), _spread(g, y, region, dropped), set_instead)


def _scatter(g, x, at, y, set_instead):
    if x.dtype == "bool" and not set_instead:
        raise Unsupported("increment of bool")
    attrs = {"reduction": "none" if set_instead else "add"}
    return g.node("scatter_nd", [x, at, y], x.dtype, x.shape, attrs)


# ---- advanced indexing ----


@handles("AdvancedSubtensor1")
def advanced_subtensor1(cx, node, ins):
    x, at = ins
    return [cx.g.node("gather", [x, at], x.dtype, (*at.shape, *x.shape[1:]), {"axis": 0})]


@handles("AdvancedIncSubtensor1")
def advanced_inc_subtensor1(cx, node, ins):
    g = cx.g
    x, y, at = ins
    y = _spread(g, g.cast(y, x.dtype), (*at.shape, *x.shape[1:]), [])
    at = g.reshape(at, (*at.shape, 1))
    return [_scatter(g, x, at, y, node.op.set_instead_of_inc)]


@handles("MakeSlice")
def make_slice(cx, node, ins):
    return [slice(*ins)]  # not a value; indexing ops look at it


def _advanced_indices(cx, variables, values):
    """One entry an axis or new axis: _NEW, a slice of values, or an integer array."""
    g = cx.g
    out = []
    for var, value in zip(variables, values):
        kind = type(var.type).__name__
        if kind == "NoneTypeT":
            out.append(_NEW)
        elif kind == "SliceType":
            if value is None:
                if not isinstance(var, cx.framework.Constant):
                    raise Unsupported("slice given as input")
                s = var.data
                parts = [s.start, s.stop, s.step]
                value = slice(*[None if p is None else g.scalar(p, "int64") for p in parts])
            out.append(value)
        elif value.dtype == "bool":
            out.extend(_mask_indices(g, value))
        else:
            out.append(value)
    return out


def _mask_indices(g, mask):
    if mask.data is not None:
        return [g.constant(i) for i in mask.data.nonzero()]
    found = g.node_unknown("nonzero", [mask], "int64", 2, {"symbols": [g.fresh_symbol("nonzero")]})
    n = found.shape[1]
    found.shape = (mask.rank, n)
    return [
        g.reshape(g.slice(found, [a, 0], [1, n], [1, 1]), (n,)) for a in range(mask.rank)
    ]


class _Advanced:
    """NumPy's x[indices] taken apart.

    x       with an axis of extent 1 for each new axis
    arrays  integer arrays of one shape, `block`, which index the axes `axes` of x together
    ranges  (first, count, step) of the slice on each other axis
    front   the axes of `block` lead the result: the indexed axes were not neighbours
    """

    def __init__(self, g, x, indices):
        used = sum(1 for i in indices if i is not _NEW)
        indices = indices + [_FULL] * (x.rank - used)
        dims = iter(x.shape)
        x = g.reshape(x, [1 if i is _NEW else next(dims) for i in indices])
        indices = [_FULL if i is _NEW else i for i in indices]
        self.x = x
        self.axes = [a for a, i in enumerate(indices) if not isinstance(i, slice)]
        self.ranges = {}
        for a, index in enumerate(indices):
            if isinstance(index, slice):
                full = _is_full(index)
                self.ranges[a] = (0, x.shape[a], 1) if full else _range(g, index, x.shape[a])
        self.full = {a: isinstance(i, slice) and _is_full(i) for a, i in enumerate(indices)}
        arrays = [g.cast(indices[a], "int64") for a in self.axes]
        rank = max((v.rank for v in arrays), default=0)
        self.arrays = g.align([g.reshape(v, (1,) * (rank - v.rank) + v.shape) for v in arrays])
        self.block = self.arrays[0].shape if arrays else ()
        neighbours = self.axes == list(range(self.axes[0], self.axes[0] + len(self.axes))) if arrays else 1
        self.front = not neighbours

    def result_axes(self):
        """The result's axes in order: ("block", i) or ("axis", a)."""
        block = [("block", i) for i in range(len(self.block))]
        others = [("axis", a) for a in self.ranges]
        before = 0 if self.front or not self.axes else sum(a < self.axes[0] for a in self.ranges)
        return others[:before] + block + others[before:]

    def result_shape(self):
        return [
            self.block[i] if kind == "block" else self.ranges[i][1] for kind, i in self.result_axes()
        ]


@handles("AdvancedSubtensor")
def advanced_subtensor(cx, node, ins):
    g = cx.g
    a = _Advanced(g, ins[0], _advanced_indices(cx, node.inputs[1:], ins[1:]))
    x = a.x
    starts, strides = [0] * x.rank, [1] * x.rank
    shape = list(x.shape)
    for axis, (first, count, step) in a.ranges.items():
        starts[axis], shape[axis], strides[axis] = first, count, step
    x = g.slice(x, starts, shape, strides)
    if not a.axes:
        return [x]
    if len(a.axes) == 1:
        axis = a.axes[0]
        dims = (*x.shape[:axis], *a.block, *x.shape[axis + 1 :])
        return [g.node("gather", [x, a.arrays[0]], x.dtype, dims, {"axis": axis})]
    others = list(a.ranges)
    x = g.transpose(x, a.axes + others)
    at = g.concat([g.reshape(v, (*a.block, 1)) for v in a.arrays], len(a.block))
    x = g.node("gather_nd", [x, at], x.dtype, (*a.block, *x.shape[len(a.axes) :]))
    have = [("block", i) for i in range(len(a.block))] + [("axis", i) for i in others]
    return [g.transpose(x, [have.index(k) for k in a.result_axes()])]


@handles("AdvancedIncSubtensor")
def advanced_inc_subtensor(cx, node, ins):
    g = cx.g
    original, y = ins[0], g.cast(ins[1], ins[0].dtype)
    a = _Advanced(g, original, _advanced_indices(cx, node.inputs[2:], ins[2:]))
    y = _spread(g, y, a.result_shape(), [])
    # Axes cut by a slice are indexed like the others, by their coordinates.
    cut = [axis for axis in a.ranges if not a.full[axis]]
    whole = [axis for axis in a.ranges if a.full[axis]]
    if not a.axes and not cut:
        result = y if node.op.set_instead_of_inc else g.binary("add", a.x, y)
        return [g.reshape(result, original.shape)]
    grid = (*a.block, *(a.ranges[axis][1] for axis in cut))
    columns = [g.broadcast(v, grid, range(len(a.block))) for v in a.arrays]
    for i, axis in enumerate(cut):
        first, count, step = a.ranges[axis]
        at = g.binary("mul", g.iota((count,), 0), g.full((count,), step, "int64"))
        at = g.binary("add", at, g.broadcast(g.extent_value(first), (count,), []))
        columns.append(g.broadcast(at, grid, [len(a.block) + i]))
    at = g.concat([g.reshape(c, (*grid, 1)) for c in columns], len(grid))
    have = a.result_axes()
    wanted = [("block", i) for i in range(len(a.block))] + [("axis", i) for i in cut + whole]
    y = g.transpose(y, [have.index(k) for k in wanted])
    order = a.axes + cut + whole
    x = g.transpose(a.x, order)
    set_instead = node.op.set_instead_of_inc
    if node.op.ignore_duplicates and not set_instead:
        y = g.binary("add", g.node("gather_nd", [x, at], x.dtype, y.shape), y)
        set_instead = True
    result = _scatter(g, x, at, y, set_instead)
    result = g.transpose(result, [order.index(i) for i in range(len(order))])
    return [g.reshape(result, original.shape)]
