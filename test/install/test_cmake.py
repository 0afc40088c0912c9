"""The installed gcomp in other people's builds: find_package, gcomp_add_graph with Ninja and Make, what is built again
when, and the numbers of what was built."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import fetch_models
import model_inputs
import numpy as np
import onnxruntime
import pytest
from conftest import run
from gcomp_cli import ROOT
from safetensors.numpy import save_file

GENERATORS = ["Ninja", "Unix Makefiles"]
QUICK = ["-DCMAKE_C_COMPILER_WORKS=1", "-DCMAKE_CXX_COMPILER_WORKS=1", "-DCMAKE_CXX_FLAGS=-std=c++17 -Wall -Wextra -Werror"]


class Project:
    """A consumer: its sources, its build folder, and what a build does."""

    def __init__(self, source: Path, build: Path, generator: str, prefix: Path, *options: str):
        self.source, self.build = source, build
        self.configure = ["cmake", "-S", source, "-B", build, "-G", generator, f"-DCMAKE_PREFIX_PATH={prefix}", *QUICK]
        run(*self.configure, *options)

    def files(self) -> dict[str, int]:
        """The times of what is made, but for files of the build tools' own."""
        kinds = (".o", ".so", ".a", ".h", "")
        made = [p for p in self.build.rglob("*") if p.is_file() and p.suffix in kinds and "CMakeTmp" not in p.parts]
        return {p.name: p.stat().st_mtime_ns for p in made if p.name[0].islower() and p.name not in ("progress.marks",)}

    def make(self, *options: str) -> tuple[set[str], set[str]]:
        """The graphs that gcomp compiled, and the files that changed."""
        before = self.files()
        told = run("cmake", "--build", self.build, *options)
        after = self.files()
        return set(re.findall(r"Compiling graph (\w+)", told)), {n for n, t in after.items() if before.get(n) != t}

    def program(self, *arguments) -> str:
        return run(self.build / "program", *arguments)


# ---- the example: a PyMC model and a real network ----


