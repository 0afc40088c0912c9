"""Compiling: runs the gcomp command."""

import os
import pathlib
import shutil
import subprocess

from ._errors import CompileError

LEVELS = ("none", "merge", "fast_compile", "fast_run")


def find_gcomp():
    """The gcomp command: $GCOMP, else the one that belongs to this package (build/gcomp of its sources, bin/gcomp
    where both are installed), else the one on PATH."""
    named = os.environ.get("GCOMP")
    if named:
        if not os.access(named, os.X_OK):
            raise FileNotFoundError(f"GCOMP names {named}, which is no program")
        return named
    for folder in pathlib.Path(__file__).resolve().parents:
        for candidate, mark in (("build/gcomp", "CMakeLists.txt"), ("bin/gcomp", "include/gcomp/runtime.h")):
            if (folder / mark).is_file() and os.access(folder / candidate, os.X_OK):
                return str(folder / candidate)
    found = shutil.which("gcomp")
    if found is None:
        raise FileNotFoundError("the gcomp command is not found: put it on PATH or name it in $GCOMP")
    return found


def compile(graph, out=None, level="fast_run", *, dims=None, name=None, cpu=None, options=()):
    """Compiles a graph file (our JSON or binary form, or ONNX) to a shared object; returns its path.

    out      default: the graph's path with suffix .so
    level    none, merge, fast_compile or fast_run
    dims     {symbol: number}: extents to fix
    name     prefix of the artifact's symbols, for several models in one program
    cpu      --mcpu, "native" for this machine's
    options  further options of the command, as it takes them

    Failure is a CompileError with what the command wrote and its exit code.
    """
    if level not in LEVELS:
        raise ValueError(f"level is {level!r}; it must be one of {', '.join(LEVELS)}")
    graph = pathlib.Path(graph)
    if not graph.is_file():
        raise FileNotFoundError(f"no such file: {graph}")
    out = pathlib.Path(out) if out is not None else graph.with_suffix(".so")
    command = [find_gcomp(), str(graph), "-O", level, "-o", str(out)]
    for symbol, number in (dims or {}).items():
        command += ["--dim", f"{symbol}={int(number)}"]
    if name is not None:
        command += ["--name", name]
    if cpu is not None:
        command.append(f"--mcpu={cpu}")
    command += [str(o) for o in options]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        text = (result.stderr or result.stdout).strip()
        raise CompileError(text or f"gcomp ended with exit code {result.returncode}", result.returncode)
    return out
