"""A small evaluator of the JSON graph format in NumPy, written from the op table's text.

The truth for exported graphs is PyTensor; this says whether an exported file means what PyTensor computes,
without any of gcomp. It is strict where the format is: operands of elementwise ops must have equal shapes
and dtypes, slices must be within bounds, ids must be defined before they are used.
"""

import base64
import json
import math
import pathlib
import re
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts" / "python"))
from gcomp._safetensors import load_safetensors  # noqa: E402

TOP_LEVEL_KEYS = ["version", "name", "symbols", "inputs", "constants", "nodes", "outputs", "updates", "states"]


class CheckFailed(Exception):
    """The graph's own check (op `check`, or a promised shape) failed."""


def special(name):
    import scipy.special as sp

    return {
        "erf": sp.erf,
        "erfc": sp.erfc,
        "erfcx": sp.erfcx,
        "erfinv": sp.erfinv,
        "lgamma": sp.gammaln,
        "digamma": sp.digamma,
        "trigamma": lambda x: sp.polygamma(1, x),
        "sigmoid": sp.expit,
        "softplus": lambda x: np.logaddexp(0, x),
        "log1mexp": lambda x: np.where(
            x < -math.log(2), np.log1p(-np.exp(x)), np.log(-np.expm1(np.minimum(x, 0)))
        )
        + np.where(x > 0, np.nan, 0),
    }[name]


PLAIN_UNARY = {
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "bit_not": np.invert,
    "is_nan": np.isnan, "is_inf": np.isinf,
}
FLOAT_UNARY = {
    "floor": np.floor, "ceil": np.ceil, "round": np.rint, "trunc": np.trunc, "sqrt": np.sqrt,
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2,
    "log10": np.log10, "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
}
SPECIAL = {
    "erf", "erfc", "erfcx", "erfinv", "lgamma", "digamma", "trigamma", "sigmoid", "softplus",
    "log1mexp",
}
BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "min": np.minimum, "max": np.maximum,
    "atan2": np.arctan2, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "bit_and": np.bitwise_and, "bit_or": np.bitwise_or,
    "bit_xor": np.bitwise_xor, "floor_div": np.floor_divide, "mod": np.mod, "rem": np.fmod,
}
REDUCE = {
    "reduce_sum": np.add, "reduce_prod": np.multiply, "reduce_max": np.maximum,
    "reduce_min": np.minimum, "reduce_and": np.logical_and, "reduce_or": np.logical_or,
}


