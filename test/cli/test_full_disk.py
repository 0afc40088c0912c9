"""A disk that is full, a limit on the size of files, a signal: no part of a file is left, and the exit code says which."""

import json
import os
import resource
import signal
import subprocess
import time

import pytest
from conftest import chain
from gcomp_cli import GCOMP, gcomp, gcomp_ok

# What each command writes last, from a graph of 20,000 different functions: more than LIMIT bytes each.
OUTPUTS = {
    "out.gcb": ["opt"],
    "out.json": ["opt"],
    "converted.gcb": ["convert"],
    "out.so": [],
    "out.o": ["--emit=obj"],
    "out.asm": ["--emit=asm"],
    "out.ll": ["--emit=llvm"],
    "out.kernels": ["--emit=kernels"],
}
REPORTS = {"--profile": "profile.json", "--html": "page.html", "--depfile": "deps.d"}
LIMIT = 1024


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))


@pytest.fixture
def graph(tmp_path):
    folder = tmp_path / "graph"
    folder.mkdir()
    path = folder / "chain.json"
    path.write_text(json.dumps(chain(20_000)))
    return path


@pytest.fixture
def outputs(tmp_path):
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("before", [None, "as it was"])
def test_what_does_not_fit_leaves_nothing(graph, outputs, name, before):
    if before:
        (outputs / name).write_text(before)
    done = gcomp(*OUTPUTS[name], graph, "-o", outputs / name, preexec_fn=limit_files)
    assert done.returncode == 3, done.stderr
    assert "File too large" in done.stderr
    assert name in done.stderr or "cannot link: memory file: File too large" in done.stderr
    assert ("ulimit -f) counts for files in memory" in done.stderr) == ("cannot link" in done.stderr)
    assert [p.read_text() for p in outputs.iterdir()] == ([before] if before else [])
    gcomp_ok(*OUTPUTS[name], graph, "-o", outputs / name)  # and it did need more
    assert (outputs / name).stat().st_size > LIMIT


@pytest.mark.parametrize("option", ["--profile", "--html"])
def test_reports_that_do_not_fit(graph, outputs, tmp_path, option):
    report = outputs / REPORTS[option]
    done = gcomp("opt", graph, "-o", "-", f"{option}={report}", preexec_fn=limit_files)
    assert done.returncode == 3 and REPORTS[option] in done.stderr, done.stderr
    assert not list(outputs.iterdir())


def test_standard_output_that_is_full(affine):
    with open("/dev/full", "w") as full:
        done = subprocess.run([GCOMP, "opt", affine, "-o", "-"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3 and "standard output cannot be written" in done.stderr


@pytest.mark.parametrize("option", REPORTS)
def test_devices_and_pipes_are_written_to_and_stay(affine, tmp_path, option):
    """As root a rename would replace /dev/null by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [GCOMP, affine, "-o", tmp_path / "model.so", f"{option}={pipe}"]
    with subprocess.Popen(command) as process:
        text = pipe.read_text()
        assert process.wait(60) == 0
    assert pipe.is_fifo()
    gcomp_ok(affine, "-o", tmp_path / "model.so", f"{option}={tmp_path / 'file'}")
    start = (tmp_path / "file").read_text()[:10]
    assert len(text) > 10 and text.startswith(start)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("arguments", [["opt", "-o", "out.json"], ["-o", "out.so"]])
def test_signals_leave_nothing(tmp_path, number, arguments):
    """While the output is being written: its temporary file is seen, and is gone with the process."""
    graph, outputs = tmp_path / "chain.json", tmp_path / "outputs"
    graph.write_text(json.dumps(chain(100_000)))
    outputs.mkdir()
    (outputs / arguments[-1]).write_text("as it was")
    command = [GCOMP, *arguments[:-2], graph, "-o", outputs / arguments[-1]]
    with subprocess.Popen(command) as process:
        for _ in range(20):
            time.sleep(0.01)
            if len(list(outputs.iterdir())) > 1:
                break
        process.send_signal(number)
        assert process.wait(60) in (-number, 0)
        ended = process.returncode
    assert [p.name for p in outputs.iterdir()] == [arguments[-1]]
    if ended != 0:
        assert (outputs / arguments[-1]).read_text() == "as it was"
