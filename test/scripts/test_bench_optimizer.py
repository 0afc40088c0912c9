"""The optimizer benchmark's arithmetic, and that it still reads what gcomp tells."""

import os
import re
import subprocess
import sys

import pytest
from gcomp_cli import GCOMP, ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import bench_optimizer  # noqa: E402


def test_slope_of_a_power():
    assert bench_optimizer.slope([(n, 3 * n**1.25) for n in (10, 100, 1000)]) == pytest.approx(1.25)
    assert bench_optimizer.slope([(10, 5.0), (1000, 5.0)]) == pytest.approx(0)


def test_missed_goals_are_named():
    report = bench_optimizer.Report()
    report.goal("a", 1.0, 1.0)
    assert not report.missed
    report.goal("b", 2.5, 2.0, " s")
    assert report.missed == ["b: 2.5 s, goal 2 s"]


def test_growth_of_a_small_graph():
    command = [sys.executable, ROOT / "scripts/bench_optimizer.py", "--sections", "growth", "--graphs", "twins", "chain"]
    command += ["--levels", "merge", "fast_run", "--nodes", "300", "3000"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "GCOMP": str(GCOMP)})
    assert done.returncode in (0, 1), done.stderr
    rows = {line.split("|")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("| ")}
    # The twins are one: an input, sin and tanh; the chain is as long as it was, and its input.
    assert re.match(r"\| twins \| 2,9\d+ \| 3 \|", rows["twins"]), rows["twins"]
    assert re.match(r"\| chain \| 3,000 \| 3,001 \|", rows["chain"]), rows["chain"]
    assert done.stdout.rstrip().endswith("All goals are met.") == (done.returncode == 0)
