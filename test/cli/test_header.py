"""`gcomp --header`: typed interfaces that compilers take without a warning, whose calls give NumPy's numbers; and
`--if-changed`."""

import json
import os
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from conftest import AFFINE, chain
from gcomp_cli import ROOT, gcomp, gcomp_ok

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]


def run(*command) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compiled(folder: Path, name: str, graph: dict, *options) -> Path:
    """The object of a graph; its header lies beside it."""
    (folder / f"{name}.json").write_text(json.dumps(graph))
    out = folder / f"{name}.o"
    gcomp_ok(folder / f"{name}.json", "--emit=obj", "--name", name, "-o", out, "--header", folder / f"{name}.h", *options)
    return out


def program(folder: Path, text: str, *objects: Path, compiler: str = "c++") -> list[list[float]]:
    """What a program prints, a list of numbers for each line."""
    (folder / "main.cpp").write_text(text)
    flags = ["-std=c++17", *WARNINGS, f"-I{ROOT}/include", f"-I{folder}"]
    run(compiler, *flags, folder / "main.cpp", *objects, "-lm", "-o", folder / "main")
    return [[float(v) for v in line.split()] for line in run(folder / "main").splitlines()]


@pytest.mark.parametrize("compiler", ["c++", "clang++-19"])
def test_shapes_known_and_unknown(tmp_path, compiler):
    """Extents fixed and not; memory of the model's and of the caller's; wrong numbers of elements; two models."""
    objects = [compiled(tmp_path, "affine", AFFINE), compiled(tmp_path, "chain", chain(4))]
    text = """
#include <cstdio>
#include "affine.h"
#include "chain.h"
int main() {
  affine::Model model;
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  const float w[] = {1, -1, 2, -2, 3, -3};
  affine::Outputs out = model({x, w}, {2});
  std::printf("%g %g %g %g\\n", double{out.s[0]}, double{out.s[1]}, static_cast<double>(out.s.size()),
              static_cast<double>(out.y.extents()[0]));
  float s[1] = {0};  // one row, and the sum into memory of our own
  out = {};
  out.s = {s, 1};
  model.run({{x.data(), 3}, {w, 3}}, {1}, out);
  std::printf("%g %g\\n", double{s[0]}, static_cast<double>(out.y.size()));
  try {
    model({x, w}, {3});
  } catch (const gcomp::ArtifactError& error) {
    std::printf("%d\\n", error.status() == GCOMP_ERROR_CAPACITY && error.what() == std::string("x has 6 elements, its extents need 9"));
  }
  chain::Model other;
  std::array<double, 4> in = {0.1, 0.2, 0.3, 0.4};
  static_assert(decltype(chain::Inputs::x)::kSize == 4 && decltype(chain::Outputs::y)::kExtents[0] == 4);
  for (const double y : other({in}).y) std::printf("%.17g ", y);
}
"""
    two, one, wrong, y = program(tmp_path, text, *objects, compiler=compiler)
    assert two == [1 - 2 + 6 + 3, -8 + 15 - 18 + 3, 2, 2] and one == [8, 3] and wrong == [1]
    x = np.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(y, np.tanh(np.sin(np.tanh(np.sin(x)))), rtol=1e-14)


