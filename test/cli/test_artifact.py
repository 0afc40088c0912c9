"""Compiled graphs in other people's programs: plain C, C++, a file system with libc only, two in one process."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import AFFINE, chain
from gcomp_cli import ROOT, gcomp, gcomp_ok, run_npz

WEIGHTS = np.linspace(-1, 1, 20_000)  # large enough to be appended to the file and mapped


def weighted() -> dict:
    """y = sum(exp(w * x)) of a float64 x, with a large constant w."""
    return {
        "version": 1,
        "symbols": [],
        "inputs": [{"id": 0, "name": "x", "dtype": "float64", "shape": []}],
        "constants": [{"id": 1, "dtype": "float64", "shape": [len(WEIGHTS)], "data": WEIGHTS.tolist()}],
        "nodes": [
            {"op": "broadcast_like", "in": [0, 1], "out": [2], "attrs": {"axes": []}},
            {"op": "mul", "in": [1, 2], "out": [3]},
            {"op": "exp", "in": [3], "out": [4]},
            {"op": "reduce_sum", "in": [4], "out": [5], "attrs": {"axes": [0]}},
        ],
        "outputs": [{"name": "y", "id": 5}],
    }


def compiled(folder: Path, name: str, graph: dict, *options) -> Path:
    (folder / f"{name}.json").write_text(json.dumps(graph))
    gcomp_ok(folder / f"{name}.json", "-o", folder / f"{name}.so", *options)
    return folder / f"{name}.so"


def run(*command, **kwargs) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def c_host(folder: Path) -> Path:
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-D_DEFAULT_SOURCE", f"-I{ROOT}/include"]
    run("cc", *flags, ROOT / "test/artifact/host.c", "-o", folder / "host")
    return folder / "host"


def numbers(text: str) -> list:
    """The values of the host's lines `name = v v v`."""
    return [[float(v) for v in line.split("=")[1].split()] for line in text.splitlines()]


