"""Files of tensors, and gcomp.compile's way of calling the command."""

import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "python"))

import gcomp  # noqa: E402

DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()


def tensors():
    rng = np.random.default_rng(0)
    out = {f"x_{d}": rng.integers(0, 2 if d == "bool" else 100, (2, 3)).astype(d) for d in DTYPES}
    out["scalar"] = np.array(1.5)
    out["empty"] = np.zeros((0, 4), "float32")
    out["transposed"] = rng.normal(size=(3, 5)).T
    return out


def test_safetensors_round_trip(tmp_path):
    path = tmp_path / "w.safetensors"
    gcomp.save_safetensors(path, tensors())
    found = gcomp.load_safetensors(path)
    assert list(found) == list(tensors())
    for name, want in tensors().items():
        assert found[name].dtype == want.dtype and found[name].shape == want.shape
        np.testing.assert_array_equal(found[name], want)
    again = tmp_path / "again.safetensors"
    gcomp.save_safetensors(again, tensors())
    assert again.read_bytes() == path.read_bytes()


def test_safetensors_is_what_others_read(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    gcomp.save_safetensors(tmp_path / "w.safetensors", tensors())
    found = safetensors.load_file(tmp_path / "w.safetensors")
    for name, want in tensors().items():
        np.testing.assert_array_equal(found[name], want)
    safetensors.save_file({"a": np.arange(3.0)}, tmp_path / "v.safetensors")
    np.testing.assert_array_equal(gcomp.load_safetensors(tmp_path / "v.safetensors")["a"], np.arange(3.0))


def test_safetensors_data_are_aligned(tmp_path):
    path = tmp_path / "w.safetensors"
    gcomp.save_safetensors(path, {"a": np.ones(3, "int8"), "b": np.full(4, 7.0)})
    assert path.read_bytes().index(np.full(4, 7.0).tobytes()) % 64 == 0


def test_npz(tmp_path):
    path = tmp_path / "in.npz"
    gcomp.save_npz(path, {"mu": 1.5, "v": np.arange(6).reshape(2, 3).T})
    with np.load(path) as archive:
        assert archive.files == ["mu", "v"] and archive["mu"].shape == ()
    gcomp.save_npz(path, [np.ones(2), np.zeros(3)])
    assert list(gcomp.load_npz(path)) == ["input_0", "input_1"]
    gcomp.save_npz(path, [np.ones(2)], prefix="output")
    assert list(gcomp.load_npz(path)) == ["output_0"]
    with pytest.raises(TypeError, match="z: gcomp has no dtype complex128"):
        gcomp.save_npz(path, {"z": np.ones(2, complex)})


def test_npz_bfloat16(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.array([1.0, -2.5], ml_dtypes.bfloat16)
    gcomp.save_npz(tmp_path / "x.npz", {"x": x})
    found = gcomp.load_npz(tmp_path / "x.npz")["x"]
    assert found.dtype == "uint16" and (found.view(ml_dtypes.bfloat16) == x).all()


@pytest.fixture
def command(tmp_path, monkeypatch):
    """A stand-in for the gcomp command that records its arguments and does as it is told."""
    path = tmp_path / "gcomp"
    path.write_text(
        textwrap.dedent(
            f"""\
            #!{sys.executable}
            import pathlib, sys
            pathlib.Path({str(tmp_path / "arguments")!r}).write_text("\\n".join(sys.argv[1:]))
            if "--fail" in sys.argv:
                sys.exit("gcomp: no such op") if "1" in sys.argv else (print("wrong usage", file=sys.stderr), sys.exit(2))
            """
        )
    )
    path.chmod(0o755)
    monkeypatch.setenv("GCOMP", str(path))
    return lambda: (tmp_path / "arguments").read_text().split("\n")


def test_compile_calls_the_command(tmp_path, command):
    graph = tmp_path / "model.json"
    graph.write_text("{}")
    assert gcomp.compile(graph) == tmp_path / "model.so"
    assert command() == [str(graph), "-O", "fast_run", "-o", str(tmp_path / "model.so")]
    out = gcomp.compile(graph, tmp_path / "x.so", "merge", dims={"N": 8}, name="m", cpu="native", options=["-j", 2])
    assert out == tmp_path / "x.so"
    assert command()[1:] == [
        "-O", "merge", "-o", str(tmp_path / "x.so"), "--dim", "N=8", "--name", "m", "--mcpu=native", "-j", "2",
    ]  # fmt: skip


def test_compile_reports_what_the_command_says(tmp_path, command):
    graph = tmp_path / "model.json"
    graph.write_text("{}")
    with pytest.raises(gcomp.CompileError, match="gcomp: no such op") as e:
        gcomp.compile(graph, options=["--fail", "1"])
    assert e.value.returncode == 1
    with pytest.raises(gcomp.CompileError, match="wrong usage") as e:
        gcomp.compile(graph, options=["--fail"])
    assert e.value.returncode == 2
    with pytest.raises(FileNotFoundError, match="none.json"):
        gcomp.compile(tmp_path / "none.json")
    with pytest.raises(ValueError, match="fast_run"):
        gcomp.compile(graph, level="fastest")


def test_where_the_command_is(tmp_path, command, monkeypatch):
    assert gcomp.find_gcomp() == os.environ["GCOMP"]
    monkeypatch.setenv("GCOMP", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="no program"):
        gcomp.find_gcomp()


def test_import_needs_numpy_only():
    code = "import sys, gcomp; print([m for m in ('pytensor', 'pymc', 'scipy') if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "scripts" / "python", capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
