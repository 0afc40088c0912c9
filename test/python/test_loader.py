"""gcomp.load against a hand-made artifact (fake_model.c): arguments, errors, memory, threads, cost. All of it
twice: through the C extension and through ctypes."""

import ctypes
import gc
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import sysconfig
import threading
import timeit

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "python"))

import gcomp  # noqa: E402
from gcomp import _runtime  # noqa: E402

CC = shutil.which("cc") or shutil.which("gcc")
HEADERS = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
pytestmark = pytest.mark.skipif(CC is None, reason="needs a C compiler")


@pytest.fixture(params=["extension", "ctypes"], autouse=True)
def calls(request, monkeypatch):
    """How calls are made; where the extension can be built it must have been."""
    if request.param == "ctypes":
        monkeypatch.setattr(_runtime, "_Caller", None)
    elif not HEADERS:
        pytest.skip("no Python.h: the extension cannot be built")
    else:
        assert _runtime._Caller is not None, "scripts/setup.sh test builds the extension"
    return request.param


def build(folder, prefix="gcomp_model", magic="GCOMP_MAGIC", version="GCOMP_ABI_VERSION", *options):
    path = folder / f"{prefix}.so"
    defines = {"PREFIX": prefix, "NAME": f'"{prefix}"', "MAGIC": magic, "VERSION": version}
    subprocess.run(
        [CC, "-shared", "-fPIC", "-O1", f"-I{ROOT}/include", "-o", path, ROOT / "test/python/fake_model.c"]
        + [f"-DFAKE_{k}={v}" for k, v in defines.items()] + list(options),
        check=True,
    )
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return build(tmp_path_factory.mktemp("fake"))


@pytest.fixture
def model(path, calls):
    return gcomp.load(path)


def test_how_calls_are_made(model, calls):
    assert isinstance(model, gcomp.Model)
    assert (type(model) is gcomp.Model) == (calls == "ctypes")


def arguments(n=2):
    return [np.array([1.0, 2.0, 3.0]), np.arange(2 * n, dtype="int32").reshape(n, 2), np.array(0.5), np.array(False)]


def test_signature(model):
    assert model.input_names == ["a", "b", "c", "flag"]
    assert model.output_names == ["sum", "rows", "big", "twice"]
    assert [i.dtype for i in model.inputs] == ["float64", "int32", "float64", "bool"]
    assert [i.shape for i in model.inputs] == [(3,), (None, 2), (), ()]
    assert model.inputs[1].dims == ("N", "2")
    assert model.description == {"name": "fake"}
    assert "b: int32[N, 2]" in repr(model) and "rows: int32[N]" in repr(model)


def test_results(model):
    total, rows, big, twice = model(*arguments(4))
    assert total.shape == () and total == 6.5 and total.dtype == "float64"
    np.testing.assert_array_equal(rows, [1, 5, 9, 13])
    assert big.shape == (64, 64) and (big == 0.5).all()
    np.testing.assert_array_equal(twice, [2, 4, 6])


def test_results_are_the_callers_own(model):
    first = model(*arguments())
    other = arguments()
    other[0], other[2] = np.zeros(3), np.array(9.0)
    second = model(*other)
    assert first[0] == 6.5 and first[2][0, 0] == 0.5 and first[3][0] == 2 and second[2][0, 0] == 9
    for x in first:
        x[...] = 0  # writeable
    assert model(*arguments())[0] == 6.5


def test_extents_may_change(model):
    for n in (1, 5, 0, 5, 2):
        rows = model(*arguments(n))[1]
        assert rows.shape == (n,) and rows.dtype == "int32"
        np.testing.assert_array_equal(rows, np.arange(2 * n).reshape(n, 2).sum(1))