def test_a_plain_c_host(tmp_path):
    host = c_host(tmp_path)
    x = np.array([1.0, 2, 3, 4])
    for _ in range(5):
        x = np.tanh(np.sin(x))
    (y,) = numbers(run(host, compiled(tmp_path, "chain", chain(10))))
    np.testing.assert_allclose(y, x, rtol=1e-5)
    (y,) = numbers(run(host, compiled(tmp_path, "weighted", weighted(), "--name", "other"), "other"))
    np.testing.assert_allclose(y, [np.exp(WEIGHTS).sum()], rtol=1e-5)


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_a_file_system_of_libc_libm_and_the_loader_is_enough(tmp_path):
    c_host(tmp_path)
    compiled(tmp_path, "chain", chain(10))
    compiled(tmp_path, "weighted", weighted())
    for file in ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libm.so.6"):
        (tmp_path / file[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(file).resolve(), tmp_path / file[1:])
        (tmp_path / file[1:]).chmod(0o755)
    for name in ("chain", "weighted"):
        alone = run("/usr/sbin/chroot", tmp_path, "/host", f"/{name}.so", env={})
        assert alone == run(tmp_path / "host", tmp_path / f"{name}.so")


def test_only_libc_and_libm_are_needed(tmp_path):
    for name, graph in (("chain", chain(10)), ("weighted", weighted()), ("affine", AFFINE)):
        told = run("readelf", "-dW", compiled(tmp_path, name, graph))
        assert set(re.findall(r"\(NEEDED\).*\[(.*)\]", told)) <= {"libc.so.6", "libm.so.6"}


CPP_HOST = """
#include <cstdio>
#include <thread>
#include "gcomp/runtime/loader.hpp"

// Two artifacts of one name at once, each on two threads with its own context; then a wrong call.
static double call(const gcomp::Artifact& artifact, double x) {
  gcomp::Context context(artifact);
  std::vector<double> in = {x}, out = {0};
  std::vector<int64_t> in_shape, out_shape;
  std::vector<gcomp_tensor> outputs = {gcomp::tensor(out, out_shape)};
  for (int i = 0; i < 100; ++i) context.run({gcomp::tensor(in, in_shape)}, outputs);
  return out[0];
}

int main(int, char** argv) {
  const gcomp::Artifact first(argv[1]), second(argv[2]);
  double y[4];
  std::thread threads[] = {
      std::thread([&] { y[0] = call(first, 1); }), std::thread([&] { y[1] = call(second, 1); }),
      std::thread([&] { y[2] = call(first, 2); }), std::thread([&] { y[3] = call(second, 2); })};
  for (std::thread& t : threads) t.join();
  std::printf("%.17g %.17g %.17g %.17g\\n", y[0], y[1], y[2], y[3]);
  try {
    gcomp::Context context(first);
    std::vector<float> in = {1};
    std::vector<int64_t> shape, out_shape;
    std::vector<gcomp_tensor> outputs = {gcomp::lent_tensor(out_shape)};
    context.run({gcomp::tensor(in, shape)}, outputs);
  } catch (const gcomp::ArtifactError& error) {
    std::puts(error.what());
  }
}
"""


def test_two_artifacts_and_four_threads_in_a_cpp_host(tmp_path):
    (tmp_path / "host.cpp").write_text(CPP_HOST)
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/include", "-pthread"]
    run("c++", *flags, tmp_path / "host.cpp", "-o", tmp_path / "host")
    first, second = weighted(), weighted()
    second["nodes"][2]["op"] = "sin"
    paths = [compiled(tmp_path, "first", first), compiled(tmp_path, "second", second)]
    values, message = run(tmp_path / "host", *paths).splitlines()
    wanted = [f(WEIGHTS * x).sum() for x in (1, 2) for f in (np.exp, np.sin)]
    np.testing.assert_allclose([float(v) for v in values.split()], wanted, rtol=1e-10, atol=1e-10)
    assert message == 'input "x" (number 0): dtype is float32, float64 was declared'


def test_same_bytes_whatever_the_circumstances(tmp_path):
    """Threads of the compiler, working folder, names of the files, environment, and a second time."""
    graph = json.dumps(weighted())
    results = set()
    for i, (options, env) in enumerate(
        [([], {}), (["-j", "1"], {"LANG": "C.UTF-8"}), (["-j", "4"], {"TZ": "Asia/Tokyo"}), (["-j", "2"], {"HOME": "/"})]
    ):
        folder = tmp_path / f"folder {i}" / ("deeper" * i)
        folder.mkdir(parents=True)
        (folder / f"graph{i}.json").write_text(graph)
        gcomp_ok(f"graph{i}.json", "-o", f"out{i}.bin", *options, cwd=folder, env={**os.environ, **env})
        results.add((folder / f"out{i}.bin").read_bytes())
    assert len(results) == 1
    assert str(tmp_path).encode() not in results.pop()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_same_result_bits_for_any_thread_count(tmp_path, threads):
    x = np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32)
    path = compiled(tmp_path, "affine", AFFINE)
    one = run_npz(path, {"x": x, "w": x}, tmp_path, "--threads", 1)
    more = run_npz(path, {"x": x, "w": x}, tmp_path, "--threads", threads)
    assert all(one[name].tobytes() == more[name].tobytes() for name in one)


def test_two_objects_in_one_c_program(tmp_path):
    objects = []
    for name, graph in (("first", chain(10)), ("second", weighted())):
        compiled(tmp_path, name, graph)
        gcomp_ok(tmp_path / f"{name}.json", "--emit=obj", "--name", name, "-o", tmp_path / f"{name}.o")
        objects.append(tmp_path / f"{name}.o")
    flags = ["-std=c99", "-D_DEFAULT_SOURCE", "-DHOST_LINKED", f"-I{ROOT}/include"]
    run("cc", *flags, ROOT / "test/artifact/host.c", *objects, "-lm", "-o", tmp_path / "linked")
    host = c_host(tmp_path)
    assert run(tmp_path / "linked") == run(host, tmp_path / "first.so") + run(host, tmp_path / "second.so")


FLAGS = set(Path("/proc/cpuinfo").read_text().split("flags", 1)[1].splitlines()[0].split())


@pytest.mark.parametrize(("level", "needs"), [("x86-64-v2", "sse4_2"), ("x86-64-v4", "avx512vl"), ("native", "sse2")])
def test_cpu_levels(tmp_path, level, needs):
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    path = compiled(tmp_path, "affine", AFFINE, f"--mcpu={level}")
    if needs in FLAGS:
        np.testing.assert_allclose(run_npz(path, {"x": x, "w": x}, tmp_path)["y"], x * x + 1, rtol=1e-6)
        return
    np.savez(tmp_path / "in.npz", x=x, w=x)
    done = gcomp("run", path, "--inputs", tmp_path / "in.npz")
    assert done.returncode == 6 and "avx512" in done.stderr
