"""The walk over a graph of PyTensor's or Theano's, as it is, into a gcomp graph.

The graph is walked in topological order with an explicit stack (inner graphs push a frame), so depth is
no limit. Each apply node is handed to the function of its op (tensor.py, indexing.py, scalar.py). Nothing
is rewritten on the way; OpFromGraph and Composite are inlined. What differs between the two packages is in
`Framework`.
"""

import contextlib
import gc
from dataclasses import dataclass, field
from typing import Callable

import numpy as np

from .._errors import GcompError, UnsupportedOps
from .._graph import GraphWriter
from . import indexing  # noqa: F401  (fills TENSOR_OPS)
from .scalar import SCALAR_OPS, cast_operands, emit_scalar
from .tensor import TENSOR_OPS, Unsupported

DTYPES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()
)
CHECK_ACTIONS = ("raise", "ninf", "remove")


@dataclass(frozen=True)
class Framework:
    """The classes of one of the packages, and what their graphs say in different ways."""

    package: str  # what its modules' names begin with
    Variable: type
    Constant: type
    SharedVariable: type
    OpFromGraph: type
    Elemwise: type
    ScalarOp: type
    Composite: type
    TensorType: type
    ScalarType: type
    static_shape: Callable  # of a tensor type: an int or None for each axis
    inner_graph: Callable  # of an OpFromGraph: (inputs, outputs)
    is_random_state: Callable  # of a type
    names: dict = field(default_factory=dict)  # its names of scalar ops that PyTensor calls otherwise
    tensor_ops: dict = field(default_factory=dict)  # its own functions for tensor ops, before TENSOR_OPS

    def scalar_name(self, op):
        name = type(op).__name__ if type(op).__module__.startswith(self.package) else None
        return self.names.get(name, name)

    def handler(self, op):
        for cls in type(op).__mro__:
            if cls.__module__.split(".")[0] in (self.package, "pymc"):
                found = self.tensor_ops.get(cls.__name__) or TENSOR_OPS.get(cls.__name__)
                if found:
                    return found
        return None


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


_SHAPE_ARITHMETIC = frozenset(
    ("Subtensor", "MakeVector", "Join", "ScalarFromTensor", "TensorFromScalar", "MakeSlice")
    + ("Elemwise Mul", "Elemwise Add", "Elemwise Cast", "Elemwise Maximum")
)


class Exporter:
    """Walks the graph; handlers see it as `cx`."""

    def __init__(self, framework, writer, checks):
        self.framework = framework
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
        stack, seen = [var], set()
        while stack:
            v = stack.pop()
            if v in seen:
                continue
            seen.add(v)
            if isinstance(v, self.framework.Constant):
                continue
            if v.owner is None:
                return False
            op = v.owner.op
            name = type(op).__name__
            if name in ("Shape", "Shape_i"):
                continue
            if name == "Elemwise":
                name = f"Elemwise {type(op.scalar_op).__name__}"
            if name not in _SHAPE_ARITHMETIC:
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
        if value is None and isinstance(var, self.framework.Constant) and self._is_tensor(var):
            if var.type.dtype not in DTYPES:
                self.problems.append((f"constant of dtype {var.type.dtype}", _place(var)))
                return None
            value = self.g.constant(np.asarray(var.data).astype(var.type.dtype, copy=False))
            frame.values[var] = value
        return value

    def _is_tensor(self, var):
        return isinstance(var.type, (self.framework.TensorType, self.framework.ScalarType))

    def _node(self, frame, node):
        """Emits one node; returns the frame of an inner graph to be walked first, if it has one."""
        self.g.loc = _place(node.outputs[0])
        op = node.op
        operands = [self._value(frame, v) for v in node.inputs]
        if any(o is None and self._is_tensor(v) for o, v in zip(operands, node.inputs)):
            return self._fail(frame, node, None)  # of an operand that failed already
        unknown = [v for v in node.outputs if getattr(v.type, "dtype", "bool") not in DTYPES]
        if unknown:
            return self._fail(frame, node, f"{_op_name(op)}: dtype {unknown[0].type.dtype}")
        try:
            if isinstance(op, self.framework.OpFromGraph):
                return self._inner(frame, node, *self.framework.inner_graph(op), operands)
            if isinstance(op, (self.framework.Elemwise, self.framework.ScalarOp)):
                return self._elementwise(frame, node, operands)
            handler = self.framework.handler(op)
            if handler is None:
                return self._fail(frame, node, _op_name(op))
            self._define(frame, node, handler(self, node, operands))
        except Unsupported as e:
            self._fail(frame, node, f"{_op_name(op)}: {e}")
        return None

    def _inner(self, frame, node, inputs, outputs, operands):
        values = dict(zip(inputs, operands))
        return _Frame(toposort(outputs, values), values, outputs, frame, node)

    def _elementwise(self, frame, node, operands):
        op = node.op.scalar_op if isinstance(node.op, self.framework.Elemwise) else node.op
        name = self.framework.scalar_name(op)
        is_composite = isinstance(op, self.framework.Composite)
        if name not in SCALAR_OPS and not is_composite:
            return self._fail(frame, node, type(op).__name__)
        out_dtype = node.outputs[0].type.dtype
        operands = self.g.align(cast_operands(self.g, name, operands, out_dtype))
        if is_composite:
            return self._inner(frame, node, op.fgraph.inputs, op.fgraph.outputs, operands)
        self._define(frame, node, [emit_scalar(self.g, name, operands, out_dtype)])
        return None

    def _define(self, frame, node, results):
        """Records the node's results, holding them to what the package promises of their types."""
        for var, value in zip(node.outputs, results):
            if isinstance(var.type, self.framework.TensorType) and value is not None:
                if value.dtype != var.type.dtype or value.rank != var.type.ndim:
                    raise GcompError(f"internal: {_op_name(node.op)} gave {value} for {var.type}")
                promised = [d if s is None else s for d, s in zip(value.shape, self.framework.static_shape(var.type))]
                value = self.g.specify(value, promised)
            frame.values[var] = value

    def _fail(self, frame, node, what):
        if what is not None:
            self.problems.append((what, _place(node.outputs[0])))
        for v in node.outputs:
            frame.values[v] = None


