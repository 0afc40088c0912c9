"""Every graph of graphs/, compiled, against the reference evaluator. Each at fast_run and at one more level, in turn, so that
all levels occur; test/pipeline judges all levels on all graphs before code generation."""

import json

import numpy as np
import pytest
from gcomp_cli import ROOT, gcomp_ok, run_npz

OTHERS = [("-O", level) for level in ("none", "merge", "o1", "o2", "stabilize", "o3", "unsafe")]
SAMPLES = sorted((ROOT / "graphs").rglob("*.json"))
# Of the largest element of an output; float64 throughout. Sums of a few hundred terms in another order.
TOLERANCE = 1e-11


def inputs_of(path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    inputs = json.loads(path.read_text())["inputs"]
    return {i["name"]: np.asarray(0.5 * rng.normal(size=i["shape"]), i["dtype"]) for i in inputs}


NAMES = [str(path.relative_to(ROOT / "graphs")) for path in SAMPLES]


@pytest.mark.parametrize(("index", "path"), list(enumerate(SAMPLES)), ids=NAMES)
def test_compiled_levels_agree_with_the_evaluator(index, path, tmp_path):
    inputs = inputs_of(path)
    expected = run_npz(path, inputs, tmp_path, "--interpret")
    assert expected
    for options in (("-O", "fast_run"), OTHERS[index % len(OTHERS)]):
        actual = run_npz(path, inputs, tmp_path, *options)
        assert actual.keys() == expected.keys()
        for name, y in expected.items():
            assert np.all(np.isfinite(y)), name
            assert np.max(np.abs(actual[name] - y), initial=0) <= TOLERANCE * np.max(np.abs(y), initial=0), (name, options)


def test_the_samples_are_there():
    assert len(SAMPLES) >= 25
    assert gcomp_ok("list", "levels").count("\n") >= len(OTHERS)
