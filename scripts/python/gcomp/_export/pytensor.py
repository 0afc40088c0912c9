"""export_pytensor: a PyTensor graph, as it is, as a gcomp graph.

The graph is walked in topological order with an explicit stack (inner graphs push a frame), so depth is
no limit. Each apply node is handed to the function of its op (tensor.py, indexing.py, scalar.py). Nothing
is rewritten by PyTensor; OpFromGraph and Composite are inlined.
"""

import contextlib
import gc

import numpy as np
import pytensor.scalar.basic as ps
from pytensor.compile.builders import OpFromGraph
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.scalar.basic import ScalarOp, ScalarType
from pytensor.tensor.basic import Join, MakeVector, ScalarFromTensor, TensorFromScalar
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.shape import Shape, Shape_i
from pytensor.tensor.subtensor import Subtensor
from pytensor.tensor.type import TensorType
from pytensor.tensor.type_other import MakeSlice

from .._errors import GcompError, UnsupportedOps
from .._graph import GraphWriter
from . import indexing  # noqa: F401  (fills TENSOR_OPS)
from .scalar import cast_operands, emit_scalar, unsupported_scalar
from .tensor import TENSOR_OPS, Unsupported

DTYPES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()
)
CHECK_ACTIONS = ("raise", "ninf", "remove")


def toposort(outputs, known=()):
    """Apply nodes that `outputs` need, operands first; `known` variables are not looked behind."""
    order, seen = [], set()
    known = set(known)
    stack = [(v.owner, False) for v in reversed(outputs) if v.owner is not None and v not in known]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            for v in reversed(node.inputs):
                if v.owner is not None and v.owner not in seen and v not in known:
                    stack.append((v.owner, False))
    return order


class _Frame:
    """A graph being walked: its nodes still to do, the values of its variables, and whom it serves."""

    def __init__(self, nodes, values, outputs, caller=None, caller_node=None):
        self.nodes = iter(nodes)
        self.values = values
        self.outputs = outputs
        self.caller = caller
        self.caller_node = caller_node


