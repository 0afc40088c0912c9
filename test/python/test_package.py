"""The package as pip installs it, without this tree."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_pip_installs_it(tmp_path):
    source = tmp_path / "python"
    subprocess.run(["cp", "-r", ROOT / "scripts/python", source], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "site", source]
    done = subprocess.run(pip, capture_output=True, text=True)
    if "Could not find a version that satisfies the requirement setuptools" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    code = "import gcomp; print(gcomp.__file__); gcomp.load, gcomp.compile, gcomp.export_pytensor, gcomp.export_pymc"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(tmp_path / "site")}
    told = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(str(tmp_path / "site"))