def test_a_wrong_array_does_not_compile(tmp_path):
    compiled(tmp_path, "chain", chain(2))
    (tmp_path / "main.cpp").write_text('#include "chain.h"\nint main() { double x[3] = {}; chain::Model()({x}); }\n')
    command = ["c++", "-fsyntax-only", f"-I{ROOT}/include", f"-I{tmp_path}", str(tmp_path / "main.cpp")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "not as many elements as the input's extents need" in done.stderr


# The name in the graph, and in C++.
NAMES = [
    ("x", "x"),
    ("x ", "x_"),
    ("x:", "x__2"),
    ("", "input_3"),
    ("class", "class_"),
    ("1st/*", "_1st__"),
    ("größe", "gr____e"),
    ('"\\\n??/', "______"),
    ("and", "and_"),
    ("linux", "linux_"),
]


def test_odd_names(tmp_path):
    """Also as C, as symbols, and as the name of the whole."""
    n = len(NAMES)
    graph = {
        "version": 1,
        "symbols": ["new"],
        "inputs": [{"id": i, "name": name, "dtype": "float64", "shape": ["new"]} for i, (name, _) in enumerate(NAMES)],
        "constants": [],
        "nodes": [{"op": "sub", "in": [i, (i + 1) % n], "out": [n + i]} for i in range(n)],
        "outputs": [{"name": name, "id": n + i} for i, (name, _) in enumerate(NAMES)],
    }
    out = compiled(tmp_path, "delete", graph)
    inputs = "".join(f"in.{c} = {{&values[{i}], 1}};\n" for i, (_, c) in enumerate(NAMES))
    results = ", ".join(f"out.{c.replace('input', 'output')}[0]" for _, c in NAMES)
    text = f"""
#include <cstdio>
#include "delete.h"
int main() {{
  double values[{n}];
  for (int i = 0; i < {n}; ++i) values[i] = i * i;
  delete_::Inputs in;
  {inputs}
  delete_::Model model;
  const delete_::Outputs out = model(in, {{1}});
  for (double y : {{{results}}}) std::printf("%g ", y);
}}
"""
    # `??/` and `/*` in a name must not end a line or open a comment; the prefix of C's names is the graph's own.
    (found,) = program(tmp_path, text, out)
    x = np.arange(n) ** 2.0
    assert found == (x - np.roll(x, -1)).tolist()
    (tmp_path / "main.c").write_text(
        '#include "delete.h"\nint main(void) { return delete_input__1st__ - 5 + delete_num_outputs - 10; }\n'
    )
    flags = ["-std=c99", "-trigraphs", "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/include", f"-I{tmp_path}"]
    run("cc", *flags, tmp_path / "main.c", "-o", tmp_path / "c")
    run(tmp_path / "c")


DTYPES = ["bool", *(f"{s}int{b}" for s in ("", "u") for b in (8, 16, 32, 64)), "float16", "bfloat16", "float32", "float64"]


def test_every_dtype(tmp_path):
    """`reverse` of two elements, and of one number that is given as it is."""
    graph = {
        "version": 1,
        "symbols": [],
        "inputs": [{"id": i, "name": f"v_{t}", "dtype": t, "shape": [2]} for i, t in enumerate(DTYPES)],
        "constants": [],
        "nodes": [{"op": "concat", "in": [i, i], "out": [20 + i], "attrs": {"axis": 0}} for i in range(len(DTYPES))],
        "outputs": [{"name": f"w_{t}", "id": 20 + i} for i, t in enumerate(DTYPES)],
    }
    out = compiled(tmp_path, "types", graph)
    values, lines = {}, []
    for t in DTYPES:
        numpy_type = ml_dtypes.bfloat16 if t == "bfloat16" else np.dtype(t)
        values[t] = np.array([1, 0]) if t == "bool" else np.array([3, 100])
        bits = np.array(values[t], numpy_type)
        half = t in ("float16", "bfloat16")
        cpp = f"gcomp::{t}" if half else {"bool": "bool", "float32": "float", "float64": "double"}.get(t, f"{t}_t")
        items = ", ".join(f"{{{v}}}" if half else f"{cpp}({v})" for v in (bits.view(np.uint16) if half else bits.astype(object) * 1))
        lines.append(f"const std::array<{cpp}, 2> x_{t} = {{{{{items}}}}}; in.v_{t} = x_{t};")
    shown = [f"for (auto v : out.w_{t}) std::printf(\"%g \", double(v{'.bits' if 'float16' in t else ''}));\nstd::puts(\"\");" for t in DTYPES]
    newline = "\n"
    text = f"""
#include <cstdio>
#include "types.h"
int main() {{
  types::Inputs in;
  {newline.join(lines)}
  types::Model model;
  const auto out = model(in);
  {newline.join(shown)}
}}
"""
    for t, line in zip(DTYPES, program(tmp_path, text, out), strict=True):
        dtype = ml_dtypes.bfloat16 if t == "bfloat16" else t
        wanted = np.tile(values[t], 2).astype(dtype)
        assert line == (wanted.view(np.uint16) if "float16" in t else wanted.astype(float)).tolist(), t


STATES = {
    "version": 1,
    "symbols": ["n"],
    "inputs": [
        {"id": 0, "name": "x", "dtype": "float64", "shape": ["n"], "donate": True},
        {"id": 1, "name": "total", "dtype": "float64", "shape": ["n"]},
        {"id": 2, "name": "scale", "dtype": "float64", "shape": []},
    ],
    "constants": [],
    "nodes": [
        {"op": "broadcast_like", "in": [2, 0], "out": [3], "attrs": {"axes": []}},
        {"op": "mul", "in": [0, 3], "out": [4]},
        {"op": "add", "in": [1, 4], "out": [5]},
        {"op": "reduce_sum", "in": [5], "out": [6], "attrs": {"axes": [0]}},
    ],
    "outputs": [{"name": "sum", "id": 6}, {"name": "new_total", "id": 5}],
    "states": [
        {"input": 1, "output": 1},
        {"input": 2, "initial": {"dtype": "float64", "shape": [], "data": [2.0]}},
    ],
}


def test_states_donated_inputs_and_derived_extents(tmp_path):
    states = compiled(tmp_path, "states", STATES)
    derived = json.loads(json.dumps(AFFINE))
    for port in derived["inputs"]:
        port["shape"] = ["2*N + (N + 1) // 2 + min(N, 2) - N % 3", 3]
    derived["inputs"].append({"id": 9, "name": "z", "dtype": "float32", "shape": ["N"]})
    derived["outputs"].append({"name": "z", "id": 9})
    derived = compiled(tmp_path, "derived", derived)
    text = """
#include <cstdio>
#include "states.h"
#include "derived.h"
int main() {
  states::Model model;
  std::vector<double> x = {1, 2, 3};
  model.set_state_total(std::vector<double>{10, 20, 30}, {3});
  const double first = model({x}, {3}).sum.value();
  x = {1, 2, 3};
  model.set_state_scale(-1);
  const double second = model({x}, {3}).sum.value();
  std::printf("%g %g %g %g\\n", first, second, model.state_total()[2], model.state_scale().value());
  model.reset_states();
  std::printf("%g\\n", model.state_scale().value());
  derived::Model other;
  const std::vector<float> ones(3 * 11, 1), z(4);
  std::printf("%g\\n", static_cast<double>(other({ones, ones, z}, {4}).s.size()));
  static_assert(!std::is_constructible_v<decltype(states::Inputs::x), const std::vector<double>&>);
}
"""
    calls, reset, extent = program(tmp_path, text, states, derived)
    assert calls == [60 + 12, 72 - 6, 36 - 3, -1] and reset == [2] and extent == [8 + 2 + 2 - 1]


def test_a_loaded_artifact_must_be_the_headers(tmp_path):
    compiled(tmp_path, "model", AFFINE)
    gcomp_ok(tmp_path / "model.json", "--name", "model", "-o", tmp_path / "right.so")
    other = {**AFFINE, "inputs": [{**port, "name": "ab"[i]} for i, port in enumerate(AFFINE["inputs"])]}
    (tmp_path / "other.json").write_text(json.dumps(other))
    gcomp_ok(tmp_path / "other.json", "--name", "model", "-o", tmp_path / "wrong.so")
    text = f"""
#include <cstdio>
#include "model.h"
int main() {{
  const std::vector<float> x = {{1, 2, 3}};
  model::Model right("{tmp_path}/right.so");
  std::printf("%g\\n", double{{right({{x, x}}, {{1}}).s[0]}});
  try {{
    model::Model wrong("{tmp_path}/wrong.so");
  }} catch (const gcomp::ArtifactError& error) {{
    const std::string what = error.what();
    std::printf("%d\\n", error.status() == GCOMP_ERROR_ABI && what.find("input a: float32[N, 3]\\n") != what.npos);
  }}
}}
"""
    assert program(tmp_path, text, "-ldl") == [[17], [1]]


def test_only_what_can_be_called_has_a_header(affine, tmp_path):
    done = gcomp(affine, "--emit=llvm", "-o", tmp_path / "x.ll", "--header", tmp_path / "x.h")
    assert done.returncode == 2 and "--emit=so or obj" in done.stderr and not (tmp_path / "x.ll").exists()


@pytest.mark.parametrize("emit", ["so", "obj", "llvm", "graph"])
def test_if_changed_leaves_equal_outputs_alone(affine, tmp_path, emit):
    out, header = tmp_path / ("out.json" if emit == "graph" else "out"), tmp_path / "out.h"
    options = ["--if-changed", f"--emit={emit}", "-o", out, "--depfile", tmp_path / "out.d"]
    options += ["--header", header] if emit in ("so", "obj") else []
    gcomp_ok(affine, *options)
    rule = (tmp_path / "out.d").read_text()
    assert rule.startswith(f"{out} {header}: " if emit in ("so", "obj") else f"{out}: ")
    outputs = [p for p in (out, header) if p.exists()]
    inodes = [p.stat().st_ino for p in outputs]
    for p in outputs:
        os.utime(p, (0, 0))
    gcomp_ok(affine, *options)
    assert [p.stat().st_mtime for p in outputs] == [0] * len(outputs)
    assert [p.stat().st_ino for p in outputs] == inodes and (tmp_path / "out.d").read_text() == rule
    changed = json.loads(affine.read_text())
    changed["constants"][0]["data"] = [2.0]
    affine.write_text(json.dumps(changed))
    gcomp_ok(affine, *options)
    assert out.stat().st_mtime > 0 and all(p.stat().st_mtime == 0 for p in outputs[1:])  # the interface is the same
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({p.name for p in outputs} | {"affine.json", "out.d"})


def test_if_changed_errors_name_the_output(affine, tmp_path):
    (tmp_path / "folder").mkdir()
    done = gcomp(affine, "--if-changed", "-o", tmp_path / "folder")
    assert done.returncode == 3 and str(tmp_path / "folder") in done.stderr
    affine.write_text("{")
    out = tmp_path / "out"
    out.write_text("old")
    assert gcomp(affine, "--if-changed", "-o", out).returncode == 1
    assert out.read_text() == "old" and sorted(p.name for p in tmp_path.iterdir()) == ["affine.json", "folder", "out"]
