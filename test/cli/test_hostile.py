"""Small files that promise much: refused, or compiled, within memory that their size explains."""

import json
import os
import struct
import zipfile

import numpy as np
import pytest
from conftest import AFFINE
from gcomp_cli import gcomp, gcomp_ok
from onnx import TensorProto, helper

LIMITS = ["--max-memory=300M", "--time-limit=60"]
HUGE = 10**12


def with_constant(**constant) -> bytes:
    graph = {**AFFINE, "constants": [{"id": 2, "dtype": "float32", **constant}]}
    return json.dumps(graph).encode()


def safetensors(header: bytes, size: int) -> bytes:
    return struct.pack("<Q", size) + header


def onnx_model(*dims, raw=b"") -> bytes:
    w = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=raw)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Neg", ["w"], ["y"])], "g", [], [y], [w])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


BAD = {
    "huge inline tensor": ("g.json", with_constant(shape=[HUGE], data=[1.0])),
    "huge base64 tensor": ("g.json", with_constant(shape=[HUGE], base64="AAAA")),
    "a product of extents that overflows": ("g.json", with_constant(shape=[2**32, 2**32], base64="")),
    "a million open lists": ("g.json", b'{"version": 1, "inputs": ' + b"[" * 10**6),
    "a million open objects": ("g.json", b'{"version": 1, "inputs": ' + b'{"a":' * 10**6),
    "an extent of parentheses": ("g.json", json.dumps(
        {**AFFINE, "inputs": [{**AFFINE["inputs"][0], "shape": ["(" * 10**6]}]}).encode()),
    "an extent of many powers": ("g.json", json.dumps(
        {**AFFINE, "inputs": [{**AFFINE["inputs"][0], "shape": ["*".join(["(N+1)"] * 5000)]}]}).encode()),
    "an op name of a megabyte": ("g.json", json.dumps({**AFFINE, "nodes": [{"op": "m" * 10**6}]}).encode()),
    "counts beyond the file": ("g.gcb", b"GCOMPBIN" + struct.pack("<II", 1, 0) + b"\xff" * 9 + b"\x01"),
    "many strings": ("g.gcb", b"GCOMPBIN" + struct.pack("<II", 1, 0) + b"\xff\xff\xff\x7f"),
    "huge ONNX tensor": ("g.onnx", onnx_model(HUGE)),
    "overflowing ONNX tensor": ("g.onnx", onnx_model(2**62, 2**62)),
    "a long ONNX length": ("g.onnx", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name, tmp_path):
    file, content = BAD[name]
    (tmp_path / file).write_bytes(content)
    done = gcomp(tmp_path / file, "-o", tmp_path / "x.so", *LIMITS)
    assert done.returncode == 1, f"exit {done.returncode}: {done.stderr[:500]}"
    assert file in done.stderr and len(done.stderr) < 3_000_000


@pytest.mark.parametrize(
    "content",
    [
        safetensors(b"", 2**63),
        safetensors(b'{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (HUGE, 4 * HUGE), 72),
        safetensors(b"[" * 10**6, 10**6),
    ],
    ids=["header", "tensor", "nesting"],
)
def test_bad_weights(content, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(content)
    (tmp_path / "g.json").write_bytes(with_constant(shape=[HUGE], file={"path": "w.safetensors", "tensor": "w"}))
    done = gcomp(tmp_path / "g.json", "-o", tmp_path / "x.so", *LIMITS)
    assert done.returncode == 1 and "w.safetensors" in done.stderr, done.stderr[:500]


def test_what_is_no_file(affine, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe", tmp_path):
        for command in ([path, "-o", tmp_path / "x.so"], ["run", path], ["run", affine, "--inputs", path]):
            done = gcomp(*command, *LIMITS)
            assert done.returncode == 3 and f"gcomp: {path}: is a" in done.stderr, done.stderr


def test_bad_arrays(affine, tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 3), }" % HUGE
    header = header.ljust(117) + "\n"
    with zipfile.ZipFile(tmp_path / "in.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
    done = gcomp("run", affine, "--interpret", "--inputs", tmp_path / "in.npz", *LIMITS)
    assert done.returncode == 3 and "in.npz" in done.stderr, done.stderr


def huge(*nodes, output: int) -> dict:
    return {
        "version": 1,
        "inputs": [],
        "constants": [{"id": 0, "dtype": "float32", "shape": [], "data": [2.0]}],
        "nodes": list(nodes),
        "outputs": [{"name": "y", "id": output}],
    }


FILL = {"op": "broadcast", "in": [0], "out": [1], "attrs": {"shape": [HUGE], "axes": []}}
IOTA = {"op": "iota", "in": [], "out": [1], "attrs": {"shape": [HUGE], "dtype": "float32", "axis": 0}}
SUM = {"op": "reduce_sum", "in": [1], "out": [2], "attrs": {"axes": [0]}}


@pytest.mark.parametrize("source", [FILL, IOTA], ids=["fill", "iota"])
@pytest.mark.parametrize("then", [None, SUM], ids=["itself", "sum"])
def test_large_constants_are_not_computed_while_compiling(source, then, tmp_path):
    graph = huge(source, then, output=2) if then else huge(source, output=1)
    (tmp_path / "g.json").write_text(json.dumps(graph))
    gcomp_ok(tmp_path / "g.json", "-o", tmp_path / "x.so", *LIMITS)
    assert (tmp_path / "x.so").stat().st_size < 10**6
    if then is None:  # 4 TB are not to be had, and that is said
        done = gcomp("run", tmp_path / "x.so", *LIMITS)
        assert done.returncode == 5 and "memory" in done.stderr, done.stderr


def test_many_equal_extents_stay_small(tmp_path):
    """reshape(x, [N*N*...*N]) again and again: expressions do not grow without bound."""
    nodes = []
    for i in range(60):  # doubling the rank's product each time would be 2^60 terms
        nodes.append({"op": "concat", "in": [i, i], "out": [i + 1], "attrs": {"axis": 0}})
    graph = {
        "version": 1,
        "symbols": ["N"],
        "inputs": [{"id": 0, "name": "x", "dtype": "float32", "shape": ["N"]}],
        "constants": [],
        "nodes": nodes,
        "outputs": [{"name": "y", "id": 60}],
    }
    (tmp_path / "g.json").write_text(json.dumps(graph))
    gcomp_ok(tmp_path / "g.json", "-o", tmp_path / "x.so", *LIMITS)
    np.savez(tmp_path / "in.npz", x=np.ones(1, np.float32))
    assert gcomp("run", tmp_path / "x.so", "--inputs", tmp_path / "in.npz", *LIMITS).returncode == 5
    np.savez(tmp_path / "in.npz", x=np.ones(2**10, np.float32))  # 2^70 elements
    done = gcomp("run", tmp_path / "x.so", "--inputs", tmp_path / "in.npz", *LIMITS)
    assert done.returncode == 6 and "overflow" in done.stderr, done.stderr
