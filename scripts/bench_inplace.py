#!/usr/bin/env python3
"""Measures inplace decisions, edits and cycle detection on user-group graphs, op by op, as they are before fusion.

    scripts/bench_inplace.py [--quick] [--json FILE]

cost     the training step at 10,000, 100,000 and 900,000 nodes: an ordering edge, an edit, an attempt, all of them; the plain
         check of the whole schedule beside it
graphs   every user-group graph at 10,000 nodes: what is accepted, by what, and why the rest is not

Times are of the process, not of the clock on the wall, so that a busy machine does not count (the worst attempt is the least
of ten runs). Exits with 1 when a goal is missed, and says which. --quick: without the largest.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import user_graphs  # noqa: E402
from graph_builder.files import write  # noqa: E402

BENCH = Path(os.environ.get("GCOMP_BENCH_INPLACE", ROOT / "build" / "bench_inplace"))
LARGEST = 32_000  # layers of the training step: 900,000 nodes
REFUSALS = ("protected", "destroyed", "aliased", "cycle", "budget")


def row(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |", flush=True)


def header(*cells):
    row(*cells)
    print("|" + "---|" * len(cells), flush=True)


def made(folder, name, size):
    path = folder / f"{name}_{size}.gcb"
    write(user_graphs.make(name, size), path)
    return path


def measure(path, *options):
    told = subprocess.run([BENCH, *options, path], check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in (line.split() for line in told.splitlines())}


class Goals:
    def __init__(self):
        self.missed = []

    def at_most(self, what, value, limit, unit=""):
        if value > limit:
            self.missed.append(f"{what}: {value:.3g}{unit}, goal {limit:g}{unit}")


def cost(goals, folder, sizes):
    print("The training step, nanoseconds of one core unless said. An edge agrees with the order, between neighbours and between")
    print("any two nodes; an edit inserts a copy for one reader and is validated; `full` checks the whole schedule at an attempt.\n")
    header("nodes", "freeze, ms", "edge, near", "edge, any", "edit", "taken back", "attempt", "worst attempt", "all, ms", "full")
    figures = {}
    for size in sizes:
        f = measure(made(folder, "training_step", size), "--full", "30")
        figures[size] = f
        row(f"{f['nodes']:,.0f}", f"{f['freeze_seconds'] * 1e3:.1f}", f"{f['edge_near']:.0f}", f"{f['edge_far']:.0f}", f"{f['copy']:.0f}",
            f"{f['copy_taken_back']:.0f}", f"{f['attempt_mean']:.0f}", f"{f['attempt_worst']:.0f}", f"{f['decide_seconds'] * 1e3:.2f}",
            f"{f['full_attempt_mean']:,.0f}")  # fmt: skip
    last, first = figures[sizes[-1]], figures[sizes[0]]
    goals.at_most("an ordering edge that agrees", last["edge_far"], 150, " ns")
    goals.at_most("an edit", last["copy"], 2000, " ns")
    goals.at_most("an attempt, mean", last["attempt_mean"], 250, " ns")
    goals.at_most("an attempt, worst", last["attempt_worst"], 100_000, " ns")
    goals.at_most("all candidates", last["decide_seconds"], 0.2, " s")
    goals.at_most(f"an attempt at {last['nodes']:,.0f} nodes over {first['nodes']:,.0f}", last["attempt_mean"] / first["attempt_mean"], 3)
    rule = last["by_labels"] + last["by_edges"]
    print(f"\nAccepted at {last['nodes']:,.0f} nodes: {rule:,.0f}, {rule / last['single_client']:.2f} times the single-client rule.")
    goals.at_most("single-client rule over ours", last["single_client"] / rule, 1 / 1.25)
    return {str(size): f for size, f in figures.items()}


def graphs(folder, nodes):
    print(f"\nUser-group graphs of about {nodes:,} nodes: operands of a result's type, how many results overwrite one.\n")
    header("graph", "nodes", "candidates", "by labels", "by edges", "single client", *REFUSALS, "attempt, ns")
    figures = {}
    for name, graph in user_graphs.GRAPHS.items():
        f = figures[name] = measure(made(folder, name, graph.size_for(name, nodes)))
        row(name, *(f"{f[k]:,.0f}" for k in ("nodes", "candidates", "by_labels", "by_edges", "single_client")),
            *(f"{f['refused_' + r]:,.0f}" for r in REFUSALS), f"{f['attempt_mean']:.0f}")  # fmt: skip
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without the largest training step")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    goals, figures = Goals(), {}
    step = user_graphs.GRAPHS["training_step"]
    sizes = [step.size_for("training_step", nodes) for nodes in (10_000, 100_000)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        figures["cost"] = cost(goals, folder, sizes if args.quick else [*sizes, LARGEST])
        figures["graphs"] = graphs(folder, 10_000)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    print("\n" + "\n".join(["Goals missed:", *goals.missed] if goals.missed else ["All goals are met."]))
    return 1 if goals.missed else 0


if __name__ == "__main__":
    sys.exit(main())
