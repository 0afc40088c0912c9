"""Building and writing a graph in gcomp's JSON format (version 1).

`GraphWriter` holds inputs, constants, nodes and outputs in the order they are made, knows the dtype and
what it can of the shape of every value, and writes the file. It knows nothing of PyTensor.

Shapes are tuples of *dims*: an int, or an `Extent` standing for a number known only when the graph runs.
Equal dims are equal objects, so "do these two arrays surely have the same extent" is `==`.
"""

import base64
import json
import pathlib

import numpy as np

from ._safetensors import save_safetensors

FORMAT_VERSION = 1
_MAX_INLINE_ELEMENTS = 64  # longer constants are base64
_MIN_WEIGHT_BYTES = 1 << 18  # longer ones go to a safetensors file beside the graph
_FOLDS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "floor_div": np.floor_divide}


class Value:
    """A tensor of the graph: its id, dtype name and shape (a tuple of dims).

    `data` is its elements where they are known while exporting (constants, and small integers computed
    from them); `dims` its elements as dims, for integer scalars and vectors made of extents; `zero` says
    that all elements are known to be 0."""

    __slots__ = ("id", "dtype", "shape", "data", "dims", "zero", "_shape_vector")

    def __init__(self, id_, dtype, shape):
        self.id = id_
        self.dtype = dtype
        self.shape = shape
        self.data = None
        self.dims = None
        self.zero = False
        self._shape_vector = None

    @property
    def rank(self):
        return len(self.shape)

    def __repr__(self):
        return f"%{self.id}: {self.dtype}[{', '.join(map(str, self.shape))}]"


class Extent:
    """An extent known at run time: of axis `index` of `value`, or (`is_element`) element `index` of the
    int64 value `value` itself."""

    __slots__ = ("value", "index", "is_element")

    def __init__(self, value, index, is_element=False):
        self.value = value
        self.index = index
        self.is_element = is_element

    def __repr__(self):
        return f"{'element' if self.is_element else 'axis'} {self.index} of %{self.value.id}"


def is_static(shape):
    return all(isinstance(d, int) for d in shape)


