"""Each real model is compiled once, without --dim, and that one file serves every size of every dynamic extent.

ONNX Runtime is the judge: each output within 2e-5 of its largest magnitude (the text detector, which amplifies
rounding, within 5e-5 on larger pages, where ONNX Runtime is no nearer to itself: test_real_accuracy.py), and the
same decision.
"""

import json

import fetch_models
import model_inputs
import numpy as np
import onnxruntime
import pytest
from gcomp_cli import gcomp_ok, run_npz


@pytest.fixture(scope="module", params=model_inputs.CASES, ids=lambda case: case.name)
def compiled(request, tmp_path_factory):
    """(case, paths of the model's files, the artifact)"""
    case = request.param
    paths = fetch_models.fetch([case.name])
    artifact = tmp_path_factory.mktemp(case.name) / "model.so"
    gcomp_ok(paths[case.name], "-O", "fast_run", "-o", artifact)
    return case, paths, artifact


def assert_close(found: np.ndarray, expected: np.ndarray, case: model_inputs.Case, relative: float) -> None:
    assert found.shape == expected.shape and found.dtype == expected.dtype
    tolerance = relative * np.abs(expected).max(initial=0)
    worst = np.abs(found - expected).max(initial=0)
    assert worst <= tolerance, f"off by {worst / np.abs(expected).max():.2e} of max|y|"
    differs = case.decide(found) != case.decide(expected)
    if case.threshold is not None:  # an answer on the threshold itself decides nothing
        differs &= np.abs(expected - case.threshold) > tolerance
    assert not differs.any()


@pytest.mark.parametrize("threads", [1, 2])
def test_every_size_agrees_with_onnx_runtime(compiled, threads, tmp_path):
    case, paths, artifact = compiled
    session = onnxruntime.InferenceSession(paths[case.name])
    names = [output.name for output in session.get_outputs()]
    held = [(size, case.tolerance) for size in case.sizes] + [(size, case.far_tolerance) for size in case.far_sizes]
    for size, relative in held:
        inputs = case.inputs(size, paths)
        outputs = run_npz(artifact, inputs, tmp_path, "--threads", threads)
        assert list(outputs) == names
        for name, expected in zip(names, session.run(None, inputs), strict=True):
            assert_close(outputs[name], expected, case, relative)


def test_same_bits_for_any_thread_count(compiled, tmp_path):
    case, paths, artifact = compiled
    inputs = case.inputs((case.sizes + case.far_sizes)[-1], paths)
    one = run_npz(artifact, inputs, tmp_path, "--threads", 1)
    two = run_npz(artifact, inputs, tmp_path, "--threads", 2)
    assert {name: y.tobytes() for name, y in one.items()} == {name: y.tobytes() for name, y in two.items()}


# Kernel calls a run takes, of 32 (attacut_c) to 777 (ppocr_det) nodes: more means that something no longer fuses.
KERNEL_CALLS = {"magika": 8, "ppocr_cls": 92, "ppocr_det": 132, "deepcut": 35, "attacut_c": 10}


def test_nodes_are_fused(compiled):
    case, _, artifact = compiled
    kernels = json.loads(gcomp_ok("inspect", artifact, "--json"))["kernels"]
    assert sum(kernel["calls"] for kernel in kernels) <= KERNEL_CALLS[case.name]
