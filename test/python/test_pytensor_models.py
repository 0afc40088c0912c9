"""The seven PyMC models of graphs/: what the exported file says against PyTensor, at five points each."""

import os
import pathlib
import sys

import numpy as np
import pytest

pytest.importorskip("pymc")
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "graphs"), str(ROOT / "scripts" / "python")]

import export_pymc_models as models  # noqa: E402
import gcomp  # noqa: E402
import pytensor  # noqa: E402
from gcomp._export.pymc import logp_and_gradient  # noqa: E402
from numpy_eval import Evaluator  # noqa: E402

RTOL = 1e-10


def assert_same(name, got, want):
    """Equal to RTOL of the largest finite element, infinities and NaN exactly."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype and got.shape == want.shape, name
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), err_msg=f"{name}: NaN")
    inf = np.isinf(want)
    np.testing.assert_array_equal(np.isinf(got), inf, err_msg=f"{name}: infinities")
    np.testing.assert_array_equal(got[inf], want[inf], err_msg=f"{name}: infinities")
    finite = np.isfinite(want)
    scale = np.abs(want[finite]).max(initial=0.0)
    np.testing.assert_allclose(got[finite], want[finite], rtol=RTOL, atol=RTOL * scale, err_msg=name)


@pytest.fixture(scope="module", params=sorted(models.MODELS))
def case(request, tmp_path_factory):
    model = models.MODELS[request.param]()
    path = tmp_path_factory.mktemp("models") / f"{request.param}.json"
    gcomp.export_pymc(model, path, name=request.param)
    return request.param, model, path


def reference(model, mode=None):
    import pymc as pm

    inputs, outputs, names = logp_and_gradient(model)
    with model:
        f = pm.pytensorf.compile(inputs, outputs, mode=mode, on_unused_input="ignore")
    return lambda point: dict(zip(names, f(*[point[v.name] for v in inputs])))


def test_exported_graph_agrees_with_pytensor(case):
    name, model, path = case
    mode = os.environ.get("GCOMP_TEST_PYTENSOR_MODE", "FAST_COMPILE")
    truth, graph = reference(model, mode), Evaluator(path)
    logps = []
    for i, point in enumerate(models.points(name, model)):
        want, got = truth(point), graph.run(point)
        assert list(got) == list(want)
        for key in want:
            assert_same(f"{name}, point {i}, {key}", got[key], want[key])
        logps.append(want["logp"])
    assert np.isfinite(logps[:3]).all()
    assert not np.isfinite(logps[3:]).any(), "two points are meant to be outside the support"


def test_committed_graph_is_what_the_script_writes(case):
    name, _, path = case
    committed = ROOT / "graphs" / f"{name}.json"
    assert committed.read_bytes() == path.read_bytes(), "run graphs/export_pymc_models.py"
    assert committed.stat().st_size < 300_000
