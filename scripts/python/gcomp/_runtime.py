"""Loading and calling compiled models: the C interface of include/gcomp/runtime.h from Python.

What a call needs (a context of the artifact and the structs of its arguments) is a *frame*, made once; a
model keeps a pool of frames, so that threads may call one model at the same time. Inputs are read where
they are. Calls go through the extension _call.c where it was built, which costs less than a microsecond;
else through ctypes, which costs a few: only data pointers are stored per call, and small outputs are
copied out of buffers that are kept.
"""

import contextlib
import ctypes
import json
import mmap
import os
import re
import sys
import threading
import weakref

import numpy as np

from . import _device
from ._errors import ModelError
from ._states import States

try:
    from ._call import Caller as _Caller
except ImportError:  # not built, or for another NumPy
    _Caller = None

ABI_VERSION = 1
_MAGIC = 0x31304D4F43474347
_COPY_LIMIT = 1 << 14  # bytes: larger outputs of known extents are written where they are returned


class _DType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("data", ctypes.c_void_p),
        ("dtype", _DType),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("extents", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("capacity", ctypes.c_uint64),
    ]


class _ValueInfo(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("dtype", _DType),
        ("rank", ctypes.c_int32),
        ("extents", ctypes.POINTER(ctypes.c_int64)),
        ("dims", ctypes.POINTER(ctypes.c_char_p)),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class _Signature(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("num_inputs", ctypes.c_uint32),
        ("num_outputs", ctypes.c_uint32),
        ("inputs", ctypes.c_void_p),
        ("outputs", ctypes.c_void_p),
        ("value_info_size", ctypes.c_uint64),
        ("states", ctypes.c_void_p),
        ("num_states", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class _Options(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("threads", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("allocator_data", ctypes.c_void_p),
        ("allocate", ctypes.c_void_p),
        ("deallocate", ctypes.c_void_p),
        ("pool_data", ctypes.c_void_p),
        ("parallel_for", ctypes.c_void_p),
        ("message", ctypes.c_char_p),
        ("message_bytes", ctypes.c_uint64),
        ("trace_data", ctypes.c_void_p),
        ("trace", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("cuda_stream", ctypes.c_void_p),
    ]


_RUN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32
)
_STATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
_DONATED = 1


class _Functions(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("describe", ctypes.CFUNCTYPE(ctypes.POINTER(_Signature), ctypes.c_void_p)),
        (
            "create",
            ctypes.CFUNCTYPE(
                ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Options), ctypes.POINTER(ctypes.c_void_p)
            ),
        ),
        ("destroy", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        ("run", _RUN),
        ("last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)),
        ("status_name", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_int)),
        ("get_state", _STATE),
        ("set_state", _STATE),
        ("reset_states", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)),
        ("device", ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int32))),
    ]


class _Descriptor(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("magic", ctypes.c_uint64),
        ("abi_version", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("functions", ctypes.POINTER(_Functions)),
        ("json", ctypes.c_void_p),
        ("json_bytes", ctypes.c_uint64),
        ("internal", ctypes.c_void_p),
    ]


_WORDS = ctypes.sizeof(_Tensor) // 8  # a tensor as 64-bit words; the data pointer is word 1
_DTYPES = {
    (6, 8): "bool",
    (0, 8): "int8",
    (0, 16): "int16",
    (0, 32): "int32",
    (0, 64): "int64",
    (1, 8): "uint8",
    (1, 16): "uint16",
    (1, 32): "uint32",
    (1, 64): "uint64",
    (2, 16): "float16",
    (2, 32): "float32",
    (2, 64): "float64",
    (4, 16): "uint16",  # bfloat16, which NumPy has not
}


# ---- where an array's elements are ----
# ndarray.ctypes and __array_interface__ cost more than a microsecond. The address is the first field
# after the object header, part of NumPy's C ABI; reading it takes a tenth of that. Used only after
# checking that it gives the right answer here.


def _address_slow(array):
    return array.__array_interface__["data"][0]


def _find_fast_address():
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    memory = ctypes.cast(8, ctypes.POINTER(ctypes.c_uint64))  # memory[i]: the word at 8 * (i + 1)
    header = object.__basicsize__
    offset = header // 8 - 1
    if header % 8:
        return None
    samples = [np.zeros(3), np.zeros((2, 2), "int8")[1:], np.array(1.5), np.zeros(0, bool)]
    if any(id(a) % 8 or memory[(id(a) >> 3) + offset] != _address_slow(a) for a in samples):
        return None
    return memory, offset


class _SlowMemory:
    """Stands in for memory where the fast way is not to be had: indexed by id, finds the array's address."""

    def __getitem__(self, index):
        array = ctypes.cast(index << 3, ctypes.py_object).value
        return _address_slow(array)


_FAST_ADDRESS = _find_fast_address() or (_SlowMemory(), 0)


class ValueInfo:
    """One input, output or state: `name`, `dtype` (NumPy's; bfloat16 travels as uint16), `dims` (text: "3",
    "N", "2*N + 1"), `shape` (None where it depends on the call) and `donated` (an input whose memory a call
    may overwrite)."""

    def __init__(self, c, flags):
        self.name = c.name.decode()
        key = (c.dtype.code, c.dtype.bits)
        if key not in _DTYPES:
            raise ModelError(f"{self.name}: unknown dtype code {key}")
        self.is_bfloat16 = key == (4, 16)
        self.dtype = np.dtype(_DTYPES[key])
        self.dims = tuple(c.dims[i].decode() for i in range(c.rank))
        self.shape = tuple(None if c.extents[i] < 0 else c.extents[i] for i in range(c.rank))
        self.donated = bool(flags & _DONATED)
        self._code = _DType(c.dtype.code, c.dtype.bits, 1)

    def __repr__(self):
        dtype = "bfloat16" if self.is_bfloat16 else self.dtype.name
        return f"{self.name}: {dtype}[{', '.join(self.dims)}]"


def _infos(first, count, size):
    """The values of a signature; artifacts of earlier versions tell less of each."""
    infos = []
    for i in range(count):
        c = _ValueInfo.from_address(first + size * i)
        infos.append(ValueInfo(c, c.flags if size >= ctypes.sizeof(_ValueInfo) else 0))
    return infos


class _Frame:
    """A context and the structs of its calls."""

    __slots__ = (
        "model", "context", "inputs", "outputs", "in_words", "out_words", "in_extents", "out_extents",
        "shapes", "specs", "results", "prepare", "call", "arguments",
    )  # fmt: skip

    def __init__(self, model):
        self.model = model
        self.context = model._create()
        self.inputs, self.in_words, self.in_extents = _tensors(model.inputs)
        self.outputs, self.out_words, self.out_extents = _tensors(model.outputs)
        self.shapes = [i.shape for i in model.inputs]  # of the last call; with None: of no call
        self.specs = [(i, info.dtype, 1 + _WORDS * i) for i, info in enumerate(model.inputs)]
        self.prepare = []  # to be called before each run
        self.results = [self._result(i, info) for i, info in enumerate(model.outputs)]
        self.call = model._run
        self.arguments = (
            ctypes.c_void_p(self.context),
            ctypes.c_void_p(ctypes.addressof(self.inputs)),
            ctypes.c_uint32(len(model.inputs)),
            ctypes.c_void_p(ctypes.addressof(self.outputs)),
            ctypes.c_uint32(len(model.outputs)),
        )

    def _result(self, i, info):
        """How output i is fetched: the copy of a kept array, or a function."""
        if None in info.shape:
            borrowed = _Borrowed(self, i, info)
            self.prepare.append(borrowed.prepare)
            return borrowed.fetch
        size = info.dtype.itemsize * int(np.prod(info.shape, dtype="int64"))
        self.outputs[i].capacity = max(size, 1)
        if size > _COPY_LIMIT:
            fresh = _Fresh(self, i, info)
            self.prepare.append(fresh.prepare)
            return fresh.fetch
        kept = np.empty(max(size, 1), "uint8")[:size].view(info.dtype).reshape(info.shape)
        self.outputs[i].data = kept.ctypes.data
        return kept.copy

    def set_shape(self, i, array):
        """A call with another shape than the last one."""
        self.model._check_shape(i, array)
        shape, extents = array.shape, self.in_extents[i]
        for axis, extent in enumerate(shape):
            extents[axis] = extent
        self.shapes[i] = shape


class _Fresh:
    """A large output of known extents: a new array each call, written in place."""

    def __init__(self, frame, i, info):
        self.words, self.at = frame.out_words, 1 + _WORDS * i
        self.shape, self.dtype, self.array = info.shape, info.dtype, None

    def prepare(self):
        self.array = array = np.empty(self.shape, self.dtype)
        memory, offset = _FAST_ADDRESS
        self.words[self.at] = memory[(id(array) >> 3) + offset]

    def fetch(self):
        array, self.array = self.array, None
        return array


class _Borrowed:
    """An output whose extents a call decides: memory of the context, copied out."""

    def __init__(self, frame, i, info):
        self.words, self.at = frame.out_words, 1 + _WORDS * i
        self.extents, self.rank, self.dtype = frame.out_extents[i], len(info.shape), info.dtype
        self.key, self.view = None, None

    def prepare(self):
        self.words[self.at] = 0

    def fetch(self):
        shape = tuple(self.extents[: self.rank])
        address = self.words[self.at]
        if (address, shape) != self.key:
            self.key = (address, shape)
            size = self.dtype.itemsize
            for n in shape:
                size *= n
            if size:
                memory = (ctypes.c_char * size).from_address(address)
                self.view = np.frombuffer(memory, self.dtype).reshape(shape)
            else:
                self.view = np.empty(shape, self.dtype)
        return self.view.copy()


def _tensors(infos):
    """(structs, the same memory as 64-bit words, extents of each)."""
    tensors = (_Tensor * max(len(infos), 1))()
    words = (ctypes.c_uint64 * (_WORDS * len(tensors))).from_buffer(tensors)
    extents = []
    tensors[0].struct_size = ctypes.sizeof(_Tensor)  # also where there are none
    for t, info in zip(tensors, infos):
        rank = len(info.shape)
        own = (ctypes.c_int64 * max(rank, 1))(*(d or 0 for d in info.shape))
        extents.append(own)
        t.struct_size = ctypes.sizeof(_Tensor)
        t.dtype = info._code
        t.device_type = 1
        t.rank = rank
        t.extents = ctypes.cast(own, ctypes.POINTER(ctypes.c_int64))
    return tensors, words, extents


_MODELS = weakref.WeakSet()


def _forget_contexts_after_fork():
    # Threads of a context do not survive a fork; the child makes its own contexts.
    for model in _MODELS:
        model._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_contexts_after_fork)


class Model:
    """A compiled model, made by `load`. Call it with one array for each input, by position or name; it
    returns a list with one new array for each output."""

    def __init__(self, path, threads=None, name=None, device=None):
        self.path = os.path.abspath(os.fspath(path))
        if not os.path.isfile(self.path):
            raise FileNotFoundError(f"no such file: {self.path}")
        self._threads, self._asked_name, self._asked_device = threads, name, device
        self._device_frames = []  # of on_device; as _frames
        try:
            self._library = ctypes.CDLL(self.path)
        except OSError as e:
            raise ModelError(f"{self.path}: {e}") from None
        self._descriptor = _descriptor(self._library, self.path, name)
        d = self._descriptor
        if d.magic != _MAGIC:
            raise ModelError(f"{self.path}: not an artifact of gcomp")
        if d.abi_version != ABI_VERSION:
            raise ModelError(
                f"{self.path}: speaks version {d.abi_version} of the interface, this package {ABI_VERSION}"
            )
        self._functions = d.functions.contents
        self._run = ctypes.CFUNCTYPE(ctypes.c_int)(
            ctypes.cast(self._functions.run, ctypes.c_void_p).value
        )
        signature = self._functions.describe(ctypes.addressof(d)).contents
        self.name = signature.name.decode()
        size = signature.value_info_size
        self.inputs = _infos(signature.inputs, signature.num_inputs, size)
        self.outputs = _infos(signature.outputs, signature.num_outputs, size)
        has_states = signature.struct_size >= ctypes.sizeof(_Signature) and signature.num_states
        self._states = _infos(signature.states, signature.num_states, size) if has_states else []
        self.input_names = [i.name for i in self.inputs]
        self.output_names = [o.name for o in self.outputs]
        self._positions = {n: i for i, n in enumerate(self.input_names)}
        self._num_inputs = len(self.inputs)
        self._lock = threading.Lock()
        self._contexts = []
        self._only = None  # the context of a model with states
        self._saved = {}  # what its states will be
        self._turn = threading.Lock()
        self._start()
        weakref.finalize(self, _destroy_all, self._functions, self._contexts, os.getpid())
        _MODELS.add(self)

    def _start(self):
        """Makes the first frame."""
        self._frames = [_Frame(self)]  # not in use by a call; append and pop are atomic

    def _forget(self):
        if self._states:
            self._new_turn()
            try:  # the old context has lost its threads, not its memory
                self._saved = dict(self.states)
            except ModelError:
                self._saved = None  # the fork came in the middle of a call: told by the next one
            self._only = None
        getattr(self, "_frames", []).clear()
        self._device_frames.clear()

    def _new_turn(self):
        self._turn = threading.Lock()  # the old one's holder is not in this process

    # Models with states have one context, and calls take turns; others have a context for each call at a
    # time.
    def _enter(self):
        self._turn.acquire()

    def _leave(self):
        self._turn.release()

    @contextlib.contextmanager
    def _alone(self):
        """The context of a model with states, which no call uses meanwhile."""
        self._enter()
        try:
            yield self._create()
        finally:
            self._leave()

    @property
    def states(self):
        """What the model keeps between calls, by name."""
        return States(self, self._states, _tensors)

    @property
    def description(self):
        """What the artifact says of itself: signature, options, versions, kernels."""
        return json.loads(ctypes.string_at(self._descriptor.json, self._descriptor.json_bytes))

    def __repr__(self):
        def side(infos):
            return ", ".join(map(repr, infos))

        return f"<gcomp model {self.name}({side(self.inputs)}) -> ({side(self.outputs)})>"

    def __reduce__(self):
        arguments = (self.path, self._threads, self._asked_name, self._asked_device)
        return _load_again, (*arguments, dict(self.states))

    def __call__(self, *arrays, **named):
        if not self._states:
            return self._call(arrays, named)
        self._enter()
        try:
            return self._call(arrays, named)
        finally:
            self._leave()

    def _call(self, arrays, named):
        if named or len(arrays) != self._num_inputs:
            arrays = self._arrange(arrays, named)
        try:
            frame = self._frames.pop()
        except IndexError:
            frame = _Frame(self)
        try:
            words, shapes, held = frame.in_words, frame.shapes, None
            memory, offset = _FAST_ADDRESS
            for a, (i, dtype, at) in zip(arrays, frame.specs):
                if type(a) is not np.ndarray or a.dtype is not dtype or not a.flags.carray:
                    a = self._convert(i, a)
                    held = (a, held)
                if a.shape != shapes[i]:
                    frame.set_shape(i, a)
                words[at] = memory[(id(a) >> 3) + offset]
            for prepare in frame.prepare:
                prepare()
            status = frame.call(*frame.arguments)
            if status:
                self._fail(frame.context, status)
            return [result() for result in frame.results]
        finally:
            self._frames.append(frame)

    def run_dict(self, *arrays, **named):
        """As a call, but the outputs by name."""
        return dict(zip(self.output_names, self(*arrays, **named)))

    def on_device(self, *arrays, **named):
        """As a call, but nothing is copied from the device to the host: arguments may be tensors of a GPU
        (anything with `__dlpack__`), and the results are a list of objects with `__dlpack__` in memory of
        `model.device`. They share memory with the model; of one with states they are valid until its next call."""
        if named or len(arrays) != self._num_inputs:
            arrays = self._arrange(arrays, named)
        if not self._states:
            return _device.call(self, arrays, _tensors)
        with self._alone():
            return _device.call(self, arrays, _tensors)

    @property
    def device(self):
        """Where calls run: "cpu" or "cuda:0"."""
        with self._lock:
            context = self._contexts[0] if self._contexts else None
        kind, number = self._device_of(self._create() if context is None else context)
        return "cpu" if kind == 1 else f"cuda:{number}"

    def _device_of(self, context):
        if self._functions.struct_size < ctypes.sizeof(_Functions):
            return 1, 0
        number = ctypes.c_int32()
        kind = self._functions.device(context, ctypes.byref(number))
        return kind, number.value

    def _arrange(self, arrays, named):
        """Arguments by position and name, in order."""
        if not arrays and len(named) == self._num_inputs:
            try:
                return [named[n] for n in self.input_names]
            except KeyError:
                pass  # reported below
        if len(arrays) > self._num_inputs:
            raise TypeError(
                f"{len(arrays)} arrays for {self._num_inputs} inputs ({', '.join(self.input_names)})"
            )
        out = list(arrays) + [None] * (self._num_inputs - len(arrays))
        given = set(range(len(arrays)))
        for key, value in named.items():
            i = self._positions.get(key)
            if i is None:
                raise TypeError(f"no input '{key}'; the inputs are {', '.join(self.input_names)}")
            if i in given:
                raise TypeError(f"input '{key}' is given twice")
            out[i] = value
            given.add(i)
        missing = [n for i, n in enumerate(self.input_names) if i not in given]
        if missing:
            raise TypeError(f"missing input{'s' if len(missing) > 1 else ''}: {', '.join(missing)}")
        return out

    def _convert(self, i, value):
        info = self.inputs[i]
        _device.reject(info, value)
        array = self._convert_to(info, "input", value)
        if info.donated and not array.flags.writeable:
            raise ValueError(
                f"input '{info.name}' is donated, the call may overwrite it, but the array is read-only"
                f" (give a copy: {info.name}.copy())"
            )
        return array

    def _convert_to(self, info, side, value):
        """A dense row-major array of the right dtype. Arrays must have that dtype already; numbers and
        lists are converted."""
        array = np.asarray(value)
        if array.dtype != info.dtype:
            plain = not isinstance(value, (np.ndarray, np.generic))
            if not (plain and np.can_cast(array.dtype, info.dtype, "same_kind")):
                raise TypeError(
                    f"{side} '{info.name}' is {array.dtype}; the model wants {info!r}"
                    f" (convert it: {info.name}.astype('{info.dtype}'))"
                )
            array = np.asarray(value, info.dtype)
        if type(array) is not np.ndarray:
            array = array.view(np.ndarray)
        array = np.asarray(array, dtype=info.dtype, order="C")
        return array if array.flags.aligned else array.copy()

    def _check_shape(self, i, array):
        """Raises if array's shape is not one of input i."""
        self._check_shape_of(self.inputs[i], "input", array)

    def _check_shape_of(self, info, side, array):
        shape = array.shape
        if len(shape) != len(info.shape):
            raise ValueError(
                f"{side} '{info.name}' has rank {len(shape)} (shape {shape}); the model wants {info!r}"
            )
        if any(want is not None and want != have for want, have in zip(info.shape, shape)):
            raise ValueError(f"{side} '{info.name}' has shape {shape}; the model wants {info!r}")

    def _create(self):
        """The address of a context, new unless the model has states."""
        if self._only is not None:
            return self._only
        context = ctypes.c_void_p()
        text = ctypes.create_string_buffer(512)
        options = _Options(struct_size=ctypes.sizeof(_Options), threads=self._threads or 0)
        _device.as_options(options, self._asked_device)
        options.message = ctypes.cast(text, ctypes.c_char_p)
        options.message_bytes = len(text)
        status = self._functions.create(
            ctypes.addressof(self._descriptor), ctypes.byref(options), ctypes.byref(context)
        )
        if status:
            raise ModelError(f"{self.path}: {self._status(status)}: {text.value.decode()}", status)
        with self._lock:
            self._contexts.append(context.value)
        if self._states:
            self._restore(context.value)
            self._only = context.value
        return context.value

    def _restore(self, context):
        """The states that the process had when it was forked."""
        if self._saved is None:
            raise ModelError(f"{self.path}: the process was forked while another thread called the model")
        states = self.states
        for i, name in enumerate(states):
            if name in self._saved:
                states._set(context, i, self._saved[name])
        self._saved = {}

    def _status(self, status):
        return self._functions.status_name(status).decode()

    def _fail(self, context, status):
        text = self._functions.last_error(context).decode()
        raise ModelError(f"{text} ({self._status(status)})", status)


if _Caller is not None:

    class _FastModel(_Caller, Model):
        """A model that the extension calls: it has its own frames, and asks Model about all that is unusual."""

        def _start(self):
            dtypes = ([v.dtype for v in values] for values in (self.inputs, self.outputs))
            self._bind(ctypes.addressof(self._descriptor), *dtypes)

        def _forget(self):
            Model._forget(self)
            _Caller._forget(self)


def _load_again(path, threads, name, device, states):
    model = load(path, threads, name, device)
    model.states.update(states)
    return model


def _destroy_all(functions, contexts, pid):
    if os.getpid() == pid:
        for context in contexts:
            functions.destroy(context)


def _descriptor(library, path, name):
    """The artifact's descriptor: NAME_descriptor_v1, by default of the only such symbol of the file."""
    names = [name] if name else ["gcomp_model"]
    for n in names:
        try:
            return _Descriptor.in_dll(library, f"{n}_descriptor_v1")
        except ValueError:
            pass
    if name is None:
        with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            found = sorted(set(re.findall(rb"\x00([A-Za-z_]\w*_descriptor_v\d+)(?=\x00)", raw)))
        for symbol in found:
            if symbol.endswith(b"_descriptor_v1"):
                return _Descriptor.in_dll(library, symbol.decode())
        if found:
            raise ModelError(f"{path}: speaks another version of the interface: {found[0].decode()}")
    wanted = f" named '{name}'" if name else ""
    raise ModelError(f"{path}: holds no gcomp model{wanted}")


def load(path, threads=None, name=None, device=None):
    """Loads a compiled model (a shared object written by gcomp).

    threads   threads a call may use, the caller's included; default: GCOMP_NUM_THREADS from the
              environment, else one for each CPU. Results do not depend on it.
    name      the artifact's name (gcomp --name), needed only if the file holds several
    device    "cpu", "cuda" or "cuda:N" (an error if there is no such GPU); default: GCOMP_DEVICE from the
              environment, else a GPU if the file has code for it

    The model is callable: NumPy arrays by position or name, in the inputs' dtypes, of any memory layout
    (row-major ones are read in place). It returns a list of new arrays; `run_dict` returns them by name.
    `inputs` and `outputs` describe the signature. `states` holds what the model keeps between calls, by
    name: to be read and set, and replaced by calls that succeed. Models loaded twice have states of their
    own. Wrong arguments are a TypeError or ValueError naming
    the input; a failed run is a ModelError. Calls may come from several threads at once.
    """
    return (Model if _Caller is None else _FastModel)(path, threads, name, device)
