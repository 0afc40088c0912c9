"""What the subcommands do, from outside."""

import json
import subprocess

import numpy as np
import pytest
from conftest import AFFINE
from gcomp_cli import GCOMP, gcomp, gcomp_ok, run_npz

RNG = np.random.default_rng(3)
INPUTS = {"x": RNG.normal(size=(5, 3)).astype(np.float32), "w": RNG.normal(size=(5, 3)).astype(np.float32)}


def check(outputs):
    y = INPUTS["x"] * INPUTS["w"] + 1
    assert list(outputs) == ["y", "s"]
    np.testing.assert_allclose(outputs["y"], y, rtol=1e-6)
    np.testing.assert_allclose(outputs["s"], y.sum(axis=1), rtol=1e-5)


def test_compile_and_run(affine, tmp_path):
    gcomp_ok(affine, "-O", "fast_run", "-o", tmp_path / "model.so")
    check(run_npz(tmp_path / "model.so", INPUTS, tmp_path))


@pytest.mark.parametrize("level", ["none", "merge", "fast_compile", "fast_run"])
def test_run_compiles_on_the_way(affine, tmp_path, level):
    check(run_npz(affine, INPUTS, tmp_path, "-O", level))


def test_interpret(affine, tmp_path):
    check(run_npz(affine, INPUTS, tmp_path, "--interpret"))


def test_repeat_prints_times(affine, tmp_path):
    np.savez(tmp_path / "in.npz", **INPUTS)
    assert gcomp_ok("run", affine, "--inputs", tmp_path / "in.npz", "--repeat", 7).startswith("7 runs: best ")


def test_kernel_times_are_listed(affine, tmp_path):
    np.savez(tmp_path / "in.npz", **INPUTS)
    lines = gcomp_ok("run", affine, "--inputs", tmp_path / "in.npz", "--repeat", 7, "--kernel-times").splitlines()
    if len(lines) == 1:  # so small that it is one function
        assert lines[0].startswith("the artifact is one function")
    else:
        assert lines[0].split() == ["time", "share", "calls", "kernel"]
        assert all(line.split()[-1].startswith("k") for line in lines[1:])


def test_fixed_extent(affine, tmp_path):
    gcomp_ok(affine, "-o", tmp_path / "model.so", "--dim", "N=5")
    check(run_npz(tmp_path / "model.so", INPUTS, tmp_path))
    np.savez(tmp_path / "in.npz", **{k: v[:2] for k, v in INPUTS.items()})
    assert gcomp("run", tmp_path / "model.so", "--inputs", tmp_path / "in.npz").returncode == 6


def test_kind_of_code(affine, tmp_path):
    failed = gcomp(affine, "-o", tmp_path / "model.so", "--code=straight")
    assert failed.returncode == 1 and "known only when it runs" in failed.stderr and "--dim" in failed.stderr
    for options, kind in ((), "plan"), (["--dim", "N=5"], "straight"), (["--dim", "N=5", "--code=plan"], "plan"):
        gcomp_ok(affine, "-o", tmp_path / "model.so", *options)
        assert json.loads(gcomp_ok("inspect", tmp_path / "model.so", "--json"))["code"] == kind
        check(run_npz(tmp_path / "model.so", INPUTS, tmp_path))


def test_same_bytes_from_any_folder_and_thread_count(affine, tmp_path):
    other = tmp_path / "another folder"
    other.mkdir()
    (other / "renamed.json").write_bytes(affine.read_bytes())
    gcomp_ok(affine, "-o", tmp_path / "one.so")
    gcomp_ok("renamed.json", "-o", "two.so", "-j", 2, cwd=other)
    assert (tmp_path / "one.so").read_bytes() == (other / "two.so").read_bytes()


def test_texts_on_standard_output(affine, tmp_path):
    for emit in ("asm", "llvm", "kernels"):
        gcomp_ok(affine, "-o", tmp_path / "file", f"--emit={emit}")
        assert gcomp_ok(affine, "-o", "-", f"--emit={emit}", cwd=tmp_path) == (tmp_path / "file").read_text()
        with open(tmp_path / "redirected", "w") as to:
            print("before", file=to, flush=True)
            assert subprocess.run([GCOMP, affine, "-o", "-", f"--emit={emit}"], stdout=to).returncode == 0
        assert (tmp_path / "redirected").read_text() == "before\n" + (tmp_path / "file").read_text()
    for emit in ("so", "obj", "graph"):
        done = gcomp(affine, "-o", "-", f"--emit={emit}", cwd=tmp_path)
        assert done.returncode == 2 and "only texts go to standard output" in done.stderr
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("emit", ["obj", "asm", "llvm", "kernels"])
def test_other_outputs(affine, tmp_path, emit):
    gcomp_ok(affine, f"--emit={emit}", "-o", tmp_path / "out")
    marks = {"obj": b"\x7fELF", "asm": b".text", "llvm": b"define", "kernels": b"kernel"}
    assert marks[emit] in (tmp_path / "out").read_bytes()


def test_emitted_graph_computes_the_same(affine, tmp_path):
    gcomp_ok(affine, "--emit=graph", "-o", tmp_path / "out.json")
    check(run_npz(tmp_path / "out.json", INPUTS, tmp_path, "--interpret"))


def test_name_prefixes_symbols(affine, tmp_path):
    gcomp_ok(affine, "-o", tmp_path / "model.so", "--name", "my_model")
    assert b"my_model_descriptor_v1" in (tmp_path / "model.so").read_bytes()
    check(run_npz(tmp_path / "model.so", INPUTS, tmp_path))


