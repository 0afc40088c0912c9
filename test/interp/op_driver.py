"""Evaluating single ops with the reference evaluator, through build/interp_driver."""

import os
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("GCOMP_BUILD_DIR", ROOT / "build"))

SIGNED = ["int8", "int16", "int32", "int64"]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
INTS = SIGNED + UNSIGNED
FLOATS = ["float16", "bfloat16", "float32", "float64"]
NUMBERS = INTS + FLOATS
ALL = ["bool"] + NUMBERS

KINDS = {
    "int": "axis batch_dims descending exclusive group reverse select_last trans_a trans_b",
    "ints": "axes dilations kernel perm strides",
    "dims": "high low output_padding shape starts symbols values",
    "str": "layout message reduction",
    "dtype": "dtype",
}
KIND_OF = {key: kind for kind, keys in KINDS.items() for key in keys.split()}


class Refused(Exception):
    """The graph has a wrong type."""


class Failed(Exception):
    """The run failed."""


def np_dtype(name: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def dtype_name(dtype: np.dtype) -> str:
    return np.dtype(dtype).name


def listed(values, separator=",") -> str:
    return separator.join(str(v).replace(" ", "") for v in values) or "-"


class Driver:
    def __init__(self):
        self.process = subprocess.Popen(
            [BUILD / "interp_driver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1 << 20
        )

    def read(self) -> str:
        line = self.process.stdout.readline()
        assert line, "interp_driver ended"
        return line.rstrip("\n")

    def __call__(self, op: str, *operands, types=None, **attrs):
        """The results of one op. `types`: the operands' declared extents where they are not static."""
        lines = [f"op {op}"]
        for i, x in enumerate(operands):
            x = np.asarray(x)
            words = ["in", dtype_name(x.dtype), listed(x.shape), x.tobytes().hex() or "-"]
            if types is not None and types[i] is not None:
                words.append(listed(types[i], ";"))
            lines.append(" ".join(words))
        for key, value in attrs.items():
            kind = KIND_OF[key]
            if kind in ("ints", "dims"):
                value = listed(value, "," if kind == "ints" else ";")
            lines.append(f"{kind} {key} {value}")
        lines.append("run\n")
        self.process.stdin.write("\n".join(lines))
        self.process.stdin.flush()
        word, _, rest = self.read().partition(" ")
        if word != "ok":
            raise (Refused if word == "refused" else Failed)(rest)
        results = []
        for _ in range(int(rest)):
            dtype, extents, digits = self.read().split(" ")
            shape = [] if extents == "-" else [int(e) for e in extents.split(",")]
            data = b"" if digits == "-" else bytes.fromhex(digits)
            results.append(np.frombuffer(data, np_dtype(dtype)).reshape(shape))
        return results[0] if len(results) == 1 else tuple(results)


def same(got: np.ndarray, want: np.ndarray, zero_signs=True):
    """Bit for bit, but for the payload of NaN (and the sign of zero, if asked)."""
    want = np.asarray(want)
    assert got.dtype == want.dtype and got.shape == want.shape, (got.dtype, got.shape, want.dtype, want.shape)
    if dtype_name(got.dtype) in FLOATS:
        got, want = got.astype(np.float64), want.astype(np.float64)
    np.testing.assert_array_equal(got, want)
    if zero_signs and got.dtype.kind == "f":
        numbers = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(want)[numbers])
