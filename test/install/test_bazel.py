"""The Bazel example, as far as its tool is to be had: a Starlark interpreter evaluates the files, with stand-ins for
Bazel's functions, and the commands that they name are run. Bazel itself is not."""

import json
from pathlib import Path

import starlark
from conftest import EXAMPLES, check_output, run
from gcomp_cli import GCOMP, ROOT

# Bazel's functions, which write down how they were called.
STAND_INS = """
calls = []

def _record(kind):
    def call(**kwargs):
        calls.append((kind, kwargs))
    return call

def _attribute(**kwargs):
    return kwargs

attr = struct(label = _attribute, label_list = _attribute, string = _attribute, string_list = _attribute)
native = struct(cc_library = _record("cc_library"), filegroup = _record("filegroup"))
cc_binary = _record("cc_binary")
cc_library = _record("cc_library")
filegroup = _record("filegroup")
module = _record("module")

def package(**kwargs):
    pass

def glob(patterns):
    return patterns

def use_repo_rule(file, name):
    return _record(name)

def depset(files):
    return files

def DefaultInfo(files):
    return files

def OutputGroupInfo(**groups):
    return groups

# A rule is called at once, on files of the folder.
def rule(implementation, attrs):
    def call(name, **kwargs):
        for key in kwargs:
            if key not in attrs:
                fail("no attribute " + key)
        for key, what in attrs.items():
            if what.get("mandatory") and key not in kwargs:
                fail("attribute " + key + " is missing")
        def file(path):
            return struct(path = path)
        values = dict(kwargs)
        ctx = struct(
            attr = struct(**values),
            file = struct(graph = file(kwargs["graph"])),
            files = struct(weights = [file(w) for w in kwargs["weights"]]),
            executable = struct(gcomp = attrs["gcomp"]["default"]),
            actions = struct(declare_file = lambda path: file("out/" + path), run = _record("action")),
        )
        calls.append(("rule", {"name": name, "groups": implementation(ctx)[1]}))
    return call
"""


def evaluate(*files: str) -> list:
    """The calls of Bazel's functions that the files make, in order. Loaded files stand before those that load them."""
    lines = [STAND_INS]
    lines += [line for f in files for line in (EXAMPLES / "bazel" / f).read_text().splitlines() if not line.startswith("load(")]
    library = starlark.Globals.extended_by([starlark.LibraryExtension.StructType, starlark.LibraryExtension.Json])
    dialect = starlark.Dialect.extended()
    dialect.enable_top_level_stmt = True
    text = "\n".join([*lines, "json.encode(calls)"])
    return json.loads(starlark.eval(starlark.Module(), starlark.parse(files[-1], text, dialect), library))


def test_the_bazel_rule(repository):
    calls = evaluate("gcomp.bzl", "BUILD.bazel")
    actions = [what for kind, what in calls if kind == "action"]
    groups = {what["name"]: what["groups"] for kind, what in calls if kind == "rule"}
    (repository / "out").mkdir()
    for action in actions:
        assert action["executable"] == "@gcomp//:gcomp"
        read = {f["path"] for f in action["inputs"]}
        run(GCOMP.resolve(), *action["arguments"], "--depfile", "read.d", cwd=repository)
        # Nothing is read but what is declared, and all that is declared is made.
        assert set((repository / "read.d").read_text().split(":", 1)[1].split()) == read
        assert all((repository / f["path"]).is_file() for f in action["outputs"])
    libraries = {what["name"]: what for kind, what in calls if kind == "cc_library"}
    filegroups = {what["name"]: groups[what["srcs"][0]][what["output_group"]] for kind, what in calls if kind == "filegroup"}
    (binary,) = (what for kind, what in calls if kind == "cc_binary")
    deps = [libraries[d.removeprefix(":")] for d in binary["deps"]]
    assert all(f["path"].endswith(".h") for d in deps for f in filegroups[d["hdrs"][0]])
    objects = [f["path"] for d in deps for f in filegroups[d["srcs"][0]]]
    assert all(d["deps"] == ["@gcomp//:runtime"] for d in deps)
    ((_, runtime),) = ((k, w) for k, w in evaluate("gcomp.BUILD") if k == "cc_library")
    includes = [f"-I{ROOT / i}" for i in runtime["includes"]] + ["-Iout"]
    links = [o for d in deps for o in d["linkopts"]] + runtime["linkopts"]
    run("c++", "-std=c++17", *includes, *binary["srcs"], *objects, *links, "-o", "example", cwd=repository)
    check_output(run("./example", "main.cpp", cwd=repository))


def test_the_bazel_module():
    """Paths of the module file are those of an unpacked package."""
    calls = dict(evaluate("MODULE.bazel"))
    assert Path(calls["new_local_repository"]["path"]).name == "usr"
    assert (EXAMPLES / "bazel" / calls["new_local_repository"]["build_file"].removeprefix("//:")).is_file()
    (program,) = (what["srcs"] for kind, what in evaluate("gcomp.BUILD") if kind == "filegroup")
    assert program == ["bin/gcomp"]
