"""Reverse mode over a Graph, as Theano's Op.grad writes it: a rule builds what it needs anew from the operands
(tanh(x) again for the derivative of tanh(x)), and leaves it to the optimizer to find that it is there already.
"""

from .graph import Value, conv_attributes

RULES = {}


def rule(op):
    def register(function):
        RULES[op] = function
        return function

    return register


def gradients(graph, output, wanted):
    """The derivatives of the scalar `output` for each value of `wanted`."""
    if output.shape != ():
        raise ValueError("the output must be a scalar")
    last = graph.node_of[output.id]
    needed = _depends(graph, wanted, last)
    adjoint = {output.id: graph.constant(1.0, output.dtype)}
    keep = {v.id for v in wanted}
    for index in range(last, -1, -1):
        op, operands, attributes, result = graph.nodes[index]
        g = adjoint.get(result.id)
        if g is None:
            continue
        if result.id not in keep:
            del adjoint[result.id]
        for operand, part in zip(operands, RULES[op](graph, g, operands, attributes)):
            if part is not None and needed[operand.id]:
                have = adjoint.get(operand.id)
                adjoint[operand.id] = part if have is None else have + part
    return [adjoint[v.id] if v.id in adjoint else graph.full(v.shape, 0.0) for v in wanted]


def _depends(graph, wanted, last):
    """By value id: whether the value depends on one of `wanted`."""
    needed = bytearray(len(graph.node_of))
    for v in wanted:
        needed[v.id] = 1
    for _, operands, _, result in graph.nodes[: last + 1]:
        if any(needed[v.id] for v in operands):
            needed[result.id] = 1
    return needed


# ---- elementwise ----


@rule("add")
def _(graph, g, operands, _):
    return g, g


@rule("sub")
def _(graph, g, operands, _):
    return g, -g


@rule("mul")
def _(graph, g, operands, _):
    x, y = operands
    return g * y, g * x


@rule("div")
def _(graph, g, operands, _):
    x, y = operands
    return g / y, -(g * x) / (y * y)


@rule("neg")
def _(graph, g, operands, _):
    return (-g,)


@rule("exp")
def _(graph, g, operands, _):
    return (g * graph.exp(operands[0]),)


@rule("log")
def _(graph, g, operands, _):
    return (g / operands[0],)


@rule("sqrt")
def _(graph, g, operands, _):
    return ((g * 0.5) / graph.sqrt(operands[0]),)


@rule("tanh")
def _(graph, g, operands, _):
    return (g * (1.0 - graph.square(graph.tanh(operands[0]))),)


@rule("sigmoid")
def _(graph, g, operands, _):
    y = graph.sigmoid(operands[0])
    return (g * y * (1.0 - y),)


@rule("softplus")
def _(graph, g, operands, _):
    return (g * graph.sigmoid(operands[0]),)


@rule("sin")
def _(graph, g, operands, _):
    return (g * graph.unary("cos", operands[0]),)


@rule("cos")
def _(graph, g, operands, _):
    return (-(g * graph.unary("sin", operands[0])),)


@rule("max")
def _(graph, g, operands, _):
    x, y = operands
    return tuple(
        graph.cast(graph.compare("eq", graph.binary("max", x, y), v), g.dtype) * g for v in operands
    )


@rule("where")
def _(graph, g, operands, _):
    condition = operands[0]
    return None, graph.where(condition, g, 0.0), graph.where(condition, 0.0, g)


@rule("atan2")
def _(graph, g, operands, _):
    y, x = operands
    return (g * x) / (graph.square(x) + graph.square(y)), -(g * y) / (graph.square(x) + graph.square(y))


# Comparisons have no derivative.
for _op in ("eq", "lt", "gt"):
    RULES[_op] = lambda graph, g, operands, _: (None, None)
RULES["cast"] = lambda graph, g, operands, _: (None,)


# ---- layout ----


