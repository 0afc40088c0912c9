"""DLPack by ctypes: what a capsule says of its tensor, and capsules over memory that an object keeps alive."""

import ctypes

CPU, CUDA = 1, 2
_NAME = b"dltensor"


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class _DType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("rank", ctypes.c_int32),
        ("dtype", _DType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),  # in elements; null: row-major
        ("byte_offset", ctypes.c_uint64),
    ]


_DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_DESTRUCTOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _DELETER)]


_api = ctypes.pythonapi
_api.PyCapsule_New.restype = ctypes.py_object
_api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _DESTRUCTOR]
_api.PyCapsule_GetPointer.restype = ctypes.c_void_p
_api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
# By address: a destructor must not make a new reference to its capsule.
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))

_given = {}  # what consumers of our capsules still use: by address, the struct and what keeps its memory


@_DELETER
def _forget(address):
    _given.pop(address, None)


@_DESTRUCTOR
def _drop(capsule):
    if _is_valid(capsule, _NAME):  # nobody took it
        _forget(_pointer(capsule, _NAME))


class Tensor:
    """What a capsule holds: `data` (address), `device` (type, number), `dtype` (code, bits), `shape`, `strides`
    in bytes (None: row-major). Valid as long as it lives."""

    def __init__(self, value, stream=None):
        device = tuple(map(int, value.__dlpack_device__()))
        try:
            capsule = value.__dlpack__(stream=stream) if device[0] == CUDA else value.__dlpack__()
        except TypeError:
            capsule = value.__dlpack__()
        t = _Managed.from_address(_api.PyCapsule_GetPointer(capsule, _NAME)).tensor
        self._capsule = capsule
        self.data = (t.data or 0) + t.byte_offset
        self.device = (t.device.type, t.device.id)
        self.dtype = (t.dtype.code, t.dtype.bits)
        self.shape = tuple(t.shape[: t.rank])
        self.strides = None
        if t.strides:
            self.strides = tuple(s * t.dtype.bits // 8 for s in t.strides[: t.rank])


def capsule(data, device, dtype, shape, keeper):
    """A new capsule over row-major memory that lives as long as `keeper`."""
    managed = _Managed()
    extents = (ctypes.c_int64 * max(len(shape), 1))(*shape)
    t = managed.tensor
    t.data, t.rank = data, len(shape)
    t.device = _Device(*device)
    t.dtype = _DType(*dtype, 1)
    t.shape = ctypes.cast(extents, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = _forget
    address = ctypes.addressof(managed)
    _given[address] = (managed, extents, keeper)
    return _api.PyCapsule_New(address, _NAME, _drop)
