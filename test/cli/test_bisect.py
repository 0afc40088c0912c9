"""--rewrite-limit and gcomp bisect. Planted wrong rules are in test/driver/bisect_test.cpp; here a rule that changes
results because it is meant to: log(1 + exp(x)) overflows as written, and softplus does not."""

import json
import re

import numpy as np
import pytest
from gcomp_cli import gcomp, gcomp_ok, run_npz


def node(op, operands, out, loc, **attrs):
    return {"op": op, "in": operands, "out": [out], "attrs": attrs, "loc": loc}


@pytest.fixture
def graph(tmp_path):
    """y = abs(sin(x) * log(1 + exp(x))) + x"""
    nodes = [
        node("exp", [0], 2, "the_exp"),
        node("broadcast_like", [1, 2], 3, "ones", axes=[]),
        node("add", [3, 2], 4, "one_more"),
        node("log", [4], 5, "the_log"),
        node("sin", [0], 6, "the_sine"),
        node("mul", [5, 6], 7, "product"),
        node("abs", [7], 8, "positive"),
        node("add", [8, 0], 9, "sum"),
    ]
    path = tmp_path / "graph.json"
    path.write_text(
        json.dumps(
            {
                "version": 1,
                "symbols": ["N"],
                "inputs": [{"id": 0, "name": "x", "dtype": "float64", "shape": ["N"]}],
                "constants": [{"id": 1, "dtype": "float64", "shape": [], "data": [1.0]}],
                "nodes": nodes,
                "outputs": [{"name": "y", "id": 9}],
            }
        )
    )
    return path


def bisect(graph, x, *options):
    np.savez(graph.parent / "in.npz", x=np.array(x))
    return gcomp("bisect", graph, "--inputs", graph.parent / "in.npz", "-o", graph.parent / "small.json", *options)


def test_each_limit_makes_one_more_rewrite(graph):
    told, last = [], None
    for limit in range(10):
        done = gcomp("opt", graph, "-o", "-", f"--rewrite-limit={limit}")
        assert done.returncode == 0
        told.append(done.stderr.strip())
        assert (done.stdout == last) == told[-1].startswith("gcomp: all rewrites were made")
        last = done.stdout
        if told[-1].startswith("gcomp: all"):
            break
    assert told[0] == "gcomp: no rewrite was made"
    assert told[1] == "gcomp: rewrite 1: rule log1p at the_log (pass stabilize)"
    assert told[-1] == f"gcomp: all rewrites were made: {len(told) - 2}"


def test_a_limited_graph_runs(graph, tmp_path):
    x = np.array([0.5, -1.0])
    y = np.abs(np.sin(x) * np.log1p(np.exp(x))) + x
    for limit in (0, 1, 2):
        np.testing.assert_allclose(run_npz(graph, {"x": x}, tmp_path, f"--rewrite-limit={limit}")["y"], y, rtol=1e-14)


def test_the_rewrite_that_changes_results_is_named_and_cut_out(graph):
    done = bisect(graph, [0.5, 1000.0])
    assert done.returncode == 7, done.stderr
    difference, rewrite, rule, reduced = done.stdout.splitlines()
    assert difference.startswith("output 'y', element 1: ")
    found = re.fullmatch(r"rewrite (\d+) of (\d+) is the first that changes it: rule softplus at the_log \(pass stabilize\)", rewrite)
    assert found and int(found[1]) <= int(found[2])
    assert "extends-domain" in rule
    assert reduced.startswith("reduced to 2 nodes: ")
    small = json.loads((graph.parent / "small.json").read_text())
    assert [n["op"] for n in small["nodes"]] == ["exp", "log1p"]
    with np.load(graph.parent / "small.npz") as inputs:
        np.testing.assert_array_equal(inputs["x"], [0.5, 1000.0])
    again = gcomp("bisect", graph.parent / "small.json", "--inputs", graph.parent / "small.npz", "-o", graph.parent / "again.json")
    assert again.returncode == 7 and "rule softplus at the_log" in again.stdout


def test_no_difference(graph):
    done = bisect(graph, [0.5, -3.0])
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"\d+ rewrites and the generated code leave every output as it was, within the tolerance\n", done.stdout)
    assert not (graph.parent / "small.json").exists()


def test_the_level_counts(graph):
    assert bisect(graph, [0.5, 1000.0], "-O", "o2").returncode == 0
    assert bisect(graph, [0.5, 1000.0], "--optimizer-excluding=softplus", "--rewrites-only").returncode == 0


def test_mistakes(graph, tmp_path):
    np.savez(tmp_path / "wrong.npz", z=np.zeros(3))
    done = gcomp("bisect", graph, "--inputs", tmp_path / "wrong.npz")
    assert done.returncode == 6 and "input 'x' is not in the file" in done.stderr
    assert gcomp("bisect", graph, "--inputs", tmp_path / "wrong.npz", "--tolerance=-1").returncode == 2
    assert gcomp("bisect", tmp_path / "nothing.json").returncode == 3
    assert "Exit code: 0 no difference, 7" in gcomp_ok("bisect", "--help")
