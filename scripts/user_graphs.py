#!/usr/bin/env python3
"""Builds the graphs on which users of Theano, PyTensor and PyMC waited, at any size up to millions of nodes.

    scripts/user_graphs.py list
    scripts/user_graphs.py make NAME [--size N | --nodes N] -o FILE.gcb|FILE.json
    scripts/user_graphs.py small        writes the small ones of graphs/user again

`--size` counts what the list says; `--nodes` takes the size that gives about so many nodes before any rewrite
(inputs and constants are not counted). The gradients are by a small reverse mode that builds as Theano's Op.grad does.
Needs NumPy only.
"""

import argparse
import gc
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

ROOT = Path(__file__).resolve().parent.parent
SMALL = ROOT / "graphs" / "user"
sys.path.insert(0, str(ROOT / "scripts"))

from graph_builder import models, networks, shapes  # noqa: E402
from graph_builder.files import write  # noqa: E402
from graph_builder.graph import Graph  # noqa: E402


@dataclass(frozen=True)
class UserGraph:
    build: Callable  # (graph, size)
    counts: str  # what the size counts
    reported: int  # the size in the report, or the one that FACTS speaks of
    small: int  # the size of the file in graphs/user

    def make(self, name, size):
        """The graph; without looking for garbage, of which there is none among a million objects that live."""
        enabled = gc.isenabled()
        gc.disable()
        try:
            graph = Graph(f"{name}_{size}")
            self.build(graph, size)
            return graph
        finally:
            if enabled:
                gc.enable()

    def size_for(self, name, nodes):
        """The size that gives about `nodes` nodes: nodes grow as a power of the size, for large sizes."""
        size = self.small
        for _ in range(8):
            count = len(self.make(name, size).nodes)
            twice = len(self.make(name, 2 * size).nodes)
            guess = max(1, round(size * (nodes / count) ** (1 / math.log2(twice / count))))
            if guess <= 4 * size or twice > 20_000:
                return guess
            size = min(guess // 2, 4 * size)
        return size


GRAPHS = {
    "normal_terms": UserGraph(models.normal_terms, "terms", 238, 6),
    "row_dots": UserGraph(models.row_dots, "dot products", 3000, 6),
    "knowledge_tracing": UserGraph(models.knowledge_tracing, "pupils", 20, 1),
    "hmm": UserGraph(models.hmm, "steps", 80, 4),
    "mixture": UserGraph(models.mixture, "components", 40, 3),
    "ode": UserGraph(models.ode, "steps", 25, 8),
    "flow": UserGraph(models.flow, "layers", 10, 2),
    "rnn": UserGraph(networks.rnn, "steps", 80, 4),
    "char_rnn": UserGraph(networks.char_rnn, "characters", 90, 2),
    "translation": UserGraph(networks.translation, "words", 23, 2),
    "turing_machine": UserGraph(networks.turing_machine, "steps", 40, 1),
    "resnet": UserGraph(networks.resnet, "convolutions", 46, 2),
    "residual": UserGraph(networks.residual, "layers", 20, 5),
    "fills": UserGraph(networks.fills, "layers", 100, 1),
    "training_step": UserGraph(networks.training_step, "layers", 32_000, 4),
    "chain": UserGraph(shapes.chain, "functions", 1_000_000, 20),
    "readers": UserGraph(shapes.readers, "readers", 1_000_000, 12),
    "ladder": UserGraph(shapes.ladder, "rungs", 1_000_000, 10),
    "twins": UserGraph(shapes.twins, "subtrees", 1_000_000, 12),
    "doubling": UserGraph(shapes.doubling, "doublings", 20, 20),
    "left_sum": UserGraph(shapes.left_sum, "rows", 400, 20),
    "repeated_sum": UserGraph(shapes.repeated_sum, "terms", 1_000_000, 40),
}


def make(name, size):
    return GRAPHS[name].make(name, size)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=__doc__.partition("\n\n")[2], formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|make|small")
    commands.add_parser("list", help="the graphs, what their size counts, and the size of the report")
    one = commands.add_parser("make", help="build one graph and write it")
    one.add_argument("name", choices=GRAPHS, metavar="NAME")
    size = one.add_mutually_exclusive_group()
    size.add_argument("--size", type=int, metavar="N", help="the size of the report without it")
    size.add_argument("--nodes", type=int, metavar="N")
    one.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=".gcb (fast) or .json")
    commands.add_parser("small", help="write the small ones of graphs/user again")
    args = parser.parse_args()
    if args.command == "small":
        for name, row in GRAPHS.items():
            write(row.make(name, row.small), SMALL / f"{name}.json")
        return 0
    if args.command == "list":
        for name, row in GRAPHS.items():
            print(f"{name:18} {row.reported:>9,} {row.counts:13} {' '.join(row.build.__doc__.split())}")
        return 0
    if args.output.suffix not in (".json", ".gcb"):
        parser.error(f"{args.output}: the name must end in .json or .gcb")
    if any(n is not None and n < 1 for n in (args.size, args.nodes)):
        parser.error("sizes begin with 1")
    begin = time.perf_counter()
    row = GRAPHS[args.name]
    count = args.size or (row.size_for(args.name, args.nodes) if args.nodes else row.reported)
    graph = make(args.name, count)
    write(graph, args.output)
    seconds = time.perf_counter() - begin
    print(f"{args.output}: {count:,} {row.counts}, {len(graph.nodes):,} nodes, made in {seconds:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
