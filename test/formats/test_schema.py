"""The JSON Schema says what the reader accepts: real graphs pass, what the reader refuses by form fails."""
import copy
import json
import pathlib
import re

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "lib/formats/graph.schema.json").read_text())
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
GRAPHS = sorted((ROOT / "graphs").glob("*.json")) + sorted((ROOT / "test/fuzz/corpus/json").glob("*.json"))


@pytest.mark.parametrize("path", GRAPHS, ids=lambda p: p.name)
def test_real_graphs_fit(path):
    VALIDATOR.validate(json.loads(path.read_text()))


def test_the_readme_example_fits():
    text = (ROOT / "lib/formats/README.md").read_text()
    example = text[text.index('    {"version": 1'):text.index("\n\n- Values are")]
    VALIDATOR.validate(json.loads(example))


def test_ops_are_those_of_the_table():
    header = (ROOT / "include/gcomp/ir/op.h").read_text()
    listed = header[header.index("GCOMP_OPS(X)") + len("GCOMP_OPS(X)"):header.index("enum class Op")]
    table = [n for n in re.findall(r"\bX\(\s*(\w+)\s*\)", listed.replace("\\\n", " "))
             if n not in ("input", "constant")]
    pseudo = ["shape_of", "broadcast_like", "specify_like"]
    assert SCHEMA["definitions"]["op"]["enum"] == table + pseudo


BREAKS = {
    "a later version": lambda g: g.update(version=2),
    "an unknown key": lambda g: g.update(extra=1),
    "no nodes": lambda g: g.pop("nodes"),
    "an unknown op": lambda g: g["nodes"][0].update(op="exq"),
    "a negative id": lambda g: g["nodes"][0]["out"].__setitem__(0, -1),
    "an unknown dtype": lambda g: g["inputs"][0].update(dtype="float"),
    "a constant without data": lambda g: g["constants"][0].pop("base64"),
    "two kinds of data": lambda g: g["constants"][0].update(data=[1.0]),
    "an input without name": lambda g: g["inputs"][0].pop("name"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_mistakes_of_form_do_not_fit(what):
    graph = json.loads((ROOT / "test/fuzz/corpus/json/small.json").read_text())
    VALIDATOR.validate(graph)
    broken = copy.deepcopy(graph)
    BREAKS[what](broken)
    assert not VALIDATOR.is_valid(broken)
