"""The evaluator's layout, index, reduction and ordering ops against NumPy; refusals and failures."""

import itertools

import numpy as np
import pytest
from interp.op_driver import ALL, FLOATS, INTS, NUMBERS, Driver, Failed, Refused, np_dtype, same

run = Driver()
rng = np.random.default_rng(7)


def sample(shape, dtype="float32"):
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype in INTS:
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    return rng.standard_normal(shape).astype(np_dtype(dtype))


# ---- Sources ----


@pytest.mark.parametrize("dtype", NUMBERS)
def test_iota(dtype):
    want = np.broadcast_to(np.arange(3)[:, None], (2, 3, 2)).astype(np_dtype(dtype))
    same(run("iota", shape=[2, 3, 2], axis=1, dtype=dtype), want)
    same(run("iota", shape=[0], axis=0, dtype=dtype), want[0, :0, 0])


def test_iota_wraps_and_rounds_as_cast():
    same(run("iota", shape=[300], axis=0, dtype="uint8"), np.arange(300).astype(np.uint8))
    same(run("iota", shape=[5000], axis=0, dtype="float16"), np.arange(5000).astype(np.float16))
    with pytest.raises(Refused, match="cannot be bool"):
        run("iota", shape=[2], axis=0, dtype="bool")
    with pytest.raises(Refused, match="axis 1 is out of range for rank 1"):
        run("iota", shape=[2], axis=1, dtype="int32")
    with pytest.raises(Refused, match="negative extent"):
        run("iota", shape=[-1], axis=0, dtype="int32")
    with pytest.raises(Refused, match="larger than 2"):
        run("iota", shape=[2**40, 2**40], axis=0, dtype="int32")


def test_dims():
    x = sample([3, 5])
    values = ["N", "M", "N*M+1", "(N+1)//2", "max(N,M)", "min(N,M)-7", "M%3", 4]
    want = np.array([3, 5, 16, 2, 5, -4, 2, 4])
    same(run("dims", x, types=[["N", "M"]], values=values), want)
    same(run("dims", values=[]), want[:0])


def test_bind_dims():
    v = np.array([2, 0], np.int64)
    same(run("bind_dims", v, symbols=["a", "b"]), v)
    with pytest.raises(Failed, match="extent b would be negative: -1"):
        run("bind_dims", np.array([2, -1]), symbols=["a", "b"])
    with pytest.raises(Refused, match=r"must be int64\[2\]"):
        run("bind_dims", v.astype(np.int32), symbols=["a", "b"])
    with pytest.raises(Refused, match="plain symbols, each once"):
        run("bind_dims", v, symbols=["a", "a"])
    with pytest.raises(Refused, match="plain symbols, each once"):
        run("bind_dims", v, symbols=["a", "2*b"])


# ---- Extents of inputs ----


def test_extents_are_solved_and_compared():
    shapes = [[4, 9], [4]]
    x, y = (sample(s) for s in shapes)
    same(run("dims", x, y, types=[["N", "2*N+1"], ["N"]], values=["N"]), np.array([4]))
    same(run("dims", x, types=[["N", "N+K"]], values=["K"]), np.array([5]))
    same(run("dims", x, types=[["3*K+1", "N+K"]], values=["N"]), np.array([8]))
    with pytest.raises(Failed, match=r"'x0' has the extent 9.*2\*N \+ 2 = 10"):
        run("dims", x, types=[["N", "2*N+2"]], values=["N"])
    with pytest.raises(Failed, match=r"which is not 2\*N for any N >= 0"):
        run("dims", x, types=[["4", "2*N"]], values=["N"])
    with pytest.raises(Failed, match=r"which is not N \+ 10 for any N"):
        run("dims", x, types=[["4", "N+10"]], values=["N"])
    with pytest.raises(Failed, match="do not determine"):
        run("dims", x, types=[["4", "N*N"]], values=["N"])
    with pytest.raises(Failed, match="extent N is needed, but nothing"):
        run("dims", x, types=[["4", "N+M"]], values=["N"])
    with pytest.raises(Failed, match="extent 9 where its type.*has 8"):
        run("neg", x, types=[[4, 8]])


