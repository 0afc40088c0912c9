"""export_pytensor: a PyTensor graph, as it is, as a gcomp graph."""

import pytensor.scalar.basic as ps
from pytensor.compile.builders import OpFromGraph
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.type import TensorType

from .walk import Framework, export

FRAMEWORK = Framework(
    package="pytensor",
    Variable=Variable,
    Constant=Constant,
    SharedVariable=SharedVariable,
    OpFromGraph=OpFromGraph,
    Elemwise=Elemwise,
    ScalarOp=ps.ScalarOp,
    Composite=ps.Composite,
    TensorType=TensorType,
    ScalarType=ps.ScalarType,
    static_shape=lambda type_: type_.shape,
    inner_graph=lambda op: (op.fgraph.inputs, op.fgraph.outputs),
    is_random_state=lambda type_: isinstance(type_, RandomType),
)


def export_pytensor(inputs, outputs, path, updates=None, **options):
    """Writes the graph that computes `outputs` from `inputs` (PyTensor variables) to `path` as JSON.

    updates       {shared variable: its new value}. Each such shared variable becomes a state, which lives
                  between calls and begins with the variable's present value. So do shared variables of the
                  graph that have a default update. All others become constants with their present value,
                  unless they are among `inputs` or `states`.
    states        further shared variables that become states: calls leave them alone, but they can be set
    donate        those of `inputs` whose memory a call may overwrite
    input_names, output_names   default: the variables' names, else input_N and output_N
    name          name of the graph
    dims          {input name: extents}, numbers or symbol names ("N"), for extents that the input's type
                  leaves open. Without it every open extent gets a symbol of its own (x_0, x_1, ...); two
                  inputs whose extents share a symbol are checked to agree at each call. The extents of a
                  state are those of its present value unless they are given here; its new value is checked
                  to have them.
    checks        what becomes of PyMC's parameter checks: "raise" (a failed run), "ninf" (the value is
                  -inf where a check fails, as in PyMC's compiled log-densities) or "remove"

    Constants of 256 KB and more go to <stem>.safetensors beside the file. Ops that cannot be expressed
    are all listed in one UnsupportedOps error. Returns the path.
    """
    return export(FRAMEWORK, inputs, outputs, path, updates, **options)
