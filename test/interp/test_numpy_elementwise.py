"""The evaluator's elementwise ops against exact integer arithmetic, NumPy and multiprecision."""

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from interp.op_driver import ALL, FLOATS, INTS, NUMBERS, SIGNED, Driver, Failed, Refused, np_dtype, same

run = Driver()


def width(dtype):
    return np.dtype(dtype).itemsize * 8


def wrap(value, dtype):
    value %= 1 << width(dtype)
    return value - (1 << width(dtype)) if dtype in SIGNED and value >> (width(dtype) - 1) else value


def int_values(dtype):
    info = np.iinfo(dtype)
    some = {0, 1, 2, 3, 7, 10, 100, info.max, info.max - 1, info.min, info.min + 1, info.max // 2 + 1}
    some |= {v for v in (-1, -2, -3, -7, -10, -100, width(dtype) - 1, width(dtype)) if info.min <= v <= info.max}
    return sorted(some)


def truncated(x, y):
    return int(Fraction(x, y)) if y else 0


def power(x, y, dtype):
    if y < 0:
        return {1: 1, -1: 1 if y % 2 == 0 else -1}.get(x, 0)
    return pow(x, y, 1 << width(dtype))


def shift(x, y, dtype, left):
    if not 0 <= y < width(dtype):
        return 0 if left or x >= 0 else -1
    return x << y if left else x >> y


INT_BINARY = {
    "add": lambda x, y, d: x + y,
    "sub": lambda x, y, d: x - y,
    "mul": lambda x, y, d: x * y,
    "div": lambda x, y, d: truncated(x, y),
    "floor_div": lambda x, y, d: x // y if y else 0,
    "mod": lambda x, y, d: x % y if y else 0,
    "rem": lambda x, y, d: x - y * truncated(x, y) if y else 0,
    "pow": power,
    "min": lambda x, y, d: min(x, y),
    "max": lambda x, y, d: max(x, y),
    "bit_and": lambda x, y, d: x & y,
    "bit_or": lambda x, y, d: x | y,
    "bit_xor": lambda x, y, d: x ^ y,
    "shl": lambda x, y, d: shift(x, y, d, True),
    "shr": lambda x, y, d: shift(x, y, d, False),
}


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("op", INT_BINARY)
def test_integer_binary(op, dtype):
    pairs = list(itertools.product(int_values(dtype), repeat=2))
    x, y = (np.array([p[i] for p in pairs], dtype) for i in (0, 1))
    want = np.array([wrap(INT_BINARY[op](a, b, dtype), dtype) for a, b in pairs], dtype)
    same(run(op, x, y), want)


INT_UNARY = {
    "neg": lambda x: -x,
    "abs": abs,
    "sign": lambda x: (x > 0) - (x < 0),
    "bit_not": lambda x: ~x,
}


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("op", INT_UNARY)
def test_integer_unary(op, dtype):
    values = int_values(dtype)
    want = np.array([wrap(INT_UNARY[op](v), dtype) for v in values], dtype)
    same(run(op, np.array(values, dtype)), want)


def float_values(dtype):
    """Ordinary values of every size and sign, halves, and the special ones."""
    rng = np.random.default_rng(1)
    random = rng.standard_normal(200) * np.exp(rng.uniform(-5, 5, 200))
    halves = np.arange(-5, 5.5, 0.5)
    special = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0]
    with np.errstate(over="ignore"):
        return np.concatenate([random, halves, special]).astype(np_dtype(dtype))


def in_float32(function):
    """The function as the document has it for float16 and bfloat16: computed in float32, rounded once."""

    def wrapped(*operands):
        dtype = operands[0].dtype
        with np.errstate(all="ignore"):
            if dtype.itemsize == 2:
                return np.asarray(function(*(x.astype(np.float32) for x in operands))).astype(dtype)
            return function(*operands)

    return wrapped


FLOAT_UNARY = {
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "floor": np.floor, "ceil": np.ceil, "round": np.rint,
    "trunc": np.trunc, "sqrt": np.sqrt,
}  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", FLOAT_UNARY)
def test_float_unary(op, dtype):
    x = float_values(dtype)
    same(run(op, x), in_float32(FLOAT_UNARY[op])(x), zero_signs=op != "sign")


