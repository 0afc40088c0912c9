"""Running the gcomp command in Python tests: $GCOMP, else that of $GCOMP_BUILD_DIR or build/. Where there
is none, tests that need it are skipped."""

import os
import pathlib
import subprocess
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]


def binary():
    build = os.environ.get("GCOMP_BUILD_DIR") or ROOT / "build"
    path = pathlib.Path(os.environ.get("GCOMP") or pathlib.Path(build) / "gcomp")
    return path if path.is_file() else None


class RunFailed(Exception):
    def __init__(self, result):
        self.returncode = result.returncode
        super().__init__(f"exit code {result.returncode}: {result.stderr.strip()}")


def run(path, inputs, *options):
    """`gcomp run`: outputs by name. `options`: "--interpret" for the reference evaluator."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.savez(folder / "in.npz", **inputs)
        command = [binary(), "run", path, "--inputs", folder / "in.npz", "--outputs", folder / "out.npz"]
        result = subprocess.run(
            [*map(str, command), *options], capture_output=True, text=True, timeout=120
        )
        if result.returncode:
            raise RunFailed(result)
        with np.load(folder / "out.npz") as archive:
            return dict(archive)
