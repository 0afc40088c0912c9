"""The Debian package, unpacked: what is in it, its Python package, and the workflow that builds with it."""

import json
import os
import re
import shutil
import sys

import yaml
from conftest import EXAMPLES, check_output, run


def test_the_package(package):
    """What it needs, where its files lie, and its Python package."""
    deb, root = package
    fields = dict(line.split(": ", 1) for line in run("dpkg-deb", "-f", deb).splitlines() if ": " in line)
    assert fields["Package"] == "gcomp" and fields["Architecture"] == "amd64"
    assert {"libllvm19", "libc6", "libstdc++6"} <= {d.split()[0] for d in fields["Depends"].split(", ")}
    assert run(root / "usr/bin/gcomp", "--version") == f"gcomp {fields['Version']}\n"
    listed = {str(p.relative_to(root / "usr")) for p in root.rglob("*") if p.is_file()}
    assert {"include/gcomp/runtime.h", "include/gcomp/runtime/loader.hpp", "include/gcomp/runtime/model.hpp"} <= listed
    assert {"lib/cmake/gcomp/gcompConfig.cmake", "lib/cmake/gcomp/gcompAddGraph.cmake"} <= listed
    assert not [name for name in listed if "__pycache__" in name or "/_call" in name]


def test_its_python_package(package, tmp_path):
    """It finds the command installed with it."""
    nodes = [{"op": "exp", "in": [0], "out": [1]}]
    x = {"id": 0, "name": "x", "dtype": "float64", "shape": ["n"]}
    graph = {"version": 1, "symbols": ["n"], "inputs": [x], "constants": [], "nodes": nodes, "outputs": [{"name": "y", "id": 1}]}
    (tmp_path / "g.json").write_text(json.dumps(graph))
    text = """
import gcomp, numpy
assert gcomp.__file__.startswith(__import__("sys").argv[1])
model = gcomp.load(gcomp.compile("g.json"))
x = numpy.array([0.5, -1.5])
numpy.testing.assert_allclose(model(x)[0], numpy.exp(x), rtol=1e-14)
"""
    usr = package[1] / "usr"
    env = {"PYTHONPATH": str(usr / "lib/python3/dist-packages"), "PATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"}
    run(sys.executable, "-c", text, usr, env=env, cwd=tmp_path)


def test_the_workflow(package, repository, tmp_path):
    (steps,) = (job["steps"] for job in yaml.safe_load((EXAMPLES / "github-actions.yml").read_text())["jobs"].values())
    shutil.copy(package[0], repository)
    (tmp_path / "runner").mkdir()
    ran = []
    for step in steps:
        if step.get("name") == "Tools":
            packages = re.search(r"--no-install-recommends (.*)", step["run"])[1].split()
            assert "not-installed" not in run("dpkg-query", "-W", "-f", "${db:Status-Status} ", *packages)
        elif "run" in step:
            env = {**os.environ, "RUNNER_TEMP": str(tmp_path / "runner"), "GITHUB_WORKSPACE": str(repository)}
            told = run("bash", "-e", "-o", "pipefail", "-c", step["run"], cwd=repository, env=env)
            ran.append(step["name"])
    assert ran == ["gcomp", "Configure", "Build", "Run"]
    check_output(told)