FLOAT_BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "floor_div": np.floor_divide,
    "mod": np.remainder, "rem": np.fmod, "min": np.minimum, "max": np.maximum,
}  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", FLOAT_BINARY)
def test_float_binary(op, dtype):
    x, y = (a.ravel() for a in np.meshgrid(float_values(dtype), float_values(dtype)))
    want = in_float32(FLOAT_BINARY[op])(x, y)
    same(run(op, x, y), want, zero_signs=op not in ("min", "max"))


@pytest.mark.parametrize("op, function", [("pow", math.pow), ("atan2", math.atan2)])
def test_pow_and_atan2(op, function):
    x, y = (a.ravel() for a in np.meshgrid(float_values("float64"), float_values("float64")))

    def reference(a, b):  # C's function, but for Python's exceptions
        try:
            return function(a, b)
        except OverflowError:
            return math.inf if a > 0 or b % 2 == 0 else -math.inf
        except ValueError:
            with np.errstate(all="ignore"):
                return np.float64(a) ** np.float64(b)

    want = np.array([reference(float(a), float(b)) for a, b in zip(x, y)])
    got = run(op, x, y)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_allclose(got, want, rtol=3e-16)
    np.testing.assert_array_equal(np.signbit(got[~np.isnan(want)]), np.signbit(want[~np.isnan(want)]))


COMPARE = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("op", COMPARE)
def test_compare(op, dtype):
    values = np.array([False, True]) if dtype == "bool" else None
    if values is None:
        values = float_values(dtype)[-20:] if dtype in FLOATS else np.array(int_values(dtype), dtype)
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    with np.errstate(invalid="ignore"):
        same(run(op, x, y), COMPARE[op](x, y))


def test_bool():
    x, y = np.array([False, False, True, True]), np.array([False, True, False, True])
    same(run("bit_and", x, y), x & y)
    same(run("bit_or", x, y), x | y)
    same(run("bit_xor", x, y), x ^ y)
    same(run("bit_not", x), ~x)


@pytest.mark.parametrize("dtype", FLOATS)
def test_float_tests(dtype):
    x = float_values(dtype)
    same(run("is_nan", x), np.isnan(x))
    same(run("is_inf", x), np.isinf(x))


@pytest.mark.parametrize("dtype", ALL)
def test_where(dtype):
    cond = np.array([[True, False], [False, True]])
    x, y = np.array([[1, 0], [1, 1]]).astype(np_dtype(dtype)), np.array([[0, 1], [0, 0]]).astype(np_dtype(dtype))
    same(run("where", cond, x, y), np.where(cond, x, y))


# ---- cast ----

CAST_VALUES = [
    0.0, -0.0, 0.5, -0.5, 0.999, 1.0, -1.0, 1.5, -1.5, 2.5, 127.0, 127.9, 128.0, -128.9, -129.0, 255.5, 256.0, 32767.5,
    65504.0, 65519.0, 65520.0, 2.0**31, -(2.0**31) - 1, 2.0**53 + 2, 2.0**63, -(2.0**63), 2.0**64, 1e30, -1e30, 1e300,
    math.inf, -math.inf, math.nan, 1 + 2.0**-11, 1 + 2.0**-8 + 2.0**-40, 1e-45, 6e-8, 3e-8, -2.98e-8,
]  # fmt: skip


def round_to_float(exact: Fraction, dtype):
    """To nearest, ties to even, done in exact arithmetic."""
    formats = {"float16": (11, -24, 16), "bfloat16": (8, -133, 128), "float32": (24, -149, 128)}
    bits, low, high = formats.get(dtype, (53, -1074, 1024))
    if exact == 0:
        return 0.0
    sign, exact = (-1, -exact) if exact < 0 else (1, exact)
    exponent = math.floor(math.log2(exact)) if exact < 2**1000 else 1000
    while Fraction(2) ** (exponent + 1) <= exact:
        exponent += 1
    while Fraction(2) ** exponent > exact:
        exponent -= 1
    unit = Fraction(2) ** max(exponent - bits + 1, low)
    rounded = round(exact / unit) * unit  # Python rounds halves to even
    return sign * (math.inf if rounded >= Fraction(2) ** high else float(rounded))


