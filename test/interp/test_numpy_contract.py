"""The evaluator's contractions and windows against NumPy written from the definitions."""

import itertools

import numpy as np
import pytest
from interp.op_driver import FLOATS, INTS, NUMBERS, Driver, Failed, Refused, np_dtype, same

run = Driver()
rng = np.random.default_rng(11)
RELATIVE = {"float16": 6e-4, "bfloat16": 5e-3, "float32": 1e-6, "float64": 1e-14}


def sample(shape, dtype="float32"):
    if dtype in INTS:
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    return rng.standard_normal(shape).astype(np_dtype(dtype))


def agree(got, want, dtype):
    """Integers (given as Python integers) modulo 2^width, floats (given in long double) to rounding."""
    assert got.dtype == np_dtype(dtype) and got.shape == want.shape
    if dtype in INTS:
        width = 8 * got.dtype.itemsize
        assert [int(v) % 2**width for v in got.flat] == [int(v) % 2**width for v in want.flat]
    else:
        scale = float(np.max(np.abs(want))) if want.size else 1.0
        np.testing.assert_allclose(got.astype(np.longdouble), want, rtol=0, atol=RELATIVE[dtype] * max(scale, 1e-30))


def exact(x):
    """A copy in which sums do not round or wrap (integers) or hardly (floats)."""
    return x.astype(object) if x.dtype.kind in "iu" else x.astype(np.longdouble)


def padded_with(x, pads, fill):
    """np.pad, which in arrays of Python integers would put NumPy's wrapping ones."""
    y = np.full([lo + n + hi for (lo, hi), n in zip(pads, x.shape)], fill, x.dtype)
    y[tuple(slice(lo, lo + n) for (lo, _), n in zip(pads, x.shape))] = x
    return y


# ---- matmul ----


@pytest.mark.parametrize("dtype", NUMBERS)
def test_matmul(dtype):
    for batch, (m, k, n) in itertools.product([(), (2,), (2, 3)], [(3, 4, 2), (1, 1, 1), (2, 0, 3), (0, 2, 3)]):
        for trans_a, trans_b in itertools.product((0, 1), (0, 1)):
            a = sample([*batch, k, m] if trans_a else [*batch, m, k], dtype)
            b = sample([*batch, n, k] if trans_b else [*batch, k, n], dtype)
            x = np.swapaxes(exact(a), -1, -2) if trans_a else exact(a)
            y = np.swapaxes(exact(b), -1, -2) if trans_b else exact(b)
            want = (x[..., :, :, None] * y[..., None, :, :]).sum(-2)
            agree(run("matmul", a, b, trans_a=trans_a, trans_b=trans_b), want, dtype)


def test_matmul_special():
    a, b = np.array([[np.inf, 1.0]]), np.array([[0.0], [np.nan]])
    assert np.isnan(run("matmul", a, b)).all()
    halves = np.ones([1, 4096], np.float16)
    same(run("matmul", halves, halves, trans_b=1), np.float16([[4096]]))
    same(run("matmul", np.ones([2, 3]), np.ones([3, 2]), types=[["M", "K"], ["K", "N"]]), np.full([2, 2], 3.0))
    with pytest.raises(Refused, match="axis 1 of operand 0, float64.2, 3., and axis 0 of operand 1.*not 3 and 2"):
        run("matmul", np.ones([2, 3]), np.ones([2, 2]))
    with pytest.raises(Refused, match="one extent, not K and L .insert specify_shape"):
        run("matmul", np.ones([2, 3]), np.ones([3, 2]), types=[["M", "K"], ["L", "N"]])
    with pytest.raises(Refused, match="one rank, at least 2"):
        run("matmul", np.ones([3]), np.ones([3]))
    with pytest.raises(Refused, match="one rank, at least 2"):
        run("matmul", np.ones([2, 2, 2]), np.ones([2, 2]))
    with pytest.raises(Refused, match="axis 0 of operand 0.*not 2 and 3"):
        run("matmul", np.ones([2, 1, 1]), np.ones([3, 1, 1]))
    with pytest.raises(Refused, match="must be 0 or 1"):
        run("matmul", np.ones([1, 1]), np.ones([1, 1]), trans_a=2)
    with pytest.raises(Refused, match="must be a number"):
        run("matmul", np.ones([1, 1], bool), np.ones([1, 1], bool))