class Exporter:
    """Walks the graph; handlers see it as `cx`."""

    def __init__(self, writer, checks):
        self.g = writer
        self.checks = checks
        self.problems = []
        self._shape_arithmetic = {}

    # ---- for the handlers ----

    def check_action(self, op):
        """What becomes of an Assert or PyMC parameter check: "raise", "ninf" or "remove"."""
        if not hasattr(op, "can_be_replaced_by_ninf"):
            return "raise"
        if self.checks == "ninf" and not op.can_be_replaced_by_ninf:
            return "raise"
        return self.checks

    def is_shape_arithmetic(self, var):
        """Whether an integer variable is computed from shapes and constants alone (so it can hold no -1
        that stands for "the rest")."""
        allowed = (Shape, Shape_i, Subtensor, MakeVector, Join, ScalarFromTensor, TensorFromScalar)
        stack, seen = [var], set()
        while stack:
            v = stack.pop()
            if v in seen:
                continue
            seen.add(v)
            if isinstance(v, Constant) or (v.owner and isinstance(v.owner.op, (Shape, Shape_i))):
                continue
            if v.owner is None:
                return False
            op = v.owner.op
            if isinstance(op, Elemwise):
                if not isinstance(op.scalar_op, (ps.Mul, ps.Add, ps.Cast, ps.Maximum)):
                    return False
            elif not isinstance(op, (*allowed, MakeSlice)):
                return False
            stack.extend(v.owner.inputs)
        return True

    # ---- the walk ----

    def run(self, values, outputs):
        """The values of `outputs`, given those of the inputs (a dict, which is extended)."""
        frames = [_Frame(toposort(outputs, values), values, outputs)]
        while True:
            frame = frames[-1]
            node = next(frame.nodes, None)
            if node is None:
                results = [self._value(frame, v) for v in frame.outputs]
                frames.pop()
                if not frames:
                    return results
                self._define(frame.caller, frame.caller_node, results)
                continue
            inner = self._node(frame, node)
            if inner is not None:
                frames.append(inner)

    def _value(self, frame, var):
        value = frame.values.get(var)
        if value is None and isinstance(var, Constant) and isinstance(var.type, (TensorType, ScalarType)):
            if var.type.dtype not in DTYPES:
                self.problems.append((f"constant of dtype {var.type.dtype}", _place(var)))
                return None
            value = self.g.constant(np.asarray(var.data).astype(var.type.dtype, copy=False))
            frame.values[var] = value
        return value

    def _node(self, frame, node):
        """Emits one node; returns the frame of an inner graph to be walked first, if it has one."""
        self.g.loc = _place(node.outputs[0])
        op = node.op
        operands = [self._value(frame, v) for v in node.inputs]
        if any(
            o is None and isinstance(v.type, (TensorType, ScalarType))
            for o, v in zip(operands, node.inputs)
        ):
            return self._fail(frame, node, None)  # of an operand that failed already
        unknown = [v for v in node.outputs if getattr(v.type, "dtype", "bool") not in DTYPES]
        if unknown:
            return self._fail(frame, node, f"{_op_name(op)}: dtype {unknown[0].type.dtype}")
        try:
            if isinstance(op, OpFromGraph):
                inner = op.fgraph
                values = dict(zip(inner.inputs, operands))
                return _Frame(toposort(inner.outputs, values), values, inner.outputs, frame, node)
            if isinstance(op, (Elemwise, ScalarOp)):
                return self._elementwise(frame, node, operands)
            handler = _handler(type(op))
            if handler is None:
                return self._fail(frame, node, _op_name(op))
            self._define(frame, node, handler(self, node, operands))
        except Unsupported as e:
            self._fail(frame, node, f"{_op_name(op)}: {e}")
        return None

    def _elementwise(self, frame, node, operands):
        op = node.op.scalar_op if isinstance(node.op, Elemwise) else node.op
        missing = unsupported_scalar(op)
        if missing:
            return self._fail(frame, node, missing)
        out_dtype = node.outputs[0].type.dtype
        operands = self.g.align(cast_operands(self.g, op, operands, out_dtype))
        if isinstance(op, ps.Composite):
            inner = op.fgraph
            values = dict(zip(inner.inputs, operands))
            return _Frame(toposort(inner.outputs, values), values, inner.outputs, frame, node)
        self._define(frame, node, [emit_scalar(self.g, op, operands, out_dtype)])
        return None

    def _define(self, frame, node, results):
        """Records the node's results, holding them to what PyTensor promises of their types."""
        for var, value in zip(node.outputs, results):
            if isinstance(var.type, TensorType) and value is not None:
                if value.dtype != var.type.dtype or value.rank != var.type.ndim:
                    raise GcompError(f"internal: {_op_name(node.op)} gave {value} for {var.type}")
                promised = [d if s is None else s for d, s in zip(value.shape, var.type.shape)]
                value = self.g.specify(value, promised)
            frame.values[var] = value

    def _fail(self, frame, node, what):
        if what is not None:
            self.problems.append((what, _place(node.outputs[0])))
        for v in node.outputs:
            frame.values[v] = None


def _handler(cls):
    for c in cls.__mro__:
        if c in TENSOR_OPS:
            return TENSOR_OPS[c]
    return None


def _op_name(op):
    inner = getattr(op, "scalar_op", None) or getattr(op, "core_op", None)
    name = type(op).__name__
    return f"{name}{{{type(inner).__name__}}}" if inner is not None else name


def _place(var):
    if var.name:
        return str(var.name)
    return "" if var.owner is None else _op_name(var.owner.op)


def _dims_of(var, name, dims, taken):
    """The extents of an input for the file: numbers where its type knows them, else what the caller
    gave, else a symbol of its own."""
    given = dims.get(name)
    if given is not None and len(given) != var.type.ndim:
        raise ValueError(f"dims[{name!r}] has {len(given)} entries; the input has rank {var.type.ndim}")
    out = []
    for axis, extent in enumerate(var.type.shape):
        wanted = given[axis] if given is not None else None
        if extent is not None:
            if wanted is not None and wanted != extent:
                raise ValueError(f"dims[{name!r}][{axis}] is {wanted}; the input's type says {extent}")
            out.append(extent)
        elif wanted is not None:
            out.append(wanted)
        else:
            stem = "".join(c if c.isalnum() and c.isascii() else "_" for c in name) + f"_{axis}"
            stem = stem if not stem[0].isdigit() else "_" + stem
            while stem in taken:
                stem += "_"
            taken.add(stem)
            out.append(stem)
    return out


