"""What a compilation tells of itself: --profile, --explain, --html."""

import json
import re

import numpy as np
import pytest
from gcomp_cli import ROOT, gcomp, gcomp_ok

MIXTURE = ROOT / "graphs" / "mixture.json"

# y = log(exp(x) + 1) and its negated double; s = its sum over rows, and a dead node
STORY = {
    "version": 1,
    "symbols": ["N"],
    "inputs": [{"id": 0, "name": "x", "dtype": "float64", "shape": ["N", 3]}],
    "constants": [{"id": 1, "dtype": "float64", "shape": [], "data": [1.0]}],
    "nodes": [
        {"op": "exp", "in": [0], "out": [2], "loc": "the_exp"},
        {"op": "broadcast_like", "in": [1, 0], "out": [3], "attrs": {"axes": []}},
        {"op": "add", "in": [2, 3], "out": [4], "loc": "the_sum"},
        {"op": "log", "in": [4], "out": [5], "loc": "the_log"},
        {"op": "sin", "in": [0], "out": [6], "loc": "the_dead"},
        {"op": "exp", "in": [0], "out": [7], "loc": "the_twin"},
        {"op": "mul", "in": [5, 7], "out": [8], "loc": "the_product"},
        {"op": "cumsum", "in": [8], "out": [9], "loc": "the_cumsum", "attrs": {"axis": 1}},
        {"op": "neg", "in": [9], "out": [10], "loc": "the_neg"},
    ],
    "outputs": [{"name": "y", "id": 10}],
}


@pytest.fixture
def story(tmp_path):
    path = tmp_path / "story.json"
    path.write_text(json.dumps(STORY))
    return path


def profile_of(graph, tmp_path, *options):
    gcomp_ok(graph, "-o", tmp_path / "x.so", f"--profile={tmp_path / 'p.json'}", *options)
    return json.loads((tmp_path / "p.json").read_text())


def test_parts_add_up(tmp_path):
    told = profile_of(MIXTURE, tmp_path, "--verify-each")
    assert told["version"] == 1
    phases = {p["name"]: p for p in told["phases"]}
    assert list(phases) == ["read", "optimise", "lower", "generate code", "link"]
    end = 0
    for p in told["phases"]:
        assert p["begin"] >= end - 1e-6
        end = p["begin"] + p["seconds"]
        assert p["peak_bytes"] >= p["resident_bytes"] > 1 << 20
    peaks = [p["peak_bytes"] for p in told["phases"]]
    assert peaks == sorted(peaks)
    passes = told["passes"]["passes"]
    assert 0 < sum(p["seconds"] + p["verify_seconds"] for p in passes) <= told["passes"]["seconds"]
    assert told["passes"]["seconds"] <= phases["optimise"]["seconds"]
    for before, after in zip(passes, passes[1:]):
        assert before["nodes_after"] == after["nodes_before"]
    lowering = told["lowering"]
    assert 0 < lowering["fusion_seconds"] <= phases["lower"]["seconds"]
    assert lowering["kernels"] <= lowering["kernel_calls"]
    assert lowering["groups"] <= lowering["grouped_nodes"] <= passes[-1]["nodes_after"]
    assert sum(lowering["unfused"].values()) > 0
    assert told["modules"]
    for m in told["modules"]:
        assert m["seconds"] > 0 and m["bytes"] > 0
        assert m["begin"] + m["seconds"] <= phases["generate code"]["seconds"]
        if len(m["functions"]) > 1:
            assert sum(f["seconds"] for f in m["functions"]) == pytest.approx(m["seconds"])


def test_all_rules_are_there_and_the_table_says_the_same(tmp_path):
    told = profile_of(MIXTURE, tmp_path)
    listed = {line.split()[0] for line in gcomp_ok("list", "rules").splitlines()}
    rules = [r for p in told["passes"]["passes"] for s in p["sweeps"] for r in s["rules"]]
    assert listed == {r["name"] for r in rules}
    assert any(r["tried"] and not r["applied"] and r["seconds"] > 0 for r in rules)
    table = gcomp(MIXTURE, "-o", tmp_path / "x.so", "--profile").stderr
    for word in ("phase", "peak MiB", "merged", "never fired", "refused", "not fused", "slowest to compile"):
        assert word in table
    fired = {r["name"] for r in rules if r["applied"]}
    assert fired and all(re.search(rf"  {name}$", table, re.MULTILINE) for name in fired)


def test_kernels_are_named_as_when_run(tmp_path):
    told = profile_of(MIXTURE, tmp_path, "--code=plan")
    functions = {f["name"] for m in told["modules"] for f in m["functions"]}
    described = json.loads(gcomp_ok("inspect", tmp_path / "x.so", "--json"))
    kernels = {k["name"] if isinstance(k, dict) else k for k in described["kernels"]}
    assert kernels and kernels <= functions