def test_by_name(model):
    a, b, c, flag = arguments()
    want = model(a, b, c, flag)
    for got in (model(a, b, flag=flag, c=c), list(model.run_dict(a=a, b=b, c=c, flag=flag).values())):
        for x, y in zip(got, want):
            np.testing.assert_array_equal(x, y)
    assert list(model.run_dict(a, b, c, flag)) == model.output_names


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda m, a: m(*a[:3]), TypeError, "missing input: flag"),
        (lambda m, a: m(), TypeError, "missing inputs: a, b, c, flag"),
        (lambda m, a: m(*a, 1), TypeError, r"5 arrays for 4 inputs \(a, b, c, flag\)"),
        (lambda m, a: m(*a[:3], d=1), TypeError, "no input 'd'; the inputs are a, b, c, flag"),
        (lambda m, a: m(*a[:3], flag=a[3], a=a[0]), TypeError, "input 'a' is given twice"),
        (lambda m, a: m(a[0].astype("float32"), *a[1:]), TypeError, r"input 'a' is float32; the model wants a: float64\[3\]"),
        (lambda m, a: m(a[0], a[1].astype("int64"), *a[2:]), TypeError, "input 'b' is int64"),
        (lambda m, a: m(a[0], [[1.5, 2.0]], *a[2:]), TypeError, "input 'b' is float64"),
        (lambda m, a: m(np.zeros(4), *a[1:]), ValueError, r"input 'a' has shape \(4,\); the model wants a: float64\[3\]"),
        (lambda m, a: m(np.zeros((3, 1)), *a[1:]), ValueError, "input 'a' has rank 2"),
        (lambda m, a: m(a[0], np.zeros((2, 3), "int32"), *a[2:]), ValueError, r"b: int32\[N, 2\]"),
        (lambda m, a: m(a[0], a[1], np.zeros(1), a[3]), ValueError, "input 'c' has rank 1"),
    ],
)
def test_wrong_arguments(model, call, error, text):
    with pytest.raises(error, match=text):
        call(model, arguments())
    assert model(*arguments())[0] == 6.5  # still fine


def test_failed_run(model):
    with pytest.raises(gcomp.ModelError, match=r"flag is set \(GCOMP_ERROR_CHECK\)") as e:
        model(*arguments()[:3], np.array(True))
    assert e.value.status == 13
    assert model(*arguments())[0] == 6.5


def test_numbers_and_lists_are_converted(model):
    assert model([1, 2, 3], [[1, 2]], 0.5, False)[0] == 6.5
    assert model((1.0, 2.0, 3.0), [[1, 2]], np.float64(0.5), np.bool_(False))[0] == 6.5
    assert model([1, 2, 3], [[1, 2]], 1, False)[0] == 7


def test_any_layout(model):
    a, b, c, flag = arguments(3)
    want = model(a, b, c, flag)[1]
    np.testing.assert_array_equal(model(a, np.asfortranarray(b), c, flag)[1], want)
    np.testing.assert_array_equal(model(a, np.repeat(b, 2, 0)[::2], c, flag)[1], want)
    b.flags.writeable = False
    np.testing.assert_array_equal(model(a, b, c, flag)[1], want)
    raw = np.zeros(25, "uint8")
    odd = raw[1:].view("float64")
    odd[:] = [1, 2, 3]
    assert not odd.flags.aligned and model(odd, b, c, flag)[0] == 6.5
    swapped = a.astype(">f8")
    assert model(swapped.astype(float), b, c, flag)[0] == 6.5
    assert model(np.ma.array(a), b, c, flag)[0] == 6.5


def test_contiguous_inputs_are_read_in_place(model, path):
    args = arguments()
    model(*args)
    read = (ctypes.c_void_p * 4).in_dll(ctypes.CDLL(str(path)), "fake_last_inputs")
    assert list(read) == [a.ctypes.data for a in args]


def test_converted_inputs_live_as_long_as_the_run(model):
    wide = np.zeros((4096, 4), "int32")  # large, so that its copy's memory would be unmapped
    wide[:, :2] = np.arange(8192).reshape(4096, 2)
    rows = model((1.0, 2.0, 3.0), wide[:, :2], 0.5, False)[1]
    np.testing.assert_array_equal(rows, wide.sum(1))


