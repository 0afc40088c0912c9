"""Scalar ops (what Elemwise applies): one function per op, in the table SCALAR_OPS, by the name of its class: PyTensor's,
which Theano's are too but for those of `frameworks.py`.

A function gets the writer, the operands (already cast as its row says, of equal shapes) and the dtype of
the result, and returns the result. Rows say to what the operands are cast first:
  "out"     the result's dtype: PyTensor computes there (log of int8 is a float32 log)
  "common"  the operands' common dtype (comparisons)
  "own"     not at all
"""

import numpy as np

SCALAR_OPS = {}


def row(name, casting="out"):
    def register(f):
        SCALAR_OPS[name] = (casting, f)
        return f

    return register


def common_dtype(values):
    return np.result_type(*[np.dtype(v.dtype) for v in values]).name


# ---- one gcomp op each ----

_UNARY = {
    "Neg": "neg",
    "Sign": "sign",
    "Log": "log",
    "Log2": "log2",
    "Log10": "log10",
    "Log1p": "log1p",
    "Exp": "exp",
    "Exp2": "exp2",
    "Expm1": "expm1",
    "Sqrt": "sqrt",
    "Cos": "cos",
    "ArcCos": "acos",
    "Sin": "sin",
    "ArcSin": "asin",
    "Tan": "tan",
    "ArcTan": "atan",
    "Cosh": "cosh",
    "ArcCosh": "acosh",
    "Sinh": "sinh",
    "ArcSinh": "asinh",
    "Tanh": "tanh",
    "ArcTanh": "atanh",
    "Erf": "erf",
    "Erfc": "erfc",
    "Erfcx": "erfcx",
    "Erfinv": "erfinv",
    "GammaLn": "lgamma",
    "Psi": "digamma",
    "TriGamma": "trigamma",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Log1mexp": "log1mexp",
}
_INTEGRAL = {"Ceil": "ceil", "Floor": "floor", "Trunc": "trunc", "RoundHalfToEven": "round"}
_COMPARISONS = {"LT": "lt", "GT": "gt", "LE": "le", "GE": "ge", "EQ": "eq", "NEQ": "ne"}
_BITWISE = {"OR": "bit_or", "AND": "bit_and", "XOR": "bit_xor"}


def _unary(op):
    return lambda g, xs, dtype: g.unary(op, xs[0])


def _integral(op):  # integers are their own floor
    return lambda g, xs, dtype: g.unary(op, xs[0]) if "float" in dtype else xs[0]


def _binary(op):
    return lambda g, xs, dtype: g.binary(op, xs[0], xs[1])


def _fold(op, bool_op):  # any number of operands, from the left
    def f(g, xs, dtype):
        result = xs[0]
        for x in xs[1:]:
            result = g.binary(bool_op if dtype == "bool" else op, result, x)
        return result

    return f


for _name, _op in _UNARY.items():
    row(_name)(_unary(_op))
for _name, _op in _INTEGRAL.items():
    row(_name)(_integral(_op))
for _name, _op in _COMPARISONS.items():
    row(_name, "common")(_binary(_op))
for _name, _op in _BITWISE.items():
    row(_name)(_fold(_op, _op))

row("Invert")(_unary("bit_not"))
row("Add")(_fold("add", "bit_or"))
row("Mul")(_fold("mul", "bit_and"))
row("Maximum")(_fold("max", "bit_or"))
row("Minimum")(_fold("min", "bit_and"))
row("Sub")(_binary("sub"))
row("TrueDiv")(_binary("div"))
row("IntDiv")(_binary("floor_div"))
row("Mod")(_binary("mod"))
row("Pow")(_binary("pow"))
row("ArcTan2")(_binary("atan2"))


@row("Identity")
@row("Cast")
@row("Real")
@row("Conj")
def _same(g, xs, dtype):
    return xs[0]


@row("Second", "own")
def _second(g, xs, dtype):
    return g.cast(xs[1], dtype)


# ---- a few ops each ----


@row("Abs")
def _abs(g, xs, dtype):
    return xs[0] if dtype == "bool" else g.unary("abs", xs[0])


