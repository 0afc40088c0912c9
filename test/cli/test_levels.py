"""Every level on every committed graph agrees with the reference evaluator on the graph as written."""

import numpy as np
import pytest
from gcomp_cli import ROOT, random_inputs, run_npz

# o3 is o4 without inplace (cli/test_inplace), and merge is none but for equal nodes (cli/test_pipeline).
LEVELS = (["-O", "none"], ["-O", "o1"], ["-O", "o2"], ["-O", "stabilize"], ["-O", "unsafe"], ["--optimizer-excluding=slow"])
GRAPHS = sorted([*(ROOT / "graphs").glob("*.json"), *(ROOT / "graphs" / "user").glob("*.json")])


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda path: path.stem)
def test_every_level_agrees_with_the_evaluator(graph, tmp_path):
    inputs = random_inputs(graph)
    truth = run_npz(graph, inputs, tmp_path, "--interpret", "-O", "none")
    for level in LEVELS:
        results = run_npz(graph, inputs, tmp_path, *level)
        assert results.keys() == truth.keys()
        for name, expected in truth.items():
            # Sums in another order: relative to the largest element.
            scale = np.max(np.abs(expected), initial=0, where=np.isfinite(expected))
            tolerance = (1e-10 if expected.dtype == np.float64 else 2e-4) * scale
            np.testing.assert_allclose(results[name], expected, rtol=0, atol=tolerance, err_msg=f"{level}: {name}")
