"""make's jobserver: gcomp takes threads from it, never more than there are, and gives all back however it ends."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from conftest import AFFINE
from gcomp_cli import GCOMP


def many_kernels(count: int) -> dict:
    """`count` outputs, each by a kernel of its own: several modules' worth of code."""
    nodes, outputs, value = [], [], 1
    for i in range(count):
        last = 0
        for bit in range(24):
            op = ("exp", "tanh")[(i >> (bit % 10)) & 1] if bit < 10 else ("sin", "sqrt")[(i + bit) % 2]
            nodes.append({"op": op, "in": [last], "out": [value]})
            last, value = value, value + 1
        outputs.append({"name": f"y{i}", "id": last})
    x = {"id": 0, "name": "x", "dtype": "float64", "shape": [64]}
    return {"version": 1, "symbols": [], "inputs": [x], "constants": [], "nodes": nodes, "outputs": outputs}


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    path = tmp_path_factory.mktemp("graph") / "many.json"
    path.write_text(json.dumps(many_kernels(200)))
    return path


class Fifo:
    """A jobserver with so many tokens, as make 4.4 has it."""

    def __init__(self, folder: Path, tokens: int):
        self.path = folder / "jobs"
        os.mkfifo(self.path)
        self.file = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        os.write(self.file, b"abcdefgh"[:tokens])
        self.env = {**os.environ, "MAKEFLAGS": f" -j{tokens + 1} --jobserver-auth=fifo:{self.path}"}

    def drain(self) -> bytes:
        """All tokens that are there, which stay there."""
        try:
            tokens = os.read(self.file, 100)
        except BlockingIOError:
            return b""
        os.write(self.file, tokens)
        return bytes(sorted(tokens))


class Watch(threading.Thread):
    """The most threads that generated code at one time, of all gcomp processes below `root`; see gcomp codegen."""

    def __init__(self, graph: Path):
        super().__init__()
        self.graph, self.most, self.processes, self.over = str(graph).encode(), 0, 0, False

    def run(self):
        while not self.over:
            threads = processes = 0
            for process in Path("/proc").iterdir():
                if not process.name.isdigit():
                    continue
                try:
                    if self.graph not in (process / "cmdline").read_bytes().split(b"\0")[1:2]:
                        continue
                    names = [(task / "comm").read_text() for task in (process / "task").iterdir()]
                except OSError:
                    continue  # it has ended
                threads += names.count("gcomp codegen\n")
                processes += 1
            self.most, self.processes = max(self.most, threads), max(self.processes, processes)
            time.sleep(0.001)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.join()


def compile_with(graph: Path, out: Path, env, *options, **kwargs) -> subprocess.Popen:
    command = [GCOMP, graph, "-o", out, *options]
    return subprocess.Popen([str(c) for c in command], env=env, stderr=subprocess.PIPE, text=True, **kwargs)


def finish(process: subprocess.Popen, code: int) -> str:
    told = process.communicate(timeout=120)[1]
    assert process.returncode == code, told
    return told


@pytest.mark.parametrize("tokens", [0, 1, 2])
def test_as_many_threads_as_tokens(graph, tmp_path, tokens):
    fifo = Fifo(tmp_path, tokens)
    with Watch(graph) as watch:
        finish(compile_with(graph, tmp_path / "x.so", fifo.env, "-j", "8"), 0)
    assert watch.most == 1 + tokens and fifo.drain() == b"abcdefgh"[:tokens]
    env = {k: v for k, v in os.environ.items() if k != "MAKEFLAGS"}
    finish(compile_with(graph, tmp_path / "y.so", env), 0)
    assert (tmp_path / "x.so").read_bytes() == (tmp_path / "y.so").read_bytes()


def test_a_token_that_comes_late_is_taken(graph, tmp_path):
    fifo = Fifo(tmp_path, 0)
    with Watch(graph) as watch:
        process = compile_with(graph, tmp_path / "x.so", fifo.env, "-j", "2")
        while watch.most == 0:
            time.sleep(0.001)
        os.write(fifo.file, b"z")
        finish(process, 0)
    assert watch.most == 2 and fifo.drain() == b"z"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSEGV, "time", "memory"])
def test_tokens_come_back_whatever_happens(graph, tmp_path, end):
    """Ended while it holds some."""
    fifo = Fifo(tmp_path, 3)
    options = {"time": ["--time-limit", "0.12"], "memory": ["--max-memory", "60M"]}.get(end, [])
    process = compile_with(graph, tmp_path / "x.so", fifo.env, "-j", "4", *options, cwd=tmp_path)
    if isinstance(end, str):
        process.communicate(timeout=120)
        assert process.returncode in ((5,) if end == "time" else (0, 5))  # with fewer threads it may be enough
    else:
        while len(fifo.drain()) == 3:
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(end)
        finish(process, 4 if end == signal.SIGSEGV else -end)
    assert fifo.drain() == b"abc" and (tmp_path / "x.so").exists() == (process.returncode == 0)


@pytest.mark.parametrize(
    "flags",
    ["-j --jobserver-auth=-2,-2", "--jobserver-auth=93,94", "--jobserver-auth=fifo:/nonexistent", "--jobserver-auth=0,1",
     "--jobserver-auth=,", "--jobserver-auth=1", "--jobserver-auth=", "-j2 -- X=--jobserver-auth=fifo:/nonexistent", "n"],
)  # fmt: skip
def test_without_a_jobserver_one_thread_is_used(tmp_path, flags):
    """What names none, or one that is closed to us, is as if nothing were said."""
    graph = tmp_path / "affine.json"
    graph.write_text(json.dumps(AFFINE))
    assert finish(compile_with(graph, tmp_path / "x.so", {**os.environ, "MAKEFLAGS": flags}), 0) == ""


MAKEFILE = """
all: a.so b.so c.so d.so
%.so:
\t+@'{gcomp}' '{graph}' -o $@
"""


@pytest.mark.parametrize("jobs", [1, 3])
def test_make_never_runs_more_than_n(graph, tmp_path, jobs):
    """make itself counts its tokens at the end, and says so if one is missing or too many."""
    (tmp_path / "Makefile").write_text(MAKEFILE.format(gcomp=GCOMP, graph=graph))
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    with Watch(graph) as watch:
        done = subprocess.run(["make", f"-j{jobs}"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert watch.most == jobs and watch.processes == min(jobs, 4)
    assert len({(tmp_path / f"{n}.so").read_bytes() for n in "abcd"}) == 1


def test_ninja_takes_part(graph, tmp_path):
    """ninja 1.13 in a jobserver of one token runs two jobs, and gcomp under it no thread more."""
    import ninja

    program = Path(ninja.BIN_DIR) / "ninja"
    fifo = Fifo(tmp_path, 1)
    rules = "".join(f"build {n}.so: r\n" for n in "abc")
    (tmp_path / "build.ninja").write_text(f"rule r\n  command = '{GCOMP}' '{graph}' -o $out -j 8\n{rules}")
    with Watch(graph) as watch:
        done = subprocess.run([program], cwd=tmp_path, env=fifo.env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert watch.most == 2 and fifo.drain() == b"a"


