"""Levels and tags, and the options that look inside."""

import json
import re

import numpy as np
import pytest
from gcomp_cli import gcomp, gcomp_ok, run_npz

RNG = np.random.default_rng(5)


def graph_of(nodes: list, inputs: dict, constants: list = (), output: int = -1) -> dict:
    """Rows (op, in, attrs) as a graph: ids count inputs, constants, then results."""
    first = len(inputs) + len(constants)
    rows = []
    for i, (op, operands, *attrs) in enumerate(nodes):
        rows.append({"op": op, "in": operands, "out": [first + i], "attrs": attrs[0] if attrs else {}})
    return {
        "version": 1,
        "symbols": ["N"],
        "inputs": [{"id": i, "name": n, "dtype": d, "shape": s} for i, (n, (d, s)) in enumerate(inputs.items())],
        "constants": [
            {"id": len(inputs) + i, "dtype": "float64", "shape": list(np.shape(c)), "data": np.ravel(c).tolist()}
            for i, c in enumerate(constants)
        ],
        "nodes": rows,
        "outputs": [{"name": "y", "id": first + len(nodes) - 1 if output < 0 else output}],
    }


def scalar(value_id: int, like: int = 0):
    return ("broadcast_like", [value_id, like], {"axes": []})


X = {"x": ("float64", ["N"])}
SIGMOID = [("neg", [0]), ("exp", [2]), scalar(1), ("add", [3, 4]), ("div", [4, 5])]
WINDOW = {"strides": [1, 1], "dilations": [1, 1], "low": [0, 0], "high": [0, 0]}

