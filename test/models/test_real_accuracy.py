"""The text detector amplifies rounding, so that two float32 computations of it may be 5e-5 of max|y| apart. This
tells whose error that is: the same network in float64, compiled by gcomp and held to the reference evaluator,
is the truth, and gcomp may be at most 2e-5 of max|y| from it, or as far as ONNX Runtime.

Measured on 16 sizes (x86-64-v3; the same bits with AVX-512): gcomp 0.4e-5 to 2.3e-5 from the truth, 1.2e-5 in the
mean; ONNX Runtime 0.5e-5 to 2.8e-5, 1.3e-5 in the mean, and without its optimisations 0.6e-5 to 4.9e-5.
"""

import fetch_models
import model_inputs
import numpy as np
import onnx
import onnxruntime
import pytest
from gcomp_cli import gcomp_ok, run_npz
from onnx import TensorProto, numpy_helper

CASE = next(case for case in model_inputs.CASES if case.name == "ppocr_det")


def in_float64(path):
    """The network with every float32 tensor as float64, but for the scales that Resize takes."""
    model = onnx.load(path)
    kept = {name for node in model.graph.node if node.op_type == "Resize" for name in node.input[1:]}
    constants = [a.t for n in model.graph.node if n.op_type == "Constant" and n.output[0] not in kept for a in n.attribute]
    constants += [t for t in model.graph.initializer if t.name not in kept]
    for tensor in constants:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float64"), tensor.name))
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    assert not any(node.op_type == "Cast" for node in model.graph.node), "casts to float32 would have to be changed"
    return model


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """(paths of the model's files, the artifact, the float64 model, its artifact)"""
    folder = tmp_path_factory.mktemp("det")
    paths = fetch_models.fetch([CASE.name])
    wide = folder / "wide.onnx"
    onnx.save(in_float64(paths[CASE.name]), wide)
    gcomp_ok(paths[CASE.name], "-o", folder / "det.so")
    gcomp_ok(wide, "-o", folder / "wide.so")
    return paths, folder / "det.so", wide, folder / "wide.so"


def run_wide(file, inputs, folder, *options):
    (y,) = run_npz(file, {k: v.astype("float64") for k, v in inputs.items()}, folder, *options).values()
    assert y.dtype == "float64"
    return y


def test_float64_agrees_with_the_reference_evaluator(compiled, tmp_path):
    paths, _, wide, artifact = compiled
    inputs = CASE.inputs((1, 32, 64), paths)
    expected = run_wide(wide, inputs, tmp_path, "--interpret")
    np.testing.assert_allclose(run_wide(artifact, inputs, tmp_path), expected, rtol=0, atol=1e-12 * expected.max())


@pytest.mark.parametrize("size", CASE.sizes + CASE.far_sizes + [(1, 128, 192), (3, 96, 96), (1, 64, 320)], ids=str)
def test_distance_from_the_truth(compiled, size, tmp_path):
    paths, artifact, _, wide = compiled
    inputs = CASE.inputs(size, paths)
    truth = run_wide(wide, inputs, tmp_path)
    (ours,) = run_npz(artifact, inputs, tmp_path).values()
    (theirs,) = onnxruntime.InferenceSession(paths[CASE.name]).run(None, inputs)
    error, other = (np.abs(y - truth).max() / np.abs(truth).max() for y in (ours, theirs))
    print(f"{size}: gcomp {error:.1e}, ONNX Runtime {other:.1e} of max|y| from the truth")
    assert error <= max(2e-5, other)