def test_depfile_names_everything_read(tmp_path):
    folder = tmp_path / "a b"
    folder.mkdir()
    (folder / "plain.json").write_text(json.dumps(AFFINE))
    gcomp_ok(folder / "plain.json", "-o", tmp_path / "x.so", "--depfile", tmp_path / "x.d")
    rule = (tmp_path / "x.d").read_text()
    assert rule == f"{tmp_path}/x.so: {tmp_path}/a\\ b/plain.json\n"


def test_depfile_names_weights(tmp_path):
    graph = json.loads(json.dumps(AFFINE))
    graph["constants"].append({"id": 9, "dtype": "float32", "shape": [40000], "data": [0.5] * 40000})
    graph["outputs"].append({"name": "big", "id": 9})
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    gcomp_ok("convert", tmp_path / "graph.json", "-o", tmp_path / "split.json", "--weights", "w.safetensors")
    gcomp_ok(tmp_path / "split.json", "-o", tmp_path / "x.so", "--depfile", tmp_path / "x.d")
    assert (tmp_path / "x.d").read_text().split()[1:] == [f"{tmp_path}/split.json", f"{tmp_path}/w.safetensors"]


def test_convert_is_exact_in_both_directions(affine, tmp_path):
    gcomp_ok("convert", affine, "-o", tmp_path / "a.gcb")
    gcomp_ok("convert", tmp_path / "a.gcb", "-o", tmp_path / "b.json")
    gcomp_ok("convert", tmp_path / "b.json", "-o", tmp_path / "c.gcb")
    gcomp_ok("convert", tmp_path / "c.gcb", "-o", tmp_path / "d.json")
    assert (tmp_path / "a.gcb").read_bytes() == (tmp_path / "c.gcb").read_bytes()
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "d.json").read_bytes()
    check(run_npz(tmp_path / "a.gcb", INPUTS, tmp_path, "--interpret"))


def test_opt_writes_a_graph(affine, tmp_path):
    gcomp_ok("opt", affine, "--passes=merge,canonicalize", "-o", tmp_path / "out.json")
    check(run_npz(tmp_path / "out.json", INPUTS, tmp_path, "--interpret"))
    assert "reduce_sum" in gcomp_ok("opt", affine, "-o", "-")


def test_dump_verify_and_profile(affine, tmp_path):
    done = gcomp(
        affine, "-o", tmp_path / "x.so", "--dump-after=canonicalize", "--verify-each", f"--profile={tmp_path / 'p.json'}"
    )
    assert done.returncode == 0, done.stderr
    assert "after canonicalize" in done.stderr and "reduce_sum" in done.stderr
    profile = json.loads((tmp_path / "p.json").read_text())
    assert [phase["name"] for phase in profile["phases"]][:2] == ["read", "optimise"]
    assert "canonicalize" in gcomp(affine, "-o", tmp_path / "x.so", "--profile").stderr


def test_inspect(affine, tmp_path):
    gcomp_ok(affine, "-o", tmp_path / "x.so")
    for file, kind in ((affine, "graph"), (tmp_path / "x.so", "artifact")):
        told = json.loads(gcomp_ok("inspect", file, "--json"))
        assert told["kind"] == kind
        assert [(i["name"], i["dtype"], i["dims"]) for i in told["inputs"]] == [
            ("x", "float32", ["N", 3]),
            ("w", "float32", ["N", 3]),
        ]
        assert [o["name"] for o in told["outputs"]] == ["y", "s"]
        assert "x: float32[N, 3]" in gcomp_ok("inspect", file)


def test_inspect_tells_what_fusion_leaves(tmp_path):
    """y = tanh(sin(x)) is one kernel; its matrix product is a second; a reshape of that only renames memory."""
    graph = {
        "version": 1, "symbols": [],
        "inputs": [{"id": 0, "name": "x", "dtype": "float32", "shape": [4, 4]}], "constants": [],
        "nodes": [
            {"op": "sin", "in": [0], "out": [1]}, {"op": "tanh", "in": [1], "out": [2]},
            {"op": "matmul", "in": [2, 2], "out": [3]},
            {"op": "reshape", "in": [3], "out": [4], "attrs": {"shape": [16]}},
        ],
        "outputs": [{"name": "y", "id": 4}],
    }  # fmt: skip
    (tmp_path / "g.json").write_text(json.dumps(graph))
    assert json.loads(gcomp_ok("inspect", tmp_path / "g.json", "--json"))["fused"] == {"groups": 2, "views": 1}


def test_lists():
    passes = gcomp_ok("list", "passes", "-O", "fast_run")
    assert "canonicalize" in passes
    assert "canonicalize" not in gcomp_ok("list", "passes", "-O", "none")
    rules = gcomp_ok("list", "rules", "-O", "fast_run").splitlines()
    assert len(rules) >= 60
    fewer = gcomp_ok("list", "rules", "-O", "fast_run", "--optimizer-excluding=stabilize").splitlines()
    assert len(fewer) < len(rules)
    assert "reduce_sum" in gcomp_ok("list", "ops")
    assert "fast_run" in gcomp_ok("list", "tags")
    assert "did you mean 'rules'?" in gcomp("list", "rule").stderr


def test_help_names_every_command_and_exit_code():
    text = gcomp_ok("--help")
    assert text == gcomp_ok()
    for command in ("compile", "run", "opt", "list", "inspect", "convert"):
        assert f"\n  {command} " in text
        assert gcomp_ok(command, "--help").strip()
    for code in range(7):
        assert f"{code} " in text.split("Exit codes:")[1]
    assert gcomp_ok("--version").startswith("gcomp 0.")