@pytest.mark.parametrize("to", ALL)
@pytest.mark.parametrize("source", ALL)
def test_cast(source, to):
    if source in FLOATS:
        with np.errstate(over="ignore"):
            x = np.array(CAST_VALUES).astype(np_dtype(source))
    elif source == "bool":
        x = np.array([False, True])
    else:
        more = [v for v in (2**53 + 1, 2**62 + 2**38 + 1, 257 * 2**40 + 1, 65519, 65520) if v <= np.iinfo(source).max]
        x = np.array(int_values(source) + more, source)
    want = []
    for value in x:
        value = float(value) if source in FLOATS else int(value)
        if to == "bool":
            want.append(value != 0)
        elif to in FLOATS:
            special = isinstance(value, float) and (not math.isfinite(value) or value == 0)
            want.append(value if special else round_to_float(Fraction(value), to))
        elif source in FLOATS:
            info = np.iinfo(to)
            clipped = 0 if math.isnan(value) else max(info.min, min(info.max, value))
            want.append(int(clipped))
        else:
            want.append(wrap(value, to))
    if to in INTS or to == "bool":
        want = np.array(want, to)
    else:
        want = np.array(want, np.float64).astype(np_dtype(to))  # exact: already rounded
    same(run("cast", x, dtype=to), want)


# ---- Functions of one real number ----

mpmath.mp.prec = 200


def mp_erfcx(x):
    if abs(x) < 1000:
        with mpmath.workprec(3000):
            return mpmath.exp(x * x) * mpmath.erfc(x)
    if x < 0:
        return mpmath.inf
    series = mpmath.fsum(mpmath.fac2(2 * k - 1) / (-2 * x * x) ** k for k in range(12))
    return series / (x * mpmath.sqrt(mpmath.pi))


def mp_erfinv(x):
    with mpmath.workprec(300):
        return mpmath.erfinv(x)


# name: (function, samples)
def spread(low, high, n=60):
    return list(np.random.default_rng(2).uniform(low, high, n))


def logs(low, high, n=60):
    return list(np.exp(np.random.default_rng(3).uniform(math.log(low), math.log(high), n)))


BOTH = [s * v for v in logs(1e-6, 80) for s in (1, -1)]
REAL = {
    "exp": (mpmath.exp, BOTH),
    "exp2": (lambda x: mpmath.mpf(2) ** x, BOTH),
    "expm1": (mpmath.expm1, BOTH),
    "log": (mpmath.log, logs(1e-30, 1e30) + spread(0.9, 1.1)),
    "log2": (lambda x: mpmath.log(x) / mpmath.log(2), logs(1e-30, 1e30) + spread(0.9, 1.1)),
    "log10": (mpmath.log10, logs(1e-30, 1e30) + spread(0.9, 1.1)),
    "log1p": (mpmath.log1p, logs(1e-20, 1e30) + spread(-0.99, 0.5)),
    "sin": (mpmath.sin, BOTH + [s * v for v in logs(1e2, 1e30) for s in (1, -1)]),
    "cos": (mpmath.cos, BOTH + logs(1e2, 1e30)),
    "tan": (mpmath.tan, BOTH + logs(1e2, 1e30)),
    "asin": (mpmath.asin, spread(-1, 1) + [1, -1] + logs(1e-9, 1)),
    "acos": (mpmath.acos, spread(-1, 1) + [1, -1]),
    "atan": (mpmath.atan, BOTH + logs(1e2, 1e30)),
    "sinh": (mpmath.sinh, BOTH),
    "cosh": (mpmath.cosh, BOTH),
    "tanh": (mpmath.tanh, BOTH),
    "asinh": (mpmath.asinh, BOTH + logs(1e2, 1e30)),
    "acosh": (mpmath.acosh, [1 + v for v in logs(1e-5, 1e30)]),
    "atanh": (mpmath.atanh, spread(-1, 1) + logs(1e-9, 1)),
    "erf": (mpmath.erf, BOTH),
    "erfc": (mpmath.erfc, spread(-5, 9)),
    "erfcx": (mp_erfcx, spread(-8, 60) + logs(60, 1e9)),
    "erfinv": (mp_erfinv, spread(-1, 1) + logs(1e-9, 0.9)),
    "lgamma": (lambda x: mpmath.loggamma(x).real, spread(-8, 8) + logs(1e-9, 1e9)),
    "digamma": (mpmath.digamma, spread(-8, 8) + logs(1e-6, 1e9)),
    "trigamma": (lambda x: mpmath.polygamma(1, x), spread(-8, 8) + logs(1e-6, 1e9)),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), BOTH + spread(-700, 40)),
    "softplus": (lambda x: mpmath.log1p(mpmath.exp(x)), BOTH + spread(-700, 800)),
    "log1mexp": (lambda x: mpmath.log1p(-mpmath.exp(x)), [-v for v in logs(1e-12, 700)]),
}  # fmt: skip