@rule("broadcast")
def _(graph, g, operands, attributes):
    x, axes = operands[0], attributes["axes"]
    repeated = [a for i, a in enumerate(axes) if x.shape[i] != g.shape[a]]
    summed = [a for a in range(len(g.shape)) if a not in axes or a in repeated]
    g = graph.sum(g, summed)
    return (graph.reshape(g, x.shape) if repeated else g,)


@rule("reshape")
def _(graph, g, operands, _):
    return (graph.reshape(g, operands[0].shape),)


@rule("transpose")
def _(graph, g, operands, attributes):
    perm = attributes["perm"]
    return (graph.transpose(g, [perm.index(a) for a in range(len(perm))]),)


@rule("slice")
def _(graph, g, operands, attributes):
    low = attributes["starts"]
    return (graph.pad(g, low, [n - l - k for n, l, k in zip(operands[0].shape, low, g.shape)]),)


@rule("reverse")
def _(graph, g, operands, attributes):
    return (graph.reverse(g, *attributes["axes"]),)


@rule("concat")
def _(graph, g, operands, attributes):
    axis, start, parts = attributes["axis"], 0, []
    for x in operands:
        starts = [start if a == axis else 0 for a in range(axis + 1)]
        parts.append(graph.slice(g, starts, x.shape[: axis + 1]))
        start += x.shape[axis]
    return parts


@rule("gather")
def _(graph, g, operands, _):
    x, indices = operands
    return graph.scatter_add(graph.full(x.shape, 0.0), indices, g), None


# ---- reductions, contractions ----


def _spread(graph, reduced, x, axes):
    """A reduction's result, repeated along the axes that went."""
    return graph.broadcast(reduced, x.shape, [a for a in range(len(x.shape)) if a not in axes])


@rule("reduce_sum")
def _(graph, g, operands, attributes):
    return (_spread(graph, g, operands[0], attributes["axes"]),)


@rule("reduce_max")
def _(graph, g, operands, attributes):
    x, axes = operands[0], attributes["axes"]
    largest = _spread(graph, graph.reduce("reduce_max", x, axes), x, axes)
    return (graph.cast(graph.compare("eq", largest, x), g.dtype) * _spread(graph, g, x, axes),)


@rule("matmul")
def _(graph, g, operands, _):
    x, y = operands
    rank = len(x.shape)
    swap = [*range(rank - 2), rank - 1, rank - 2]
    return g @ graph.transpose(y, swap), graph.transpose(x, swap) @ g


@rule("conv")
def _(graph, g, operands, attributes):
    x, w = operands
    padding, rank = attributes["low"][0], len(x.shape) - 2
    flip = [1, 0, *range(2, rank + 2)]  # batch and channels change places
    dx = graph.node("conv_transpose", (g, w), x.shape, {**conv_attributes(rank, padding), "output_padding": (0,) * rank})
    dw = graph.conv(graph.transpose(x, flip), graph.transpose(g, flip), padding)
    return dx, graph.transpose(dw, flip)


def with_gradient(graph, loss, parameters, name="loss"):
    """Makes `loss` and its derivatives the graph's outputs; `parameters` maps names to values."""
    graph.output(name, loss)
    for key, g in zip(parameters, gradients(graph, loss, list(parameters.values()))):
        graph.output(f"grad_{key}", g)


def clone(graph, output):
    """A copy of all nodes that `output` needs, as theano.clone makes; inputs and constants are shared."""
    needed, stack = set(), [output]
    while stack:
        v = stack.pop()
        index = graph.node_of[v.id]
        if index is not None and index not in needed:
            needed.add(index)
            stack.extend(graph.nodes[index][1])
    copies = {}
    for index in sorted(needed):
        op, operands, attributes, result = graph.nodes[index]
        operands = tuple(copies.get(v.id, v) for v in operands)
        copies[result.id] = graph.node(op, operands, result.shape, attributes, result.dtype)
    return copies.get(output.id, output)


__all__ = ["Value", "clone", "gradients", "with_gradient"]
