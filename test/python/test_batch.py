"""gcomp.batch: here, and on a Dask cluster of which workers die."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from gcomp_cli import GCOMP, ROOT, gcomp_ok

import gcomp

distributed = pytest.importorskip("distributed")
os.environ["GCOMP"] = str(GCOMP)


def results(path):
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    assert len({line["name"] for line in lines}) == len(lines), "a graph was told of twice"
    return {line["name"]: line for line in lines}


def results_so_far(out):
    lines = (out / "results.jsonl").read_text().splitlines(keepends=True)
    return {line["name"]: line for line in (json.loads(line) for line in lines if line.endswith("\n"))}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for name in ("chain", "fills", "hmm", "ladder", "mixture", "ode", "residual", "rnn"):
        shutil.copy(ROOT / "graphs" / "user" / f"{name}.json", folder)
    shutil.copy(ROOT / "graphs" / "user" / "hmm.json", folder / "the_same.json")
    (folder / "bad").mkdir()
    (folder / "bad" / "truncated.json").write_bytes((folder / "rnn.json").read_bytes()[:2000])
    return folder


@pytest.fixture(scope="module")
def serial(corpus, tmp_path_factory):
    """The same graphs compiled here, one at a time."""
    out = tmp_path_factory.mktemp("serial")
    summary = gcomp.batch(corpus, out, jobs=1, keep_going=True)
    assert (summary.done, summary.failed, summary.results) == (9, 1, out / "results.jsonl")
    assert "      10  graphs" in summary.text
    return out


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


def assert_same(out, serial, found):
    expected = results(serial / "results.jsonl")
    assert found.keys() == expected.keys()
    for name, line in expected.items():
        assert found[name]["status"] == line["status"] and found[name]["key"] == line["key"]
        assert found[name].get("hash") == line.get("hash")
        assert found[name].keys() - {"same_as"} == line.keys() - {"same_as"}
        if line["status"] == "ok":
            assert (out / line["artifact"]).read_bytes() == (serial / line["artifact"]).read_bytes()


def test_workers_that_die(corpus, serial, cluster, tmp_path):
    """Every graph is told of once, with the bytes of a serial run, while workers are killed."""
    # Slow enough that the kills fall into the work; each attempt is a process of its own.
    slow = tmp_path / "gcomp"
    slow.write_text(f'#!/bin/sh\nsleep 0.2\nexec {GCOMP} "$@"\n')
    slow.chmod(0o755)
    killed, end = [], threading.Event()

    def kill_workers():
        while len(killed) < 2 and not end.wait(0.4):
            worker = list(cluster.workers.values())[len(killed) % 2]
            if worker.process is not None and worker.process.pid:
                os.kill(worker.process.pid, signal.SIGKILL)
                killed.append(worker.process.pid)

    with distributed.Client(cluster) as client:
        killer = threading.Thread(target=kill_workers)
        killer.start()
        summary = gcomp.batch(corpus, tmp_path / "out", client=client, keep_going=True, gcomp=slow)
        end.set()
        killer.join()
        assert len(killed) == 2 and (summary.done, summary.failed) == (9, 1)
        assert "       1  failed" in summary.text
        assert_same(tmp_path / "out", serial, results(summary.results))
        # Nothing is left to do, here or there.
        before = summary.results.read_bytes()
        again = gcomp.batch(corpus, tmp_path / "out", client=client, keep_going=True, resume=True)
        assert again.results.read_bytes() == before and again.failed == 1
        gcomp_ok("batch", corpus / "chain.json", corpus / "rnn.json", "-o", tmp_path / "out", "--resume")
        assert again.results.read_bytes() == before


def test_resumed_on_a_cluster_from_the_command_line(corpus, serial, cluster, tmp_path):
    out = tmp_path / "out"
    gcomp_ok("batch", corpus / "chain.json", corpus / "rnn.json", "-o", out)
    with open(out / "results.jsonl", "a") as file:
        file.write('{"name": "torn')
    before = results_so_far(out)
    command = [sys.executable, "-m", "gcomp.batch", "--scheduler", cluster.scheduler_address, corpus, "-o", out, "-k", "--resume"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 9 and "10  graphs" in done.stdout, done.stderr
    found = results(out / "results.jsonl")
    assert before == {name: found[name] for name in before} and len(before) == 2
    assert_same(out, serial, found)


def test_a_failure_stops_and_wrong_words_are_errors(corpus, cluster, tmp_path):
    with distributed.Client(cluster) as client:
        for i in range(12):
            shutil.copy(corpus / "chain.json", tmp_path / f"{i}.json")
            (tmp_path / f"{i}.json").write_text((tmp_path / f"{i}.json").read_text() + " " * (100 + i))
        bad = tmp_path / "bad.json"
        bad.write_text("{" * 5000)
        files = [bad, *sorted(tmp_path.glob("[0-9]*.json"))]
        summary = gcomp.batch(files, tmp_path / "out", client=client)
        assert summary.failed == 1 and summary.done < 12 and "not begun" in summary.text
        with pytest.raises(gcomp.CompileError, match="no such file"):
            gcomp.batch(tmp_path / "nothing", tmp_path / "out", client=client)
        with pytest.raises(gcomp.CompileError, match="o7"):
            gcomp.batch(files, tmp_path / "out", options=["-O", "o7"])
        # A worker without gcomp: told of each graph, after the retries.
        summary = gcomp.batch(files[1:3], tmp_path / "out", client=client, gcomp="/nothing", retries=1, keep_going=True)
        told = results(summary.results)
        assert summary.failed == 2 and {line["status"] for line in told.values()} == {"files"}
        assert "/nothing" in told["0"]["errors"][0]["message"]


def test_the_module_is_the_function():
    code = "import gcomp.batch, gcomp; assert gcomp.batch.__module__ == 'gcomp._batch' and callable(gcomp.batch)"
    subprocess.run([sys.executable, "-c", code], check=True)