def ulp(value, dtype):
    """Of the last place of a real number in a dtype."""
    bits, low = {"float32": (24, -149), "float64": (53, -1074), "float16": (11, -24), "bfloat16": (8, -133)}[dtype]
    exponent = mpmath.frexp(value)[1] - 1 if value else low
    return mpmath.mpf(2) ** max(exponent - bits + 1, low)


# Errors in units of the last place: a correctly rounded result has 0.5. Halves are rounded from float32.
BOUNDS = {"float64": 0.51, "float32": 0.501, "float16": 0.51, "bfloat16": 0.51}
# Near their zeros and poles these lose some of long double's 11 spare bits to cancellation.
LOOSE = {("digamma", "float64"): 2.0, ("trigamma", "float64"): 2.0, ("lgamma", "float64"): 1.0}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", REAL)
def test_real(op, dtype):
    function, samples = REAL[op]
    with np.errstate(over="ignore"):
        x = np.array(samples).astype(np_dtype(dtype))
    if op in ("asin", "acos", "atanh", "erfinv", "acosh", "lgamma", "digamma", "trigamma"):
        wide = x.astype(np.float64)  # rounding may have moved a sample to a pole
        inside = (np.abs(wide) < 1) if op in ("atanh", "erfinv") else np.ones(len(x), bool)
        if op in ("lgamma", "digamma", "trigamma"):
            inside = (wide > 0) | (wide != np.floor(wide))
        x = x[inside & np.isfinite(wide)]
    x = x[np.isfinite(x.astype(np.float64))]
    got = run(op, x)
    largest = float(np.finfo(np.dtype(dtype)).max) if dtype != "bfloat16" else float(np.float32(3.3895314e38))
    bound = LOOSE.get((op, dtype), BOUNDS[dtype])
    for a, y in zip(x, got):
        want = function(mpmath.mpf(float(a)))
        if abs(want) >= largest:
            assert abs(float(y)) >= largest, (op, a, y, want)
            continue
        error = abs(mpmath.mpf(float(y)) - want) / ulp(want, dtype)
        assert error <= bound, f"{op}({a!r}) = {y!r}, truth {mpmath.nstr(want, 20)}, {float(error)} ulp"


