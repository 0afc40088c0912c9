"""A million nodes in a row, and a sum of a million terms, from file to result under a stack of 256 KB."""

import json
import resource

import numpy as np
import pytest
from gcomp_cli import gcomp_ok

MILLION = 1_000_000
HEAD = '{"version": 1,\n"inputs": [{"id": 0, "name": "x", "dtype": "float64", "shape": [%s]}],\n"constants": ['
TAIL = '],\n"outputs": [{"name": "y", "id": %d}]}\n'


def small_stack():
    resource.setrlimit(resource.RLIMIT_STACK, (256 << 10, resource.RLIM_INFINITY))


def write_chain(path):
    """tanh(sin(tanh(sin(x)))...)"""
    with open(path, "w") as f:
        f.write(HEAD % "4" + '],\n"nodes": [\n')
        row = '{"op": "%s", "in": [%d], "out": [%d]}'
        f.write(",\n".join(row % (("sin", "tanh")[i % 2], i, i + 1) for i in range(MILLION)))
        f.write(TAIL % MILLION)


def write_sum(path):
    """atan2(x, 1/n) + atan2(x, 2/n) + ... + atan2(x, 1), added from the left"""
    with open(path, "w") as f:
        f.write(HEAD % "")
        row = '{"id": %d, "dtype": "float64", "shape": [], "data": [%r]}'
        f.write(",\n".join(row % (i, i / MILLION) for i in range(1, MILLION + 1)))
        f.write('],\n"nodes": [\n')
        row = '{"op": "atan2", "in": [0, %d], "out": [%d]}'
        f.write(",\n".join(row % (i, MILLION + i) for i in range(1, MILLION + 1)))
        for i in range(1, MILLION):  # the sums so far have the ids from 2n + 1
            left = MILLION + 1 if i == 1 else 2 * MILLION + i - 1
            f.write(',\n{"op": "add", "in": [%d, %d], "out": [%d]}' % (left, MILLION + i + 1, 2 * MILLION + i))
        f.write(TAIL % (3 * MILLION - 1))


def chain_of(x):
    for _ in range(MILLION // 2):
        x = np.tanh(np.sin(x))
    return x


def sum_of(x):
    return np.add.accumulate(np.arctan2(x, np.arange(1, MILLION + 1) / MILLION))[-1]


CASES = {
    "chain": (write_chain, np.linspace(-2, 2, 4), chain_of, MILLION + 1),
    "sum": (write_sum, np.array(0.7), sum_of, 3 * MILLION),
}


@pytest.mark.parametrize("case", CASES)
def test_a_million(case, tmp_path):
    write, x, truth, nodes = CASES[case]
    graph, artifact, profile = (tmp_path / name for name in ("graph.json", "model.so", "profile.json"))
    write(graph)
    gcomp_ok(graph, "-o", artifact, f"--profile={profile}", "--max-memory=4G", preexec_fn=small_stack)
    told = json.loads(profile.read_text())
    for phase in told["phases"]:
        print(f"{case}: {phase['name']} {phase['seconds']:.1f} s")
    left = told["passes"]["passes"][-1]["nodes_after"]
    print(f"{case}: {left} nodes left")
    assert left == nodes  # nothing of it folds
    np.savez(tmp_path / "in.npz", x=x)
    gcomp_ok("run", artifact, "--inputs", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz",
             preexec_fn=small_stack)  # fmt: skip
    y = np.load(tmp_path / "out.npz")["y"]
    np.testing.assert_allclose(y, truth(x), rtol=1e-9)
