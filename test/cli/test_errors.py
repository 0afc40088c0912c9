"""Exit codes and messages: each names the file, the place and the cure."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import AFFINE, chain
from gcomp_cli import GCOMP, gcomp, gcomp_ok
from onnx import TensorProto, helper


def fails(code, *args, **kwargs) -> str:
    """What gcomp says on stderr as it exits with `code`."""
    done = gcomp(*args, **kwargs)
    assert done.returncode == code, f"exit {done.returncode}: {done.stderr}"
    assert done.stderr.startswith("gcomp: ")
    return done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--outputt=x"], "did you mean '--output'?"),
        (["-o", "x.so", "-O", "fastrun"], "did you mean 'fast_run'?"),
        (["-o", "x.so", "--mcpu=x86-64-v33"], "did you mean"),
        (["-o", "x.so", "--emit=dll"], "one of so, obj"),
        (["-o", "x.so", "--code=curved"], "one of auto, straight, plan"),
        (["-o", "x.so", "--name=1st"], "not a C identifier"),
        (["-o", "x.so", "--dim", "batch"], "batch=8"),
        (["-o", "x.so", "--optimizer-excluding=canonicalise"], "did you mean 'canonicalize'?"),
        (["-o", "x.so", "-j", "none"], "-j"),
        ([], "--output"),
    ],
)
def test_wrong_usage(affine, args, said):
    assert said in fails(2, affine, *args, cwd=affine.parent)


def test_unknown_extent(affine, tmp_path):
    message = fails(2, affine, "-o", tmp_path / "x.so", "--dim", "NN=4")
    assert "'NN'" in message and "did you mean 'N'?" in message


def test_missing_and_unwritable_files(affine, tmp_path):
    assert "absent.json" in fails(3, tmp_path / "absent.json", "-o", tmp_path / "x.so")
    message = fails(3, affine, "-o", tmp_path / "no_folder" / "x.so")
    assert "no_folder" in message
    assert not (tmp_path / "no_folder").exists()


def test_malformed_graph_is_located(tmp_path):
    wrong = json.loads(json.dumps(AFFINE))
    wrong["nodes"][0]["op"] = "mull"
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(wrong))
    message = fails(1, path, "-o", tmp_path / "x.so")
    assert "wrong.json" in message and "nodes[0]" in message and "mul" in message
    path.write_text("no graph at all")
    assert "wrong.json" in fails(1, path, "-o", tmp_path / "x.so")
    assert not (tmp_path / "x.so").exists()


def test_every_unsupported_onnx_op_is_listed(tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.STRING, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.STRING, ["n"])
    nodes = [
        helper.make_node("StringNormalizer", ["x"], ["a"], name="first"),
        helper.make_node("Mystery", ["a"], ["b"], name="second", domain="com.example"),
        helper.make_node("Enigma", ["b"], ["y"], name="third", domain="com.example"),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=opsets, ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    message = fails(1, tmp_path / "model.onnx", "-o", tmp_path / "x.so")
    for word in ("StringNormalizer", "Mystery", "Enigma", "second", "third", "model.onnx"):
        assert word in message


def test_run_that_fails_names_the_input(affine, tmp_path):
    gcomp_ok(affine, "-o", tmp_path / "x.so")
    np.savez(tmp_path / "in.npz", x=np.zeros((2, 3), np.float32), w=np.zeros((5, 3), np.float32))
    assert 'input "w"' in fails(6, "run", tmp_path / "x.so", "--inputs", tmp_path / "in.npz")
    np.savez(tmp_path / "in.npz", x=np.zeros((2, 3)), w=np.zeros((2, 3)))
    assert "float32" in fails(6, "run", tmp_path / "x.so", "--inputs", tmp_path / "in.npz")
    np.savez(tmp_path / "in.npz", x=np.zeros((2, 3), np.float32), W=np.zeros((2, 3), np.float32))
    assert "'w'" in fails(6, "run", tmp_path / "x.so", "--inputs", tmp_path / "in.npz")
    assert "--inputs" in fails(6, "run", tmp_path / "x.so")


def test_compressed_arrays_are_refused_with_the_cure(affine, tmp_path):
    np.savez_compressed(tmp_path / "in.npz", x=np.zeros((2, 3), np.float32), w=np.zeros((2, 3), np.float32))
    assert "numpy.savez" in fails(3, "run", affine, "--interpret", "--inputs", tmp_path / "in.npz")


def test_a_failed_compilation_leaves_nothing(affine, tmp_path):
    before = sorted(tmp_path.iterdir())
    fails(2, affine, "-o", tmp_path / "x.so", "--dim", "Q=4")
    assert sorted(tmp_path.iterdir()) == before


def test_a_crash_writes_a_reproducer(tmp_path):
    graph = tmp_path / "chain.json"
    graph.write_text(json.dumps(chain(200_000)))
    command = [GCOMP, graph, "-o", tmp_path / "x.so"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        while str(graph) not in maps.read_text():  # until it reads the graph
            assert process.poll() is None
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGSEGV)
        message = process.stderr.read()
        assert process.wait(60) == 4
    assert "internal error: signal SIGSEGV while: " in message
    (folder,) = tmp_path.glob("gcomp-reproducer-*")
    assert str(folder) in message
    assert (folder / "graph.json").read_bytes() == graph.read_bytes()
    assert str(graph) in (folder / "command").read_text()
    assert not (tmp_path / "x.so").exists()