@row("IsNan", "own")
def _is_nan(g, xs, dtype):
    x = xs[0]
    return g.unary("is_nan", x) if "float" in x.dtype else g.full(x.shape, False, "bool")


@row("IsInf", "own")
def _is_inf(g, xs, dtype):
    x = xs[0]
    return g.unary("is_inf", x) if "float" in x.dtype else g.full(x.shape, False, "bool")


@row("Switch", "own")
def _switch(g, xs, dtype):
    cond, x, y = xs
    return g.where(g.to_bool(cond), g.cast(x, dtype), g.cast(y, dtype))


@row("Clip")
def _clip(g, xs, dtype):
    x, low, high = xs  # as PyTensor: low wins over high, a NaN stays
    above = g.where(g.binary("gt", x, high), high, x)
    return g.where(g.binary("lt", x, low), low, above)


@row("Sqr")
def _sqr(g, xs, dtype):
    return g.binary("bit_and" if dtype == "bool" else "mul", xs[0], xs[0])


@row("Reciprocal")
def _reciprocal(g, xs, dtype):
    return g.binary("div", g.full_like(xs[0], 1), xs[0])


@row("Deg2Rad")
def _deg2rad(g, xs, dtype):
    return g.binary("mul", xs[0], g.full_like(xs[0], np.pi / 180.0))


@row("Rad2Deg")
def _rad2deg(g, xs, dtype):
    return g.binary("mul", xs[0], g.full_like(xs[0], 180.0 / np.pi))


@row("RoundHalfAwayFromZero")
def _round_away(g, xs, dtype):
    x = xs[0]
    whole = g.unary("trunc", x)
    rest = g.unary("abs", g.binary("sub", x, whole))  # exact
    up = g.binary("add", whole, g.unary("sign", x))
    return g.where(g.binary("ge", rest, g.full_like(x, 0.5)), up, whole)


@row("MulWithoutZeros")
def _mul_without_zeros(g, xs, dtype):
    x, y = xs
    zero = g.full_like(x, 0)
    product = g.where(g.binary("eq", y, zero), x, g.binary("mul", x, y))
    return g.where(g.binary("eq", x, zero), y, product)


def _times_log(g, x, y):
    zero = g.full_like(x, 0)
    return g.where(g.binary("eq", x, zero), zero, g.binary("mul", x, g.unary("log", y)))


@row("XlogX")
def _xlogx(g, xs, dtype):
    return _times_log(g, xs[0], xs[0])


@row("XlogY0")
def _xlogy0(g, xs, dtype):
    return _times_log(g, xs[0], xs[1])


@row("Gamma")
def _gamma(g, xs, dtype):
    """exp(lgamma(x)) with the sign of gamma(x): minus where floor(x) is odd and x < 0; NaN at the
    negative integers and -inf, as SciPy."""
    x = xs[0]
    zero = g.full_like(x, 0)
    size = g.unary("exp", g.unary("lgamma", x))
    whole = g.unary("floor", x)
    odd = g.binary("ne", g.binary("mod", whole, g.full_like(x, 2)), zero)
    below = g.binary("lt", x, zero)
    signed = g.where(g.binary("bit_and", odd, below), g.unary("neg", size), size)
    pole = g.binary("bit_and", below, g.binary("eq", whole, x))
    return g.where(pole, g.full_like(x, np.nan), signed)


def emit_scalar(g, name, operands, out_dtype):
    """The op on operands of equal shapes."""
    casting, f = SCALAR_OPS[name]
    if casting != "own":
        dtype = out_dtype if casting == "out" else common_dtype(operands)
        operands = [g.cast(x, dtype) for x in operands]
    return g.cast(f(g, operands, out_dtype), out_dtype)


def cast_operands(g, name, operands, out_dtype):
    """The operands as emit_scalar will want them; done before broadcasting, where it is cheaper."""
    casting, _ = SCALAR_OPS.get(name, ("own", None))
    if casting == "own":
        return operands
    dtype = out_dtype if casting == "out" else common_dtype(operands)
    return [g.cast(x, dtype) for x in operands]
