#!/usr/bin/env python3
"""Writes a folder of graphs as a batch meets them: thousands of users' graphs, some of them broken.

    scripts/batch_corpus.py FOLDER [--graphs 1000]

Graphs of the user groups at many sizes (scripts/user_graphs.py), PyMC models with other data (graphs/), real ONNX models,
copies of some of them, and 5 % broken ones: cut short, with an op that is not there, and bombs of time and memory, too
large for the limits that `scripts/bench batch` sets. The same bytes each time; expected.txt says what is what.
"""

import argparse
import json
import random
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import fetch_models  # noqa: E402
from graph_builder.files import write  # noqa: E402
from user_graphs import GRAPHS  # noqa: E402

LARGEST = 1_500  # nodes of a graph of the user groups
DEEP, WIDE = 3_000_000, 80_000_000  # nodes of a bomb of time, numbers of one of memory
PYMC = ("bayesian_nn", "eight_schools", "hsgp", "logistic", "mixture", "radon", "weibull")


class Corpus:
    def __init__(self, folder):
        self.folder, self.expected, self.rng = folder, {}, random.Random(20161)

    def path(self, name, suffix, status="ok"):
        """Where a new graph is to be written; its name is the batch's."""
        assert name not in self.expected
        self.expected[name] = status
        path = self.folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def user_graphs(self, count):
        names = [name for name in GRAPHS if name != "doubling"]  # whose few nodes say nothing of its size
        for i in range(count):
            name = names[i % len(names)]
            nodes = round(20 * (LARGEST / 20) ** self.rng.random())
            size = GRAPHS[name].size_for(name, nodes)
            while f"user/{name}_{size}" in self.expected:
                size += 1
            suffix = ".gcb" if self.rng.random() < 0.3 else ".json"
            write(GRAPHS[name].make(name, size), self.path(f"user/{name}_{size}", suffix))

    def pymc_models(self, count):
        """Each with numbers of its own, as users' data are."""
        for i in range(count):
            name = PYMC[i % len(PYMC)]
            graph = json.loads((ROOT / "graphs" / f"{name}.json").read_text())
            for constant in graph["constants"]:
                if constant["dtype"].startswith("float") and constant["shape"] and "data" in constant:
                    constant["data"] = [x * (1 + 1e-4 * i) if isinstance(x, float) else x for x in constant["data"]]
            self.path(f"pymc/{name}_{i}", ".json").write_text(json.dumps(graph))

    def real_models(self):
        models = fetch_models.fetch(list(fetch_models.MODELS))
        for name in fetch_models.MODELS:
            shutil.copyfile(models[name], self.path(f"onnx/{name}", ".onnx"))

    def copies(self, count):
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        for i, source in enumerate(self.rng.sample(files, count)):
            shutil.copyfile(source, self.path(f"copies/{i}_{source.stem}", source.suffix))

    def broken(self, count):
        sources = sorted((self.folder / "user").glob("*.json"))
        bombs = max(1, count // 10)
        for i in range(count - 2 * bombs):
            text = self.rng.choice(sources).read_text()
            if i % 2 == 0:
                cut = self.rng.randrange(len(text) // 10, len(text) - 1)
                self.path(f"broken/truncated_{i}", ".json", "graph").write_text(text[:cut])
            else:
                graph = json.loads(text)
                self.rng.choice(graph["nodes"])["op"] = "teleport"
                self.path(f"broken/unsupported_{i}", ".json", "graph").write_text(json.dumps(graph))
        for status, write_bomb in (("time", write_deep), ("memory", write_wide)):
            paths = [self.path(f"broken/{status}_bomb_{i}", ".json", status) for i in range(bombs)]
            write_bomb(paths[0])
            for path in paths[1:]:
                path.hardlink_to(paths[0])


def write_deep(path):
    """A chain of functions of which nothing folds."""
    ops = ("sin", "tanh")
    with open(path, "w") as file:
        file.write('{"version": 1, "symbols": [], "inputs": [{"id": 0, "name": "x", "dtype": "float64", "shape": [4]}], "constants": [],')
        file.write('"nodes": [' + ",".join(f'{{"op":"{ops[i % 2]}","in":[{i}],"out":[{i + 1}]}}' for i in range(DEEP)))
        file.write(f'], "outputs": [{{"name": "y", "id": {DEEP}}}]}}')


def write_wide(path):
    """A constant of many numbers, written out."""
    with open(path, "w") as file:
        file.write(f'{{"version": 1, "symbols": [], "inputs": [], "constants": [{{"id": 0, "dtype": "float64", "shape": [{WIDE}], "data": [')
        file.write("1.5," * (WIDE - 1))
        file.write('1.5]}], "nodes": [], "outputs": [{"name": "y", "id": 0}]}')


def make(folder, graphs=1000):
    """Writes the corpus; the expected status of every graph by its name."""
    folder = Path(folder)
    listed = folder / "expected.txt"
    if listed.exists():
        expected = json.loads(listed.read_text())
        if len(expected) == graphs:
            return expected
        shutil.rmtree(folder)
    corpus = Corpus(folder)
    broken, copies, pymc = graphs // 20, graphs // 30, graphs // 7
    corpus.real_models()
    corpus.pymc_models(pymc)
    corpus.user_graphs(graphs - broken - copies - len(corpus.expected))
    corpus.copies(copies)
    corpus.broken(broken)
    assert len(corpus.expected) == graphs
    listed.write_text(json.dumps(corpus.expected, indent=1))
    return corpus.expected


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--graphs", type=int, default=1000, metavar="N")
    args = parser.parse_args()
    expected = make(args.folder, args.graphs)
    size = sum(path.stat().st_size for path in args.folder.rglob("*") if path.is_file())
    print(f"{args.folder}: {len(expected)} graphs, {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
