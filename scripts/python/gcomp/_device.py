"""Calls that leave tensors where they are: DLPack in and out, on a GPU or the CPU."""

import ctypes

from . import _dlpack


class DeviceArray:
    """A result in memory of the model's device: `shape`, `dtype` (NumPy's), `device` ("cpu", "cuda:0"). Other
    libraries take it by DLPack (`torch.from_dlpack(array)`), without a copy."""

    def __init__(self, lease, info, data, device, shape):
        self._lease, self._info, self._data, self._place = lease, info, data, device
        self.shape, self.dtype = shape, info.dtype
        self.device = "cpu" if device[0] == _dlpack.CPU else f"cuda:{device[1]}"

    def __dlpack_device__(self):
        return self._place

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        # A call returns when its results are there, so no stream has to wait.
        code = self._info._code
        return _dlpack.capsule(self._data, self._place, (code.code, code.bits), self.shape, self._lease)

    def __repr__(self):
        return f"<gcomp array {self._info!r} of shape {self.shape} on {self.device}>"


class _Lease:
    """The frame of a call; nobody else uses it while any of its results lives."""

    def __init__(self, model, frame):
        self._model, self._frame = model, frame

    def __del__(self):
        self._model._device_frames.append(self._frame)


class _Frame:
    def __init__(self, model, tensors):
        self.context = model._create()
        self.inputs, self.in_words, self.in_extents = tensors(model.inputs)
        self.outputs, self.out_words, self.out_extents = tensors(model.outputs)


def _set_input(model, i, value, frame):
    """The tensor's struct; what must live until the run is over."""
    info, t = model.inputs[i], frame.inputs[i]
    place = tuple(map(int, value.__dlpack_device__())) if hasattr(value, "__dlpack_device__") else (_dlpack.CPU, 0)
    if place[0] == _dlpack.CPU:
        array = model._convert(i, value)
        model._check_shape(i, array)
        t.data, t.device_type, t.device_id, t.strides = array.ctypes.data, _dlpack.CPU, 0, None
        frame.in_extents[i][: array.ndim] = array.shape
        return array
    tensor = _dlpack.Tensor(value, stream=1)  # the legacy stream: the context's own waits for it
    code = info._code
    if tensor.dtype != (code.code, code.bits):
        raise TypeError(f"input '{info.name}' has DLPack dtype {tensor.dtype}; the model wants {info!r}")
    model._check_shape(i, tensor)
    t.data, t.device_type, t.device_id = tensor.data, *tensor.device
    frame.in_extents[i][: len(tensor.shape)] = tensor.shape
    strides = None
    if tensor.strides is not None:
        strides = (ctypes.c_int64 * max(len(tensor.shape), 1))(*tensor.strides)
    t.strides = ctypes.cast(strides, ctypes.POINTER(ctypes.c_int64)) if strides else None
    return tensor, strides


def call(model, arrays, tensors):
    """Results of the model for these arrays, one an input, in memory of the device."""
    try:
        frame = model._device_frames.pop()
    except IndexError:
        frame = _Frame(model, tensors)
    lease = _Lease(model, frame)
    held = [_set_input(model, i, a, frame) for i, a in enumerate(arrays)]
    device = model._device_of(frame.context)
    for i in range(len(model.outputs)):
        t = frame.outputs[i]
        t.data, t.capacity, t.device_type, t.device_id = None, 0, *device
    address = ctypes.addressof
    status = model._functions.run(
        frame.context, address(frame.inputs), len(model.inputs), address(frame.outputs), len(model.outputs)
    )
    del held
    if status:
        model._fail(frame.context, status)
    return [
        DeviceArray(lease, info, frame.outputs[i].data, device, tuple(frame.out_extents[i][: len(info.shape)]))
        for i, info in enumerate(model.outputs)
    ]


def reject(info, value):
    """A message for arrays on a GPU where memory of the host is needed."""
    place = value.__dlpack_device__() if hasattr(value, "__dlpack_device__") else (_dlpack.CPU, 0)
    if int(place[0]) in (_dlpack.CPU, 3):  # 3: pinned memory of the host
        return
    raise TypeError(f"input '{info.name}' is on a GPU: call model.on_device(...), which leaves it there")


def as_options(options, device):
    """Sets the options' device from "cpu", "cuda" or "cuda:N"."""
    if device is None:
        return
    kind, _, number = str(device).partition(":")
    if kind not in ("cpu", "cuda") or (number and (kind == "cpu" or not number.isdigit())):
        raise ValueError(f"there is no device '{device}': 'cpu', 'cuda' and 'cuda:N' are known")
    options.device_type = _dlpack.CPU if kind == "cpu" else _dlpack.CUDA
    options.device_id = int(number or 0)