class GraphWriter:
    def __init__(self, name=None):
        self.name = name
        self.symbols = []
        self.loc = ""
        self._next_id = 0
        self._inputs = []
        self._constants = []  # (id, array)
        self._nodes = []  # (op, operand ids, result ids, attrs, loc, extra operand ids)
        self._outputs = []
        self._states = []  # (input number, output number or None, initial array)
        self._constant_ids = {}
        self._broadcasts = {}
        self._named_dims = {}
        self._elements = {}  # (value id, index) -> Extent, so that equal extents are equal objects
        self._dim_ops = {}

    # ---- making values ----

    def _new(self, dtype, shape):
        value = Value(self._next_id, dtype, shape)
        self._next_id += 1
        return value

    def input(self, name, dtype, shape, donate=False):
        """`shape`: ints, or dim expressions over symbols ("N", "2*N + 1"). donate: a call may overwrite it."""
        value = self._new(dtype, ())
        dims = []
        for axis, d in enumerate(shape):
            if not isinstance(d, str):
                dims.append(int(d))
                continue
            if d.isidentifier() and d not in self.symbols:
                self.symbols.append(d)
            dims.append(self._named_dims.setdefault(d, Extent(value, axis)))
        value.shape = tuple(dims)
        self._inputs.append((value.id, name, dtype, list(shape), donate))
        return value

    def constant(self, array):
        array = np.asarray(array)
        dtype = array.dtype.name
        data = np.ascontiguousarray(array).tobytes()
        key = (dtype, array.shape, data)
        value = self._constant_ids.get(key)
        if value is None:
            value = self._new(dtype, tuple(int(n) for n in array.shape))
            value.data = array
            value.zero = not any(data)
            self._constants.append((value.id, array))
            self._constant_ids[key] = value
        return value

    def scalar(self, number, dtype):
        return self.constant(np.asarray(number).astype(dtype))

    def nodes(self, op, operands, types, attrs=None):
        """One node with several results; `types` are (dtype, shape) pairs. Dims lists in attrs may hold
        Extents."""
        attrs = dict(attrs or {})
        uses = []
        for key, value in attrs.items():
            if isinstance(value, (list, tuple)):
                attrs[key] = [self._attr_dim(d, uses) for d in value]
            elif isinstance(value, np.generic):
                attrs[key] = value.item()
        results = [self._new(dtype, shape) for dtype, shape in types]
        self._nodes.append(
            (op, [v.id for v in operands], [v.id for v in results], attrs, self.loc, uses)
        )
        return results

    def node(self, op, operands, dtype, shape, attrs=None):
        return self.nodes(op, operands, [(dtype, tuple(shape))], attrs)[0]

    def fresh_symbol(self, stem):
        """A symbol for an extent that an op defines."""
        name = next(n for n in (f"{stem}_{i}" for i in range(len(self.symbols) + 1)) if n not in self.symbols)
        self.symbols.append(name)
        return name

    def node_unknown(self, op, operands, dtype, rank, attrs=None):
        """A node whose extents are only known to the reader."""
        value = self.node(op, operands, dtype, (), attrs)
        value.shape = tuple(Extent(value, axis) for axis in range(rank))
        return value

    def _attr_dim(self, d, uses):
        if not isinstance(d, Extent):
            return d
        source = d.value if d.is_element else self.shape_vector(d.value)
        uses.append(source.id)
        return {"value": source.id, "index": d.index}

    def output(self, name, value):
        self._outputs.append((name, value.id))

    def state(self, input_index, output_index, initial):
        """A value that lives between calls: the input is the value before a call, the output (None: it stays)
        the one after it."""
        self._states.append((input_index, output_index, np.asarray(initial)))

    # ---- extents as values, and back ----

    def shape_vector(self, v):
        """int64[rank]: the extents of v."""
        if v._shape_vector is None:
            if is_static(v.shape):
                v._shape_vector = self.constant(np.array(v.shape, dtype="int64"))
            else:
                v._shape_vector = self.node("shape_of", [v], "int64", (v.rank,))
                v._shape_vector.dims = v.shape
        return v._shape_vector

    def extent_value(self, d):
        """A dim as an int64 scalar value."""
        if isinstance(d, int):
            return self.scalar(d, "int64")
        if d.is_element and d.value.rank == 0:
            return d.value
        vector = d.value if d.is_element else self.shape_vector(d.value)
        return self.reshape(self.slice(vector, [d.index], [1], [1]), ())  # its dims are (d,)

    def element(self, v, index=0):
        """The dim whose number is element `index` of the integer value v (of rank 0 or 1)."""
        if v.data is not None:
            return int(v.data.reshape(-1)[index])
        if v.dims is not None:
            return v.dims[index]
        v = self.cast(v, "int64")
        return self._elements.setdefault((v.id, index), Extent(v, index, is_element=True))

    def dim_op(self, op, a, b):
        """Arithmetic on dims: add, sub, mul, floor_div, min, max."""
        if isinstance(a, int) and isinstance(b, int):
            return {
                "add": lambda: a + b,
                "sub": lambda: a - b,
                "mul": lambda: a * b,
                "floor_div": lambda: a // b if b else 0,
                "min": lambda: min(a, b),
                "max": lambda: max(a, b),
            }[op]()
        neutral = {"add": 0, "sub": 0, "mul": 1, "floor_div": 1}.get(op)
        if neutral is not None and b == neutral:
            return a
        if op in ("add", "mul") and a == neutral:
            return b
        result = self._dim_ops.get((op, a, b))
        if result is None:
            operands = [self.extent_value(a), self.extent_value(b)]
            result = self._dim_ops[op, a, b] = self.element(self.node(op, operands, "int64", ()))
        return result

    # ---- layout ----

    def cast(self, v, dtype):
        if v.dtype == dtype:
            return v
        result = self.node("cast", [v], dtype, v.shape, {"dtype": dtype})
        result.zero = v.zero
        result.dims = v.dims if "int" in dtype else None
        return self._known(result, [v], lambda x: x.astype(dtype))

    def reshape(self, v, shape):
        shape = tuple(shape)
        if v.shape == shape:
            return v
        result = self.node("reshape", [v], v.dtype, shape, {"shape": shape})
        result.zero = v.zero
        result.dims = v.dims if len(shape) < 2 else None
        return self._known(result, [v], lambda x: x.reshape(shape))

    def _known(self, result, operands, function):
        """Computes `data` of small integer results, so that extents made of constants are numbers."""
        datas = [v.data for v in operands]
        if any(d is None or d.size > 64 or d.dtype.kind not in "biu" for d in datas):
            return result
        if is_static(result.shape) and result.dtype != "bool" and "float" not in result.dtype:
            with np.errstate(all="ignore"):
                result.data = np.asarray(function(*datas)).astype(result.dtype)
        return result

    def transpose(self, v, perm):
        perm = list(perm)
        if perm == sorted(perm):
            return v
        return self.node("transpose", [v], v.dtype, [v.shape[p] for p in perm], {"perm": perm})

    def slice(self, v, starts, shape, strides):
        shape = tuple(shape)
        if shape == v.shape and all(s == 1 for s in strides) and all(s == 0 for s in starts):
            return v
        attrs = {"starts": starts, "shape": shape, "strides": strides}
        result = self.node("slice", [v], v.dtype, shape, attrs)
        if is_static(starts):
            at = tuple(
                np.arange(start, start + n * step, step) if is_static((n,)) else None
                for start, n, step in zip(starts, shape, strides)
            )
            self._known(result, [v], lambda x: x[np.ix_(*at)])
            if v.rank == 1 and v.dims is not None and at[0] is not None:
                result.dims = tuple(v.dims[i] for i in at[0])
        return result

    def broadcast(self, v, shape, axes=None):
        """v's axis i becomes axis axes[i] (default: the last ones); extents of 1 repeat."""
        shape = tuple(shape)
        if axes is None:
            axes = range(len(shape) - v.rank, len(shape))
        axes = list(axes)
        if shape == v.shape:
            return v
        key = (v.id, shape, tuple(axes))
        result = self._broadcasts.get(key)
        if result is None:
            result = self.node("broadcast", [v], v.dtype, shape, {"shape": shape, "axes": axes})
            result.zero = v.zero
            self._broadcasts[key] = result
        return result

    def specify(self, v, shape):
        """v, checked at run time to have `shape`."""
        shape = tuple(shape)
        if shape == v.shape:
            return v
        result = self.node("specify_shape", [v], v.dtype, shape, {"shape": shape})
        result.dims = v.dims
        result.zero = v.zero
        return result

    def full(self, shape, number, dtype):
        return self.broadcast(self.scalar(number, dtype), shape, [])

    def full_like(self, v, number):
        return self.full(v.shape, number, v.dtype)

    def concat(self, parts, axis):
        if len(parts) == 1:
            return parts[0]
        extent = parts[0].shape[axis]
        for p in parts[1:]:
            extent = self.dim_op("add", extent, p.shape[axis])
        shape = list(parts[0].shape)
        shape[axis] = extent
        result = self.node("concat", parts, parts[0].dtype, shape, {"axis": axis})
        result.dims = self._concat_dims(parts)
        return self._known(result, parts, lambda *xs: np.concatenate(xs, axis))

    def _concat_dims(self, parts):
        dims = []
        for p in parts:
            if p.rank != 1 or "int" not in p.dtype or not is_static(p.shape) or len(dims) > 64:
                return None
            dims += [self.element(p, i) for i in range(p.shape[0])]
        return tuple(dims)

    def pad(self, v, number, low, high):
        shape = [
            self.dim_op("add", d, self.dim_op("add", lo, hi))
            for d, lo, hi in zip(v.shape, low, high)
        ]
        fill = self.scalar(number, v.dtype)
        return self.node("pad", [v, fill], v.dtype, shape, {"low": list(low), "high": list(high)})

    def iota(self, shape, axis, dtype="int64"):
        return self.node("iota", [], dtype, shape, {"shape": tuple(shape), "axis": axis, "dtype": dtype})

    # ---- arithmetic ----

    def unary(self, op, x):
        return self.node(op, [x], "bool" if op in ("is_nan", "is_inf") else x.dtype, x.shape)

    def binary(self, op, x, y):
        dtype = "bool" if op in ("eq", "ne", "lt", "le", "gt", "ge") else x.dtype
        result = self.node(op, [x, y], dtype, x.shape)
        return self._known(result, [x, y], _FOLDS[op]) if op in _FOLDS else result

    def where(self, cond, x, y):
        return self.node("where", [cond, x, y], x.dtype, x.shape)

    def to_bool(self, v):
        return self.cast(v, "bool")

    def reduce(self, op, v, axes):
        axes = sorted(axes)
        if not axes:
            return v
        shape = [d for a, d in enumerate(v.shape) if a not in axes]
        return self.node(op, [v], v.dtype, shape, {"axes": axes})

    def common_shape(self, shapes):
        """PyTensor's rule: of equal ranks; only extents known to be 1 repeat. Where several unknown
        extents meet, the first leads and `align` checks the others against it."""
        result = []
        for dims in zip(*shapes):
            wide = [d for d in dims if d != 1]
            known = [d for d in wide if isinstance(d, int)]
            result.append(known[0] if known else wide[0] if wide else 1)
        return tuple(result)

    def align(self, values, shape=None):
        """The values broadcast to their common shape (or to `shape`; leading axes may be missing);
        extents that are not surely equal are checked at run time."""
        if shape is None:
            rank = max((v.rank for v in values), default=0)
            shape = self.common_shape([(1,) * (rank - v.rank) + v.shape for v in values])
        out = []
        for v in values:
            offset = len(shape) - v.rank
            wanted = [d if d == 1 else shape[offset + a] for a, d in enumerate(v.shape)]
            out.append(self.broadcast(self.specify(v, wanted), shape))
        return out

    # ---- writing ----

    def _live(self):
        """Nodes, constants that outputs need, by a sweep from the end."""
        needed = {id_ for _, id_ in self._outputs}
        kept = []
        for n in reversed(self._nodes):
            if not needed.isdisjoint(n[2]):
                kept.append(n)
                needed.update(n[1])
                needed.update(n[5])
        kept.reverse()
        return kept, [c for c in self._constants if c[0] in needed]

    def write(self, path):
        """Writes the graph, and constants of 256 KB and more to <stem>.safetensors beside it."""
        path = pathlib.Path(path)
        nodes, constants = self._live()
        ids = {}
        for id_, *_ in self._inputs + constants:
            ids[id_] = len(ids)
        for n in nodes:
            for r in n[2]:
                ids[r] = len(ids)
        weights = {}
        weights_name = path.stem + ".safetensors"

        def input_text(entry):
            id_, name, dtype, shape, donate = entry
            item = {"id": ids[id_], "name": name, "dtype": dtype, "shape": shape}
            return json.dumps({**item, "donate": True} if donate else item)

        def tensor_item(key, array):
            item = {"dtype": array.dtype.name, "shape": list(array.shape)}
            if array.nbytes >= _MIN_WEIGHT_BYTES:
                weights[key] = array
                item["file"] = {"path": weights_name, "tensor": key}
            elif array.size > _MAX_INLINE_ELEMENTS or _has_odd_nan(array):
                item["base64"] = base64.b64encode(_little_endian(array)).decode()
            else:
                item["data"] = [_number(x) for x in array.ravel().tolist()]
            return item

        def constant_text(entry):
            id_, array = entry
            return json.dumps({"id": ids[id_], **tensor_item(f"c{ids[id_]}", array)})

        def state_text(entry):
            input_index, output_index, initial = entry
            item = {"input": input_index}
            if output_index is not None:
                item["output"] = output_index
            return json.dumps({**item, "initial": tensor_item(f"s{input_index}", initial)})

        def node_text(n):
            op, operands, results, attrs, loc, _ = n
            item = {"op": op, "in": [ids[i] for i in operands], "out": [ids[i] for i in results]}
            if attrs:
                item["attrs"] = {k: _renumber(v, ids) for k, v in attrs.items()}
            if loc:
                item["loc"] = loc
            return json.dumps(item)

        def section(name, entries, text):
            lines = ",\n".join("  " + text(e) for e in entries)
            return f' "{name}": [\n{lines}\n ]' if lines else f' "{name}": []'

        parts = [f' "version": {FORMAT_VERSION}']
        if self.name:
            parts.append(f' "name": {json.dumps(self.name)}')
        parts.append(f' "symbols": {json.dumps(self.symbols)}')
        parts.append(section("inputs", self._inputs, input_text))
        parts.append(section("constants", constants, constant_text))
        parts.append(section("nodes", nodes, node_text))
        parts.append(
            section("outputs", self._outputs, lambda o: json.dumps({"name": o[0], "id": ids[o[1]]}))
        )
        if self._states:
            parts.append(section("states", self._states, state_text))
        if weights:
            save_safetensors(path.with_name(weights_name), weights)
        path.write_text("{\n" + ",\n".join(parts) + "\n}\n")
        return path


def _number(x):
    if isinstance(x, float):
        if x != x:
            return "nan"
        if x in (float("inf"), float("-inf")):
            return "inf" if x > 0 else "-inf"
    return x


def _little_endian(array):
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).tobytes()


def _has_odd_nan(array):
    """A NaN that the text "nan" would not give back bit for bit."""
    if array.dtype.kind != "f":
        return False
    nan = array[np.isnan(array)]
    return bool(nan.size) and nan.tobytes() != np.full(nan.shape, np.nan, nan.dtype).tobytes()


def _renumber(value, ids):
    """Value ids within dims lists become ids of the file; other numbers become plain ints."""
    if isinstance(value, list):
        return [_renumber(v, ids) for v in value]
    if isinstance(value, dict):
        return {"value": ids[value["value"]], "index": value["index"]}
    return value.item() if isinstance(value, np.generic) else value
