"""Results over operands, from the command line: the bits and the memory of every way to decide, on graphs of users."""

import json

import pytest
from gcomp_cli import ROOT, gcomp, gcomp_ok, random_inputs, run_npz

MODES = ("incremental", "full", "off")
NOTHING = "--optimizer-excluding=inplace,lower_peak"
GRAPHS = [ROOT / "graphs" / f"{name}.json" for name in ("mixture", "radon", "user/hmm", "user/char_rnn", "user/resnet", "user/training_step")]


def compiled(graph, folder, *options):
    """The outputs, and what the profile tells of memory."""
    artifact, told = folder / "model.so", folder / "told.json"
    gcomp_ok(graph, "-o", artifact, f"--profile={told}", "--verify-each", *options)
    told = json.loads(told.read_text())
    return run_npz(artifact, random_inputs(graph), folder), told["lowering"], told["memory"]


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda path: path.stem)
def test_same_bits_and_no_more_memory(graph, tmp_path):
    plain, plain_lowering, plain_memory = compiled(graph, tmp_path, NOTHING)
    assert plain_lowering["inplace"]["candidates"] == 0
    accepted = {}
    for mode in MODES:
        results, lowering, memory = compiled(graph, tmp_path, f"--cycle-detection={mode}")
        assert results.keys() == plain.keys()
        for name, expected in plain.items():
            assert results[name].tobytes() == expected.tobytes(), f"{mode}: {name}"
        told = lowering["inplace"]
        accepted[mode] = told["by_order"] + told["by_edges"]
        assert accepted[mode] + sum(told["refused"].values()) == told["candidates"]
        assert lowering["pieces"] + lowering["workspaces"] == plain_lowering["pieces"] + plain_lowering["workspaces"] - accepted[mode]
        assert memory["planned_bytes"] <= plain_memory["planned_bytes"]
    assert 0 < accepted["off"] <= accepted["incremental"] <= accepted["full"]


def test_same_bytes_every_time(tmp_path):
    graph = ROOT / "graphs" / "user" / "char_rnn.json"
    files = [tmp_path / "a.so", tmp_path / "b.so"]
    for file in files:
        gcomp_ok(graph, "-o", file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_unknown_way(tmp_path):
    done = gcomp(GRAPHS[0], "-o", tmp_path / "x.so", "--cycle-detection=fast")
    assert done.returncode == 2 and not (tmp_path / "x.so").exists()
    assert "--cycle-detection" in done.stderr and "one of incremental, full, off" in done.stderr
