"""Arrays in and out as NumPy writes and reads them."""

import json

import numpy as np
import pytest
from gcomp_cli import run_npz


def identity(dtype: str, shape: list) -> dict:
    return {
        "version": 1,
        "symbols": [],
        "inputs": [{"id": 0, "name": "", "dtype": dtype, "shape": shape}],
        "constants": [],
        "nodes": [],
        "outputs": [{"name": "", "id": 0}],
    }


DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES += ["float16", "float32", "float64"]


@pytest.mark.parametrize("how", [[], ["--interpret"]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back(tmp_path, dtype, how):
    path = tmp_path / "identity.json"
    path.write_text(json.dumps(identity(dtype, [3, 4])))
    x = np.arange(-6, 6).reshape(3, 4).astype(dtype)
    for given in (x, np.asfortranarray(x), x[:, ::-1]):
        y = run_npz(path, {"input_0": given}, tmp_path, *how)["output_0"]
        assert y.dtype == x.dtype and (y == given).all()


@pytest.mark.parametrize("how", [[], ["--interpret"]])
@pytest.mark.parametrize("shape", [[], [0], [2, 0, 3], [1, 1]])
def test_odd_shapes_come_back(tmp_path, shape, how):
    path = tmp_path / "identity.json"
    path.write_text(json.dumps(identity("float32", shape)))
    x = np.ones(shape, np.float32)
    assert run_npz(path, {"input_0": x}, tmp_path, *how)["output_0"].shape == x.shape


@pytest.mark.parametrize("how", [[], ["--interpret"]])
def test_bfloat16_travels_as_uint16(tmp_path, how):
    path = tmp_path / "identity.json"
    path.write_text(json.dumps(identity("bfloat16", [2])))
    x = np.array([0x3F80, 0xC000], np.uint16)
    y = run_npz(path, {"input_0": x}, tmp_path, *how)["output_0"]
    assert y.dtype == np.uint16 and (y == x).all()
