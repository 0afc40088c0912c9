"""A graph that is built quickly, node for node as it is asked for: nothing is merged, folded or left out.

All extents are numbers. Elementwise methods broadcast as NumPy does, by explicit `broadcast` nodes, and numbers
become constants of their own: so a graph has the duplicates that a user's program makes.
"""

import numpy as np


class Value:
    """A tensor of the graph. Arithmetic makes nodes; `@`, indexing and the methods of Graph do the rest."""

    __slots__ = ("graph", "id", "dtype", "shape")

    def __init__(self, graph, id_, dtype, shape):
        self.graph = graph
        self.id = id_
        self.dtype = dtype
        self.shape = shape

    def __add__(self, other):
        return self.graph.binary("add", self, other)

    def __radd__(self, other):
        return self.graph.binary("add", other, self)

    def __sub__(self, other):
        return self.graph.binary("sub", self, other)

    def __rsub__(self, other):
        return self.graph.binary("sub", other, self)

    def __mul__(self, other):
        return self.graph.binary("mul", self, other)

    def __rmul__(self, other):
        return self.graph.binary("mul", other, self)

    def __truediv__(self, other):
        return self.graph.binary("div", self, other)

    def __rtruediv__(self, other):
        return self.graph.binary("div", other, self)

    def __neg__(self):
        return self.graph.unary("neg", self)

    def __matmul__(self, other):
        return self.graph.matmul(self, other)

    def __getitem__(self, index):
        """Row `index` (the axis goes), or a slice of step 1 of axis 0."""
        if isinstance(index, slice):
            start, stop, step = index.indices(self.shape[0])
            if step != 1:
                raise ValueError("slices have step 1 here")
            return self.graph.slice(self, (start,), (stop - start,))
        row = self.graph.slice(self, (index,), (1,))
        return self.graph.reshape(row, self.shape[1:])


