"""--time-limit and --max-memory: exit code 5, a message that names the phase, nothing left behind."""

import json
import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest
from conftest import chain
from gcomp_cli import GCOMP, gcomp, gcomp_ok

# y[i, j] = x[j]: N * N elements from N.
SQUARE = {
    "version": 1,
    "symbols": ["N"],
    "inputs": [{"id": 0, "name": "x", "dtype": "float64", "shape": ["N"]}],
    "constants": [],
    "nodes": [{"op": "broadcast", "in": [0], "out": [1], "attrs": {"shape": ["N", "N"], "axes": [1]}}],
    "outputs": [{"name": "y", "id": 1}],
}


@pytest.fixture
def long_chain(tmp_path):
    path = tmp_path / "chain.json"
    path.write_text(json.dumps(chain(200_000)))
    return path


@pytest.mark.parametrize("command", [[], ["opt"], ["convert"], ["run"]])
def test_time_limit(long_chain, tmp_path, command):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    output = ["--outputs" if command == ["run"] else "-o", tmp_path / "out.gcb"]
    begin = time.monotonic()
    (tmp_path / "out.gcb").write_text("as it was")
    done = gcomp(*command, long_chain, *output, "--time-limit=0.15", env={**os.environ, "TMPDIR": str(temporary)})
    assert time.monotonic() - begin < 5
    assert done.returncode == 5
    said = r"gcomp: the time limit of 0.15 s is reached while: [a-z ]+ \(give more with --time-limit\)\n"
    assert re.fullmatch(said, done.stderr)
    assert sorted(tmp_path.iterdir()) == sorted([long_chain, temporary, tmp_path / "out.gcb"])
    assert (tmp_path / "out.gcb").read_text() == "as it was"
    assert not list(temporary.iterdir())


def test_a_limit_that_is_not_reached_changes_nothing(affine, tmp_path):
    gcomp_ok(affine, "-o", tmp_path / "a.so")
    gcomp_ok(affine, "-o", tmp_path / "b.so", "--time-limit=100", "--max-memory=2G")
    assert (tmp_path / "a.so").read_bytes() == (tmp_path / "b.so").read_bytes()


def test_any_memory_limit_ends_well(tmp_path):
    """Wherever the memory runs out: exit code 5 (or 0 when it suffices), never a crash, never half a file."""
    graph, output = tmp_path / "chain.json", tmp_path / "out.so"
    graph.write_text(json.dumps(chain(20_000)))
    phases = set()
    for megabytes in [1, 3, 4, 5, *range(6, 48, 2)]:
        done = gcomp(graph, "-o", output, f"--max-memory={megabytes}M")
        if done.returncode == 0:
            output.unlink()
            continue
        said = rf"gcomp: the memory limit of {megabytes} MiB is reached while: ([a-z ]+) \(.*--max-memory\)\n"
        match = re.fullmatch(said, done.stderr)
        assert done.returncode == 5 and match, f"{megabytes} MiB: exit {done.returncode}: {done.stderr}"
        phases.add(match[1])
        assert list(tmp_path.iterdir()) == [graph]
    assert len(phases) >= 3 and "generate code" in phases


@pytest.mark.parametrize("options", [[], ["--interpret"]])
def test_a_run_that_needs_too_much_memory(tmp_path, options):
    (tmp_path / "square.json").write_text(json.dumps(SQUARE))
    np.savez(tmp_path / "in.npz", x=np.ones(20_000))
    command = ["run", tmp_path / "square.json", "--inputs", tmp_path / "in.npz", "--max-memory=500M", *options]
    done = gcomp(*command)
    assert done.returncode == 5 and "memory" in done.stderr


@pytest.mark.parametrize("option", ["--time-limit=0", "--time-limit=soon", "--max-memory=2Q", "--max-memory=-1"])
def test_nonsense_is_refused(affine, tmp_path, option):
    done = gcomp(affine, "-o", tmp_path / "x.so", option)
    assert done.returncode == 2 and "as in" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(long_chain, tmp_path, number):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with subprocess.Popen([GCOMP, "run", long_chain], env={**os.environ, "TMPDIR": str(temporary)}) as process:
        while not list(temporary.iterdir()):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(number)
        assert process.wait(60) == -number
    assert not list(temporary.iterdir())