# ---- Layout ----


@pytest.mark.parametrize("dtype", ALL)
def test_layout_of_every_dtype(dtype):
    x, y = sample([2, 3], dtype), sample([4, 3], dtype)
    same(run("reshape", x, shape=[3, 2]), x.reshape(3, 2))
    same(run("broadcast", x[:1], shape=[5, 2, 3], axes=[1, 2]), np.broadcast_to(x[:1], (5, 2, 3)))
    same(run("transpose", x, perm=[1, 0]), x.T)
    same(run("slice", x, starts=[1, 2], shape=[1, 2], strides=[1, -2]), x[1:, ::-2])
    same(run("concat", x, y, axis=0), np.concatenate([x, y]))
    same(run("reverse", x, axes=[1]), x[:, ::-1])
    same(run("specify_shape", x, shape=[2, 3]), x)
    fill = sample([], dtype)
    same(run("pad", x, fill, low=[1, 0], high=[0, 2]), np.pad(x, [(1, 0), (0, 2)], constant_values=fill))


def test_reshape():
    x = sample([2, 3, 4])
    for shape in [(24,), (4, 3, 2), (1, 24, 1)]:
        same(run("reshape", x, shape=shape), x.reshape(shape))
    same(run("reshape", x[:1, :1, :1], shape=[]), x[0, 0, 0])
    same(run("reshape", x[:0], shape=[7, 0]), x[:0].reshape(7, 0))
    same(run("reshape", x, types=[["N", 3, 4]], shape=["3*N", 4]), x.reshape(6, 4))
    same(run("reshape", x, types=[["N", "M", 4]], shape=[12, 2]), x.reshape(12, 2))
    with pytest.raises(Refused, match="has 24 elements and the shape asked for.*has 25"):
        run("reshape", x, shape=[5, 5])
    with pytest.raises(Refused, match=r"has N elements.*has N \+ 1"):
        run("reshape", x[0, 0], types=[["N"]], shape=["N+1"])
    with pytest.raises(Failed, match=r"float32\[2, 3, 4\] cannot be reshaped to \[5, 5\]"):
        run("reshape", x, types=[["N", "M", 4]], shape=[5, 5])


def test_broadcast():
    x = sample([1, 3])
    same(run("broadcast", x, shape=[2, 3], axes=[0, 1]), np.broadcast_to(x, (2, 3)))
    same(run("broadcast", x, shape=[1, 2, 3, 2], axes=[0, 2]), np.broadcast_to(x[:, None, :, None], (1, 2, 3, 2)))
    same(run("broadcast", np.float32(0), shape=[0, 2], axes=[]), np.zeros((0, 2), np.float32))
    same(run("broadcast", x, shape=[0, 3], axes=[0, 1]), x[:0])
    # Decided at run time: an extent of 1 repeats, another must be equal.
    for n in (1, 4):
        y = sample([n])
        same(run("broadcast", y, types=[["N"]], shape=[4], axes=[0]), np.broadcast_to(y, 4))
    with pytest.raises(Failed, match="axis 0 of float32.3. cannot be repeated to extent 4"):
        run("broadcast", sample([3]), types=[["N"]], shape=[4], axes=[0])
    with pytest.raises(Refused, match=r"axis 1 of operand 0, float32\[1, 3\], cannot be repeated to extent 6"):
        run("broadcast", x, shape=[2, 6], axes=[0, 1])
    with pytest.raises(Refused, match="sorted, each axis once"):
        run("broadcast", x, shape=[3, 3], axes=[1, 0])
    with pytest.raises(Refused, match="must have 2 elements, not 1"):
        run("broadcast", x, shape=[3, 3], axes=[1])
    with pytest.raises(Refused, match="axis 2 is out of range"):
        run("broadcast", x, shape=[3, 3], axes=[1, 2])


