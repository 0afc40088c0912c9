"""Small graphs that the tests of the command line share."""

import json

import pytest

# y = x * w + 1, s = sum of y over the last axis
AFFINE = {
    "version": 1,
    "symbols": ["N"],
    "inputs": [
        {"id": 0, "name": "x", "dtype": "float32", "shape": ["N", 3]},
        {"id": 1, "name": "w", "dtype": "float32", "shape": ["N", 3]},
    ],
    "constants": [{"id": 2, "dtype": "float32", "shape": [], "data": [1.0]}],
    "nodes": [
        {"op": "mul", "in": [0, 1], "out": [3]},
        {"op": "broadcast_like", "in": [2, 0], "out": [4], "attrs": {"axes": []}},
        {"op": "add", "in": [3, 4], "out": [5]},
        {"op": "reduce_sum", "in": [5], "out": [6], "attrs": {"axes": [1]}},
    ],
    "outputs": [{"name": "y", "id": 5}, {"name": "s", "id": 6}],
}


def chain(length: int) -> dict:
    """tanh(sin(tanh(sin(x)))...: nothing in it folds."""
    nodes = [{"op": ("sin", "tanh")[i % 2], "in": [i], "out": [i + 1]} for i in range(length)]
    return {
        "version": 1,
        "symbols": [],
        "inputs": [{"id": 0, "name": "x", "dtype": "float64", "shape": [4]}],
        "constants": [],
        "nodes": nodes,
        "outputs": [{"name": "y", "id": length}],
    }


@pytest.fixture
def affine(tmp_path):
    path = tmp_path / "affine.json"
    path.write_text(json.dumps(AFFINE))
    return path
