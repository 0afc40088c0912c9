"""Running the gcomp command of the build under test (GCOMP_BUILD_DIR, else build/) from tests."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("GCOMP_BUILD_DIR", ROOT / "build"))
GCOMP = BUILD / "gcomp"


def gcomp(*args, timeout=300, **kwargs) -> subprocess.CompletedProcess:
    """Runs gcomp and returns what it did; never raises for an exit code."""
    command = [str(GCOMP), *map(str, args)]
    kwargs.setdefault("input", "")
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **kwargs)


def gcomp_ok(*args, **kwargs) -> str:
    """Runs gcomp, which must succeed; its standard output."""
    done = gcomp(*args, **kwargs)
    assert done.returncode == 0, f"gcomp {' '.join(map(str, args))}: exit {done.returncode}\n{done.stderr}"
    return done.stdout


def run_npz(program, inputs: dict[str, np.ndarray], folder: Path, *options, **kwargs) -> dict[str, np.ndarray]:
    """The outputs, by name, of `gcomp run program` on `inputs`."""
    source, target = folder / "in.npz", folder / "out.npz"
    np.savez(source, **inputs)
    gcomp_ok("run", program, "--inputs", source, "--outputs", target, *options, **kwargs)
    with np.load(target) as outputs:
        return {name: outputs[name] for name in outputs.files}


def run(path, inputs: dict[str, np.ndarray], *options) -> dict[str, np.ndarray]:
    """The same in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return run_npz(path, inputs, Path(folder), *options)


def random_inputs(graph) -> dict[str, np.ndarray]:
    """Arrays for the inputs of a graph file: numbers between 0.1 and 0.9, for integers zeros and ones, or bytes if that is
    the input's name (magika: what is no file makes its float32 results differ by 1e-3 between any two programs); 3 for
    every symbol."""
    rng = np.random.default_rng(7)
    inputs = {}
    for port in json.loads(gcomp_ok("inspect", graph, "--json"))["inputs"]:
        dims = [d if isinstance(d, int) else 3 for d in port["dims"]]
        if np.dtype(port["dtype"]).kind == "f":
            values = rng.uniform(0.1, 0.9, dims)
        else:
            values = rng.integers(0, 256 if port["name"] == "bytes" else 2, dims)
        inputs[port["name"]] = values.astype(port["dtype"])
    return inputs
