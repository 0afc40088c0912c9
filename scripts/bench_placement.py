#!/usr/bin/env python3
"""Seconds that placement takes: user-group graphs of a million nodes, under the usual costs and where copies cost little.

    scripts/bench_placement.py [--quick]

Exits with 1 when a million nodes take more than a second.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import user_graphs  # noqa: E402
from graph_builder.files import write  # noqa: E402

BENCH = Path(os.environ.get("GCOMP_BENCH_PLACEMENT", ROOT / "build" / "bench_placement"))
GOAL = 1e-6  # seconds a node


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    quick = parser.parse_args().quick
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        for name, size in (("training_step", 32_000), ("ladder", 1_000_000), ("char_rnn", 20_000), ("readers", 1_000_000)):
            path = Path(folder) / f"{name}.gcb"
            write(user_graphs.make(name, size // 10 if quick else size), path)
            told = subprocess.run([BENCH, path], check=True, capture_output=True, text=True).stdout
            print(name, told, sep="\n")
            for line in told.splitlines():
                words = line.split()
                missed |= float(words[3]) > GOAL * float(words[1])
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