def test_transpose():
    x = sample([2, 3, 4])
    for perm in itertools.permutations(range(3)):
        same(run("transpose", x, perm=perm), x.transpose(perm))
    same(run("transpose", np.float32(0), perm=[]), np.float32(0))
    with pytest.raises(Refused, match="names an axis twice"):
        run("transpose", x, perm=[0, 0, 1])
    with pytest.raises(Refused, match="out of range for rank 3"):
        run("transpose", x, perm=[0, 1, 3])


def test_slice():
    x = sample([7, 6])
    same(run("slice", x, starts=[1, 5], shape=[3, 6], strides=[2, -1]), x[1:7:2, ::-1])
    same(run("slice", x, starts=[6, 0], shape=[7, 1], strides=[-1, 1]), x[::-1, :1])
    same(run("slice", x, starts=[100, 0], shape=[0, 6], strides=[1, 1]), x[:0])
    same(run("slice", x, types=[["N", "M"]], starts=["N-2", 0], shape=[2, "M"], strides=[1, 1]), x[-2:])
    with pytest.raises(Refused, match="the slice of axis 0 from 5 to 7 leaves operand 0"):
        run("slice", x, starts=[5, 0], shape=[3, 6], strides=[1, 1])
    with pytest.raises(Refused, match="leaves operand 0"):
        run("slice", x, starts=[-1, 0], shape=[3, 6], strides=[1, 1])
    with pytest.raises(Refused, match=r"from N to N leaves operand 0, float32\[N, 6\]"):
        run("slice", x, types=[["N", 6]], starts=["N", 0], shape=[1, 6], strides=[1, 1])
    with pytest.raises(Refused, match="has a 0"):
        run("slice", x, starts=[0, 0], shape=[1, 1], strides=[0, 1])
    with pytest.raises(Failed, match="the slice of axis 0, 8 elements from 0 by 1, leaves"):
        run("slice", x, types=[["N", 6]], starts=[0, 0], shape=[8, 6], strides=[1, 1])


def test_pad():
    x, fill = sample([3, 4]), np.float32(9)
    same(run("pad", x, fill, low=[1, 2], high=[3, 0]), np.pad(x, [(1, 3), (2, 0)], constant_values=9))
    same(run("pad", x, fill, low=[-1, 2], high=[1, -3]), np.pad(x, [(0, 1), (2, 0)], constant_values=9)[1:, :-3])
    same(run("pad", x, fill, low=[-5, 0], high=[6, 0]), np.full((4, 4), 9, np.float32))
    same(run("pad", x[:0], fill, low=[1, 0], high=[1, 0]), np.full((2, 4), 9, np.float32))
    want = np.pad(x, [(4, 0), (0, 0)], constant_values=9)
    same(run("pad", x, fill, types=[["N", "M"], []], low=["M", 0], high=[0, 0]), want)
    with pytest.raises(Refused, match="negative extent"):
        run("pad", x, fill, low=[-2, 0], high=[-2, 0])
    with pytest.raises(Failed, match="negative extent"):
        run("pad", x, fill, types=[["N", 4], []], low=[-2, 0], high=[-2, 0])
    with pytest.raises(Refused, match=r"operand 1 is float64\[\]; it must be the scalar type float32\[\]"):
        run("pad", x, np.float64(1), low=[0, 0], high=[0, 0])


