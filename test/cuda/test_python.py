"""Models on a GPU from Python: DLPack in and out, on the fake driver."""

import ctypes
import gc
import os

import gcomp
import numpy as np
import pytest
from fake_gpu import FAKE, compile_kernels
from gcomp import _dlpack
from gcomp_cli import gcomp_ok

GRAPH = """
{"version": 1, "name": "scaled", "symbols": ["n"],
 "inputs": [{"id": 0, "name": "x", "dtype": "float32", "shape": ["n", 3]},
            {"id": 1, "name": "w", "dtype": "float32", "shape": ["n", 3]}],
 "constants": [],
 "nodes": [{"op": "mul", "in": [0, 1], "out": [2]}, {"op": "exp", "in": [2], "out": [3]}],
 "outputs": [{"id": 3, "name": "y"}, {"id": 2, "name": "product"}]}
"""


@pytest.fixture(scope="module")
def driver():
    """The fake driver, in this process before anybody asks for the real one."""
    return ctypes.CDLL(str(FAKE))


@pytest.fixture(scope="module")
def artifact(driver, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scaled")
    graph, path = folder / "scaled.json", folder / "scaled.so"
    graph.write_text(GRAPH)
    gcomp_ok(graph, "--target", "cpu,cuda", "--cuda-everything", "--cuda-arch", "sm_90", "-o", path)
    os.environ["GCOMP_FAKE_CUDA_KERNELS"] = ":".join(map(str, compile_kernels(graph, folder)))
    return path


class There:
    """An array in the fake device's memory, as another library would hold it."""

    def __init__(self, driver, array, strides=None):
        self.driver, self.like, self.strides = driver, array, strides
        self.address = ctypes.c_uint64()
        self._inside("cuMemAlloc_v2", ctypes.byref(self.address), ctypes.c_size_t(max(array.nbytes, 1)))
        data = ctypes.c_void_p(array.ctypes.data)
        self._inside("cuMemcpyHtoDAsync_v2", self.address, data, ctypes.c_size_t(array.nbytes), None)
        self._inside("cuStreamSynchronize", None)
        self.asked = []

    def _inside(self, name, *arguments):
        self.driver.cuCtxPushCurrent_v2(ctypes.c_void_p(1))
        assert getattr(self.driver, name)(*arguments) == 0
        self.driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))

    def __dlpack_device__(self):
        return (_dlpack.CUDA, 0)

    def __dlpack__(self, stream=None):
        self.asked.append(stream)
        code = {"f": 2, "i": 0}[self.like.dtype.kind], self.like.dtype.itemsize * 8
        return _dlpack.capsule(self.address.value, (_dlpack.CUDA, 0), code, self.like.shape, self)


def fetch(driver, array):
    """The contents of a result, read through its capsule."""
    tensor = _dlpack.Tensor(array)
    assert tensor.device == (_dlpack.CUDA, 0)
    host = np.empty(tensor.shape, array.dtype)
    source, size = ctypes.c_uint64(tensor.data), ctypes.c_size_t(host.nbytes)
    There(driver, np.zeros(1))._inside(
        "cuMemcpyDtoHAsync_v2", ctypes.c_void_p(host.ctypes.data), source, size, None
    )
    return host


def arrays(n, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 3)).astype("float32"), rng.standard_normal((n, 3)).astype("float32")


def test_plain_calls_use_the_gpu(artifact):
    model = gcomp.load(artifact)
    assert model.device == "cuda:0"
    for n in (2, 2, 5, 1000):
        x, w = arrays(n)
        y, product = model(x, w)
        np.testing.assert_array_equal(product, x * w)
        np.testing.assert_allclose(y, np.exp(x * w), rtol=1e-6)


def test_tensors_stay_on_the_device(driver, artifact):
    model = gcomp.load(artifact)
    driver.gcomp_fake_cuda_count.restype = ctypes.c_uint64
    x, w = arrays(4000)
    a, b = There(driver, x), There(driver, w)
    driver.gcomp_fake_cuda_reset()
    y, product = model.on_device(a, w=b)
    assert driver.gcomp_fake_cuda_count(b"uploads") == 0
    assert driver.gcomp_fake_cuda_count(b"downloads") == 0
    assert a.asked == [1]  # ordered by the legacy stream
    assert y.device == "cuda:0"
    assert y.shape == (4000, 3)
    np.testing.assert_array_equal(fetch(driver, product), x * w)
    # As an input of another call, and mixed with arrays of the host.
    _, again = model.on_device(product, w)
    np.testing.assert_array_equal(fetch(driver, again), x * w * w)
    np.testing.assert_array_equal(fetch(driver, product), x * w)  # while it lives nobody writes over it


def test_results_give_their_memory_back(driver, artifact):
    model = gcomp.load(artifact)
    x, w = arrays(7)
    for _ in range(5):
        results = model.on_device(x, w)
        held = results[1].__dlpack__()
        del results
        gc.collect()
        assert len(model._device_frames) == 0
        del held
        gc.collect()
        assert len(model._device_frames) == 1
    assert not _dlpack._given


def test_on_the_cpu_numpy_takes_the_results(artifact):
    model = gcomp.load(artifact, device="cpu")
    assert model.device == "cpu"
    x, w = arrays(6)
    y, product = map(np.from_dlpack, model.on_device(x, w))
    np.testing.assert_array_equal(product, x * w)
    np.testing.assert_allclose(y, np.exp(x * w), rtol=1e-6)
    other = np.from_dlpack(model.on_device(w, w)[1])
    np.testing.assert_array_equal(product, x * w)
    np.testing.assert_array_equal(other, w * w)


def test_what_does_not_fit_is_told(driver, artifact):
    model = gcomp.load(artifact)
    x, w = arrays(3)
    with pytest.raises(TypeError, match="on_device"):
        model(There(driver, x), w)
    with pytest.raises(TypeError, match=r"input 'x' has DLPack dtype \(2, 64\)"):
        model.on_device(There(driver, x.astype("float64")), w)
    with pytest.raises(ValueError, match="input 'w' has shape"):
        model.on_device(x, There(driver, w[:, :2].copy()))
    with pytest.raises(gcomp.ModelError, match="device type is 2"):
        gcomp.load(artifact, device="cpu").on_device(There(driver, x), w)
    with pytest.raises(gcomp.ModelError, match="no GPU number 3"):
        gcomp.load(artifact, device="cuda:3")
    with pytest.raises(ValueError, match="there is no device 'gpu'"):
        gcomp.load(artifact, device="gpu")
