"""Many graphs: `gcomp batch` here, or its jobs on a Dask cluster. The command plans, compiles, names and records;
this module carries its lines from and to the workers."""

import argparse
import collections
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from . import _batch_task
from ._compiler import find_gcomp
from ._errors import CompileError

BatchSummary = collections.namedtuple("BatchSummary", "done failed results text")
FAILED = 9  # the exit code when graphs failed
AHEAD = 1.25  # jobs given to the cluster for each of its threads, so that none waits for the next


def batch(inputs=(), out=None, *, client=None, manifest=None, results=None, jobs=None, keep_going=False, resume=False,
          fallback=(), options=(), retries=3, gcomp=None):  # fmt: skip
    """Compiles many graphs to the folder `out`; returns BatchSummary(done, failed, results, text): two numbers of
    graphs, the file of results (JSON lines, one a graph, described in lib/driver/README.md), a text for people.

    inputs     graph files, folders, patterns; or one of them
    client     a distributed.Client: the jobs run on its workers; None: here, `jobs` at a time (all processors)
    manifest   a file of JSON lines {"graph", "name", "options"}
    keep_going also after a failure; resume: leave out what `results` says is done
    fallback   levels to try with a graph that crashes or meets a limit: ["fast_compile", "none"]
    options    of every graph, as the command takes them: ["-O", "o3", "--time-limit=60", "--max-memory=4G"]
    retries    how often a job is given out again whose worker failed (one that died is replaced besides that)
    gcomp      the command on the workers; default: their $GCOMP, or gcomp on their PATH

    Workers see graphs and `out` under the same paths as this process: on a shared file system.
    A graph that fails is no exception; CompileError when the batch cannot be begun or recorded.
    """
    words = [os.fspath(inputs)] if isinstance(inputs, (str, os.PathLike)) else [os.fspath(i) for i in inputs]
    for name, value in (("--manifest", manifest), ("-o", out), ("--results", results)):
        if value is not None:
            words += [name, os.fspath(value)]
    words += ["--keep-going"] * keep_going + ["--resume"] * resume
    words += [f"--fallback={level}" for level in fallback] + [str(o) for o in options]
    if client is not None:
        return run_on_cluster(client, words, retries, gcomp)
    command = [gcomp or find_gcomp(), "batch", *words] + (["-j", str(jobs)] if jobs else [])
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode not in (0, FAILED):
        raise CompileError(ended.stderr.strip(), ended.returncode)
    path = Path(results if results is not None else Path(out) / "results.jsonl")
    return BatchSummary(*count(path), path, ended.stdout)


def run_on_cluster(client, words, retries=3, program=None):
    """The same for words of `gcomp batch`, on the workers of a Dask cluster."""
    head, groups = plan(words)
    path = Path(head["results"])
    with open(path, "ab") as file:
        lock(file, path)
        if not head["resume"]:
            file.truncate(0)
        cluster = Cluster(client, head, retries, program).run(groups, file)
    done, failed = count(path)
    text = subprocess.run([find_gcomp(), "batch", "--summary", str(path)], stdout=subprocess.PIPE, text=True).stdout
    left = sum(map(len, groups)) - cluster.told
    if left:
        text += f"{left:8}  not begun\n"
    return BatchSummary(done, failed, path, text)


def plan(words):
    """The head of the plan, and its lines by equal graph, in the order in which they are to be begun."""
    ended = subprocess.run([find_gcomp(), "batch", "--plan", *words], capture_output=True, text=True)
    if ended.returncode:
        raise CompileError(ended.stderr.strip(), ended.returncode)
    first, *lines = ended.stdout.splitlines(keepends=True)
    groups = {}
    for line in lines:
        groups.setdefault(json.loads(line)["key"], []).append(line)
    return json.loads(first)["batch"], list(groups.values())