def test_concat():
    parts = [sample([2, n, 3]) for n in (1, 0, 4)]
    same(run("concat", *parts, axis=1), np.concatenate(parts, 1))
    same(run("concat", parts[0], axis=2), parts[0])
    same(run("concat", *parts, types=[["N", "A", 3], ["N", "B", 3], ["N", "C", 3]], axis=1), np.concatenate(parts, 1))
    with pytest.raises(Refused, match="axis 0 of operand 0.*must have one extent, not N and K .insert specify_shape"):
        run("concat", *parts[:2], types=[["N", "A", 3], ["K", "B", 3]], axis=1)
    with pytest.raises(Refused, match="axis 1 of operand 0.*not 1 and 4$"):
        run("concat", parts[0], parts[2], axis=0)
    with pytest.raises(Refused, match="must have rank 3"):
        run("concat", parts[0], sample([2, 3]), axis=0)
    with pytest.raises(Refused, match="takes at least 1 operands, got 0"):
        run("concat", axis=0)


def test_reverse_and_specify_shape():
    x = sample([2, 3, 4])
    same(run("reverse", x, axes=[0, 2]), x[::-1, :, ::-1])
    same(run("reverse", x, axes=[]), x)
    same(run("reverse", x[:, :0], axes=[1]), x[:, :0])
    with pytest.raises(Refused, match="sorted"):
        run("reverse", x, axes=[2, 0])
    same(run("specify_shape", x, types=[["N", 3, "M"]], shape=["N", 3, "2*N"]), x)
    with pytest.raises(Failed, match=r"extents \[2, 3, 4\], not \[2, 3, 5\]"):
        run("specify_shape", x, types=[["N", 3, "M"]], shape=[2, 3, 5])
    with pytest.raises(Refused, match="it can never be"):
        run("specify_shape", x, shape=[2, 3, 5])
    with pytest.raises(Refused, match="it can never be"):
        run("specify_shape", x, shape=[2, 3])


# ---- Indexed ----


@pytest.mark.parametrize("dtype", INTS)
def test_gather_by_every_integer_dtype(dtype):
    x = sample([5, 3])
    indices = np.array([[0, 4], [2, 2]], dtype)
    same(run("gather", x, indices, axis=0), np.take(x, indices, 0))


@pytest.mark.parametrize("dtype", ALL)
def test_gather_of_every_dtype(dtype):
    x = sample([4, 3], dtype)
    indices = np.array([3, -1, 0])
    same(run("gather", x, indices, axis=0), np.take(x, indices, 0))
    same(run("gather_elements", x, np.array([[-1, 0, 2]]), axis=0), np.take_along_axis(x, np.array([[-1, 0, 2]]), 0))
    same(run("gather_nd", x, np.array([[3, -1], [0, 0]])), x[[3, 0], [-1, 0]])
    same(run("scatter_nd", x, np.array([[1], [-1]]), x[:2]), np.concatenate([x[:1], x[:1], x[2:3], x[1:2]]))


def test_gather():
    x = sample([2, 5, 4])
    for axis, shape in itertools.product(range(3), [(), (3,), (2, 2), (0,)]):
        indices = rng.integers(-x.shape[axis], x.shape[axis], shape)
        same(run("gather", x, indices, axis=axis), np.take(x, indices, axis))
    indices = rng.integers(-4, 4, [2, 3])
    want = np.stack([np.take(x[i], indices[i], 1) for i in range(2)])
    same(run("gather", x, indices, axis=2, batch_dims=1), want)
    indices = rng.integers(-4, 4, [2, 5])
    want = np.take_along_axis(x, indices[..., None], 2)[..., 0]
    same(run("gather", x, indices, axis=2, batch_dims=2), want)
    same(run("gather", x, np.zeros([0], int), types=[["N", 5, 4], ["K"]], axis=1), x[:, :0])
    for bad in (5, -6, 2**40):
        with pytest.raises(Failed, match=f"index {bad} is out of range for an axis of extent 5"):
            run("gather", x, np.array([0, bad]), axis=1)
    with pytest.raises(Failed, match="out of range for an axis of extent 0"):
        run("gather", x[:, :0], np.array([0]), axis=1)
    with pytest.raises(Failed, match="out of range"):
        run("gather", x, np.array([2**64 - 1], np.uint64), axis=1)
    with pytest.raises(Refused, match="must be an integer"):
        run("gather", x, sample([2]), axis=0)
    with pytest.raises(Refused, match="'batch_dims' must be at most 'axis'"):
        run("gather", x, np.zeros([2, 5], int), axis=0, batch_dims=1)
    with pytest.raises(Refused, match="it must be 0 to 1"):
        run("gather", x, np.zeros([2], int), axis=2, batch_dims=2)
    with pytest.raises(Refused, match="axis 0 of operand 0.*axis 0 of operand 1.*one extent, not 2 and 3"):
        run("gather", x, np.zeros([3, 5], int), axis=2, batch_dims=1)