def _op_name(op):
    inner = getattr(op, "scalar_op", None) or getattr(op, "core_op", None)
    name = type(op).__name__
    return f"{name}{{{type(inner).__name__}}}" if inner is not None else name


def _place(var):
    if var.name:
        return str(var.name)
    return "" if var.owner is None else _op_name(var.owner.op)


def _dims_of(static_shape, name, dims, taken):
    """The extents of an input for the file: numbers where its type knows them, else what the caller
    gave, else a symbol of its own."""
    given = dims.get(name)
    if given is not None and len(given) != len(static_shape):
        raise ValueError(f"dims[{name!r}] has {len(given)} entries; the input has rank {len(static_shape)}")
    out = []
    for axis, extent in enumerate(static_shape):
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


def export(
    framework,
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
    states=(),
    donate=(),
):
    """export_pytensor and export_theano."""
    if checks not in CHECK_ACTIONS:
        raise ValueError(f"checks is {checks!r}; it must be one of {', '.join(CHECK_ACTIONS)}")
    inputs = [inputs] if isinstance(inputs, framework.Variable) else list(inputs)
    outputs = [outputs] if isinstance(outputs, framework.Variable) else list(outputs)
    states = _new_values(framework, inputs, outputs, dict(updates or {}), states)
    donate = [donate] if isinstance(donate, framework.Variable) else list(donate)
    for v in donate:
        if v not in inputs:
            raise ValueError(f"donate: {v} is not among the inputs")
    in_names = _unique_names(inputs, input_names, "input")
    state_names = [v.name or f"state_{i}" for i, v in enumerate(states)]
    in_names = _unique_names(inputs + list(states), in_names + state_names, "input")
    out_names = _unique_names(outputs, output_names, "output")
    out_names = out_names + [f"new_{n}" for n, new in zip(state_names, states.values()) if new is not None]

    g = GraphWriter(name)
    cx = Exporter(framework, g, checks)
    dims = dict(dims or {})
    strays = sorted(set(dims) - set(in_names))
    if strays:
        raise ValueError(f"dims names no input: {', '.join(strays)}")
    taken = {d for given in dims.values() for d in given if isinstance(d, str)}
    values = {}
    for var, in_name in zip(inputs + list(states), in_names):
        if not isinstance(var.type, (framework.TensorType, framework.ScalarType)) or var.type.dtype not in DTYPES:
            raise TypeError(f"input {in_name}: cannot be exported ({var.type})")
        if var in values:
            raise ValueError(f"{var} is an input twice")
        if var in states and in_name not in dims:
            shape = np.shape(var.get_value(borrow=True))
        elif isinstance(var.type, framework.TensorType):
            shape = _dims_of(framework.static_shape(var.type), in_name, dims, taken)
        else:
            shape = ()
        values[var] = g.input(in_name, var.type.dtype, shape, donate=var in donate)

    results = outputs + [new for new in states.values() if new is not None]
    nodes = toposort(results, values)
    roots = dict.fromkeys(v for n in nodes for v in n.inputs)
    roots.update(dict.fromkeys(results))
    loose = []
    for v in roots:
        if v.owner is not None or v in values or isinstance(v, framework.Constant):
            continue
        if isinstance(v, framework.SharedVariable) and isinstance(v.type, framework.TensorType):
            g.loc = _place(v)
            values[v] = g.constant(np.asarray(v.get_value(borrow=True)))
        elif not framework.is_random_state(v.type):  # those fail at the op that draws
            loose.append(str(v))
    if loose:
        raise ValueError("the outputs depend on variables that are not inputs: " + ", ".join(loose))

    with _without_collector():
        found = cx.run(values, results)
        if cx.problems:
            raise UnsupportedOps(cx.problems)
        for out_name, value in zip(out_names, found[: len(outputs)]):
            g.output(out_name, value)
        next_output = len(outputs)
        for i, (var, new) in enumerate(states.items(), len(inputs)):
            initial = var.get_value(borrow=True)
            if new is None:
                g.state(i, None, initial)
                continue
            g.output(out_names[next_output], g.specify(found[next_output], values[var].shape))
            g.state(i, next_output, initial)
            next_output += 1
        return g.write(path)


def _new_values(framework, inputs, outputs, updates, settable):
    """{shared variable: its new value, or None} of all that are states: those with an update, those that the
    caller wants to set, and those in the graph that have a default update, as in a function of the package's."""
    settable = [settable] if isinstance(settable, framework.Variable) else list(settable)
    states = {}
    for v in [*updates, *settable]:
        if not isinstance(v, framework.SharedVariable):
            raise TypeError(f"{'updates' if v in updates else 'states'}: {v} is not a shared variable")
        states[v] = v.type.filter_variable(updates[v]) if v in updates else None
    pending, seen = [*outputs, *states.values()], set()
    while pending:
        v = pending.pop()
        if v is None or v in seen:
            continue
        seen.add(v)
        if v.owner is not None:
            pending.extend(v.owner.inputs)
        default = getattr(v, "default_update", None)
        if default is not None and isinstance(v.type, framework.TensorType) and v not in inputs:
            if v not in states:
                states[v] = v.type.filter_variable(default)
                pending.append(states[v])
    return states


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
