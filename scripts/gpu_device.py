"""The machine's GPU through its driver alone (libcuda.so.1): whether there is one, and memory in it."""

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent / "python"))
from gcomp import _dlpack  # noqa: E402

NO_DEVICE = 77  # exit code of scripts that need a GPU, where there is none
_CODES = {"f": 2, "i": 0, "u": 1, "b": 6}


@dataclass
class Device:
    """The first GPU. Arrays in its memory take part in DLPack."""

    driver: ctypes.CDLL
    context: ctypes.c_void_p
    capability: int
    version: int

    def call(self, name, *arguments):
        self.driver.cuCtxPushCurrent_v2(self.context)
        error = getattr(self.driver, name)(*arguments)
        self.driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        if error:
            raise RuntimeError(f"{name} failed with {error}")

    def copy_within(self, to, source):
        """One array into another, done when it returns."""
        size = ctypes.c_size_t(source.like.nbytes)
        self.call("cuMemcpyDtoDAsync_v2", to.address, source.address, size, None)
        self.call("cuStreamSynchronize", None)


class Array:
    """A copy of a NumPy array in the GPU's memory; of bfloat16 if that is said, then of uint16."""

    def __init__(self, device, like, bfloat16=False):
        self.code = 4 if bfloat16 else _CODES[like.dtype.kind]
        self.device, self.like, self.address = device, np.ascontiguousarray(like), ctypes.c_uint64()
        size = ctypes.c_size_t(max(self.like.nbytes, 1))
        device.call("cuMemAlloc_v2", ctypes.byref(self.address), size)
        source = ctypes.c_void_p(self.like.ctypes.data)
        device.call("cuMemcpyHtoDAsync_v2", self.address, source, ctypes.c_size_t(self.like.nbytes), None)
        device.call("cuStreamSynchronize", None)

    def __del__(self):
        self.device.call("cuMemFree_v2", self.address)

    def __dlpack_device__(self):
        return (_dlpack.CUDA, 0)

    def __dlpack__(self, stream=None):
        dtype = (self.code, self.like.dtype.itemsize * 8)
        return _dlpack.capsule(self.address.value, (_dlpack.CUDA, 0), dtype, self.like.shape, self)


def find():
    """(the device, "") or (None, why there is none)."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None, "no GPU driver (libcuda.so.1)"
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return None, "a driver, but no GPU"
    number, major, minor, version = (ctypes.c_int() for _ in range(4))
    driver.cuDeviceGet(ctypes.byref(number), 0)
    driver.cuDeviceGetAttribute(ctypes.byref(major), 75, number)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), 76, number)
    driver.cuDriverGetVersion(ctypes.byref(version))
    context = ctypes.c_void_p()
    error = driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), number)
    if error:
        return None, f"a GPU, but its driver fails with error {error}"
    return Device(driver, context, 10 * major.value + minor.value, version.value), ""
