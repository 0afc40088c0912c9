"""export_theano against Theano 1.0.5, which lives in an environment of its own (scripts/setup.sh bench); skipped without."""

import json
import os
import subprocess

import numpy as np
import pytest
from gcomp_cli import GCOMP, ROOT, gcomp, run_npz

PYTHON = ROOT / os.environ.get("GCOMP_THEANO_VENV", ".venv-theano") / "bin" / "python"
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="no Theano (scripts/setup.sh bench)")


def theano(*command):
    flags = "cxx=,blas.ldflags=,floatX=float64"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts" / "python"), "THEANO_FLAGS": flags}
    done = subprocess.run([PYTHON, *command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def values(path):
    with np.load(path) as arrays:
        inputs = {n: arrays[n] for n in arrays.files if not n.startswith("out_")}
        return inputs, {n.removeprefix("out_"): arrays[n] for n in arrays.files if n.startswith("out_")}


def assert_agree(got, want):
    assert set(got) == set(want)
    for name, expected in want.items():
        assert got[name].dtype == expected.dtype, name
        np.testing.assert_allclose(got[name], expected, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theano")
    theano(ROOT / "test/python/theano_cases.py", folder)
    return folder


@pytest.mark.parametrize("options", [["--interpret"], []], ids=["interpreted", "compiled"])
def test_ops(cases, options, tmp_path):
    inputs, want = values(cases / "cases.npz")
    assert_agree(run_npz(cases / "cases.json", inputs, tmp_path, *options), want)


@pytest.mark.parametrize("model", ["rnn", "hmm", "mixture"])
def test_models(model, tmp_path):
    graph = tmp_path / "graph.json"
    peer = [ROOT / "scripts/framework_peer.py", model, "--size", "4", "--export", graph, "--values", tmp_path / "values.npz"]
    assert json.loads(theano(*peer))["package"] == "theano"
    inputs, want = values(tmp_path / "values.npz")
    assert_agree(run_npz(graph, inputs, tmp_path, "--interpret"), want)
    assert_agree(run_npz(graph, inputs, tmp_path), want)


@pytest.mark.parametrize("level", ["none", "fast_run"])
def test_states(level, tmp_path, monkeypatch):
    theano(ROOT / "test/python/theano_states.py", tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "python"))
    monkeypatch.setenv("GCOMP", str(GCOMP))
    import gcomp as package

    model = package.load(package.compile(tmp_path / "states.json", tmp_path / "states.so", level))
    with np.load(tmp_path / "states.npz") as want:
        names = {n[len("state_") : -1] for n in want.files if n.startswith("state_")}
        assert set(model.states) == names and len(names) == 7
        for call in range(4):
            got = dict(zip(("loss", "step"), model(want[f"x{call}"]), strict=True))
            assert_agree(got, {n: want[f"out_{n}{call}"] for n in got})
            assert_agree({n: model.states[n] for n in names}, {n: want[f"state_{n}{call}"] for n in names})


def test_what_is_not_known_is_named(tmp_path):
    program = f"""
import theano.tensor as tt, gcomp
x = tt.matrix("x")
try:
    gcomp.export_theano(x, tt.nnet.ultra_fast_sigmoid(x) + tt.mean(x, op=True), {str(tmp_path / "g.json")!r})
except gcomp.UnsupportedOps as error:
    print(error)
"""
    text = theano("-c", program)
    assert "UltraFastScalarSigmoid" in text and "Mean" in text
    assert gcomp("inspect", tmp_path / "g.json").returncode == 3
