"""--diagnostics: JSON lines and SARIF for machines, with codes that stay; exit codes are those of text."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest
from conftest import AFFINE, chain
from gcomp_cli import GCOMP, ROOT, gcomp, gcomp_ok
from onnx import TensorProto, helper

FIELDS = ["severity", "code", "message", "file", "place", "pass", "hint"]
CODES = dict(re.findall(r"^\| (GC\d+) \| (.*?) \| .* \|$", (ROOT / "lib/support/DIAGNOSTICS.md").read_text(), re.M))

# What the specification (OASIS SARIF 2.1.0) requires of the properties that gcomp writes; no others are allowed.
TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}, "additionalProperties": False}
SARIF = {
    "$defs": {
        "rule": {
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "string"}, "shortDescription": TEXT, "help": TEXT},
            "additionalProperties": False,
        },
        "location": {
            "type": "object",
            "properties": {
                "physicalLocation": {
                    "type": "object",
                    "required": ["artifactLocation"],
                    "properties": {
                        "artifactLocation": {
                            "type": "object",
                            "properties": {"uri": {"type": "string", "pattern": r"^(file:///)?[A-Za-z0-9._~/!$&'()*+,;=@%-]+$"}},
                            "additionalProperties": False,
                        }
                    },
                    "additionalProperties": False,
                },
                "logicalLocations": {
                    "type": "array",
                    "uniqueItems": True,
                    "items": {
                        "type": "object",
                        "properties": {"fullyQualifiedName": {"type": "string"}},
                        "additionalProperties": False,
                    },
                },
            },
            "additionalProperties": False,
        },
        "result": {
            "type": "object",
            "required": ["message"],
            "properties": {
                "ruleId": {"type": "string"},
                "ruleIndex": {"type": "integer", "minimum": 0},
                "level": {"enum": ["none", "note", "warning", "error"]},
                "message": TEXT,
                "locations": {"type": "array", "items": {"$ref": "#/$defs/location"}},
                "properties": {"type": "object"},
            },
            "additionalProperties": False,
        },
    },
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "name": {"const": "gcomp"},
                                    "version": {"type": "string"},
                                    "rules": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/rule"}},
                                },
                                "additionalProperties": False,
                            }
                        },
                        "additionalProperties": False,
                    },
                    "invocations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["executionSuccessful"],
                            "properties": {"executionSuccessful": {"type": "boolean"}, "exitCode": {"type": "integer"}},
                            "additionalProperties": False,
                        },
                    },
                    "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}


def from_json(text: str) -> list[dict]:
    found = [json.loads(line) for line in text.splitlines()]
    for d in found:
        assert list(d) == FIELDS and all(isinstance(v, str) for v in d.values())
        assert d["code"] in CODES
    return found


def from_sarif(text: str, code: int) -> list[dict]:
    document = json.loads(text)
    jsonschema.validate(document, SARIF)
    (run,) = document["runs"]
    assert run["invocations"] == [{"executionSuccessful": code == 0, "exitCode": code}]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert {r["id"]: r["shortDescription"]["text"] for r in rules} == {r["ruleId"]: CODES[r["ruleId"]] for r in run["results"]}
    return run["results"]


def in_all_forms(code: int, *args, **kwargs) -> list[dict]:
    """The diagnostics of a command that ends with `code`, which all three forms tell alike."""
    text, lines, document = (gcomp(*args, f"--diagnostics={form}", **kwargs) for form in ("text", "json", "sarif"))
    assert [text.returncode, lines.returncode, document.returncode] == [code] * 3, text.stderr
    found = from_json(lines.stderr)
    expected = []
    for d in found:
        words = [d["file"], d["place"], d["message"] + (f" ({d['hint']})" if d["hint"] else "")]
        expected.append("gcomp: " + ": ".join(w for w in words if w))
    assert text.stderr.splitlines() == expected
    results = from_sarif(document.stderr, code)
    assert [r["ruleId"] for r in results] == [d["code"] for d in found]
    for d, r in zip(found, results):
        assert r["message"]["text"].startswith(d["message"]) and d["hint"] in r["message"]["text"]
        places = [x["fullyQualifiedName"] for loc in r["locations"] for x in loc.get("logicalLocations", [])]
        assert places == ([d["place"]] if d["place"] else [])
        assert ("physicalLocation" in json.dumps(r["locations"])) == bool(d["file"])
    return found


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--outputt=x"], "GC2001"),
        (["-o", "x.so", "-O", "fastrun"], "GC2003"),
        (["-o", "x.so", "--mcpu=x86-64-v33"], "GC2003"),
        (["-o", "x.so", "--emit=dll"], "GC2002"),
        (["-o", "x.so", "--dim", "Q=2"], "GC2004"),
        (["-o", "x.so", "--explain=nobody"], "GC2005"),
        ([], "GC2000"),
    ],
)
def test_usage(affine, args, code):
    (found,) = in_all_forms(2, affine, *args, cwd=affine.parent)
    assert (found["code"], found["severity"], found["file"]) == (code, "error", "")


def test_graph_and_place_are_named(tmp_path):
    wrong = json.loads(json.dumps(AFFINE))
    wrong["nodes"][0]["op"] = "mull"
    wrong["nodes"][2]["op"] = "ad"
    path = tmp_path / "wröng \"graph\".json"
    path.write_text(json.dumps(wrong))
    found = in_all_forms(1, path, "-o", tmp_path / "x.so")
    assert [(d["code"], d["place"]) for d in found] == [("GC1007", "nodes[0]"), ("GC1007", "nodes[2]")]
    assert {d["file"] for d in found} == {str(path)} and {d["pass"] for d in found} == {"read"}
    assert "'mul'" in found[0]["hint"]


def test_kinds_of_wrong_graphs(tmp_path):
    cases = {
        "GC1001": ("a.txt", b"no graph at all"),
        "GC1002": ("a.json", b"{"),
        "GC1004": ("a.onnx", b"\x08"),
        "GC1006": ("b.json", b'{"version": 77}'),
    }
    for code, (name, content) in cases.items():
        (tmp_path / name).write_bytes(content)
        (found,) = in_all_forms(1, tmp_path / name, "-o", tmp_path / "x.so")
        assert (found["code"], found["file"]) == (code, str(tmp_path / name))


def test_types_and_unsupported_onnx(tmp_path):
    wrong = json.loads(json.dumps(AFFINE))
    wrong["inputs"][1]["dtype"] = "float64"
    (tmp_path / "a.json").write_text(json.dumps(wrong))
    (found,) = in_all_forms(1, tmp_path / "a.json", "-o", tmp_path / "x.so")
    assert (found["code"], found["place"]) == ("GC1008", "nodes[0]")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    nodes = [helper.make_node("Mystery", ["x"], ["y"], name="second", domain="com.example")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    (found,) = in_all_forms(1, tmp_path / "m.onnx", "-o", tmp_path / "x.so")
    assert (found["code"], found["place"], found["file"]) == ("GC1007", "second", str(tmp_path / "m.onnx"))


def test_files_and_runs(affine, tmp_path):
    (found,) = in_all_forms(3, tmp_path / "absent.json", "-o", tmp_path / "x.so")
    assert (found["code"], found["file"]) == ("GC3001", str(tmp_path / "absent.json"))
    (found,) = in_all_forms(3, affine, "-o", tmp_path / "no_folder" / "x.so")
    assert (found["code"], found["pass"]) == ("GC3002", "link")
    gcomp_ok(affine, "-o", tmp_path / "x.so")
    (found,) = in_all_forms(3, tmp_path / "x.so", "-o", tmp_path / "y.so")
    assert found["code"] == "GC3005"
    np.savez(tmp_path / "in.npz", x=np.zeros((2, 3), np.float32), w=np.zeros((5, 3), np.float32))
    (found,) = in_all_forms(6, "run", tmp_path / "x.so", "--inputs", tmp_path / "in.npz")
    assert (found["code"], found["pass"]) == ("GC6001", "run")


def test_limits_and_crashes_speak_it_too(tmp_path):
    graph = tmp_path / "chain.json"
    graph.write_text(json.dumps(chain(100_000)))
    for form in ("json", "sarif"):
        done = gcomp(graph, "-o", tmp_path / "x.so", "--time-limit=0.05", f"--diagnostics={form}")
        assert done.returncode == 5
        if form == "json":
            (found,) = from_json(done.stderr)
            assert (found["code"], found["pass"], found["hint"]) == ("GC5001", "read", "give more with --time-limit")
        else:
            (found,) = from_sarif(done.stderr, 5)
            assert found["ruleId"] == "GC5001" and found["properties"]["pass"] == "read"
    done = gcomp(graph, "-o", tmp_path / "x.so", "--max-memory=20M", "--diagnostics=json")
    assert done.returncode == 5 and from_json(done.stderr)[0]["code"] == "GC5002"
    command = [GCOMP, graph, "-o", tmp_path / "x.so", "--diagnostics=json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        while str(graph) not in maps.read_text():
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGSEGV)
        (found,) = from_json(process.stderr.read())
        assert process.wait(60) == 4
    assert found["code"] == "GC4001" and "SIGSEGV" in found["message"] and "gcomp-reproducer-" in found["hint"]


def test_success_says_nothing(affine, tmp_path):
    assert in_all_forms(0, affine, "-o", tmp_path / "x.so") == []


def test_a_wrong_form_is_told_as_text(affine):
    done = gcomp(affine, "-o", "x.so", "--diagnostics=xml")
    assert done.returncode == 2 and "one of text, json, sarif" in done.stderr