def log_density(point: np.ndarray) -> float:
    """Eight schools (graphs/export_pymc_models.py) by the book: mu, log tau, eta[8]. PyTensor takes the logarithms
    of small whole numbers in float32, so the graph is off by 6e-8."""
    y, sigma = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    mu, log_tau, eta = point[0], point[1], point[2:]
    tau = np.exp(log_tau)

    def normal(x, mean, sd):
        return -0.5 * ((x - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)

    half_cauchy = np.log(2) - np.log(np.pi * 5) - np.log1p((tau / 5) ** 2)
    return normal(mu, 0, 5) + half_cauchy + log_tau + normal(eta, 0, 1).sum() + normal(y, mu + tau * eta, sigma).sum()


def gradient(point: np.ndarray) -> np.ndarray:
    steps = 1e-6 * np.eye(len(point))
    return np.array([(log_density(point + h) - log_density(point - h)) / 2e-6 for h in steps])


@pytest.mark.parametrize(("generator", "loaded"), [("Ninja", "OFF"), ("Unix Makefiles", "ON")])
def test_the_example(prefix, tmp_path, generator, loaded):
    """Density and gradient against NumPy, file types against ONNX Runtime."""
    paths = fetch_models.fetch(["magika"])
    build = tmp_path / "a build"
    options = [f"-DMAGIKA={paths['magika']}", f"-DLOADED={loaded}"]
    project = Project(ROOT / "scripts/examples/cmake", build, generator, prefix, *options)
    assert project.make()[0] == {"schools", "magika"} and project.make() == (set(), set())
    files = [ROOT / "README.md", ROOT / "CMakeLists.txt", Path(__file__)]
    logp, grad, *types = run(build / "example", *files).splitlines()

    point = np.array([1.5, 0.5, 0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.8])
    np.testing.assert_allclose(float(logp.split()[1]), log_density(point), atol=1e-7)
    found = np.array([float(g) for g in grad.split()[1:]])
    np.testing.assert_allclose(found, gradient(point)[2:], rtol=1e-6, atol=1e-6)

    inputs = model_inputs.magika_inputs([f.read_bytes() for f in files], paths)
    (scores,) = onnxruntime.InferenceSession(paths["magika"]).run(None, inputs)
    for file, line, row in zip(files, types, scores, strict=True):
        which, score = re.fullmatch(rf"{re.escape(str(file))}: type (\d+), (.+)", line).groups()
        assert int(which) == row.argmax() and abs(float(score) - row.max()) < 1e-5
    assert model_inputs.magika_labels(scores, paths) == ["markdown", "cmake", "python"]


# ---- what is built again ----

CMAKE = """
cmake_minimum_required(VERSION 3.21)
project(consumer LANGUAGES C CXX)
find_package(gcomp REQUIRED)
set(LEVEL fast_run CACHE STRING "")
gcomp_add_graph(linear GRAPH "the graphs/linear.json" NAME net OPTIONS -O ${LEVEL})
gcomp_add_graph(external LOADED GRAPH "the graphs/external.onnx" DEPENDS notes.txt)
add_executable(program main.cpp)
target_link_libraries(program PRIVATE linear external)
"""

MAIN = """
#include <cstdio>
#include "external.h"
#include "linear.h"
int main() {
  const std::vector<double> x = {1, 2, 3};
  const std::vector<float> v = {1, 2, 3};
  net::Model linear;
  external::Model loaded;
  std::printf("%g %g\\n", linear({x, 1}).y[2], double{loaded({v}).y[2]});
}
"""


def linear_graph() -> dict:
    """y = x * w + shift, w in a file of weights."""
    return {
        "version": 1,
        "symbols": [],
        "inputs": [
            {"id": 0, "name": "x", "dtype": "float64", "shape": [3]},
            {"id": 1, "name": "shift", "dtype": "float64", "shape": []},
        ],
        "constants": [{"id": 2, "dtype": "float64", "shape": [3], "file": {"path": "w.safetensors", "tensor": "w"}}],
        "nodes": [
            {"op": "mul", "in": [0, 2], "out": [3]},
            {"op": "broadcast_like", "in": [1, 0], "out": [4], "attrs": {"axes": []}},
            {"op": "add", "in": [3, 4], "out": [5]},
        ],
        "outputs": [{"name": "y", "id": 5}],
    }


def save_external(folder: Path, scale: float) -> None:
    """y = x + w as ONNX, w in a file of its own."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in "xy")
    w = numpy_helper.from_array(np.float32([0, 0, scale]), "w")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "weights.bin").unlink(missing_ok=True)
    onnx.save(model, folder / "external.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)


def later(*paths: Path) -> None:
    """Newer than all that was built."""
    time.sleep(0.02)  # the steps of the file system's clock
    for path in paths:
        path.touch()


LINEAR = {"linear.o", "liblinear.a", "program"}


@pytest.mark.parametrize("generator", GENERATORS)
def test_exactly_what_changed_is_built_again(prefix, tmp_path, generator):
    source = tmp_path / "the source"
    graphs = source / "the graphs"
    graphs.mkdir(parents=True)
    (source / "CMakeLists.txt").write_text(CMAKE)
    (source / "main.cpp").write_text(MAIN)
    (source / "notes.txt").write_text("")
    (graphs / "linear.json").write_text(json.dumps(linear_graph()))
    save_file({"w": np.array([1.0, 2, 3])}, graphs / "w.safetensors")
    save_external(graphs, 4)
    project = Project(source, tmp_path / "the build", generator, prefix)

    compiled, made = project.make("-j", "2")
    assert compiled == {"linear", "external"} and LINEAR | {"external.so", "linear.h", "main.cpp.o"} <= made
    assert project.program() == "10 7\n" and project.make() == (set(), set())

    # Times alone change: gcomp runs, nothing follows, and the next build does nothing.
    for name, what in [("linear.json", "linear"), ("w.safetensors", "linear"), ("weights.bin", "external")]:
        later(graphs / name)
        assert project.make() == ({what}, set()), name
        assert project.make() == (set(), set()), name
    later(source / "notes.txt")
    assert project.make() == ({"external"}, set())

    # Weights: code, but no header, so the program is linked and not compiled.
    save_file({"w": np.array([1.0, 2, 5])}, graphs / "w.safetensors")
    later(graphs / "w.safetensors")
    assert project.make() == ({"linear"}, LINEAR) and project.program() == "16 7\n"
    save_external(graphs, 5)
    later(graphs / "external.onnx", graphs / "weights.bin")
    assert project.make() == ({"external"}, {"external.so"}) and project.program() == "16 8\n"

    # The interface: whoever includes the header is compiled.
    graph = linear_graph()
    graph["outputs"].append({"name": "z", "id": 3})
    (graphs / "linear.json").write_text(json.dumps(graph))
    later(graphs / "linear.json")
    assert project.make() == ({"linear"}, LINEAR | {"linear.h", "main.cpp.o"})

    # A mistake stops the build with gcomp's message and leaves what there was.
    before = project.files()
    (graphs / "linear.json").write_text(json.dumps(graph).replace('"mul"', '"mull"'))
    later(graphs / "linear.json")
    told = run("cmake", "--build", project.build, ok=False)
    assert re.search(r"linear\.json: nodes\[0\].*: .*'mull'.*did you mean 'mul'", told), told
    assert project.files() == before
    folder = project.build / "linear.gcomp"
    assert {p.name for p in folder.iterdir()} <= {"linear.o", "linear.h", "linear.d", "linear.d.stamp"}
    run("cmake", "--build", project.build, ok=False)  # and again
    (graphs / "linear.json").write_text(json.dumps(graph))
    later(graphs / "linear.json")
    assert project.make() == ({"linear"}, set())

    # Options, a removed file, gcomp itself.
    run(*project.configure, "-DLEVEL=none")
    assert "linear" in project.make()[0] and project.program() == "16 8\n"
    (folder / "linear.o").unlink()
    if generator == "Unix Makefiles":  # which finds out and has to be called again
        run("cmake", "--build", project.build, ok=False)
    assert project.make()[0] == {"linear"} and project.program() == "16 8\n"
    later(prefix / "bin/gcomp")
    assert project.make() == ({"linear", "external"}, set()) and project.make() == (set(), set())


def test_wrong_calls_are_refused(prefix, tmp_path):
    for call, message in [
        ("gcomp_add_graph(x)", "GRAPH <file> is missing"),
        ("gcomp_add_graph(x GRAPH a.json LINKED)", "unknown: LINKED"),
        ("find_package(gcomp 9 REQUIRED)", 'compatible with requested version "9"'),
    ]:
        text = f"cmake_minimum_required(VERSION 3.21)\nproject(p NONE)\nfind_package(gcomp REQUIRED)\n{call}\n"
        (tmp_path / "CMakeLists.txt").write_text(text)
        told = run("cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DCMAKE_PREFIX_PATH={prefix}", ok=False)
        assert message in " ".join(told.split())
        shutil.rmtree(tmp_path / "b")