class Graph:
    def __init__(self, name, dtype="float64"):
        self.name = name
        self.dtype = dtype
        self.inputs = []  # (name, value)
        self.constants = []  # (value, array)
        self.nodes = []  # (op, operands, attributes or None, result)
        self.outputs = []  # (name, value)
        self.node_of = []  # by value id: its index in `nodes`, or None

    # ---- making values ----

    def _new(self, dtype, shape, node=None):
        value = Value(self, len(self.node_of), dtype, shape)
        self.node_of.append(node)
        return value

    def input(self, name, shape=(), dtype=None):
        value = self._new(dtype or self.dtype, tuple(shape))
        self.inputs.append((name, value))
        return value

    def constant(self, array, dtype=None):
        array = np.asarray(array, dtype or self.dtype)
        value = self._new(array.dtype.name, array.shape)
        self.constants.append((value, array))
        return value

    def node(self, op, operands, shape, attributes=None, dtype=None):
        value = self._new(dtype or operands[0].dtype, shape, len(self.nodes))
        self.nodes.append((op, operands, attributes, value))
        return value

    def output(self, name, value):
        self.outputs.append((name, value))

    # ---- elementwise ----

    def unary(self, op, x):
        return self.node(op, (x,), x.shape)

    def binary(self, op, x, y, dtype=None):
        if x.__class__ is not Value:
            x = self.constant(x, y.dtype)
        elif y.__class__ is not Value:
            y = self.constant(y, x.dtype)
        if x.shape != y.shape:
            shape = np.broadcast_shapes(x.shape, y.shape)
            x, y = self.broadcast(x, shape), self.broadcast(y, shape)
        return self.node(op, (x, y), x.shape, None, dtype)

    def compare(self, op, x, y):
        return self.binary(op, x, y, "bool")

    def where(self, condition, x, y):
        if y.__class__ is not Value:
            y = self.full(x.shape, y)
        if x.__class__ is not Value:
            x = self.full(y.shape, x)
        return self.node("where", (condition, x, y), x.shape, None, x.dtype)

    def exp(self, x):
        return self.unary("exp", x)

    def log(self, x):
        return self.unary("log", x)

    def sqrt(self, x):
        return self.unary("sqrt", x)

    def tanh(self, x):
        return self.unary("tanh", x)

    def sigmoid(self, x):
        return self.unary("sigmoid", x)

    def square(self, x):
        return self.node("mul", (x, x), x.shape)

    def relu(self, x):
        return self.binary("max", x, self.full(x.shape, 0.0))

    def cast(self, x, dtype):
        return self.node("cast", (x,), x.shape, {"dtype": dtype}, dtype)

    # ---- layout ----

    def broadcast(self, x, shape, axes=None):
        """x's axis i becomes axis axes[i] of the result; by default the last ones, extents of 1 repeated."""
        if x.shape == shape:
            return x
        if axes is None:
            axes = range(len(shape) - len(x.shape), len(shape))
        return self.node("broadcast", (x,), shape, {"shape": shape, "axes": tuple(axes)})

    def full(self, shape, number):
        return self.broadcast(self.constant(number), shape, ())

    def reshape(self, x, shape):
        return self.node("reshape", (x,), shape, {"shape": shape})

    def transpose(self, x, perm):
        return self.node("transpose", (x,), tuple(x.shape[p] for p in perm), {"perm": tuple(perm)})

    def slice(self, x, starts, extents):
        """Of the first axes; the others are kept whole."""
        rest = len(x.shape) - len(starts)
        shape = (*extents, *x.shape[len(starts) :])
        attributes = {"starts": (*starts, *(0,) * rest), "shape": shape, "strides": (1,) * len(shape)}
        return self.node("slice", (x,), shape, attributes)

    def pad(self, x, low, high):
        shape = tuple(l + n + h for l, n, h in zip(low, x.shape, high))
        fill = self.constant(0, x.dtype)
        return self.node("pad", (x, fill), shape, {"low": tuple(low), "high": tuple(high)})

    def concat(self, parts, axis):
        shape = list(parts[0].shape)
        shape[axis] = sum(p.shape[axis] for p in parts)
        return self.node("concat", tuple(parts), tuple(shape), {"axis": axis})

    def reverse(self, x, axis):
        return self.node("reverse", (x,), x.shape, {"axes": (axis,)})

    def gather(self, x, indices):
        """Rows of x."""
        return self.node("gather", (x, indices), (*indices.shape, *x.shape[1:]), {"axis": 0})

    def scatter_add(self, x, indices, updates):
        """x with `updates` added to rows `indices`."""
        coordinates = self.reshape(indices, (*indices.shape, 1))
        return self.node("scatter_nd", (x, coordinates, updates), x.shape, {"reduction": "add"})

    # ---- reductions, contractions ----

    def reduce(self, op, x, axes):
        shape = tuple(n for a, n in enumerate(x.shape) if a not in axes)
        return self.node(op, (x,), shape, {"axes": tuple(axes)})

    def sum(self, x, axes=None):
        return self.reduce("reduce_sum", x, range(len(x.shape)) if axes is None else axes)

    def mean(self, x, axes=None):
        count = np.prod([n for a, n in enumerate(x.shape) if axes is None or a in axes])
        return self.sum(x, axes) / float(count)

    def keep(self, x, axes, reduced):
        """`reduced`, x without `axes`, with these axes again, of extent 1."""
        return self.reshape(reduced, tuple(1 if a in axes else n for a, n in enumerate(x.shape)))

    def log_sum_exp(self, x, axis):
        """As users write it: exp can overflow."""
        return self.log(self.sum(self.exp(x), (axis,)))

    def softmax(self, x):
        """Over the last axis."""
        axes = (len(x.shape) - 1,)
        largest = self.keep(x, axes, self.reduce("reduce_max", x, axes))
        e = self.exp(x - largest)
        return e / self.keep(x, axes, self.sum(e, axes))

    def matmul(self, x, y):
        return self.node("matmul", (x, y), (*x.shape[:-1], y.shape[-1]))

    def conv(self, x, w, padding):
        """Channels first, stride 1; the same padding at every side."""
        spatial = tuple(n + 2 * padding - k + 1 for n, k in zip(x.shape[2:], w.shape[2:]))
        return self.node("conv", (x, w), (x.shape[0], w.shape[0], *spatial), conv_attributes(len(spatial), padding))


def conv_attributes(rank, padding):
    return {"dilations": (1,) * rank, "strides": (1,) * rank, "low": (padding,) * rank, "high": (padding,) * rank}