# What is written, the ops that must be left, those that must not, NumPy's answer where all is well, and
# inputs at which the plain form overflows or cancels.
REWRITES = {
    "constant folding": (
        graph_of([("exp", [1]), scalar(2), ("add", [0, 3])], X, [0.0]),
        {"add"}, {"exp"}, lambda x: x + 1, [1.0, 2.0]),
    "identity": (
        graph_of([("neg", [0]), ("neg", [1]), ("exp", [2])], X),
        {"exp"}, {"neg"}, np.exp, [1.0, 2.0]),
    "dead code": (
        graph_of([("exp", [0]), ("sin", [0])], X, output=1),
        {"exp"}, {"sin"}, np.exp, [1.0, 2.0]),
    "transposes": (
        graph_of([("transpose", [0], {"perm": [1, 0]}), ("transpose", [1], {"perm": [1, 0]}), ("exp", [2])],
                 {"x": ("float64", ["N", 3])}),
        {"exp"}, {"transpose"}, np.exp, [[1.0, 2.0, 3.0]]),
    "reshapes": (
        graph_of([("reshape", [0], {"shape": ["N", 1]}), ("reshape", [1], {"shape": ["N"]}), ("exp", [2])], X),
        {"exp"}, {"reshape"}, np.exp, [1.0, 2.0]),
    "casts": (
        graph_of([("cast", [0], {"dtype": "float64"}), ("cast", [1], {"dtype": "float32"}), ("exp", [2])],
                 {"x": ("float32", ["N"])}),
        {"exp"}, {"cast"}, np.exp, [1.0, 2.0]),
    "log1p": (
        graph_of([scalar(1), ("add", [0, 2]), ("log", [3])], X, [1.0]),
        {"log1p"}, {"log"}, np.log1p, [1e-20, 2.0]),
    "expm1": (
        graph_of([("exp", [0]), scalar(1), ("sub", [2, 3])], X, [1.0]),
        {"expm1"}, {"exp"}, np.expm1, [1e-20, 2.0]),
    "softplus": (
        graph_of([("exp", [0]), ("log1p", [1])], X),
        {"softplus"}, {"exp"}, lambda x: np.logaddexp(x, 0), [1000.0, -3.0]),
    "sigmoid": (
        graph_of(SIGMOID, X, [1.0]),
        {"sigmoid"}, {"exp"}, lambda x: 0.5 * (1 + np.tanh(x / 2)), [1000.0, 0.5]),
    "log-sum-exp": (
        graph_of([("exp", [0]), ("reduce_sum", [1], {"axes": [1]}), ("log", [2])], {"x": ("float64", ["N", 3])}),
        {"reduce_max"}, set(), lambda x: np.logaddexp.reduce(x, axis=1), [[1000.0, 1000.0, 999.0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", REWRITES)
def test_rules_fire_and_the_result_is_right(name, tmp_path):
    graph, wanted, gone, truth, x = REWRITES[name]
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    gcomp_ok("opt", tmp_path / "graph.json", "-o", tmp_path / "out.json", "--verify-each")
    ops = {node["op"] for node in json.loads((tmp_path / "out.json").read_text())["nodes"]}
    assert wanted <= ops and not gone & ops
    x = np.array(x, graph["inputs"][0]["dtype"])
    y = run_npz(tmp_path / "graph.json", {"x": x}, tmp_path)["y"]
    np.testing.assert_allclose(y, truth(x), rtol=1e-6 if x.dtype == np.float32 else 1e-14)


def test_batch_norm_goes_into_the_convolution(tmp_path):
    weights, scale, shift = RNG.normal(size=(2, 1, 1, 1)), RNG.normal(size=2), RNG.normal(size=2)
    nodes = [
        ("conv", [0, 1], WINDOW),
        ("broadcast_like", [2, 4], {"axes": [1]}),
        ("mul", [4, 5]),
        ("broadcast_like", [3, 4], {"axes": [1]}),
        ("add", [6, 7]),
    ]
    graph = graph_of(nodes, {"x": ("float64", ["N", 1, 4, 4])}, [weights, scale, shift])
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    gcomp_ok("opt", tmp_path / "graph.json", "-o", tmp_path / "out.json")
    ops = [node["op"] for node in json.loads((tmp_path / "out.json").read_text())["nodes"]]
    assert "conv" in ops and not {"mul", "add"} & set(ops)
    x = RNG.normal(size=(3, 1, 4, 4))
    y = run_npz(tmp_path / "graph.json", {"x": x}, tmp_path)["y"]
    np.testing.assert_allclose(y, x * (weights[:, 0, 0, 0] * scale)[:, None, None] + shift[:, None, None], rtol=1e-12)


@pytest.fixture
def sigmoid(tmp_path):
    path = tmp_path / "sigmoid.json"
    path.write_text(json.dumps(graph_of(SIGMOID, X, [1.0])))
    return path


LEVELS = ("none", "merge", "o1", "o2", "stabilize", "o3", "o4", "unsafe")


def test_levels(sigmoid):
    count = {level: gcomp_ok("opt", sigmoid, "-O", level, "-o", "-").count("\n") for level in LEVELS}
    assert count["none"] >= count["merge"] >= count["o1"] == count["o2"] > count["o4"] == count["o3"]
    assert count["stabilize"] < count["o1"]


def test_a_level_is_the_same_by_either_name(sigmoid, tmp_path):
    for names in (("o1", "fast_compile"), ("o4", "fast_run")):
        files = [tmp_path / f"{name}.so" for name in names]
        for name, file in zip(names, files, strict=True):
            gcomp_ok(sigmoid, "-O", name, "-o", file)
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_gives_the_same_numbers(level, sigmoid, tmp_path):
    x = np.linspace(-20, 20, 101)
    y = run_npz(sigmoid, {"x": x}, tmp_path, "-O", level)["y"]
    np.testing.assert_allclose(y, np.exp(-np.logaddexp(0, -x)), rtol=1e-13)


def test_stages_are_listed_and_obeyed(sigmoid, tmp_path):
    assert "fusion" not in gcomp_ok("list", "passes", "-O", "o1")
    assert "fusion" in gcomp_ok("list", "passes", "-O", "o2")

    def kernels(*options):
        gcomp_ok(sigmoid, "-O", "o1", "--code=plan", "-o", tmp_path / "x.so", *options)
        return json.loads(gcomp_ok("inspect", "--json", tmp_path / "x.so"))["num_kernels"]

    assert kernels("--optimizer-including=fusion") == 1
    assert kernels() > 1


def test_unsafe_drops_checks(tmp_path):
    graph = graph_of(
        [scalar(1), ("lt", [2, 0]), ("check", [0, 3], {"message": "x must be positive"}), ("exp", [4])], X, [0.0]
    )
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    np.savez(tmp_path / "in.npz", x=np.array([-1.0, 2.0]))
    safe = gcomp("run", tmp_path / "graph.json", "--inputs", tmp_path / "in.npz")
    assert safe.returncode == 6 and "x must be positive" in safe.stderr
    y = run_npz(tmp_path / "graph.json", {"x": np.array([-1.0, 2.0])}, tmp_path, "-O", "unsafe")["y"]
    np.testing.assert_allclose(y, np.exp([-1.0, 2.0]), rtol=1e-14)


def test_excluding_slow_leaves_the_hot_kernel_as_it_is(tmp_path):
    # One hot product, and small work on a few of its numbers.
    nodes = [
        ("matmul", [0, 0]),
        ("slice", [1], {"starts": [0, 0], "strides": [1, 1], "shape": [2, 3]}),
        ("cumsum", [2], {"axis": 1}),
        ("sin", [3]),
    ]
    graph = graph_of(nodes, {"x": ("float64", [256, 256])})
    graph["outputs"].append({"name": "p", "id": 1})
    (tmp_path / "graph.json").write_text(json.dumps(graph))

    def functions(*options):
        gcomp_ok(tmp_path / "graph.json", "--emit=asm", "--code=plan", "-o", tmp_path / "x.s", *options)
        text = re.sub(r"\.L([A-Z_a-z]+)\d+", r".L\1", (tmp_path / "x.s").read_text())
        return dict(re.findall(r"^(k\d+_\w+):\n(.*?)^\.L[a-z_]*end", text, re.MULTILINE | re.DOTALL))

    everything, less = functions(), functions("--optimizer-excluding=slow")
    assert everything.keys() == less.keys() and len(less) > 1
    hot = max(everything, key=lambda name: everything[name].count("vfmadd"))
    assert "matmul" in hot and everything[hot] == less[hot]
    assert any(everything[name] != less[name] for name in less)


def test_levels_are_listed():
    listed = gcomp_ok("list", "levels")
    for level in (*LEVELS, "fast_compile", "fast_run"):
        if level not in ("o1", "o4"):
            assert f"\n{level}" in "\n" + listed
    assert "fast_compile = o1" in listed and "fast_run = o4" in listed


@pytest.mark.parametrize("separator", [",", ":"])
def test_tags_choose_rules(sigmoid, separator):
    def result(*options):
        return gcomp_ok("opt", sigmoid, "-o", "-", *options)

    assert "sigmoid" in result()
    assert "sigmoid" not in result(f"--optimizer-excluding=sigmoid{separator}sigmoid_scaled")
    assert "sigmoid" not in result("--optimizer-requiring=shape")
    assert "sigmoid" not in result("-O", "fast_compile")
    assert "sigmoid" in result("-O", "fast_compile", f"--optimizer-including=stabilize{separator}basic")


@pytest.mark.parametrize(
    ("option", "cure"),
    [
        ("--optimizer-requiring=stabilise", "stabilize"),
        ("--optimizer-including=fast_runn", "fast_run"),
        ("--optimizer-excluding=sigmoids", "sigmoid"),
        ("--passes=canonicalise", "canonicalize"),
        ("--dump-after=stabilise", "stabilize"),
        ("-Ofast-run", "fast_run"),
    ],
)
def test_an_unknown_word_has_a_suggestion(sigmoid, option, cure):
    done = gcomp("opt", sigmoid, "-o", "-", option)
    assert done.returncode == 2 and f"did you mean '{cure}'?" in done.stderr


def test_dumps(sigmoid):
    dumped = gcomp("opt", sigmoid, "-o", "-", "--dump-after=canonicalize,stabilize").stderr
    before, after = dumped.split("// after stabilize\n")
    assert before.startswith("// after canonicalize\n")
    assert "sigmoid" not in before and "sigmoid" in after
    everything = gcomp("opt", sigmoid, "-o", "-", "--dump-after=all").stderr
    passes = [line for line in gcomp_ok("list", "passes").splitlines() if "(stage)" not in line]
    assert everything.count("// after ") == len(passes) > 3


def test_profile(sigmoid, tmp_path):
    gcomp_ok(sigmoid, "-o", tmp_path / "x.so", f"--profile={tmp_path / 'p.json'}", "--verify-each")
    told = json.loads((tmp_path / "p.json").read_text())
    names = [p["name"] for p in told["phases"]]
    assert names == ["read", "optimise", "lower", "generate code", "link"]
    assert all(p["seconds"] >= 0 for p in told["phases"])
    rules = {r["name"]: r for p in told["passes"]["passes"] for s in p["sweeps"] for r in s["rules"]}
    assert sum(r["applied"] for name, r in rules.items() if name.startswith("sigmoid")) == 1
    assert sum(p["verify_seconds"] for p in told["passes"]["passes"]) > 0
    table = gcomp(sigmoid, "-o", tmp_path / "x.so", "--profile").stderr
    assert table.startswith("phase") and "stabilize" in table and "sigmoid" in table


def test_places_survive_rewriting(tmp_path):
    """The op that cannot be compiled for its extent is named as the file names it, after all rewriting."""
    graph = graph_of([("exp", [0]), ("log1p", [1]), ("neg", [2])], X)
    graph["nodes"][1]["loc"] = "the_softplus_of_x"
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    assert "the_softplus_of_x" in gcomp_ok("opt", tmp_path / "graph.json", "-o", "-")
