"""The package as pip installs it, without this tree: with the C extension, and where none can be built."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


HEADERS = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))


@pytest.mark.parametrize("extension", [True, False])
def test_pip_installs_it(tmp_path, extension):
    if extension and not HEADERS:
        pytest.skip("no Python.h: the extension cannot be built")
    source = tmp_path / "scripts/python"
    shutil.copytree(ROOT / "scripts/python", source, ignore=shutil.ignore_patterns("*.so", "build", "*.egg-info"))
    shutil.copytree(ROOT / "include", tmp_path / "include")
    compiler = {} if extension else {"CC": "no-such-compiler"}
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "site", source]
    done = subprocess.run(pip, env=os.environ | compiler, capture_output=True, text=True)
    if "Could not find a version that satisfies the requirement" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    code = "import gcomp; print(gcomp.__file__); gcomp.load, gcomp.compile, gcomp.export_pytensor, gcomp.export_pymc"
    code += "; from gcomp import _runtime; print(_runtime._Caller is not None)"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(tmp_path / "site")}
    told = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(str(tmp_path / "site"))
    assert told.stdout.split()[-1] == str(extension)
