"""Scalar ops (what Elemwise applies): one function per op, in the table SCALAR_OPS.

A function gets the writer, the operands (already cast as its row says, of equal shapes) and the dtype of
the result, and returns the result. Rows say to what the operands are cast first:
  "out"     the result's dtype: PyTensor computes there (log of int8 is a float32 log)
  "common"  the operands' common dtype (comparisons)
  "own"     not at all
"""

import numpy as np
import pytensor.scalar.basic as ps
import pytensor.scalar.math as psm
from pytensor.tensor.math import MulWithoutZeros
from pytensor.tensor.xlogx import XlogX, XlogY0

SCALAR_OPS = {}


def row(cls, casting="out"):
    def register(f):
        SCALAR_OPS[cls] = (casting, f)
        return f

    return register


def common_dtype(values):
    dtype = values[0].dtype
    for v in values[1:]:
        dtype = ps.upcast(dtype, v.dtype)
    return dtype


# ---- one gcomp op each ----

_UNARY = {
    ps.Neg: "neg",
    ps.Sign: "sign",
    ps.Log: "log",
    ps.Log2: "log2",
    ps.Log10: "log10",
    ps.Log1p: "log1p",
    ps.Exp: "exp",
    ps.Exp2: "exp2",
    ps.Expm1: "expm1",
    ps.Sqrt: "sqrt",
    ps.Cos: "cos",
    ps.ArcCos: "acos",
    ps.Sin: "sin",
    ps.ArcSin: "asin",
    ps.Tan: "tan",
    ps.ArcTan: "atan",
    ps.Cosh: "cosh",
    ps.ArcCosh: "acosh",
    ps.Sinh: "sinh",
    ps.ArcSinh: "asinh",
    ps.Tanh: "tanh",
    ps.ArcTanh: "atanh",
    psm.Erf: "erf",
    psm.Erfc: "erfc",
    psm.Erfcx: "erfcx",
    psm.Erfinv: "erfinv",
    psm.GammaLn: "lgamma",
    psm.Psi: "digamma",
    psm.TriGamma: "trigamma",
    psm.Sigmoid: "sigmoid",
    psm.Softplus: "softplus",
    psm.Log1mexp: "log1mexp",
}
_INTEGRAL = {ps.Ceil: "ceil", ps.Floor: "floor", ps.Trunc: "trunc", ps.RoundHalfToEven: "round"}
_COMPARISONS = {ps.LT: "lt", ps.GT: "gt", ps.LE: "le", ps.GE: "ge", ps.EQ: "eq", ps.NEQ: "ne"}
_BITWISE = {ps.OR: "bit_or", ps.AND: "bit_and", ps.XOR: "bit_xor"}


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


for _cls, _op in _UNARY.items():
    row(_cls)(_unary(_op))
for _cls, _op in _INTEGRAL.items():
    row(_cls)(_integral(_op))
for _cls, _op in _COMPARISONS.items():
    row(_cls, "common")(_binary(_op))
for _cls, _op in _BITWISE.items():
    row(_cls)(_fold(_op, _op))

row(ps.Invert)(_unary("bit_not"))
row(ps.Add)(_fold("add", "bit_or"))
row(ps.Mul)(_fold("mul", "bit_and"))
row(ps.Maximum)(_fold("max", "bit_or"))
row(ps.Minimum)(_fold("min", "bit_and"))
row(ps.Sub)(_binary("sub"))
row(ps.TrueDiv)(_binary("div"))
row(ps.IntDiv)(_binary("floor_div"))
row(ps.Mod)(_binary("mod"))
row(ps.Pow)(_binary("pow"))
row(ps.ArcTan2)(_binary("atan2"))


@row(ps.Identity)
@row(ps.Cast)
@row(ps.Real)
@row(ps.Conj)
def _same(g, xs, dtype):
    return xs[0]


@row(ps.Second, "own")
def _second(g, xs, dtype):
    return g.cast(xs[1], dtype)


# ---- a few ops each ----


@row(ps.Abs)
def _abs(g, xs, dtype):
    return xs[0] if dtype == "bool" else g.unary("abs", xs[0])


@row(ps.IsNan, "own")
def _is_nan(g, xs, dtype):
    x = xs[0]
    return g.unary("is_nan", x) if "float" in x.dtype else g.full(x.shape, False, "bool")


@row(ps.IsInf, "own")
def _is_inf(g, xs, dtype):
    x = xs[0]
    return g.unary("is_inf", x) if "float" in x.dtype else g.full(x.shape, False, "bool")


@row(ps.Switch, "own")
def _switch(g, xs, dtype):
    cond, x, y = xs
    return g.where(g.to_bool(cond), g.cast(x, dtype), g.cast(y, dtype))


@row(ps.Clip)
def _clip(g, xs, dtype):
    x, low, high = xs  # as PyTensor: low wins over high, a NaN stays
    above = g.where(g.binary("gt", x, high), high, x)
    return g.where(g.binary("lt", x, low), low, above)


@row(ps.Sqr)
def _sqr(g, xs, dtype):
    return g.binary("bit_and" if dtype == "bool" else "mul", xs[0], xs[0])


@row(ps.Reciprocal)
def _reciprocal(g, xs, dtype):
    return g.binary("div", g.full_like(xs[0], 1), xs[0])


@row(ps.Deg2Rad)
def _deg2rad(g, xs, dtype):
    return g.binary("mul", xs[0], g.full_like(xs[0], np.pi / 180.0))


@row(ps.Rad2Deg)
def _rad2deg(g, xs, dtype):
    return g.binary("mul", xs[0], g.full_like(xs[0], 180.0 / np.pi))


@row(ps.RoundHalfAwayFromZero)
def _round_away(g, xs, dtype):
    x = xs[0]
    whole = g.unary("trunc", x)
    rest = g.unary("abs", g.binary("sub", x, whole))  # exact
    up = g.binary("add", whole, g.unary("sign", x))
    return g.where(g.binary("ge", rest, g.full_like(x, 0.5)), up, whole)


@row(MulWithoutZeros)
def _mul_without_zeros(g, xs, dtype):
    x, y = xs
    zero = g.full_like(x, 0)
    product = g.where(g.binary("eq", y, zero), x, g.binary("mul", x, y))
    return g.where(g.binary("eq", x, zero), y, product)


def _times_log(g, x, y):
    zero = g.full_like(x, 0)
    return g.where(g.binary("eq", x, zero), zero, g.binary("mul", x, g.unary("log", y)))


@row(XlogX)
def _xlogx(g, xs, dtype):
    return _times_log(g, xs[0], xs[0])


@row(XlogY0)
def _xlogy0(g, xs, dtype):
    return _times_log(g, xs[0], xs[1])


@row(psm.Gamma)
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


def unsupported_scalar(op):
    """What is not supported within the scalar op, or None."""
    if type(op) in SCALAR_OPS or isinstance(op, ps.Composite):
        return None
    return type(op).__name__


def emit_scalar(g, op, operands, out_dtype):
    """The op on operands of equal shapes."""
    casting, f = SCALAR_OPS[type(op)]
    if casting != "own":
        dtype = out_dtype if casting == "out" else common_dtype(operands)
        operands = [g.cast(x, dtype) for x in operands]
    return g.cast(f(g, operands, out_dtype), out_dtype)


def cast_operands(g, op, operands, out_dtype):
    """The operands as emit_scalar will want them; done before broadcasting, where it is cheaper."""
    casting, _ = SCALAR_OPS.get(type(op), ("own", None))
    if casting == "own":
        return operands
    dtype = out_dtype if casting == "out" else common_dtype(operands)
    return [g.cast(x, dtype) for x in operands]