def lock(file, path):
    """As gcomp itself does: one batch at a time writes results."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CompileError(f"{path}: another batch is writing these results", 3) from None


def count(path):
    """Graphs that are done, and that failed, by their last lines."""
    status = {}
    with open(path) as file:
        for line in file:
            result = json.loads(line)
            status[result["name"]] = result["status"]
    failed = sum(s != "ok" for s in status.values())
    return len(status) - failed, failed


class Cluster:
    """The jobs on their way: never many more than the cluster has threads, so that a failure stops the rest."""

    def __init__(self, client, head, retries, program):
        import cloudpickle

        cloudpickle.register_pickle_by_value(_batch_task)
        self.client, self.head, self.retries, self.program = client, head, retries, program
        self.told = self.failed = 0
        self.known, self.asked = 1, -1.0  # threads of the cluster, and when that was asked

    def run(self, groups, file):
        from distributed import as_completed

        left, begun, total = iter(groups), {}, sum(map(len, groups))
        done = as_completed()
        self.give_out(left, begun, done)
        while begun:
            future = next(done)
            lines = begun.pop(future.key)
            for line in self.results(future, lines):
                os.write(file.fileno(), line.encode())  # at once: a line is whole or torn, never mixed
                self.told += 1
                self.failed += json.loads(line)["status"] != "ok"
            future.release()
            if not self.failed or self.head["keep_going"]:
                self.give_out(left, begun, done)
            show(f"{self.told} of {total}, {self.failed} failed")
        show("")
        return self

    def give_out(self, left, begun, done):
        while len(begun) < AHEAD * self.threads() and (lines := next(left, None)):
            arguments = (lines, self.head["arguments"], self.program)
            future = self.client.submit(_batch_task.compile_group, *arguments, retries=self.retries, pure=False)
            begun[future.key] = lines
            done.add(future)

    def threads(self):
        """They come and go."""
        if time.monotonic() - self.asked > 1:
            self.known, self.asked = max(1, sum(self.client.nthreads().values())), time.monotonic()
        return self.known

    def results(self, future, lines):
        """What the worker told; where several workers died or could not, a failure of each graph."""
        try:
            return future.result()
        except Exception as error:
            return [self.failure(json.loads(line), error) for line in lines]

    def failure(self, job, error):
        died = type(error).__name__ == "KilledWorker"
        result = {
            "name": job["name"],
            "status": "killed" if died else "files",
            "graph": job["graph"],
            "graph_bytes": 0,
            "seconds": 0.0,
            "cpu_seconds": 0.0,
            "peak_bytes": 0,
            "errors": [{"message": str(error), "place": job["graph"]}],
            "key": job["key"],
        }
        return json.dumps(result) + "\n"


def show(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(
        prog="python -m gcomp.batch",
        description="Compiles many graphs on a Dask cluster that runs already. All other arguments are those of "
        "`gcomp batch`, but -j: the cluster has as many workers as it has.",
        usage="python -m gcomp.batch --scheduler ADDRESS IN... -o OUTDIR [OPTION...]",
        allow_abbrev=False,
    )
    parser.add_argument("--scheduler", required=True, metavar="ADDRESS", help="tcp://host:8786, or the path of a scheduler file")
    parser.add_argument("--retries", type=int, default=3, metavar="N", help="for a job whose worker failed (3)")
    parser.add_argument("--gcomp", metavar="PATH", help="the command on the workers (their $GCOMP, or gcomp on their PATH)")
    arguments, words = parser.parse_known_args()
    from distributed import Client

    is_file = os.path.isfile(arguments.scheduler)
    where = {"scheduler_file": arguments.scheduler} if is_file else {"address": arguments.scheduler}
    try:
        with Client(**where) as client:
            summary = run_on_cluster(client, words, arguments.retries, arguments.gcomp)
    except CompileError as error:
        print(error, file=sys.stderr)
        return error.returncode
    print(summary.text, end="")
    return FAILED if summary.failed else 0
