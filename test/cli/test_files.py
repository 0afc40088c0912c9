"""Files: weights beside a graph, depfiles that make believes, exact conversion, cut-off files, the terminal."""

import json
import os
import pty
import re
import shutil
import subprocess
import time

import numpy as np
import onnx
import pytest
from conftest import AFFINE, chain
from gcomp_cli import GCOMP, gcomp, gcomp_ok, run_npz
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

BIG = np.random.default_rng(2).normal(size=20_000)


def with_weights(path: str = "w.safetensors") -> dict:
    """y = x + w, with w in a safetensors file."""
    return {
        "version": 1,
        "symbols": [],
        "inputs": [{"id": 0, "name": "x", "dtype": "float64", "shape": [20_000]}],
        "constants": [
            {"id": 1, "dtype": "float64", "shape": [20_000], "file": {"path": path, "tensor": "w"}},
        ],
        "nodes": [{"op": "add", "in": [0, 1], "out": [2]}],
        "outputs": [{"name": "y", "id": 2}],
    }


@pytest.fixture
def weighted(tmp_path):
    folder = tmp_path / "graph folder"
    folder.mkdir()
    save_file({"w": BIG}, folder / "w.safetensors")
    (folder / "graph.json").write_text(json.dumps(with_weights()))
    return folder / "graph.json"


@pytest.fixture
def external(tmp_path):
    """An ONNX model y = x + w with w in a file of its own."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [20_000]) for n in "xy")
    w = numpy_helper.from_array(BIG.astype(np.float32), "w")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin")
    return tmp_path / "model.onnx"


def test_weights_of_safetensors_and_external_data(weighted, external, tmp_path):
    x = np.ones(20_000)
    assert (run_npz(weighted, {"x": x}, tmp_path)["y"] == x + BIG).all()
    y = run_npz(external, {"x": x.astype(np.float32)}, tmp_path)["y"]
    assert (y == x.astype(np.float32) + BIG.astype(np.float32)).all()


@pytest.mark.parametrize("path", ["../w.safetensors", "/tmp/w.safetensors", "a/../../w.safetensors", "link", "up/w"])
def test_weights_outside_the_folder_are_refused(weighted, tmp_path, path):
    folder = weighted.parent
    shutil.move(folder / "w.safetensors", tmp_path / "w")
    shutil.copy(tmp_path / "w", tmp_path / "w.safetensors")
    (folder / "link").symlink_to("../w")
    (folder / "up").symlink_to("..")
    weighted.write_text(json.dumps(with_weights(path)))
    done = gcomp(weighted, "-o", tmp_path / "x.so")
    assert done.returncode == 1 and "must lie in the folder of the graph file" in done.stderr
    assert "constants[0]" in done.stderr and not (tmp_path / "x.so").exists()


@pytest.mark.parametrize("name", ["/tmp/w.safetensors", "../w.safetensors"])
def test_weights_are_not_written_outside_the_folder(weighted, tmp_path, name):
    done = gcomp("convert", weighted, "-o", tmp_path / "y.json", "--weights", name)
    assert done.returncode == 2 and "folder of the graph" in done.stderr
    assert not (tmp_path / "y.json").exists()


RULES = {
    "ninja": ("build.ninja", "rule r\n  command = {command}\n  depfile = out.d\nbuild {out}: r\n", "[1/1]"),
    "make": ("Makefile", "{out}:\n\t@echo made; {command}\n-include out.d\n", "made"),
}
BUILDS = [("make", "so"), *(("ninja", emit) for emit in ("so", "obj", "asm", "llvm", "kernels", "graph"))]


@pytest.mark.parametrize(("tool", "emit"), BUILDS)
def test_make_rebuilds_after_any_change(weighted, external, tmp_path, tool, emit):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    file, rule, mark = RULES[tool]
    out = tmp_path / ("out.json" if emit == "graph" else "out")
    for graph, files in ((weighted, ["w.safetensors", "graph.json"]), (external, ["weights.bin", "model.onnx"])):
        command = f"'{GCOMP}' '{graph}' --emit={emit} -o {out.name} --depfile out.d"
        (tmp_path / file).write_text(rule.format(command=command, out=out.name))

        def make():
            done = subprocess.run([tool], cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            return mark in done.stdout

        out.unlink(missing_ok=True)
        assert make() and not make()
        for name in files:
            later = time.time() + 10
            os.utime(graph.parent / name, (later, later))
            assert make(), name
            os.utime(graph.parent / name, (0, 0))
            assert not make()


EXACT = {
    "bool": [True, False],
    "int8": [-128, 127],
    "int64": [-(2**63), 2**63 - 1],
    "uint64": [0, 2**64 - 1],
    "float16": [6e-8, -0.0, np.inf],
    "float32": [1e-45, -0.0, 0.1, np.nan, -np.inf],
    "float64": [5e-324, -0.0, 0.1, np.nan, np.inf, 1.7976931348623157e308],
}


def test_conversion_is_exact(tmp_path):
    """NumPy's bytes come out of JSON, binary, safetensors and back, and of a compiled graph."""
    constants = {name: np.array(values, name) for name, values in EXACT.items()}
    constants["float32"].view(np.uint32)[3] = 0x7FC12345  # a NaN with a payload
    constants["large"] = BIG
    first = {
        "version": 1,
        "inputs": [],
        "constants": [
            {"id": i, "dtype": str(c.dtype), "shape": [c.size], "base64": base64_of(c)}
            for i, c in enumerate(constants.values())
        ],
        "nodes": [],
        "outputs": [{"name": name, "id": i} for i, name in enumerate(constants)],
    }
    (tmp_path / "a.json").write_text(json.dumps(first))
    forms = ["a.json", "b.gcb", "c.json", "d.gcb", "e.json", "f.gcb"]
    for source, target in zip(forms, forms[1:]):
        options = ["--weights", "e.safetensors"] if target == "e.json" else []
        gcomp_ok("convert", tmp_path / source, "-o", tmp_path / target, *options)
    gcb = (tmp_path / "b.gcb").read_bytes()
    assert gcb == (tmp_path / "d.gcb").read_bytes() == (tmp_path / "f.gcb").read_bytes()
    assert gcb.index(BIG.tobytes()) % 64 == 0  # may be used as mapped
    (saved,) = load_file(tmp_path / "e.safetensors").values()
    assert saved.tobytes() == BIG.tobytes()
    keys = list(json.loads((tmp_path / "c.json").read_text()))
    assert keys == [k for k in ["version", "name", "symbols", "inputs", "constants", "nodes", "outputs", "updates"] if k in keys]  # fmt: skip
    for form in ("a.json", "b.gcb", "c.json", "e.json"):
        for how in ([], ["--interpret"]):
            found = run_npz(tmp_path / form, {}, tmp_path, *how)
            assert {n: v.tobytes() for n, v in found.items()} == {n: v.tobytes() for n, v in constants.items()}