def test_opt_is_profiled_too(story, tmp_path):
    gcomp_ok("opt", story, "-o", tmp_path / "o.json", f"--profile={tmp_path / 'p.json'}")
    told = json.loads((tmp_path / "p.json").read_text())
    assert [p["name"] for p in told["phases"]] == ["read", "optimise", "write"]
    assert told["modules"] == [] and "lowering" not in told


def explain(graph, *nodes, command=(), output="x.so", folder=None):
    options = [f"--explain={n}" for n in nodes]
    done = gcomp(*command, graph, "-o", (folder or graph.parent) / output, *options)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_explain_tells_the_rules_and_the_kernel(story):
    told = explain(story, "the_log")
    assert told.startswith("the_log:\n  read ")
    assert "log(%4)" in told and "by rule softplus at log" in told and "softplus(%0)" in told
    assert re.search(r"  kernel +k\d+_", told)
    # cumsum has a kernel of its own
    told = explain(story, "the_product")
    assert "not fused" in told and "with its reader" in told and "kernel of its own" in told


def test_explain_tells_what_became_of_nodes_that_are_gone(story):
    assert "removed: no output needs it" in explain(story, "the_dead")
    assert re.search(r"merged with its equal .*exp\(%0\).*the_exp", explain(story, "the_twin"))
    told = explain(story, "the_sum")
    assert "removed: what read it no longer does" in told
    assert re.search(r"its reader .*log.*: rule softplus at log", told)


def test_explain_takes_names_and_values_of_dumps(story):
    assert "the_neg" in explain(story, "y")  # an output
    assert 'input "x"' in explain(story, "x")
    assert explain(story, "%4@read").splitlines()[1:] == explain(story, "the_sum").splitlines()[1:]
    # The number of a dump after a pass, and of what opt prints.
    dump = gcomp("opt", story, "-o", "-", "--dump-after=canonicalize").stderr
    value = re.search(r"(%\d+) = log\(", dump).group(1)
    assert "softplus" in explain(story, f"{value}@canonicalize")
    last = re.search(r"(%\d+) = softplus\(", gcomp_ok("opt", story, "-o", "-")).group(1)
    told = explain(story, last)
    assert "log(%4)" in told and "by rule softplus" in told
    told = explain(story, "the_log", command=["opt"], output="o.json")
    assert "softplus" in told and "kernel" not in told


def test_explain_goes_into_bodies(tmp_path):
    body = {
        "inputs": [{"id": 0, "name": "i", "dtype": "int64", "shape": []},
                   {"id": 1, "name": "a", "dtype": "float64", "shape": [3]}],
        "constants": [{"id": 2, "dtype": "bool", "shape": [], "data": [True]}],
        "nodes": [{"op": "neg", "in": [1], "out": [3], "loc": "inner_neg"},
                  {"op": "neg", "in": [3], "out": [4], "loc": "outer_neg"},
                  {"op": "tanh", "in": [4], "out": [5], "loc": "inner_tanh"}],
        "outputs": [{"name": "go", "id": 2}, {"name": "a", "id": 5}],
    }  # fmt: skip
    graph = {
        "version": 1, "symbols": [],
        "inputs": [{"id": 0, "name": "x", "dtype": "float64", "shape": [3]},
                   {"id": 1, "name": "n", "dtype": "int64", "shape": []}],
        "constants": [{"id": 2, "dtype": "bool", "shape": [], "data": [True]}],
        "nodes": [{"op": "loop", "in": [1, 2, 0], "out": [3], "attrs": {"bodies": [body], "index": 1}}],
        "outputs": [{"name": "y", "id": 3}],
    }  # fmt: skip
    path = tmp_path / "loop.json"
    path.write_text(json.dumps(graph))
    told = explain(path, "outer_neg")
    assert "#0%4 = neg(%3)" in told and "by rule neg_neg" in told
    told = explain(path, "inner_tanh")
    assert re.search(r"#0%\d+ = tanh\(%1\)", told) and re.search(r"  kernel +k\d+_tanh", told)
    assert "tanh" in explain(path, "#0%5@read")


@pytest.mark.parametrize("node, words", [
    ("the_lag", "did you mean 'the_log'?"),
    ("%99", "there is no value %99 after"),
    ("%0@canonicalise", "did you mean 'canonicalize'?"),
    ("#7%0", "there is no body #7"),
    ("", "required"),
])  # fmt: skip
def test_explain_of_nothing(story, node, words):
    done = gcomp(story, "-o", story.parent / "x.so", f"--explain={node}")
    assert done.returncode == 2 and words in done.stderr
    assert not (story.parent / "x.so").exists()


def test_reports_do_not_change_the_artifact(story, tmp_path):
    gcomp_ok(story, "-o", tmp_path / "plain.so")
    gcomp_ok(story, "-o", tmp_path / "told.so", f"--profile={tmp_path / 'p.json'}", "--explain=y", "--html",
             tmp_path / "p.html")  # fmt: skip
    assert (tmp_path / "plain.so").read_bytes() == (tmp_path / "told.so").read_bytes()
    assert np.all([(tmp_path / f).stat().st_size > 1000 for f in ("p.json", "p.html")])
