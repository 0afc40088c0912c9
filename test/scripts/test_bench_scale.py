"""The benchmark of size, at small sizes: the same graphs, files and checks of results as at millions of nodes and 5 GB."""

import os
import subprocess
import sys

import numpy as np
from gcomp_cli import GCOMP, ROOT, gcomp_ok, run_npz

sys.path.insert(0, str(ROOT / "scripts"))
import bench_scale  # noqa: E402


def run(*arguments):
    command = [sys.executable, ROOT / "scripts/bench_scale.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "GCOMP": str(GCOMP)})
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_every_section_at_small_sizes():
    """Goals of time may be missed on a busy machine; those of results and memory may not."""
    said = run("--nodes", "300", "3000", "--chain-nodes", "30000", "--weights-gb", "0.1")
    missed = said.partition("Goals missed:")[2]
    assert not any(word in missed for word in ("error", "artifact", "memory")), said
    for name in (*bench_scale.SHAPES, "gcb", "json", "JSON and safetensors", "ONNX and external data"):
        assert f"| {name} |" in said, said


def test_the_chain_of_the_benchmark(tmp_path):
    """Its file is written byte by byte: it must be the graph that it says."""
    bench_scale.write_chain(1000, tmp_path / "chain.gcb")
    x = np.linspace(-2, 2, 4)
    want = x
    for _ in range(500):
        want = np.tanh(np.sin(want))
    gcomp_ok(tmp_path / "chain.gcb", "-o", tmp_path / "chain.so")
    np.testing.assert_allclose(run_npz(tmp_path / "chain.so", {"x": x}, tmp_path)["y"], want, rtol=1e-12)


def test_a_wrong_result_is_a_missed_goal(tmp_path):
    report = bench_scale.Report()
    report.goal("relative error", 0.5, 1e-6)
    assert report.missed and report.end() == 1
