"""check_layers.py finds every kind of wrong #include, and nothing in a tree without one."""

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import check_layers  # noqa: E402

SOUND = {
    "include/gcomp/support/id.h": "#pragma once\n#include <cstdint>\n",
    "include/gcomp/ir/graph.h": '#pragma once\n#include "gcomp/support/id.h"\n',
    "include/gcomp/runtime.h": "#include <stdint.h>\n",
    "lib/support/json.cpp": "#include <nlohmann/json.hpp>\n#include <sys/mman.h>\n",
    "lib/ir/ops/table.h": "",
    "lib/ir/graph.cpp": '#include "gcomp/ir/graph.h"\n#include "ops/table.h"\n',
    "lib/codegen/llvm/emit.cpp": '#include <llvm/IR/Module.h>\n#include "gcomp/ir/graph.h"\n',
    "lib/interp/eval.cpp": '#include "gcomp/ir/graph.h"\n',
    "lib/driver/compile.cpp": '#include "gcomp/runtime.h"\n#include "gcomp/ir/graph.h"\n',
    "tools/gcomp/main.cpp": '#include <CLI/CLI.hpp>\n#include "gcomp/ir/graph.h"\n',
}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_sound_tree_has_no_problem(tmp_path):
    write(tmp_path, SOUND)
    assert check_layers.check(tmp_path) == []


@pytest.mark.parametrize(
    ("file", "line", "reason"),
    [
        ("lib/support/arena.cpp", '#include "gcomp/ir/graph.h"', "may not use 'ir'"),
        ("include/gcomp/support/arena.h", '#include "gcomp/ir/graph.h"', "may not use 'ir'"),
        ("lib/ir/print.cpp", '#  include "../interp/eval.h"', "may not use 'interp'"),
        ("lib/interp/eval2.cpp", '#include "gcomp/formats/json.h"', "shares nothing"),
        ("lib/runtime/plan.cpp", '#include "gcomp/support/id.h"', "linked into artifacts"),
        ("lib/driver/x.cpp", "#include <CLI/CLI.hpp>", "belongs in tools"),
        ("lib/lower/x.cpp", "#include <llvm/IR/Module.h>", "belongs in artifact and codegen"),
        ("lib/ir/x.cpp", "#include <zmq/zmq.h>", "does not know"),
        ("lib/ir/y.cpp", '#include "gcomp/banana/x.h"', "not a library"),
        ("lib/banana/y.cpp", "", "not a library"),
    ],
)
def test_planted_violation_is_found_with_its_place(tmp_path, file, line, reason):
    write(tmp_path, SOUND | {"lib/interp/eval.h": "", file: f"// a comment\n{line}\n"})
    problems = check_layers.check(tmp_path)
    assert len(problems) == 1
    assert problems[0].startswith(f"{file}:2: " if line else f"{file}: ")
    assert reason in problems[0]


def test_this_tree_is_sound():
    assert check_layers.check(SCRIPTS.parent) == []