# ---- Convolutions: x [N, C, ...], w [O, C/group, ...], from the definition ----


def conv(x, w, bias, strides, low, high, dilations, group):
    spatial = x.ndim - 2
    x, w = exact(x), exact(w)
    padded = padded_with(x, [(0, 0), (0, 0), *zip(low, high)], 0)
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, w.shape[2:])]
    out = [max(0, (p - r) // s + 1) for p, r, s in zip(padded.shape[2:], reach, strides)]
    y = np.zeros([x.shape[0], w.shape[0], *out], x.dtype)
    per_group = w.shape[0] // group
    for at in itertools.product(*(range(o) for o in out)):
        window = tuple(
            slice(at[i] * strides[i], at[i] * strides[i] + reach[i], dilations[i]) for i in range(spatial)
        )
        for o in range(w.shape[0]):
            first = o // per_group * w.shape[1]
            seen = padded[(slice(None), slice(first, first + w.shape[1]), *window)]
            y[(slice(None), o, *at)] = (seen * w[o]).reshape(x.shape[0], -1).sum(1)
    return y if bias is None else y + exact(bias).reshape(-1, *[1] * spatial)


def conv_transpose(x, w, bias, strides, low, high, dilations, group, output_padding):
    spatial = x.ndim - 2
    x, w = exact(x), exact(w)
    full = [
        s * (n - 1) + d * (k - 1) + 1 + e
        for s, n, d, k, e in zip(strides, x.shape[2:], dilations, w.shape[2:], output_padding)
    ]
    y = np.zeros([x.shape[0], w.shape[1] * group, *full], x.dtype)
    per_group = x.shape[1] // group
    for c in range(x.shape[1]):
        first = c // per_group * w.shape[1]
        for i in itertools.product(*(range(n) for n in x.shape[2:])):
            for k in itertools.product(*(range(n) for n in w.shape[2:])):
                to = tuple(i[a] * strides[a] + k[a] * dilations[a] for a in range(spatial))
                add = x[(slice(None), c, *i)][:, None] * w[(c, slice(None), *k)][None, :]
                y[(slice(None), slice(first, first + w.shape[1]), *to)] += add
    kept = tuple(slice(lo, n - hi) for lo, hi, n in zip(low, high, full))
    y = y[(slice(None), slice(None), *kept)]
    return y if bias is None else y + exact(bias).reshape(-1, *[1] * spatial)


def to_nhwc(x):
    return np.moveaxis(x, 1, -1)


CONVS = [  # spatial extents, kernel, strides, low, high, dilations, group
    ((7,), (3,), (1,), (0,), (0,), (1,), 1),
    ((7,), (2,), (2,), (1,), (0,), (3,), 2),
    ((5, 6), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1),
    ((5, 6), (3, 2), (2, 3), (0, 2), (1, 1), (1, 2), 2),
    ((4, 4), (1, 1), (1, 1), (0, 0), (0, 0), (1, 1), 4),
    ((3, 4, 5), (2, 2, 3), (1, 2, 1), (1, 0, 1), (0, 1, 1), (1, 1, 2), 2),
    ((1, 1), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1),
]


@pytest.mark.parametrize("case", CONVS)
@pytest.mark.parametrize("dtype", ["int8", "uint32", *FLOATS])
def test_conv(case, dtype):
    spatial, kernel, strides, low, high, dilations, group = case
    attrs = {"strides": strides, "low": low, "high": high, "dilations": dilations, "group": group}
    for n, bias in ((2, None), (1, sample([4], dtype))):
        x, w = sample([n, 4, *spatial], dtype), sample([4, 4 // group, *kernel], dtype)
        want = conv(x, w, bias, strides, low, high, dilations, group)
        more = [] if bias is None else [bias]
        agree(run("conv", x, w, *more, **attrs), want, dtype)
        w_last = np.moveaxis(np.moveaxis(w, 1, -1), 0, -1)  # [k..., C/group, O]
        agree(run("conv", to_nhwc(x), w_last, *more, **attrs, layout="nhwc"), to_nhwc(want), dtype)


@pytest.mark.parametrize("case", CONVS)
@pytest.mark.parametrize("dtype", ["int16", *FLOATS])
def test_conv_transpose(case, dtype):
    spatial, kernel, strides, low, high, dilations, group = case
    extra = [s - 1 for s in strides]
    attrs = {"strides": strides, "low": low, "high": high, "dilations": dilations, "group": group}
    attrs["output_padding"] = extra
    for bias in (None, sample([2 * group], dtype)):
        x, w = sample([2, 4, *spatial], dtype), sample([4, 2, *kernel], dtype)
        want = conv_transpose(x, w, bias, strides, low, high, dilations, group, extra)
        more = [] if bias is None else [bias]
        agree(run("conv_transpose", x, w, *more, **attrs), want, dtype)
        w_last = np.moveaxis(np.moveaxis(w, 0, -1), 0, -1)  # [k..., C, O/group]
        agree(run("conv_transpose", to_nhwc(x), w_last, *more, **attrs, layout="nhwc"), to_nhwc(want), dtype)


def test_conv_edges():
    plain = {"strides": [1], "low": [0], "high": [0], "dilations": [1]}
    x, w = sample([1, 2, 5]), sample([3, 2, 2])
    want = conv(x, w, None, [1], [0], [0], [1], 1)
    types = [["N", 2, "W"], None]
    agree(run("conv", x, w, types=types, **plain), want, "float32")
    # Same padding, for any width: extents stay expressions.
    same_attrs = {**plain, "low": ["W%2"], "high": ["1-W%2"]}
    agree(run("conv", x, w, types=types, **same_attrs), conv(x, w, None, [1], [1], [0], [1], 1), "float32")
    assert run("conv", x[:0], w, **plain).shape == (0, 3, 4)
    assert run("conv", x[:, :, :1], w, **plain).shape == (1, 3, 0)
    no_channels = run("conv", x[:, :0], w[:, :0], np.float32([1, 2, 3]), **plain)
    same(no_channels, np.broadcast_to(np.float32([1, 2, 3])[:, None], (1, 3, 4)).astype(np.float32))
    with pytest.raises(Refused, match="negative extent"):
        run("conv", x[:, :, :0], w, **plain)
    with pytest.raises(Failed, match="negative extent"):
        run("conv", x[:, :, :0], w, types=types, **plain)
    with pytest.raises(Refused, match="has a negative padding"):
        run("conv", x, w, **{**plain, "low": [-1]})
    with pytest.raises(Failed, match="a padding is negative"):
        run("conv", x, w, types=types, **{**plain, "low": ["W-6"]})


def test_conv_padding_is_multiplied():
    attrs = {"strides": [1], "low": [1], "high": [2], "dilations": [1]}
    x = np.array([[[1.0, np.inf, -2.0]]])
    for w in ([np.inf, 1.0, 2.0], [1.0, np.nan, 0.0], [3.0, 2.0, -np.inf]):
        w = np.array([[w]])
        with np.errstate(invalid="ignore"):
            want = conv(x, w, None, [1], [1], [2], [1], 1)
        np.testing.assert_equal(run("conv", x, w, **attrs), want.astype(float))


def test_conv_refuses():
    plain = {"strides": [1], "low": [0], "high": [0], "dilations": [1]}
    x, w, bias = sample([1, 4, 5]), sample([6, 4, 2]), sample([6])
    with pytest.raises(Refused, match="has 4 channels; operand 1.*with group 1 wants 3"):
        run("conv", x, w[:, :3], **plain)
    with pytest.raises(Refused, match="number of output channels, 6, must be divisible by group 4"):
        run("conv", x, w[:, :1], **plain, group=4)
    with pytest.raises(Refused, match="the bias, is float32.5.; it must have extent 6"):
        run("conv", x, w, bias[:5], **plain)
    with pytest.raises(Refused, match="at least 1 and below"):
        run("conv", x, w, **{**plain, "strides": [0]})
    with pytest.raises(Refused, match="at least 1 and below"):
        run("conv", x, w, **{**plain, "dilations": [0]})
    with pytest.raises(Refused, match="'strides' must have 1 elements, not 2"):
        run("conv", x, w, **{**plain, "strides": [1, 1]})
    with pytest.raises(Refused, match="one of nchw, nhwc"):
        run("conv", x, w, **plain, layout="nwc")
    with pytest.raises(Refused, match="1 to 3 spatial axes"):
        run("conv", x[0], w[0], **plain)
    with pytest.raises(Refused, match="must have rank 3"):
        run("conv", x, w[0], **plain)
    with pytest.raises(Refused, match="number of input channels, 4, must be divisible by group 3"):
        run("conv_transpose", x, w[:4], **plain, group=3, output_padding=[0])
    with pytest.raises(Refused, match="axis 1 of operand 0.*axis 0 of operand 1.*not 4 and 6"):
        run("conv_transpose", x, w, **plain, output_padding=[0])
    with pytest.raises(Refused, match="lacks attribute 'output_padding'"):
        run("conv_transpose", x, w[:4], **plain)


# ---- Windows ----


def windows(x, kernel, strides, dilations, low, high, fill):
    """[..., k...]: the elements of each window; cropping by negative padding comes first."""
    crop = tuple(slice(max(0, -lo), n - max(0, -hi)) for lo, hi, n in zip(low, high, x.shape))
    padded = padded_with(x[crop], [(max(0, lo), max(0, hi)) for lo, hi in zip(low, high)], fill)
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel)]
    view = np.lib.stride_tricks.sliding_window_view(padded, reach)
    picks = [slice(None, None, s) for s in strides] + [slice(None, None, d) for d in dilations]
    return view[tuple(picks)].reshape(*view[tuple(picks)].shape[: x.ndim], -1)


WINDOWS = [  # shape, kernel, strides, dilations, low, high
    ((7,), (3,), (2,), (1,), (1,), (1,)),
    ((2, 5, 6), (1, 2, 3), (1, 2, 1), (1, 1, 2), (0, 0, 1), (0, 1, 2)),
    ((4, 4), (2, 2), (1, 1), (1, 1), (-1, 0), (0, -1)),
    ((3, 4), (3, 4), (1, 1), (1, 1), (0, 0), (0, 0)),
]


@pytest.mark.parametrize("case", WINDOWS)
@pytest.mark.parametrize("dtype", NUMBERS)
def test_windows(case, dtype):
    shape, kernel, strides, dilations, low, high = case
    attrs = {"kernel": kernel, "strides": strides, "dilations": dilations, "low": low, "high": high}
    x = sample(shape, dtype)
    least = -np.inf if dtype in FLOATS else np.iinfo(dtype).min
    wide = x.astype(np.float64) if dtype in FLOATS else x
    same(run("window_max", x, **attrs), windows(wide, *case[1:], least).max(-1).astype(x.dtype))
    agree(run("window_sum", x, **attrs), windows(exact(x), *case[1:], 0).sum(-1), dtype)
    # The index of the maximum: windows over the indices, beside windows over the values.
    x = rng.integers(0, 3, shape).astype(x.dtype)  # with ties
    positions = windows(np.arange(x.size).reshape(shape), *case[1:], -1)
    values = np.where(positions >= 0, windows(x.astype(np.float64), *case[1:], -1), -1)
    best = np.take_along_axis(positions, values.argmax(-1)[..., None], -1)[..., 0]
    same(run("window_argmax", x, **attrs), best)


def test_windows_special():
    n = np.nan
    x = np.array([1, n, 2, n, -np.inf])
    attrs = {"kernel": [2], "strides": [1], "dilations": [1], "low": [0], "high": [0]}
    same(run("window_max", x, **attrs), np.array([n, n, n, n]))
    same(run("window_argmax", x, **attrs), np.array([1, 1, 3, 3]))
    away = {**attrs, "low": [3]}
    same(run("window_argmax", x[:2], **away), np.array([-1, -1, 0, 1]))
    same(run("window_max", np.int8([5]), **away), np.int8([-128, -128, 5]))
    same(run("window_sum", x[:1], **away), np.array([0.0, 0.0, 1.0]))
    same(run("window_max", np.array([-np.inf, -np.inf]), **attrs), np.array([-np.inf]))
    same(run("window_argmax", np.array([-np.inf, -np.inf]), **attrs), np.array([0]))
    assert run("window_sum", x, types=[["N"]], **{**attrs, "high": ["N"]}).shape == (9,)
    assert run("window_sum", x[:1], **attrs).shape == (0,)
    with pytest.raises(Refused, match="negative extent"):
        run("window_sum", x[:0], **attrs)
    with pytest.raises(Failed, match="negative extent"):
        run("window_sum", x[:0], types=[["N"]], **attrs)
    with pytest.raises(Refused, match="must have 1 elements, not 2"):
        run("window_sum", x, **{**attrs, "kernel": [1, 1]})
    with pytest.raises(Refused, match="at least 1 and below"):
        run("window_sum", x, **{**attrs, "kernel": [0]})
