#!/usr/bin/env python3
"""Builds a model with Theano 1.0.5 or PyTensor, whichever this Python has; exports, rewrites and calls it.

    scripts/framework_peer.py rnn|hmm|mixture|mlp [--size N] [--export GRAPH.json] [--values VALUES.npz]
                              [--backend py|cvm|numba] [--beside ARTIFACT]

Prints one JSON object: nodes as built, merged and rewritten at fast_run, results left that get memory of their own (that
are neither views nor written over an operand), seconds of rewriting, seconds of a call; with
--beside also of a call of gcomp's artifact, in turn with the other. --values writes the inputs and, evaluated without any
rewriting, the outputs. scripts/bench optimizer and the tests call this.
"""

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "scripts" / "python")]
sys.setrecursionlimit(100_000)  # Theano needs it
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
from graph_builder.frameworks import MODELS  # noqa: E402


class Peer:
    """What this script needs of Theano or of PyTensor."""

    def __init__(self):
        try:
            import pytensor as package
            import pytensor.tensor as tt
            from pytensor.compile.mode import Mode, get_mode
            from pytensor.graph.rewriting.basic import GraphRewriter as Rewriter
            from pytensor.graph.traversal import io_toposort
        except ImportError:
            os.environ["THEANO_FLAGS"] = "cxx=,blas.ldflags=,floatX=float64"  # no compiler: graph phases only
            import theano as package
            import theano.tensor as tt
            from theano.compile.mode import Mode, get_mode
            from theano.gof import Optimizer as Rewriter
            from theano.gof.graph import io_toposort
        self.package, self.tt, self.Mode, self.get_mode, self.io_toposort = package, tt, Mode, get_mode, io_toposort

        class Timed(Rewriter):
            """Another rewriter, and how long it took: CPU time, since all of them use one thread."""

            def __init__(self, inner):
                self.inner = inner
                self.seconds = 0.0

            def add_requirements(self, fgraph):
                self.inner.add_requirements(fgraph)

            def apply(self, fgraph, *args, **kwargs):
                begin = time.process_time()
                self.inner.apply(fgraph, *args, **kwargs)
                self.seconds += time.process_time() - begin

        self.Timed = Timed

    @property
    def name(self):
        return self.package.__name__

    def function(self, inputs, outputs, linker, rewriter):
        """(the function, seconds of rewriting, nodes left)."""
        timed = self.Timed(rewriter)
        f = self.package.function(inputs, outputs, mode=self.Mode(linker=linker, optimizer=timed))
        return f, timed.seconds, len(f.maker.fgraph.toposort())

    @staticmethod
    def allocated(f):
        """Results of a function's nodes that share no operand's memory."""
        count = 0
        for node in f.maker.fgraph.toposort():
            shared = {**getattr(node.op, "view_map", {}), **getattr(node.op, "destroy_map", {})}
            count += len(node.outputs) - len(shared)
        return count

    def rewriter(self, level):
        return self.get_mode(level).optimizer


def best_seconds(calls, seconds=1.0, rounds=10):
    """Best time of each call, taken in turn."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for key, call in calls.items():
            begin, n = time.perf_counter(), 0
            while n == 0 or time.perf_counter() - begin < seconds / rounds:
                start = time.perf_counter()
                call()
                best[key] = min(best[key], time.perf_counter() - start)
                n += 1
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--size", type=int, metavar="N")
    parser.add_argument("--export", type=Path, metavar="GRAPH.json")
    parser.add_argument("--values", type=Path, metavar="VALUES.npz")
    parser.add_argument("--backend", choices=["py", "cvm", "numba"], help="rewrites at fast_run, for this backend")
    parser.add_argument("--beside", type=Path, metavar="ARTIFACT")
    args = parser.parse_args()
    import gcomp

    peer = Peer()
    build, size = MODELS[args.model]
    inputs, outputs, names, arrays = build(peer.tt, peer.package.grad, args.size or size)
    told = {"package": peer.name, "nodes": len(list(peer.io_toposort(inputs, outputs)))}
    if args.export:
        export = gcomp.export_theano if peer.name == "theano" else gcomp.export_pytensor
        export(inputs, outputs, args.export, output_names=names)
    ordered = [arrays[v.name] for v in inputs]
    if args.values:
        f, _, _ = peer.function(inputs, outputs, "py", peer.Mode(linker="py", optimizer=None).optimizer)
        np.savez(args.values, **arrays, **{f"out_{k}": v for k, v in zip(names, f(*ordered))})
    if args.backend:
        _, _, told["merged"] = peer.function(inputs, outputs, "py", peer.Mode(linker="py", optimizer="merge").optimizer)
        rewriter = peer.rewriter("NUMBA" if args.backend == "numba" else "FAST_RUN")
        begin = time.perf_counter()
        f, told["rewriting"], told["left"] = peer.function(inputs, outputs, args.backend, rewriter)
        told["allocated"] = peer.allocated(f)
        if args.backend != "py":
            f.trust_input = True
            f(*ordered)
            told["to_first_result"] = time.perf_counter() - begin
            calls = {"call": lambda: f(*ordered)}
            if args.beside:
                artifact = gcomp.load(args.beside, threads=1)
                calls["gcomp_call"] = lambda: artifact(*ordered)
                for ours, theirs in zip(artifact(*ordered), f(*ordered)):
                    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.max(np.abs(theirs)))
            told.update(best_seconds(calls))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
