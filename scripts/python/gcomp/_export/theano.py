"""export_theano: a graph of Theano 1.0.5, as it is, as a gcomp graph.

Theano's op classes are those of PyTensor, their later names aside; what it has otherwise is in this file.
"""

import theano.scalar.basic as ts
from theano.compile.builders import OpFromGraph
from theano.compile.sharedvalue import SharedVariable
from theano.gof.graph import Constant, Variable
from theano.tensor.elemwise import Elemwise
from theano.tensor.type import TensorType

from .tensor import TENSOR_OPS, Unsupported
from .walk import Framework, export


def specify_shape(cx, node, ins):
    g = cx.g
    x, vector = ins
    return [g.specify(x, [g.element(vector, axis) for axis in range(x.rank)])]


def max_and_argmax(cx, node, ins):
    g = cx.g
    (x,) = ins
    axes = range(x.rank) if node.op.axis is None else [a % x.rank for a in node.op.axis]
    op = "reduce_or" if x.dtype == "bool" else "reduce_max"
    return [g.reduce(op, x, axes), *TENSOR_OPS["Argmax"](cx, node, ins)]


def rebroadcast(cx, node, ins):
    (x,) = ins
    return [cx.g.specify(x, [1 if node.op.axis.get(axis) else d for axis, d in enumerate(x.shape)])]


def flatten(cx, node, ins):
    g = cx.g
    (x,) = ins
    kept = node.op.outdim - 1
    rest = 1
    for d in x.shape[kept:]:
        rest = g.dim_op("mul", rest, d)
    return [g.reshape(x, (*x.shape[:kept], rest))]


def refuse(cx, node, ins):
    raise Unsupported("not known")


FRAMEWORK = Framework(
    package="theano",
    Variable=Variable,
    Constant=Constant,
    SharedVariable=SharedVariable,
    OpFromGraph=OpFromGraph,
    Elemwise=Elemwise,
    ScalarOp=ts.ScalarOp,
    Composite=ts.Composite,
    TensorType=TensorType,
    ScalarType=ts.Scalar,
    static_shape=lambda type_: tuple(1 if is_one else None for is_one in type_.broadcastable),
    inner_graph=lambda op: (op.local_inputs, op.local_outputs),
    is_random_state=lambda type_: type(type_).__name__ == "RandomStateType",
    names={
        "Inv": "Reciprocal",
        "Sgn": "Sign",
        "ScalarSigmoid": "Sigmoid",
        "ScalarSoftplus": "Softplus",
    },
    tensor_ops={
        "Assert": TENSOR_OPS["CheckAndRaise"],
        "SpecifyShape": specify_shape,
        "MaxAndArgmax": max_and_argmax,
        "Rebroadcast": rebroadcast,
        "Flatten": flatten,
        "Mean": refuse,  # a CAReduce of Add, but no sum
    },
)


def export_theano(inputs, outputs, path, updates=None, **options):
    """Writes the graph that computes `outputs` from `inputs` (Theano variables) to `path` as JSON; everything else as
    for export_pytensor (gcomp._export.pytensor)."""
    return export(FRAMEWORK, inputs, outputs, path, updates, **options)
