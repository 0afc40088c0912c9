"""gcomp batch: every good graph right, every bad one reported, nothing lost when it is killed."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import AFFINE, chain
from gcomp_cli import GCOMP, ROOT, gcomp, gcomp_ok, random_inputs, run

USER = ROOT / "graphs" / "user"
SMALL = ("chain", "fills", "ladder", "left_sum", "mixture", "ode", "readers", "residual", "row_dots", "twins")


def results(path):
    """The last result of every graph, by name; each line must be whole."""
    text = Path(path).read_text()
    assert not text or text.endswith("\n")
    return {line["name"]: line for line in map(json.loads, text.splitlines())}


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def workers_of(process):
    """The pids of its children."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    return [int(pid) for pid in listed.stdout.split()]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)
    return found


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def write_chain(path, length):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(chain(length)))
    return path


def start(*args):
    return subprocess.Popen([GCOMP, "batch", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Good graphs in folders, two of them equal, and bad ones of every kind."""
    folder = tmp_path_factory.mktemp("corpus")
    for i, name in enumerate(SMALL):
        (folder / f"good{i % 3}").mkdir(exist_ok=True)
        shutil.copy(USER / f"{name}.json", folder / f"good{i % 3}")
    for name in ("eight_schools", "logistic"):
        shutil.copy(ROOT / "graphs" / f"{name}.json", folder)
    shutil.copy(folder / "eight_schools.json", folder / "good1" / "the_same.json")
    for length in range(3, 21):
        write_chain(folder / "chains" / f"chain_{length}.json", length)
    gcomp_ok("convert", folder / "good0" / "chain.json", "-o", folder / "binary.gcb")
    bad = folder / "bad"
    bad.mkdir()
    whole = (folder / "logistic.json").read_bytes()
    (bad / "truncated.json").write_bytes(whole[: len(whole) // 2])
    unsupported = {**AFFINE, "nodes": [{**AFFINE["nodes"][0], "op": "teleport"}, *AFFINE["nodes"][1:]]}
    (bad / "unsupported.json").write_text(json.dumps(unsupported))
    (bad / "empty.onnx").write_bytes(b"")
    write_chain(bad / "time_bomb.json", 1_000_000)
    return folder


def test_a_corpus(corpus, tmp_path):
    """Of about 40 graphs all good ones are right, byte for byte those of single compilations, all bad ones told."""
    out = tmp_path / "out"
    done = gcomp("batch", corpus, "-o", out, "-j", 2, "--keep-going", "--time-limit=1.5")
    assert done.returncode == 9, done.stderr
    told = results(out / "results.jsonl")
    graphs = {str(p.relative_to(corpus).with_suffix("")): p for p in corpus.rglob("*") if p.is_file()}
    assert told.keys() == graphs.keys() and len(graphs) >= 36
    bad = {name: line for name, line in told.items() if line["status"] != "ok"}
    assert {name: line["status"] for name, line in bad.items()} == {
        "bad/truncated": "graph",
        "bad/unsupported": "graph",
        "bad/empty": "graph",
        "bad/time_bomb": "time",
    }
    for name, line in bad.items():
        assert line["errors"][0]["message"] and not (out / f"{name}.so").exists()
        assert re.search(rf"gcomp: {name}: {line['status']}: ", done.stderr)
        assert str(graphs[name]) in line["command"]
    assert "teleport" in json.dumps(bad["bad/unsupported"]["errors"])
    assert files_below(out) == sorted(["results.jsonl"] + [f"{n}.so" for n in told.keys() - bad.keys()])
    for name in told.keys() - bad.keys():
        line, artifact = told[name], out / f"{name}.so"
        assert line["artifact"] == f"{name}.so" and line["artifact_bytes"] == artifact.stat().st_size
        assert line["graph_bytes"] == graphs[name].stat().st_size and re.fullmatch("[0-9a-f]{64}", line["hash"])
        assert line.get("same_as") or (0 < line["cpu_seconds"] and 1 << 20 < line["peak_bytes"] < 1 << 30)
        alone = tmp_path / "alone.so"
        gcomp_ok(graphs[name], "-o", alone)
        assert alone.read_bytes() == artifact.read_bytes()
    same = {told["eight_schools"].get("same_as"), told["good1/the_same"].get("same_as")}
    assert same in ({None, "eight_schools"}, {None, "good1/the_same"})
    for name in ("eight_schools", "good0/chain", "good1/the_same", "binary"):  # against the reference evaluator
        inputs = random_inputs(graphs[name])
        ours, truth = run(out / f"{name}.so", inputs), run(graphs[name], inputs, "--interpret")
        for key, value in truth.items():
            np.testing.assert_allclose(ours[key], value, rtol=1e-9)
    summary = gcomp("batch", "--summary", out / "results.jsonl")
    assert summary.returncode == 9
    for text in (done.stdout, summary.stdout):
        assert f"{len(graphs):8}  graphs" in text and f"{len(graphs) - 5:8}  compiled\n" in text
        assert "       4  failed" in text and "bad/time_bomb: time: " in text


def test_the_cache_is_asked_before_a_worker_is_started(corpus, tmp_path):
    """The second of two batches takes every good graph from the cache, and resumes what the first has recorded."""
    shared = ["--cache-dir", tmp_path / "cache", "--keep-going", "-j", 2]
    made, again = (tmp_path / name for name in ("made", "again"))
    assert gcomp("batch", corpus / "chains", corpus / "bad" / "unsupported.json", "-o", made, *shared).returncode == 9
    assert gcomp("batch", corpus / "chains", corpus / "bad" / "unsupported.json", "-o", again, *shared).returncode == 9
    first, second = results(made / "results.jsonl"), results(again / "results.jsonl")
    assert first.keys() == second.keys() and len(first) == 19
    for name, line in second.items():
        if name == "unsupported":
            assert line["status"] == first[name]["status"] == "graph" and "cached" not in line
            continue
        assert "cached" not in first[name] and line["cached"] and line["hash"] == first[name]["hash"]
        assert (again / line["artifact"]).read_bytes() == (made / line["artifact"]).read_bytes()
        assert "cpu_seconds" not in line or line["cpu_seconds"] == 0  # no process was started
    resumed = gcomp("batch", corpus / "chains", "-o", made, "-j", 2, "--resume")  # the cache is no part of the key
    assert resumed.returncode == 0 and "18 by an earlier run" in resumed.stdout, resumed.stdout


def test_a_first_failure_stops_and_the_rest_is_resumed(corpus, tmp_path):
    bad, good = write_chain(tmp_path / "bad" / "unsupported.json", 3000), corpus / "good0"
    bad.write_text(bad.read_text().replace("sin", "teleport", 1))
    copies = [write_chain(tmp_path / f"c{i}.json", 4000 + i) for i in range(3)]
    done = gcomp("batch", bad, good, *copies, "-o", tmp_path / "out", "-j", 1)
    # The largest are first, so those were done; what is smaller than the bad one was not begun.
    assert done.returncode == 9 and "--keep-going" in done.stderr and "not begun" in done.stdout
    before = results(tmp_path / "out" / "results.jsonl")
    assert before["unsupported"]["status"] == "graph" and all(before[f"c{i}"]["status"] == "ok" for i in range(3))
    assert len(before) < 4 + len(list(good.iterdir()))
    done = gcomp("batch", bad, good, *copies, "-o", tmp_path / "out", "-j", 1, "--resume")
    after = results(tmp_path / "out" / "results.jsonl")
    assert done.returncode == 9 and len(after) == 4 + len(list(good.iterdir()))  # the known failure stops nothing
    assert "(3 by an earlier run)" in done.stdout
    assert {n: line for n, line in after.items() if n in before} == before
    write_chain(bad, 3000)
    gcomp_ok("batch", bad, good, *copies, "-o", tmp_path / "out", "-j", 1, "--resume")


def test_resume_does_again_what_has_changed(tmp_path):
    graph = write_chain(tmp_path / "in" / "a.json", 5)
    write_chain(tmp_path / "in" / "b.json", 6)
    command = ["batch", tmp_path / "in", "-o", tmp_path / "out", "--resume"]
    log = tmp_path / "out" / "results.jsonl"
    gcomp_ok(*command)
    assert len(log.read_text().splitlines()) == 2
    gcomp_ok(*command)
    assert len(log.read_text().splitlines()) == 2  # nothing to do
    artifact = tmp_path / "out" / "a.so"
    right = artifact.read_bytes()
    artifact.write_bytes(right[:100] + b"?" + right[101:])
    gcomp_ok(*command)
    assert artifact.read_bytes() == right and len(log.read_text().splitlines()) == 3
    write_chain(graph, 7)
    gcomp_ok(*command)
    assert artifact.read_bytes() != right and len(log.read_text().splitlines()) == 4
    gcomp_ok(*command, "-O", "none")
    assert len(log.read_text().splitlines()) == 6
    with open(log, "r+") as file:
        file.truncate(log.stat().st_size - 10)  # a torn line
    gcomp_ok(*command, "-O", "none")
    assert len(log.read_text().splitlines()) == 6 and len(results(log)) == 2


def test_killed_at_random_moments(corpus, tmp_path):
    """SIGKILL, again and again: every graph is done in the end, and as it would have been without."""
    rng = random.Random(5)
    out, log = tmp_path / "out", tmp_path / "out" / "results.jsonl"
    command = [corpus / "good0", corpus / "good1", corpus / "chains", "-o", out, "-j", 2, "--resume"]
    orphans, seen = [], {}
    for _ in range(10):
        process = start(*command)
        time.sleep(rng.uniform(0.01, 0.35))
        orphans += workers_of(process)
        process.kill()
        process.communicate()
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        told = {r["name"]: r for r in (json.loads(line) for line in lines if line.endswith("\n"))}
        assert all(told[name] == line for name, line in seen.items())  # nothing is forgotten or done twice
        seen = told
    wait_for(lambda: not any(map(is_alive, orphans)))  # the workers end with the batch
    gcomp_ok("batch", *command)
    whole = tmp_path / "whole"
    gcomp_ok("batch", *command[:3], "-o", whole, "-j", 2)
    assert files_below(out) == files_below(whole)
    for name in files_below(whole):
        if name.endswith(".so"):
            assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert results(log).keys() == results(whole / "results.jsonl").keys()
    assert len(log.read_text().splitlines()) == len(results(log))


def worker_that_compiles(process, graph):
    """The pid of the worker that has begun to read the graph."""

    def find():
        assert process.poll() is None
        for pid in workers_of(process):
            try:
                if str(graph) in Path(f"/proc/{pid}/maps").read_text():
                    return pid
            except FileNotFoundError:
                pass

    return wait_for(find)


@pytest.mark.parametrize("number, status", [(signal.SIGSEGV, "crash"), (signal.SIGKILL, "killed"), (signal.SIGSTOP, "hang")])
def test_a_worker_that_crashes_or_hangs(tmp_path, number, status):
    graph, small = write_chain(tmp_path / "in" / "deep" / "big.json", 30_000), write_chain(tmp_path / "in" / "small.json", 5)
    limit = ["--time-limit=0.7"] if status == "hang" else []
    process = start(tmp_path / "in", "-o", tmp_path / "out", "-j", 1, "--keep-going", "--fallback=none", *limit)
    os.kill(worker_that_compiles(process, graph), number)
    said = process.communicate(timeout=60)
    told = results(tmp_path / "out" / "results.jsonl")
    assert told["small"]["status"] == "ok" and small.exists()
    big = told["deep/big"]
    first = big["attempts"][0]
    assert first["status"] == status and first["errors"]
    if status != "hang":  # at the lower level it is compiled
        assert process.returncode == 0, said
        assert big["status"] == "ok" and big["level"] == "none" and "(1 at another level)" in said[0]
    folder = Path(first["reproducer"])
    assert folder == tmp_path / "out" / "deep" / "big.reproducer"
    assert (folder / "graph.json").read_bytes() == graph.read_bytes()
    assert str(graph) in (folder / "command").read_text() and (folder / "message").read_text()
    left = {"deep/big.reproducer/" + name for name in ("command", "graph.json", "message")}
    assert set(files_below(tmp_path / "out")) - left <= {"results.jsonl", "small.so", "deep/big.so"}


def test_a_memory_bomb(tmp_path):
    write_chain(tmp_path / "in" / "bomb.json", 60_000)
    write_chain(tmp_path / "in" / "small.json", 5)
    done = gcomp("batch", tmp_path / "in", "-o", tmp_path / "out", "-k", "--max-memory=24M", "--fallback=merge,none")
    told = results(tmp_path / "out" / "results.jsonl")
    assert done.returncode == 9 and told["small"]["status"] == "ok"
    assert told["bomb"]["status"] == "memory" and [a["status"] for a in told["bomb"]["attempts"]] == ["memory"] * 2
    assert "--max-memory" in json.dumps(told["bomb"]["errors"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path, number):
    graph = write_chain(tmp_path / "a.json", 100_000)
    process = start(graph, "-o", tmp_path / "out")
    worker = worker_that_compiles(process, graph)
    process.send_signal(number)
    said = process.communicate(timeout=60)
    assert process.returncode == -number and "--resume goes on" in said[1]
    assert not is_alive(worker) and files_below(tmp_path / "out") == ["results.jsonl"]
    assert (tmp_path / "out" / "results.jsonl").read_text() == ""


def test_manifest(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "affine.json").write_text(json.dumps(AFFINE))
    lines = [
        {"graph": "../affine.json"},
        {"graph": "../affine.json", "name": "fixed/four", "options": ["--dim", "N=4", "-O", "none"]},
        {"graph": "../affine.json", "name": "fixed/five", "options": ["--dim", "N=5"]},
        {"graph": "../missing.json"},
    ]
    manifest = tmp_path / "lists" / "all.jsonl"
    manifest.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    out = tmp_path / "out"
    done = gcomp("batch", "--manifest", manifest, "-o", out, "-k", "-O", "o3")
    told = results(out / "results.jsonl")
    assert done.returncode == 9 and told["missing"]["status"] == "files"
    assert files_below(out) == ["affine.so", "fixed/five.so", "fixed/four.so", "results.jsonl"]
    options = json.loads(gcomp_ok("inspect", out / "fixed" / "four.so", "--json"))["options"]
    assert options["level"] == "none" and options["dims"] == {"N": 4}
    assert json.loads(gcomp_ok("inspect", out / "affine.so", "--json"))["options"]["level"] == "o3"
    # What is left to do is a manifest, too.
    plan = gcomp_ok("batch", "--manifest", manifest, "-o", out, "-k", "-O", "o3", "--resume", "--plan")
    head, left = map(json.loads, plan.splitlines())
    assert head == {"batch": {"arguments": ["-o", str(out), "-O", "o3"], "results": str(out / "results.jsonl"), "keep_going": True, "resume": True}}
    assert left["name"] == "missing" and Path(left["graph"]).resolve() == tmp_path / "missing.json"
    (tmp_path / "missing.json").write_text(json.dumps(AFFINE))
    line = gcomp_ok("batch", "--manifest", "-", "-o", out, "-O", "o3", "--results", "-", input=plan)
    assert json.loads(line)["status"] == "ok" and (out / "missing.so").exists()


def test_equal_graphs_with_other_weights_are_not_equal(tmp_path):
    """The same bytes of a graph beside different weights, and beside the same ones."""
    values = {"a": 2.0, "b": 3.0, "c": 2.0}
    for name, value in values.items():
        folder = tmp_path / "in" / name
        folder.mkdir(parents=True)
        graph = {
            "version": 1,
            "symbols": [],
            "inputs": [{"id": 0, "name": "x", "dtype": "float32", "shape": [4]}],
            "constants": [
                {"id": 1, "dtype": "float32", "shape": [4], "file": {"path": "w.safetensors", "tensor": "w"}},
            ],
            "nodes": [{"op": "mul", "in": [0, 1], "out": [2]}],
            "outputs": [{"name": "y", "id": 2}],
        }
        (folder / "g.json").write_text(json.dumps(graph))
        save_safetensors(folder / "w.safetensors", np.full(4, value, np.float32))
    out = tmp_path / "out"
    gcomp_ok("batch", tmp_path / "in", "-o", out, "-j", 1)
    told = results(out / "results.jsonl")
    for name, value in values.items():
        np.testing.assert_array_equal(run(out / name / "g.so", {"x": np.ones(4, np.float32)})["y"], np.full(4, value))
        assert [Path(f["path"]).parent.name for f in told[f"{name}/g"]["files"]] == [name]
    assert sum("same_as" in line for line in told.values()) == 1 and "same_as" not in told["b/g"]
    save_safetensors(tmp_path / "in" / "b" / "w.safetensors", np.full(4, 5, np.float32))
    gcomp_ok("batch", tmp_path / "in", "-o", out, "-j", 1, "--resume")
    assert run(out / "b" / "g.so", {"x": np.ones(4, np.float32)})["y"][0] == 5


def save_safetensors(path, array):
    header = json.dumps({"w": {"dtype": "F32", "shape": list(array.shape), "data_offsets": [0, array.nbytes]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + array.tobytes())


def test_shards_are_all_of_it_once(corpus, tmp_path):
    folders = [corpus / "good0", corpus / "chains"]
    for part in (1, 2, 3):
        gcomp_ok("batch", *folders, "-o", tmp_path / "out", "--shard", f"{part}/3")
    parts = [results(tmp_path / "out" / f"results-{part}-of-3.jsonl") for part in (1, 2, 3)]
    names = [name for part in parts for name in part]
    assert len(names) == len(set(names)) == sum(len(list(folder.iterdir())) for folder in folders)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    text = gcomp_ok("batch", "--summary", *[tmp_path / "out" / f"results-{part}-of-3.jsonl" for part in (1, 2, 3)])
    assert f"{len(names):8}  graphs" in text


def test_patterns_and_names(tmp_path):
    for name in ("a/one.json", "b/one.json", "b/two.json", "run.json", "-x.json", "sp ace/q'uote#$.json"):
        write_chain(tmp_path / name, 4)
    out = tmp_path / "out"
    gcomp_ok("batch", "*/one.json", "run.json", "./-x.json", "sp ace", "-o", "out", cwd=tmp_path)
    names = ["-x.so", "a/one.so", "b/one.so", "q'uote#$.so", "results.jsonl", "run.so"]
    assert files_below(out) == names
    # A second time the outputs are not taken for inputs.
    gcomp_ok("batch", ".", "-o", "out", cwd=tmp_path)
    assert set(names) <= set(files_below(out)) and not list(out.rglob("out"))


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (["a.json"], 2, "-o: is missing"),
        (["-o", "out"], 2, "there is nothing to compile"),
        (["nothing.json", "a.json", "b/*.onnx", "-o", "out"], 3, "nothing.json: no such file or folder\ngcomp: b/*.onnx: no file"),
        (["empty", "-o", "out"], 3, "empty: no graph in this folder"),
        (["a.json", "b/a.json", "-o", "out"], 2, "out/a.so: both a.json and b/a.json would become this file"),
        (["a.json", "-o", "out", "--html=x.html"], 2, "--html: is for one graph"),
        (["a.json", "-o", "out", "-O", "o7"], 2, "o7"),
        (["a.json", "-o", "out", "--fallback=o7"], 2, "o7"),
        (["a.json", "-o", "out", "--shard=3/2"], 2, "--shard: '3/2' is not PART/PARTS"),
        (["a.json", "-o", "out", "--results=-", "--resume"], 2, "--resume: needs a file"),
        (["--manifest", "wrong.jsonl", "-o", "out"], 1, "wrong.jsonl:1: "),
        (["--manifest", "wrong.jsonl", "-o", "out"], 1, "wrong.jsonl:2: there is no field 'grph'"),
        (["--manifest", "wrong.jsonl", "-o", "out"], 1, "wrong.jsonl:3: '../a' cannot be the name"),
        (["--manifest", "wrong.jsonl", "-o", "out"], 1, "wrong.jsonl:4: "),
        (["a.json", "-o", "a.json"], 3, "a.json"),
        (["a.json", "-o", "out", "--results", "empty"], 3, "empty"),
    ],
)
def test_wrong_command_lines(tmp_path, arguments, code, said):
    for name in ("a.json", "b/a.json"):
        write_chain(tmp_path / name, 3)
    (tmp_path / "empty").mkdir()
    lines = ['{"graph": "a.js', '{"grph": "a.json"}', '{"graph": "a.json", "name": "../a"}']
    (tmp_path / "wrong.jsonl").write_text("\n".join([*lines, '{"graph": "a.json", "options": ["--levle"]}']))
    done = gcomp("batch", *arguments, cwd=tmp_path)
    assert done.returncode == code and said in done.stderr, done.stderr
    assert not list(tmp_path.rglob("*.so"))


def test_one_batch_at_a_time_writes_results(tmp_path):
    graph = write_chain(tmp_path / "a.json", 50_000)
    process = start(graph, "-o", tmp_path / "out")
    worker_that_compiles(process, graph)
    done = gcomp("batch", graph, "-o", tmp_path / "out")
    process.communicate(timeout=60)
    assert done.returncode == 3 and "another batch is writing" in done.stderr and process.returncode == 0


def test_a_full_disk_is_an_error(tmp_path):
    for i in range(3):
        write_chain(tmp_path / "in" / f"{i}.json", 4 + i)
    done = gcomp("batch", tmp_path / "in", "-o", tmp_path / "out", "--results", "/dev/full")
    assert done.returncode == 3 and "No space left" in done.stderr
