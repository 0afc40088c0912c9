"""Every kernel of every sample graph becomes machine code for three generations of GPUs, and computes, on the fake
driver with emulated kernels, what the CPU's computes. No GPU is needed for that."""

import json

import fetch_models
import pytest
from fake_gpu import compile_kernels, environment
from gcomp_cli import ROOT, gcomp_ok, random_inputs, run_npz
from test_gpu import difference

ARCHS = ["sm_80", "sm_90", "sm_100"]
GRAPHS = sorted(p for folder in ("graphs", "graphs/user") for p in (ROOT / folder).glob("*.json"))


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda path: path.relative_to(ROOT / "graphs").with_suffix("").as_posix())
def test_graphs(graph, tmp_path):
    check(graph, tmp_path)


@pytest.mark.parametrize("name", fetch_models.MODELS)
def test_onnx_models(name, tmp_path):
    check(fetch_models.fetch([name])[name], tmp_path)


def check(graph, tmp_path):
    artifact = tmp_path / "graph.so"
    gcomp_ok(graph, "--target", "cpu,cuda", "--cuda-everything", "--cuda-arch", ",".join(ARCHS), "-o", artifact)
    cuda = json.loads(gcomp_ok("inspect", artifact, "--json"))["cuda"]
    assert cuda["archs"] == [*ARCHS, "compute_80"]
    assert len(cuda["kernels"]) == cuda["num_kernels"] > 0
    for kernel in cuda["kernels"]:
        for arch in ARCHS:
            assert 0 < kernel[arch]["registers"] <= 255, (kernel["name"], arch)
    inputs = random_inputs(graph)
    here = run_npz(artifact, inputs, tmp_path, "--device", "cpu")
    there = run_npz(artifact, inputs, tmp_path, "--device", "cuda", env=environment(compile_kernels(graph, tmp_path)))
    assert here.keys() == there.keys()
    assert not {name: text for name in here if (text := difference(there[name], here[name]))}