def _unique_names(variables, names, stem):
    if names is None:
        names = [v.name or f"{stem}_{i}" for i, v in enumerate(variables)]
    names = [str(n) for n in names]
    if len(names) != len(variables):
        raise ValueError(f"{len(names)} {stem} names for {len(variables)} {stem}s")
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise ValueError(f"two {stem}s are named {twice!r}: give {stem}_names")
    return names


def export_pytensor(
    inputs,
    outputs,
    path,
    updates=None,
    *,
    input_names=None,
    output_names=None,
    name=None,
    dims=None,
    checks="raise",
):
    """Writes the graph that computes `outputs` from `inputs` (PyTensor variables) to `path` as JSON.

    updates       {shared variable: its new value}. Each such shared variable becomes an input, after
                  `inputs`, and its new value an output, after `outputs`; the file pairs them. Other shared
                  variables become constants with their present value, unless they are among `inputs`.
    input_names, output_names   default: the variables' names, else input_N and output_N
    name          name of the graph
    dims          {input name: extents}, numbers or symbol names ("N"), for extents that the input's type
                  leaves open. Without it every open extent gets a symbol of its own (x_0, x_1, ...); two
                  inputs whose extents share a symbol are checked to agree at each call.
    checks        what becomes of PyMC's parameter checks: "raise" (a failed run), "ninf" (the value is
                  -inf where a check fails, as in PyMC's compiled log-densities) or "remove"

    Constants of 256 KB and more go to <stem>.safetensors beside the file. Ops that cannot be expressed
    are all listed in one UnsupportedOps error. Returns the path.
    """
    if checks not in CHECK_ACTIONS:
        raise ValueError(f"checks is {checks!r}; it must be one of {', '.join(CHECK_ACTIONS)}")
    inputs = [inputs] if isinstance(inputs, Variable) else list(inputs)
    outputs = [outputs] if isinstance(outputs, Variable) else list(outputs)
    updates = dict(updates or {})
    states = list(updates)
    for v in states:
        if not isinstance(v, SharedVariable):
            raise TypeError(f"updates: {v} is not a shared variable")
    in_names = _unique_names(inputs, input_names, "input")
    state_names = [v.name or f"state_{i}" for i, v in enumerate(states)]
    in_names = _unique_names(inputs + states, in_names + state_names, "input")
    out_names = _unique_names(outputs, output_names, "output")
    out_names = _unique_names(outputs + states, out_names + [f"new_{n}" for n in state_names], "output")

    g = GraphWriter(name)
    cx = Exporter(g, checks)
    dims = dict(dims or {})
    strays = sorted(set(dims) - set(in_names))
    if strays:
        raise ValueError(f"dims names no input: {', '.join(strays)}")
    taken = {d for given in dims.values() for d in given if isinstance(d, str)}
    values = {}
    for var, in_name in zip(inputs + states, in_names):
        if not isinstance(var.type, (TensorType, ScalarType)) or var.type.dtype not in DTYPES:
            raise TypeError(f"input {in_name}: cannot be exported ({var.type})")
        if var in values:
            raise ValueError(f"{var} is an input twice")
        if isinstance(var.type, TensorType):
            shape = _dims_of(var, in_name, dims, taken)
        else:
            shape = ()
        values[var] = g.input(in_name, var.type.dtype, shape)

    results = outputs + [v.type.filter_variable(updates[v]) for v in states]
    nodes = toposort(results, values)
    roots = dict.fromkeys(v for n in nodes for v in n.inputs)
    roots.update(dict.fromkeys(results))
    loose = []
    for v in roots:
        if v.owner is not None or v in values or isinstance(v, Constant):
            continue
        if isinstance(v, SharedVariable) and isinstance(v.type, TensorType):
            g.loc = _place(v)
            values[v] = g.constant(np.asarray(v.get_value(borrow=True)))
        elif not isinstance(v.type, RandomType):  # those fail at the op that draws
            loose.append(str(v))
    if loose:
        raise ValueError("the outputs depend on variables that are not inputs: " + ", ".join(loose))

    with _without_collector():
        found = cx.run(values, results)
        if cx.problems:
            raise UnsupportedOps(cx.problems)
        for out_name, value in zip(out_names, found):
            g.output(out_name, value)
        for i in range(len(states)):
            g.update(len(inputs) + i, len(outputs) + i)
        return g.write(path)


@contextlib.contextmanager
def _without_collector():
    """Many small objects that all stay alive: looking for garbage among them takes half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