INF, NAN = math.inf, math.nan
SPECIAL = {
    "exp": [(INF, INF), (-INF, 0.0), (0.0, 1.0), (-0.0, 1.0), (1e4, INF), (-1e4, 0.0)],
    "exp2": [(INF, INF), (-INF, 0.0), (3.0, 8.0), (-2.0, 0.25)],
    "expm1": [(INF, INF), (-INF, -1.0), (-0.0, -0.0), (0.0, 0.0)],
    "log": [(0.0, -INF), (-0.0, -INF), (-1.0, NAN), (INF, INF), (-INF, NAN), (1.0, 0.0)],
    "log2": [(0.0, -INF), (8.0, 3.0), (0.25, -2.0), (-1.0, NAN)],
    "log10": [(0.0, -INF), (1000.0, 3.0), (-1.0, NAN)],
    "log1p": [(-1.0, -INF), (-2.0, NAN), (-0.0, -0.0), (INF, INF)],
    "sin": [(-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "cos": [(0.0, 1.0), (INF, NAN)],
    "tan": [(-0.0, -0.0), (INF, NAN)],
    "asin": [(1.5, NAN), (-0.0, -0.0)],
    "acos": [(1.0, 0.0), (-1.5, NAN)],
    "atan": [(INF, math.pi / 2), (-INF, -math.pi / 2), (-0.0, -0.0)],
    "sinh": [(INF, INF), (-INF, -INF), (-0.0, -0.0)],
    "cosh": [(INF, INF), (-INF, INF), (0.0, 1.0)],
    "tanh": [(INF, 1.0), (-INF, -1.0), (-0.0, -0.0)],
    "asinh": [(INF, INF), (-INF, -INF), (-0.0, -0.0)],
    "acosh": [(1.0, 0.0), (0.5, NAN), (INF, INF), (-INF, NAN)],
    "atanh": [(1.0, INF), (-1.0, -INF), (2.0, NAN), (-0.0, -0.0)],
    "erf": [(INF, 1.0), (-INF, -1.0), (-0.0, -0.0)],
    "erfc": [(INF, 0.0), (-INF, 2.0), (0.0, 1.0)],
    "erfcx": [(INF, 0.0), (-INF, INF), (0.0, 1.0), (-1e9, INF)],
    "erfinv": [(1.0, INF), (-1.0, -INF), (1.5, NAN), (-0.0, -0.0)],
    "lgamma": [(0.0, INF), (-0.0, INF), (-3.0, INF), (1.0, 0.0), (2.0, 0.0), (INF, INF), (-INF, INF)],
    "digamma": [(0.0, -INF), (-0.0, INF), (-3.0, NAN), (INF, INF), (-INF, NAN)],
    "trigamma": [(0.0, INF), (-0.0, INF), (-3.0, INF), (INF, 0.0), (-INF, NAN)],
    "sigmoid": [(INF, 1.0), (-INF, 0.0), (0.0, 0.5)],
    "softplus": [(INF, INF), (-INF, 0.0), (1e4, 1e4)],
    "log1mexp": [(0.0, -INF), (1.0, NAN), (INF, NAN)],
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", SPECIAL)
def test_real_special(op, dtype):
    cases = [*SPECIAL[op], (NAN, NAN)]
    x, want = np.array(cases, dtype).T
    same(run(op, x), want)
    assert abs(run(op, x[:0]).size) == 0


def test_real_reaches_the_ends():
    same(run("sigmoid", np.array([-745.0, -1000.0])), np.array([np.exp(-745.0), 0.0]))
    assert run("log1mexp", np.array([-INF])) == 0
    assert np.isinf(run("trigamma", np.array([1e-200])))
    assert run("digamma", np.array([1e-300])) == float(-1 / mpmath.mpf(1e-300))


# ---- What is refused ----


def test_types_are_checked():
    f, i, b = np.float32([1, 2]), np.int32([1, 2]), np.array([True, False])
    with pytest.raises(Refused, match=r"one dtype: float32\[2\] and int32\[2\] \(insert cast\)"):
        run("add", f, i)
    with pytest.raises(Refused, match=r"operand 0 is bool\[2\]; it must be a number"):
        run("add", b, b)
    with pytest.raises(Refused, match=r"must be a float"):
        run("exp", i)
    with pytest.raises(Refused, match=r"must be an integer"):
        run("shl", f, f)
    with pytest.raises(Refused, match=r"must be bool or an integer"):
        run("bit_and", f, f)
    with pytest.raises(Refused, match=r"one shape: float32\[2\] and float32\[1\] \(insert broadcast"):
        run("add", f, f[:1])
    with pytest.raises(Refused, match=r"one shape: float32\[N\] and float32\[M\].*specify_shape"):
        run("add", f, f, types=[["N"], ["M"]])
    with pytest.raises(Refused, match=r"condition must be bool"):
        run("where", f, f, f)
    with pytest.raises(Refused, match=r"takes 2 operands, got 1"):
        run("add", f)
    with pytest.raises(Refused, match=r"lacks attribute 'dtype'"):
        run("cast", f)
    with pytest.raises(Refused, match=r"has no attribute 'axis'"):
        run("neg", f, axis=0)
    same(run("add", f, f, types=[["N"], ["N"]]), f + f)
    with pytest.raises(Failed, match=r"'x1' has the extent 1"):
        run("add", f, f[:1], types=[["N"], ["N"]])


@pytest.mark.parametrize("dtype", NUMBERS)
def test_empty_and_scalar(dtype):
    for shape in [(), (0,), (1,), (2, 0, 3)]:
        x = np.ones(shape, np_dtype(dtype))
        same(run("add", x, x), x + x)
        same(run("neg", x), -x)