def test_gather_elements():
    x = sample([4, 3, 2])
    for axis in range(3):
        shape = list(x.shape)
        shape[axis] = 7
        indices = rng.integers(-x.shape[axis], x.shape[axis], shape)
        same(run("gather_elements", x, indices, axis=axis), np.take_along_axis(x, indices, axis))
        inside = indices[tuple(slice(None) if a == axis else slice(1) for a in range(3))]
        cut = x[tuple(slice(None) if a == axis else slice(1) for a in range(3))]
        same(run("gather_elements", x, inside, axis=axis), np.take_along_axis(cut, inside, axis))
    with pytest.raises(Refused, match="axis 1 of operand 1.*is longer"):
        run("gather_elements", x, np.zeros([1, 4, 2], int), axis=0)
    with pytest.raises(Failed, match="axis 1 of the indices.*is longer"):
        run("gather_elements", x, np.zeros([1, 4, 2], int), types=[None, [1, "N", 2]], axis=0)
    with pytest.raises(Failed, match="index 4 is out of range"):
        run("gather_elements", x, np.full([1, 1, 1], 4), axis=0)


def test_gather_nd():
    x = sample([3, 4, 2])
    indices = np.array([[[0, 1], [2, -1]], [[-3, 0], [1, 2]]])
    same(run("gather_nd", x, indices), x[indices[..., 0], indices[..., 1]])
    same(run("gather_nd", x, indices[..., :1]), x[indices[..., 0]])
    full = np.array([[2, 3, 1]])
    same(run("gather_nd", x, full), x[2, 3, 1][None])
    same(run("gather_nd", x, np.zeros([2, 0], int)), np.stack([x, x]))
    batched = rng.integers(-4, 4, [3, 5, 1])
    same(run("gather_nd", x, batched, batch_dims=1), np.stack([x[i][batched[i, :, 0]] for i in range(3)]))
    same(run("gather_nd", x[:0], batched[:0], batch_dims=1), np.zeros([0, 5, 2], np.float32))
    with pytest.raises(Failed, match="index 4 is out of range for an axis of extent 4"):
        run("gather_nd", x, np.array([[0, 4]]))
    with pytest.raises(Refused, match="the last extent of operand 1.*at most the number of axes.*3"):
        run("gather_nd", x, np.zeros([2, 4], int))
    with pytest.raises(Refused, match="the last extent of operand 1"):
        run("gather_nd", x, np.zeros([2, 2], int), types=[None, [2, "K"]])
    with pytest.raises(Refused, match="covers all axes of operand 1"):
        run("gather_nd", x[:, :1], np.zeros([3, 1], int), batch_dims=2)


