"""--target cpu,cuda: what goes to the GPU, and what is told of it. No GPU is needed."""

import json

import pytest
from gcomp_cli import ROOT, gcomp, gcomp_ok

SMALL = ROOT / "graphs" / "mixture.json"


@pytest.fixture
def products(tmp_path):
    """Two products of large matrices, and the sum of the result sorted."""
    graph = {
        "version": 1,
        "symbols": [],
        "inputs": [{"id": i, "name": "xw"[i], "dtype": "float32", "shape": [4096, 4096]} for i in range(2)],
        "constants": [],
        "nodes": [
            {"op": "matmul", "in": [0, 1], "out": [2], "loc": "first"},
            {"op": "matmul", "in": [2, 1], "out": [3], "loc": "second"},
            {"op": "reduce_sum", "in": [3], "out": [4], "attrs": {"axes": [0]}, "loc": "sum"},
            {"op": "sort", "in": [4], "out": [5, 6], "attrs": {"axis": 0}, "loc": "order"},
        ],
        "outputs": [{"name": "y", "id": 5}],
    }
    path = tmp_path / "products.json"
    path.write_text(json.dumps(graph))
    return path


def test_texts_and_reasons(products, tmp_path):
    profile = tmp_path / "p.json"
    options = ("--target", "cpu,cuda", "--emit=cuda", f"--profile={profile}", "--explain", "order", "--explain", "x")
    done = gcomp(products, "-o", tmp_path / "x.cu", *options)
    assert done.returncode == 0, done.stderr
    assert "device        the host, where it and its neighbourhood cost least" in done.stderr
    assert "copied        to the GPU, 67108864 bytes: the caller gives it" in done.stderr
    assert "GCOMP_KERNEL" in (tmp_path / "x.cu").read_text()
    told = json.loads(profile.read_text())["placement"]
    assert told["cuda_nodes"] == 3
    assert told["seconds"] < told["host_seconds"]
    assert [(c["to"], c["cause"]) for c in told["largest_copies"]] == [("cuda", "input"), ("cuda", "input"), ("cpu", "cost")]


def test_the_nodes_of_a_loop(tmp_path):
    """Products, turn after turn; the host decides by the least of their sums."""
    matrix = {"dtype": "float32", "shape": [1024, 1024]}
    body = {
        "inputs": [{"id": 0, "name": "k", "dtype": "int64", "shape": []}]
        + [{"id": i, "name": "sw"[i - 1]} | matrix for i in (1, 2)],
        "constants": [{"id": 3, "dtype": "float32", "shape": [], "data": [1e6]}],
        "nodes": [
            {"op": "matmul", "in": [1, 2], "out": [4], "loc": "product"},
            {"op": "reduce_sum", "in": [4], "out": [5], "attrs": {"axes": [1]}, "loc": "sums"},
            {"op": "reduce_min", "in": [5], "out": [6], "attrs": {"axes": [0]}, "loc": "least"},
            {"op": "lt", "in": [6, 3], "out": [7], "loc": "go_on"},
        ],
        "outputs": [{"name": "go_on", "id": 7}, {"name": "s", "id": 4}],
    }
    graph = {
        "version": 1,
        "symbols": [],
        "inputs": [{"id": i, "name": "xw"[i]} | matrix for i in range(2)],
        "constants": [
            {"id": 2, "dtype": "int64", "shape": [], "data": [100]},
            {"id": 3, "dtype": "bool", "shape": [], "data": [True]},
        ],
        "nodes": [{"op": "loop", "in": [2, 3, 0, 1], "out": [4], "attrs": {"bodies": [body], "index": 1}, "loc": "turns"}],
        "outputs": [{"name": "y", "id": 4}],
    }
    path, profile = tmp_path / "loop.json", tmp_path / "p.json"
    path.write_text(json.dumps(graph))

    def explain(node):
        options = ("--target", "cpu,cuda", "--emit=cuda", f"--profile={profile}", "--explain", node)
        done = gcomp(path, "-o", tmp_path / "x.cu", *options)
        assert done.returncode == 0, done.stderr
        return done.stderr

    assert "device        the GPU\n" in explain("product")
    assert "device        the host, and the GPU for what is placed there in its bodies\n" in explain("turns")
    decides = explain("go_on")
    assert "device        the GPU\n" in decides
    assert "copied        to the host, 1 bytes: the host decides by it if there is another turn" in decides
    assert "copied        to the GPU, 4194304 bytes: the caller gives it" in explain("w")
    assert "GCOMP_KERNEL" in (tmp_path / "x.cu").read_text()
    told = json.loads(profile.read_text())["placement"]
    copies = [(c["to"], c["cause"], c["in_body"]) for c in told["largest_copies"]]
    assert copies[:3] == [("cuda", "input", False), ("cuda", "input", False), ("cpu", "output", False)]
    assert [c[2] for c in copies[3:]] == [True]  # what the condition needs, each turn


def test_small_graphs_stay(tmp_path):
    done = gcomp(SMALL, "-o", tmp_path / "x.so", "--target", "cpu,cuda")
    assert done.returncode == 0
    assert "nothing in the graph gains by a GPU" in done.stderr
    gcomp_ok(SMALL, "-o", tmp_path / "y.so")
    assert (tmp_path / "x.so").read_bytes() == (tmp_path / "y.so").read_bytes()


def test_everything_goes_on_request(tmp_path):
    gcomp_ok(SMALL, "-o", tmp_path / "x.cu", "--target", "cpu,cuda", "--emit=cuda", "--cuda-everything")
    assert (tmp_path / "x.cu").read_text().count("GCOMP_KERNEL(") > 2


@pytest.mark.parametrize("dtype, options, unit", [
    ("float32", [], ""),
    ("float32", ["--allow-tf32"], "mma_tf32("),
    ("float16", [], "mma_f16("),
    ("bfloat16", ["--allow-tf32"], "mma_bf16("),
    ("float16", ["--cuda-arch=sm_75"], ""),
    ("float64", ["--allow-tf32"], ""),
])
def test_matrix_units(dtype, options, unit, products, tmp_path):
    text = products.read_text().replace("float32", dtype)
    products.write_text(text)
    gcomp_ok(products, "-o", tmp_path / "x.cu", "--target", "cpu,cuda", "--emit=cuda", *options)
    printed = (tmp_path / "x.cu").read_text()
    assert "matmul" in printed
    assert (unit in printed) if unit else ("mma_" not in printed)


@pytest.mark.parametrize(
    "options, told",
    [
        (["--target", "gpu"], "'gpu' is no target"),
        (["--cuda-everything"], "there is code for a GPU only if one is a target"),
        (["--allow-tf32"], "there is code for a GPU only if one is a target"),
        (["--cuda-line-info"], "there is code for a GPU only if one is a target"),
        (["--allow-tf32", "--target=cpu,cuda", "--cuda-arch=sm_75,sm_90"], "GPUs before sm_80 cannot multiply tf32"),
    ],
)
def test_wrong_options(options, told, tmp_path):
    done = gcomp(SMALL, "-o", tmp_path / "x", *options)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "x").exists()
