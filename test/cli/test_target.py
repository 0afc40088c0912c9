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