REDUCTIONS = {"none": None, "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_scatter(reduction, dtype):
    def combine(target, at, value):
        if REDUCTIONS[reduction] is None:
            target[at] = value
        elif dtype == "bfloat16":
            target[at] = REDUCTIONS[reduction](np.float32(target[at]), np.float32(value)).astype(target.dtype)
        else:
            target[at] = REDUCTIONS[reduction](target[at], value)

    with np.errstate(all="ignore"):
        for axis in range(2):
            x, indices = sample([4, 3], dtype), rng.integers(-3, 3, [3, 2])
            updates = sample([3, 2], dtype)
            want = x.copy()
            for at in np.ndindex(3, 2):
                to = list(at)
                to[axis] = indices[at]
                combine(want, tuple(to), updates[at])
            same(run("scatter_elements", x, indices, updates, axis=axis, reduction=reduction), want)
        x, indices, updates = sample([4, 3], dtype), rng.integers(-4, 4, [5, 1]), sample([5, 3], dtype)
        want = x.copy()
        for i in range(5):
            for j in range(3):
                combine(want, (indices[i, 0], j), updates[i, j])
        same(run("scatter_nd", x, indices, updates, reduction=reduction), want)


def test_scatter_refuses_and_fails():
    x, i, u = sample([3, 2]), np.zeros([2, 2], int), sample([2, 2])
    same(run("scatter_elements", x, i[:0], u[:0], axis=0), x)
    same(run("scatter_nd", x, np.zeros([0, 1], int), u[:0]), x)
    same(run("scatter_nd", x, np.zeros([0], int), x + 1), x + 1)
    nan = run("scatter_elements", np.float32([1]), np.array([0, 0]), np.float32([np.nan, 2]), axis=0, reduction="max")
    assert np.isnan(nan[0])
    with pytest.raises(Refused, match="'reduction' is 'sub'; it must be one of none, add, mul, min, max"):
        run("scatter_elements", x, i, u, axis=0, reduction="sub")
    with pytest.raises(Refused, match="must be a number"):
        run("scatter_elements", x > 0, i, u > 0, axis=0, reduction="add")
    same(run("scatter_elements", x > 9, i[:1], u[:1] < 9, axis=0), np.array([[1, 1], [0, 0], [0, 0]], bool))
    with pytest.raises(Refused, match="one dtype"):
        run("scatter_elements", x, i, u.astype(np.float64), axis=0)
    with pytest.raises(Refused, match="must have one extent, not 2 and 1"):
        run("scatter_elements", x, i, u[:1], axis=0)
    with pytest.raises(Refused, match=r"the updates must be float32\[2, 2\]"):
        run("scatter_nd", x, np.zeros([2, 1], int), u[:1])
    with pytest.raises(Failed, match="index 3 is out of range for an axis of extent 3"):
        run("scatter_elements", x, i + 3, u, axis=0)
    with pytest.raises(Failed, match="index -4 is out of range"):
        run("scatter_nd", x, np.array([[-4]]), u[:1])


# ---- Reductions and scans ----

REDUCE = {"reduce_sum": np.sum, "reduce_prod": np.prod, "reduce_max": np.max, "reduce_min": np.min}


def all_axes(rank):
    return [axes for n in range(rank + 1) for axes in itertools.combinations(range(rank), n)]


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("op", REDUCE)
def test_reduce_integers(op, dtype):
    x = sample([2, 3, 2], dtype)
    for axes in all_axes(3):
        keep = {"dtype": x.dtype} if op in ("reduce_sum", "reduce_prod") else {}
        same(run(op, x, axes=axes), np.asarray(REDUCE[op](x, axis=axes, **keep)))


TOLERANCE = {"float16": 6e-4, "bfloat16": 5e-3, "float32": 1e-6, "float64": 1e-15}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", REDUCE)
def test_reduce_floats(op, dtype):
    x = sample([3, 4, 5], dtype)
    for axes in all_axes(3):
        want = np.asarray(REDUCE[op](x.astype(np.longdouble), axis=axes))
        got = run(op, x, axes=axes)
        assert got.dtype == x.dtype and got.shape == want.shape
        np.testing.assert_allclose(got.astype(np.longdouble), want, rtol=TOLERANCE[dtype], atol=1e-7)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_reduce_of_nothing(dtype):
    x = np.zeros([2, 0], np_dtype(dtype))
    one = np.ones([2], np_dtype(dtype))
    low, high = (-np.inf, np.inf) if dtype in FLOATS else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    same(run("reduce_sum", x, axes=[1]), one * 0)
    same(run("reduce_prod", x, axes=[1]), one)
    same(run("reduce_max", x, axes=[1]), np.full([2], low).astype(np_dtype(dtype)))
    same(run("reduce_min", x, axes=[1]), np.full([2], high).astype(np_dtype(dtype)))
    same(run("reduce_sum", x, axes=[0]), x[0])


def test_reduce_special():
    for dtype in FLOATS:
        x = np.array([[1, np.nan, 3], [np.inf, -np.inf, 0], [np.inf, np.inf, 0]]).astype(np_dtype(dtype))
        for op in REDUCE:
            with np.errstate(invalid="ignore"):
                same(run(op, x, axes=[1]), REDUCE[op](x.astype(np.float64), axis=1).astype(x.dtype))
    # Halves are accumulated in float32: 2049 ones are not 2048.
    ones = np.ones(2050, np.float16)
    same(run("reduce_sum", ones, axes=[0]), np.float16(2050))
    for x in (np.array([[True, False], [True, True]]), np.zeros([2, 0], bool)):
        for axes in all_axes(2):
            same(run("reduce_and", x, axes=axes), np.asarray(np.all(x, axis=axes)))
            same(run("reduce_or", x, axes=axes), np.asarray(np.any(x, axis=axes)))


def test_reduce_refuses():
    x = sample([2, 3])
    with pytest.raises(Refused, match="must be a number .cast bool first"):
        run("reduce_sum", x > 0, axes=[0])
    with pytest.raises(Refused, match="it must be bool"):
        run("reduce_and", x, axes=[0])
    with pytest.raises(Refused, match="axis 2 is out of range"):
        run("reduce_sum", x, axes=[0, 2])
    with pytest.raises(Refused, match="axis -1 is out of range"):
        run("reduce_sum", x, axes=[-1])
    with pytest.raises(Refused, match="sorted, each axis once"):
        run("reduce_sum", x, axes=[1, 1])


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("op, function", [("argmax", np.argmax), ("argmin", np.argmin)])
def test_arg(op, function, dtype):
    x = rng.integers(0, 4, [5, 4, 6]).astype(np_dtype(dtype))
    for axis in range(3):
        same(run(op, x, axis=axis), function(x, axis))
        want = x.shape[axis] - 1 - function(np.flip(x, axis), axis)
        same(run(op, x, axis=axis, select_last=1), want)


@pytest.mark.parametrize("op, function", [("argmax", np.argmax), ("argmin", np.argmin)])
def test_arg_special(op, function):
    n = np.nan
    x = np.array([[1, n, 3, n], [0.0, -0.0, 0.0, -0.0], [np.inf, -np.inf, np.inf, -np.inf], [n, n, n, n]])
    same(run(op, x, axis=1), function(x, 1))
    same(run(op, x, axis=1, select_last=1), 3 - function(x[:, ::-1], 1))
    same(run(op, x[:, :0].T, axis=1), np.zeros([0], np.int64))
    with pytest.raises(Refused, match="is empty: it has no largest or smallest"):
        run(op, x[:, :0], axis=1)
    with pytest.raises(Failed, match="no elements along axis 1"):
        run(op, x[:, :0], types=[[4, "N"]], axis=1)
    with pytest.raises(Refused, match="must be 0 or 1"):
        run(op, x, axis=1, select_last=2)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("op", ["cumsum", "cumprod"])
def test_scan(op, dtype):
    x = sample([3, 4], dtype)
    function, unit = (np.cumsum, 0) if op == "cumsum" else (np.cumprod, 1)
    wide = x.astype(np.longdouble) if dtype in FLOATS else x
    for axis, reverse, exclusive in itertools.product((0, 1), (0, 1), (0, 1)):
        y = np.flip(wide, axis) if reverse else wide
        y = function(y, axis, dtype=y.dtype)
        if exclusive:
            y = np.concatenate([np.full_like(np.take(y, [0], axis), unit), np.delete(y, -1, axis)], axis)
        y = np.flip(y, axis) if reverse else y
        got = run(op, x, axis=axis, reverse=reverse, exclusive=exclusive)
        assert got.dtype == x.dtype
        if dtype in FLOATS:
            np.testing.assert_allclose(got.astype(np.longdouble), y, rtol=TOLERANCE[dtype], atol=1e-7)
        else:
            same(got, y)
    same(run(op, x[:0], axis=0), x[:0])


# ---- Order ----


@pytest.mark.parametrize("dtype", NUMBERS)
def test_sort(dtype):
    x = rng.integers(0, 9, [4, 9, 3]).astype(np_dtype(dtype))
    for axis in range(3):
        indices = np.argsort(x, axis, stable=True)
        values, got = run("sort", x, axis=axis)
        same(got, indices)
        same(values, np.take_along_axis(x, indices, axis))
        # Stable and descending: the negated (integers: complemented) order.
        key = -x.astype(np.float64)
        indices = np.argsort(key, axis, stable=True)
        values, got = run("sort", x, axis=axis, descending=1)
        same(got, indices)
        same(values, np.take_along_axis(x, indices, axis))
        values, got = run("top_k", x, axis=axis, shape=[2])
        same(got, np.take(indices, range(2), axis))
        same(values, np.take_along_axis(x, got, axis))
        values, got = run("top_k", x, axis=axis, shape=[3], descending=0)
        same(got, np.take(np.argsort(x, axis, stable=True), range(3), axis))


def test_order_special():
    n = np.nan
    x = np.array([3, n, -np.inf, 0.0, n, -0.0, np.inf])
    values, indices = run("sort", x, axis=0)
    same(indices, np.array([2, 3, 5, 0, 6, 1, 4]))
    same(values, x[indices])
    values, indices = run("sort", x, axis=0, descending=1)
    same(indices, np.array([1, 4, 6, 0, 3, 5, 2]))
    values, indices = run("top_k", x, axis=0, shape=[0])
    same(values, x[:0])
    values, indices = run("sort", x[:0], axis=0)
    same(indices, np.zeros([0], np.int64))
    values, indices = run("top_k", x, types=[["N"]], axis=0, shape=["min(N,3)"])
    same(indices, np.array([1, 4, 6]))
    with pytest.raises(Refused, match="asks for 8 of the 7 elements along axis 0"):
        run("top_k", x, axis=0, shape=[8])
    with pytest.raises(Failed, match="asks for 8 elements along axis 0"):
        run("top_k", x, types=[["N"]], axis=0, shape=[8])
    with pytest.raises(Refused, match="must have 1 elements, not 2"):
        run("top_k", x, axis=0, shape=[2, 2])


@pytest.mark.parametrize("dtype", ALL)
def test_nonzero(dtype):
    x = rng.integers(0, 2, [3, 4, 2]).astype(np_dtype(dtype))
    same(run("nonzero", x, symbols=["s"]), np.stack(np.nonzero(x)))
    same(run("nonzero", x[:0], symbols=["s"]), np.zeros([3, 0], np.int64))
    same(run("nonzero", x[0, 0, 0] * 0, symbols=["s"]), np.zeros([0, 0], np.int64))


def test_nonzero_special():
    same(run("nonzero", np.array([0.0, -0.0, np.nan, 1e-40]), symbols=["s"]), np.array([[2, 3]]))
    with pytest.raises(Refused, match="must list a plain symbol"):
        run("nonzero", np.ones(2), symbols=["s+1"])


def test_check():
    x = sample([2])
    same(run("check", x, np.array(True), message="bad"), x)
    same(run("check", x, np.zeros([0], bool), message="bad"), x)
    with pytest.raises(Failed, match="sigma must be positive"):
        run("check", x, np.array([True, False]), message="sigma must be positive")
    with pytest.raises(Refused, match="the condition must be bool"):
        run("check", x, x, message="bad")