def test_arguments_are_released(model):
    args = [*arguments()[:2], np.array(0.5), np.array(False)]
    before = [sys.getrefcount(a) for a in args]
    named = dict(zip(model.input_names, args))
    for i in range(10):
        out = model(*args)
        model(**named)
        model(args[0], np.asfortranarray(args[1]), c=args[2], flag=args[3])
        for wrong in ([args[0], args[1], args[2], np.array(True)], [np.zeros(4), *args[1:]], [args[0][:2], *args[1:]]):
            with pytest.raises((gcomp.ModelError, ValueError)):
                model(*wrong)
    del named, wrong
    assert [sys.getrefcount(a) for a in args] == before
    fresh = [np.array(i) for i in range(4)]
    assert [sys.getrefcount(x) for x in out] == [sys.getrefcount(x) for x in fresh]


def test_no_run_without_load(calls):
    if calls == "extension":
        with pytest.raises(RuntimeError, match="not made by gcomp.load"):
            _runtime._FastModel.__new__(_runtime._FastModel)(1)


def test_addresses_the_slow_way(path, monkeypatch):
    monkeypatch.setattr(_runtime, "_Caller", None)
    model = gcomp.load(path)
    assert not isinstance(_runtime._FAST_ADDRESS[0], _runtime._SlowMemory)  # CPython: the fast way works
    monkeypatch.setattr(_runtime, "_FAST_ADDRESS", (_runtime._SlowMemory(), 0))
    assert model(*arguments())[0] == 6.5


def test_many_threads_at_once(model, path):
    live = ctypes.CDLL(str(path)).fake_live_contexts
    gc.collect()
    before = live()
    wrong = []

    def work(k):
        for i in range(300):
            x = float(k * 1000 + i)
            out = model(np.array([x, 0.0, 0.0]), np.full((k + 1, 2), i, "int32"), np.array(0.0), np.array(False))
            if out[0] != x or out[1].shape != (k + 1,) or (out[1] != 2 * i).any():
                wrong.append((k, i))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert live() - before <= 7  # one context a thread at most, the first among them


def test_contexts_end_with_the_model(path):
    live = ctypes.CDLL(str(path)).fake_live_contexts
    gc.collect()
    before = live()
    model = gcomp.load(path)
    model(*arguments())
    assert live() == before + 1
    del model
    gc.collect()
    assert live() == before


def test_pickle_and_fork(model):
    again = pickle.loads(pickle.dumps(model))
    assert again(*arguments())[0] == 6.5
    pid = os.fork()
    if pid == 0:
        os._exit(0 if model(*arguments())[0] == 6.5 else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_other_names(tmp_path):
    assert gcomp.load(build(tmp_path, "radon_v2")).name == "radon_v2"
    assert gcomp.load(tmp_path / "radon_v2.so", name="radon_v2").name == "radon_v2"
    with pytest.raises(gcomp.ModelError, match="no gcomp model named 'other'"):
        gcomp.load(tmp_path / "radon_v2.so", name="other")


def test_what_is_no_model(tmp_path, path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        gcomp.load(tmp_path / "none.so")
    (tmp_path / "text.so").write_text("hello")
    with pytest.raises(gcomp.ModelError, match="text.so"):
        gcomp.load(tmp_path / "text.so")
    with pytest.raises(gcomp.ModelError, match="not an artifact"):
        gcomp.load(build(tmp_path, "bad_magic", magic="1"))
    with pytest.raises(gcomp.ModelError, match="speaks version 7"):
        gcomp.load(build(tmp_path, "new_version", version="7"))
    with pytest.raises(gcomp.ModelError, match="99 threads are too many"):
        gcomp.load(path, threads=99)


def test_a_call_costs_microseconds(tmp_path, path, capsys, calls):
    """Printed, and bounded far above what it takes, so that a loaded machine does not fail it."""
    small = gcomp.load(build(tmp_path, "small", "GCOMP_MAGIC", "GCOMP_ABI_VERSION", "-DFAKE_SMALL"))
    args, named = arguments(), dict(zip(small.input_names, arguments()))
    ways = {
        "small arrays": lambda: small(*args),
        "by name": lambda: small(**named),
        "one output of 32 KB, one of unknown extent": lambda m=gcomp.load(path): m(*args),
    }
    for label, call in ways.items():
        per_call = min(timeit.repeat(call, number=100, repeat=100)) / 100
        with capsys.disabled():
            print(f"\n  loader: {per_call * 1e6:.2f} us a call with 4 inputs and 4 outputs ({calls}, {label})", end="")
        assert per_call < 50e-6
