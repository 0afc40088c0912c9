"""The seven PyMC models of graphs/, compiled and called through the Python package, against PyTensor.

Within 1e-10 of each output's largest element at five points each, infinities and NaN exactly; from the
committed files, at every level, on one thread and two (the same bits)."""

import json
import pathlib
import sys

import numpy as np
import pytest

pytest.importorskip("pymc")
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "graphs"), str(ROOT / "scripts" / "python")]

import export_pymc_models as models  # noqa: E402
import gcomp  # noqa: E402
import gcomp_cli  # noqa: E402
from test_pytensor_models import assert_same, reference  # noqa: E402


@pytest.fixture(autouse=True)
def command(monkeypatch):
    monkeypatch.setenv("GCOMP", str(gcomp_cli.GCOMP))


@pytest.fixture(scope="module", params=sorted(models.MODELS))
def case(request):
    name = request.param
    model = models.MODELS[name]()
    truth = reference(model, "FAST_COMPILE")
    points = models.points(name, model)
    return name, ROOT / "graphs" / f"{name}.json", points, [truth(p) for p in points]


def compare(name, found, wanted):
    assert list(found) == list(wanted)
    for key, want in wanted.items():
        assert_same(f"{name}, {key}", found[key], want)


@pytest.mark.parametrize("level", ["none", "merge", "fast_compile", "fast_run"])
def test_compiled_agrees_with_pytensor(case, level, tmp_path):
    name, graph, points, wanted = case
    model = gcomp.load(gcomp.compile(graph, tmp_path / "model.so", level), threads=1)
    for i, (point, want) in enumerate(zip(points, wanted)):
        compare(f"{name} at {level}, point {i}", model.run_dict(**point), want)


def test_reference_evaluator_agrees_with_pytensor(case):
    name, graph, points, wanted = case
    for i, (point, want) in enumerate(zip(points, wanted)):
        compare(f"{name} interpreted, point {i}", gcomp_cli.run(graph, point, "--interpret"), want)


def test_threads_and_kind_of_code_do_not_change_a_bit(case, tmp_path):
    name, graph, points, wanted = case
    paths = [gcomp.compile(graph, tmp_path / f"{k}.so", options=[f"--code={k}"]) for k in ("plan", "straight")]
    plan, straight = ([gcomp.load(path, threads=n) for n in (1, 2)] for path in paths)
    for point, want in zip(points, wanted):
        expected = plan[0](**point)
        compare(name, dict(zip(want, expected)), want)
        for a, b, c, d in zip(expected, plan[1](**point), straight[0](**point), straight[1](**point)):
            assert a.tobytes() == b.tobytes(), name
            assert c.tobytes() == d.tobytes(), name
            np.testing.assert_array_equal(a, c, err_msg=name)  # a NaN may have another sign


def test_gradient_is_that_of_the_log_density(case, tmp_path):
    """By differences, so that the exporter and PyTensor are not both trusted with what is exported."""
    name, graph, points, _ = case
    model = gcomp.load(gcomp.compile(graph, tmp_path / "model.so"), threads=1)
    start = points[0]
    base = model.run_dict(**start)
    rng = np.random.default_rng(0)
    direction = {k: rng.normal(size=v.shape) for k, v in start.items()}
    slope = sum(float(np.sum(base[f"grad_{k}"] * d)) for k, d in direction.items())
    step = 1e-5
    ahead, behind = (
        float(model.run_dict(**{k: v + s * direction[k] for k, v in start.items()})["logp"])
        for s in (step, -step)
    )
    np.testing.assert_allclose((ahead - behind) / (2 * step), slope, rtol=1e-4, atol=1e-4)


def test_the_loaded_model_refuses_wrong_arguments(tmp_path):
    model = gcomp.load(gcomp.compile(ROOT / "graphs" / "eight_schools.json", tmp_path / "m.so"))
    assert model.input_names == ["mu", "tau_log__", "eta"]
    with pytest.raises(ValueError, match=r"input 'eta' has shape \(7,\)"):
        model(0.0, 0.0, np.zeros(7))
    with pytest.raises(TypeError, match="input 'mu' is float32"):
        model(np.float32(0), 0.0, np.zeros(8))


# Kernel calls a run takes, of 68 to 279 nodes: more means that something no longer fuses.
KERNEL_CALLS = {"bayesian_nn": 20, "eight_schools": 3, "hsgp": 11, "logistic": 6, "mixture": 36, "radon": 22, "weibull": 15}


@pytest.mark.parametrize("name", sorted(models.MODELS))
def test_nodes_are_fused(name, tmp_path):
    artifact = tmp_path / "model.so"
    gcomp_cli.gcomp_ok(ROOT / "graphs" / f"{name}.json", "--code=plan", "-o", artifact)
    kernels = json.loads(gcomp_cli.gcomp_ok("inspect", artifact, "--json"))["kernels"]
    assert sum(kernel["calls"] for kernel in kernels) <= KERNEL_CALLS[name]