def base64_of(array) -> str:
    import base64

    return base64.b64encode(array.tobytes()).decode()


def test_files_cut_off_have_the_documented_exit_code(weighted, external, tmp_path):
    """At a few places each; every place is cut in test/formats and test/artifact, in one process."""
    gcomp_ok("convert", weighted, "-o", tmp_path / "g.gcb")
    gcomp_ok(weighted, "-o", tmp_path / "a.so")
    np.savez(tmp_path / "in.npz", x=np.ones(20_000))
    cut = tmp_path / "cut"
    cut.mkdir()
    for file in (weighted, weighted.parent / "w.safetensors", external, external.parent / "weights.bin"):
        shutil.copy(file, cut)
    compile_to = ["-o", cut / "x.so"]
    cases = [
        (1, weighted, [cut / "graph.json", *compile_to]),
        (1, tmp_path / "g.gcb", [cut / "g.gcb", *compile_to]),
        (1, weighted.parent / "w.safetensors", [cut / "graph.json", *compile_to]),
        (1, external.parent / "weights.bin", [cut / "model.onnx", *compile_to]),
        (3, tmp_path / "in.npz", ["run", tmp_path / "a.so", "--inputs", cut / "in.npz"]),
        (3, tmp_path / "a.so", ["inspect", cut / "a.so"]),
        (3, tmp_path / "a.so", ["run", cut / "a.so", "--inputs", tmp_path / "in.npz"]),
    ]
    for code, whole, command in cases:
        content = whole.read_bytes()
        for size in (len(content) // 2, len(content) - 9, 100):
            (cut / whole.name).write_bytes(content[:size])
            done = gcomp(*command)
            said = f"{whole.name} cut to {size}: exit {done.returncode}: {done.stderr}"
            assert done.returncode == code and done.stderr.startswith("gcomp: ") and str(cut) in done.stderr, said
        (cut / whole.name).write_bytes(content)


def test_inspecting_does_not_load(affine, tmp_path):
    gcomp_ok(affine, "-o", tmp_path / "model.so")
    loads = {"LD_DEBUG": "files"}
    inspected = gcomp("inspect", tmp_path / "model.so", env={**os.environ, **loads})
    assert "libc.so" in inspected.stderr and "model.so" not in inspected.stderr
    np.savez(tmp_path / "in.npz", x=np.ones((1, 3), np.float32), w=np.ones((1, 3), np.float32))
    run = gcomp("run", tmp_path / "model.so", "--inputs", tmp_path / "in.npz", env={**os.environ, **loads})
    assert "model.so" in run.stderr


def on_terminal(*command) -> str:
    """What the command writes to its standard error when that is a terminal."""
    try:
        ours, theirs = pty.openpty()
    except OSError as error:
        pytest.skip(f"this machine gives no terminal: {error}")
    with subprocess.Popen([GCOMP, *command], stderr=theirs, stdin=subprocess.DEVNULL) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            text += part
            if not part:
                break
        assert process.wait(60) == 0
    os.close(ours)
    return text.decode()


def test_progress_on_a_terminal_only_and_after_a_second(tmp_path):
    (tmp_path / "long.json").write_text(json.dumps(chain(400_000)))
    (tmp_path / "short.json").write_text(json.dumps(AFFINE))
    shown = on_terminal(tmp_path / "long.json", "-o", tmp_path / "x.so")
    assert "gcomp: " in shown and re.search(r"\(\d+\.\d s, about \d+ s left\)", shown)
    assert shown.endswith("\r\x1b[K")  # wiped away
    assert on_terminal(tmp_path / "short.json", "-o", tmp_path / "x.so") == ""
    assert gcomp(tmp_path / "long.json", "-o", tmp_path / "x.so").stderr == ""
