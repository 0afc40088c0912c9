"""safetensors files: an 8-byte header length, a JSON header, raw little-endian data.

Written and read here in a few lines so that exporting needs NumPy only. Keys are written in the order
given and nothing depends on time or place, so equal tensors give equal bytes.
"""

import json

import numpy as np

_NAMES = {
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}
_DTYPES = {v: k for k, v in _NAMES.items()}
_ALIGNMENT = 64  # of each tensor within the file, so that it can be mapped


def save_safetensors(path, tensors):
    """Writes `tensors`, a mapping from names to arrays, row-major and aligned to 64 bytes."""
    header, blobs, at = {}, [], 0
    for name, array in tensors.items():
        array = np.asarray(array, order="C")
        if array.dtype.name not in _NAMES:
            raise TypeError(f"tensor {name!r}: safetensors has no dtype {array.dtype}")
        gap = -at % _ALIGNMENT
        if gap:
            # Gaps are not allowed between tensors, so the padding is a tensor too.
            header[f"__pad_{at}"] = {"dtype": "U8", "shape": [gap], "data_offsets": [at, at + gap]}
            blobs.append(bytes(gap))
            at += gap
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        header[name] = {
            "dtype": _NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [at, at + len(data)],
        }
        blobs.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little"))
        f.write(text)
        for blob in blobs:
            f.write(blob)


def load_safetensors(path):
    """The tensors of a safetensors file, as a dictionary of (read-only) arrays."""
    with open(path, "rb") as f:
        raw = f.read()
    length = int.from_bytes(raw[:8], "little")
    if length > len(raw) - 8:
        raise ValueError(f"{path}: not a safetensors file")
    data = memoryview(raw)[8 + length :]
    out = {}
    for name, entry in json.loads(raw[8 : 8 + length]).items():
        if name == "__metadata__" or name.startswith("__pad_"):
            continue
        begin, end = entry["data_offsets"]
        dtype = np.dtype(_DTYPES[entry["dtype"]]).newbyteorder("<")
        out[name] = np.frombuffer(data[begin:end], dtype=dtype).reshape(entry["shape"])
    return out
