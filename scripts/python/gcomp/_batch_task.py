"""What a worker of a cluster does. Sent to it by value, so that it needs neither this package nor NumPy."""

import os
import shutil
import subprocess


def compile_group(lines, arguments, program=None):
    """Compiles the graphs of manifest lines (equal ones) with the gcomp command of this machine; the lines of
    results. The processes end with this one."""
    program = program or os.environ.get("GCOMP") or shutil.which("gcomp")
    if program is None:
        raise FileNotFoundError("this worker finds no gcomp command: put it on PATH or name it in $GCOMP")
    command = [program, f"--parent={os.getpid()}", "batch", "--manifest", "-", "--results", "-", "-k", "-j", "1", *arguments]
    done = subprocess.run(command, input="".join(lines), capture_output=True, text=True)
    told = done.stdout.splitlines(keepends=True)
    if len(told) != len(lines) or not all(line.endswith("\n") for line in told):
        raise RuntimeError(f"gcomp batch ended with {done.returncode}: {done.stderr.strip() or 'it said nothing'}")
    return told
