"""The Slurm recipe: in an environment as an array job has it, and under Slurm itself on one node."""

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path

import pytest
from gcomp_cli import GCOMP, ROOT, gcomp_ok

RECIPE = ROOT / "scripts" / "examples" / "slurm_batch.sh"
NAMES = ("chain", "fills", "hmm", "ladder", "mixture", "ode", "residual", "rnn")
PARTS = 3


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "in put"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(ROOT / "graphs" / "user" / f"{name}.json", folder)
    return folder


def assert_all_done(out):
    files = [out / f"results-{part}-of-{PARTS}.jsonl" for part in range(1, PARTS + 1)]
    told = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert sorted(line["name"] for line in told) == sorted(NAMES)
    assert all(line["status"] == "ok" and (out / line["artifact"]).exists() for line in told)
    assert f"{len(NAMES):8}  graphs" in gcomp_ok("batch", "--summary", *files)


@pytest.mark.parametrize("first", [1, 0])
def test_array_environment(corpus, tmp_path, first):
    """Numbered from 1 or from 0; a part that is submitted again does nothing."""
    for task in [*range(first, first + PARTS), first]:
        environment = {
            **os.environ,
            "GCOMP": str(GCOMP),
            "SLURM_ARRAY_TASK_ID": str(task),
            "SLURM_ARRAY_TASK_MIN": str(first),
            "SLURM_ARRAY_TASK_COUNT": str(PARTS),
            "SLURM_CPUS_PER_TASK": "2",
        }
        subprocess.run([RECIPE, corpus, "-o", tmp_path / "out"], env=environment, check=True, stdout=subprocess.PIPE)
    assert_all_done(tmp_path / "out")
    done = subprocess.run([RECIPE, corpus, "-o", tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode != 0 and "submit this with --array=1-N" in done.stderr


CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@contextmanager
def slurm(folder):
    """A controller, a node and their authentication, in a folder; yields the environment for commands."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munge = ["munged", "--foreground", "--force", *[f"--{option}={folder}/munge.{end}" for option, end in names.items()]]
    host = socket.gethostname().split(".")[0]
    text = CONFIGURATION.format(host=host, user=getuser(), folder=folder, ports=free_ports(2))
    (folder / "slurm.conf").write_text(text)
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "GCOMP": str(GCOMP)}
    processes = []
    try:
        for command in (munge, ["slurmctld", "-D"], ["slurmd", "-D"]):
            with open(folder / f"{command[0]}.said", "wb") as said:
                processes.append(subprocess.Popen(command, env=environment, stdout=said, stderr=said))
            if command is munge:
                wait_for(lambda: (folder / "munge.socket").exists(), folder)
        idle = ["sinfo", "--noheader", "--format=%t"]
        wait_for(lambda: "idle" in subprocess.run(idle, env=environment, capture_output=True, text=True).stdout, folder)
        yield environment
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(30)


def wait_for(condition, folder, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        said = "\n".join(p.read_text(errors="replace")[-2000:] for p in (*folder.glob("*.said"), *folder.glob("*.log")))
        assert time.monotonic() < end, said
        time.sleep(0.1)


def test_slurm(corpus, tmp_path):
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name, path=os.defpath + ":/usr/sbin") is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here: the Debian packages are slurm-wlm and munge")
    os.environ["PATH"] += ":/usr/sbin"
    with slurm(tmp_path / "slurm") as environment:
        submit = ["sbatch", "--wait", f"--array=1-{PARTS}", "--cpus-per-task=2", f"--output={tmp_path}/said-%a", RECIPE, corpus]
        done = subprocess.run([*submit, "-o", tmp_path / "out"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        said = "".join(Path(p).read_text() for p in tmp_path.glob("said-*"))
        assert done.returncode == 0, done.stderr + said
        assert said.count("compiled") == PARTS
    assert_all_done(tmp_path / "out")