class Evaluator:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.graph = json.loads(self.path.read_text())
        keys = list(self.graph)
        assert keys == [k for k in TOP_LEVEL_KEYS if k in keys], f"keys out of order: {keys}"
        assert self.graph["version"] == 1
        self.constants = {c["id"]: self._constant(c) for c in self.graph["constants"]}

    # ---- reading ----

    def _constant(self, c):
        dtype, shape = np.dtype(c["dtype"]), tuple(c["shape"])
        if "data" in c:
            return np.array([float(x) if isinstance(x, str) else x for x in c["data"]], dtype).reshape(shape)
        if "base64" in c:
            raw = base64.b64decode(c["base64"])
            return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape)
        weights = load_safetensors(self.path.parent / c["file"]["path"])
        array = weights[c["file"]["tensor"]]
        assert array.dtype == dtype and array.shape == shape
        return array

    def _dim(self, d, env, symbols):
        if isinstance(d, dict):
            return int(env[d["value"]].reshape(-1)[d["index"]])
        if isinstance(d, str):
            assert re.fullmatch(r"[A-Za-z0-9_ +*/()%,-]*", d), d
            return int(eval(d, {"__builtins__": {}, "min": min, "max": max}, symbols))  # noqa: S307
        assert type(d) is int
        return d

    # ---- running ----

    def run(self, inputs):
        """`inputs`: arrays by name. Returns the outputs by name."""
        env, symbols = {}, {}
        for entry in self.graph["inputs"]:
            x = np.asarray(inputs[entry["name"]])
            assert x.dtype == entry["dtype"], f"{entry['name']}: {x.dtype}"
            assert x.ndim == len(entry["shape"])
            for extent, d in zip(x.shape, entry["shape"]):
                if isinstance(d, str) and d.isidentifier():
                    assert d in self.graph["symbols"]
                    if symbols.setdefault(d, extent) != extent:
                        raise CheckFailed(f"{entry['name']}: {d} is {symbols[d]} and {extent}")
            assert entry["id"] not in env
            env[entry["id"]] = x
        for entry in self.graph["inputs"]:
            x = env[entry["id"]]
            wanted = tuple(self._dim(d, env, symbols) for d in entry["shape"])
            if x.shape != wanted:
                raise CheckFailed(f"{entry['name']}: {x.shape} is not {wanted}")
        assert not env.keys() & self.constants.keys()
        env.update(self.constants)
        with np.errstate(all="ignore"):
            for n in self.graph["nodes"]:
                operands = [env[i] for i in n["in"]]
                attrs = dict(n.get("attrs", {}))
                for key in ("shape", "starts", "low", "high", "values"):
                    if key in attrs:
                        attrs[key] = [self._dim(d, env, symbols) for d in attrs[key]]
                results = self._node(n["op"], operands, attrs, symbols)
                results = results if isinstance(results, tuple) else (results,)
                assert len(results) == len(n["out"])
                for id_, r in zip(n["out"], results):
                    assert id_ not in env, f"%{id_} is defined twice"
                    env[id_] = np.asarray(r)
        return {o["name"]: env[o["id"]] for o in self.graph["outputs"]}

    def _node(self, op, xs, attrs, symbols):
        if op in PLAIN_UNARY or op in FLOAT_UNARY or op in SPECIAL:
            (x,) = xs
            if op in PLAIN_UNARY:
                return PLAIN_UNARY[op](x)
            assert x.dtype.kind == "f", f"{op} of {x.dtype}"
            # In double and rounded once, as PyTensor's C code does.
            f = FLOAT_UNARY.get(op) or special(op)
            return np.asarray(f(x.astype("float64"))).astype(x.dtype)
        if op in BINARY or op in ("div", "pow"):
            x, y = xs
            assert x.shape == y.shape and x.dtype == y.dtype, f"{op}: {x.dtype}{x.shape} {y.dtype}{y.shape}"
            if x.dtype == bool:
                assert op in ("eq", "ne", "lt", "le", "gt", "ge", "bit_and", "bit_or", "bit_xor"), op
            if op == "div":
                assert x.dtype.kind == "f"
                return np.divide(x, y)
            if op == "pow":
                if x.dtype.kind == "f":
                    return np.power(x, y)
                return np.power(x.astype("float64"), y).astype(x.dtype)  # small integers in tests
            return BINARY[op](x, y)
        return getattr(self, "op_" + op)(xs, attrs, symbols)

    def op_where(self, xs, attrs, symbols):
        c, x, y = xs
        assert c.dtype == bool and c.shape == x.shape == y.shape and x.dtype == y.dtype
        return np.where(c, x, y)

    def op_cast(self, xs, attrs, symbols):
        return xs[0].astype(attrs["dtype"])

    def op_check(self, xs, attrs, symbols):
        assert xs[1].dtype == bool
        if not xs[1].all():
            raise CheckFailed(attrs["message"])
        return xs[0]

    # sources and shapes

    def op_shape_of(self, xs, attrs, symbols):
        return np.array(xs[0].shape, "int64")

    def op_iota(self, xs, attrs, symbols):
        shape = tuple(attrs["shape"])
        view = [1] * len(shape)
        view[attrs["axis"]] = -1
        return np.broadcast_to(np.arange(shape[attrs["axis"]]).reshape(view), shape).astype(attrs["dtype"])

    def op_reshape(self, xs, attrs, symbols):
        assert all(n >= 0 for n in attrs["shape"])
        if math.prod(attrs["shape"]) != xs[0].size:
            raise CheckFailed(f"reshape of {xs[0].shape} to {attrs['shape']}")
        return xs[0].reshape(attrs["shape"])

    def op_broadcast(self, xs, attrs, symbols):
        x, axes, shape = xs[0], attrs["axes"], attrs["shape"]
        assert len(axes) == x.ndim and all(a < b for a, b in zip(axes, axes[1:]))
        view = [1] * len(shape)
        for extent, a in zip(x.shape, axes):
            if extent not in (1, shape[a]):
                raise CheckFailed(f"broadcast of {x.shape} to {shape}")
            view[a] = extent
        return np.broadcast_to(x.reshape(view), shape)

    def op_specify_shape(self, xs, attrs, symbols):
        if list(xs[0].shape) != attrs["shape"]:
            raise CheckFailed(f"{xs[0].shape} is not {attrs['shape']}")
        return xs[0]

    def op_transpose(self, xs, attrs, symbols):
        assert sorted(attrs["perm"]) == list(range(xs[0].ndim))
        return xs[0].transpose(attrs["perm"])

    def op_slice(self, xs, attrs, symbols):
        x = xs[0]
        at = []
        for extent, start, n, step in zip(x.shape, attrs["starts"], attrs["shape"], attrs["strides"]):
            index = start + step * np.arange(n)
            assert all(0 <= i < extent for i in index), f"slice {attrs} of {x.shape}"
            at.append(index)
        assert len(at) == len(attrs["starts"]) == x.ndim
        return x[np.ix_(*at)] if at else x

    def op_pad(self, xs, attrs, symbols):
        x, fill = xs
        assert fill.dtype == x.dtype and fill.shape == ()
        low, high = attrs["low"], attrs["high"]
        assert all(n >= 0 for n in low + high)
        return np.pad(x, list(zip(low, high)), constant_values=fill) if x.ndim else x

    def op_concat(self, xs, attrs, symbols):
        assert all(x.dtype == xs[0].dtype for x in xs)
        return np.concatenate(xs, attrs["axis"])

    def op_reverse(self, xs, attrs, symbols):
        return np.flip(xs[0], attrs["axes"])

    # indexed

    def op_gather(self, xs, attrs, symbols):
        return np.take(xs[0], xs[1], axis=attrs["axis"])

    def op_gather_nd(self, xs, attrs, symbols):
        assert not attrs.get("batch_dims")
        return xs[0][tuple(np.moveaxis(xs[1], -1, 0))]

    def op_scatter_nd(self, xs, attrs, symbols):
        x, at, y = xs
        at = tuple(np.moveaxis(at, -1, 0))
        assert y.shape == at[0].shape + x.shape[len(at):] and y.dtype == x.dtype
        x = x.copy()
        if attrs.get("reduction", "none") == "add":
            np.add.at(x, at, y)
        else:
            assert attrs.get("reduction", "none") == "none"
            x[at] = y
        return x

    # reductions, scans, products, order

    def _reduce(self, op, xs, attrs):
        (x,), axes = xs, tuple(attrs["axes"])
        assert (x.dtype == bool) == (op in ("reduce_and", "reduce_or")), f"{op} of {x.dtype}"
        return REDUCE[op].reduce(x, axis=axes, dtype=x.dtype)

    def __getattr__(self, name):
        if name.startswith("op_reduce_"):
            return lambda xs, attrs, symbols: self._reduce(name[3:], xs, attrs)
        raise AttributeError(name)

    def op_argmax(self, xs, attrs, symbols):
        return np.argmax(xs[0], axis=attrs["axis"])

    def op_cumsum(self, xs, attrs, symbols):
        return np.cumsum(xs[0], axis=attrs["axis"], dtype=xs[0].dtype)

    def op_cumprod(self, xs, attrs, symbols):
        return np.cumprod(xs[0], axis=attrs["axis"], dtype=xs[0].dtype)

    def op_matmul(self, xs, attrs, symbols):
        x, y = xs
        assert x.ndim == y.ndim and x.shape[:-2] == y.shape[:-2] and x.dtype == y.dtype
        return np.matmul(x, y)

    def op_sort(self, xs, attrs, symbols):
        order = np.argsort(xs[0], axis=attrs["axis"], kind="stable")
        return np.take_along_axis(xs[0], order, attrs["axis"]), order

    def op_nonzero(self, xs, attrs, symbols):
        found = np.array(np.nonzero(xs[0]), "int64").reshape(xs[0].ndim, -1)
        symbols[attrs["symbols"][0]] = found.shape[1]
        return found
