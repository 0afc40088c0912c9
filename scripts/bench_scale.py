#!/usr/bin/env python3
"""Measures what size does: files of a million nodes, shapes from 10,000 to a million nodes as artifacts, a chain of ten
million nodes, weights beyond 4 GB.

    scripts/bench_scale.py [--sections files shapes chain weights] [--nodes N ...] [--weights-gb G]

files    reading and writing a training step of a million nodes, binary and JSON: seconds and memory
shapes   from file to artifact under a stack of 256 KB, at three levels; the results are compared with NumPy's
chain    ten million nodes through `gcomp opt`
weights  constants beyond 4 GB in a sparse file beside a JSON graph and as external data of ONNX: compiled, called, compared

Seconds are of CPU time, by gcomp's own clock for parts of a command. Exits with 1 when a goal is missed, and says which.
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import user_graphs  # noqa: E402
from bench_optimizer import GCOMP, Report, header, row, slope, usage  # noqa: E402
from graph_builder.files import write  # noqa: E402

SMALL_STACK = ["/bin/bash", "-c", 'ulimit -s 256; exec "$@"', "bash"]
MIB = 1 << 20


def gcomp(*arguments):
    subprocess.run([GCOMP, *map(str, arguments)], check=True)


# ---- files


def phases(folder, *command):
    """CPU seconds of the phases of a command with one thread, and its peak memory."""
    profile = folder / "profile.json"
    cpu, wall, peak = usage([str(c) for c in (GCOMP, *command, f"--profile={profile}")])
    share = min(1.0, cpu / wall)
    return {p["name"]: share * p["seconds"] for p in json.loads(profile.read_text())["phases"]}, peak


def files(report, folder, sizes):
    nodes = max(sizes)
    graph_row = user_graphs.GRAPHS["training_step"]
    graph = graph_row.make("training_step", graph_row.size_for("training_step", nodes))
    count, edges = len(graph.nodes), sum(len(n[1]) for n in graph.nodes)
    source = folder / "graph.gcb"
    write(graph, source)
    del graph
    gcomp("convert", source, "-o", folder / "graph.json")
    print(f"A training step of {count:,} nodes and {edges:,} edges: seconds, megabytes of the file, peak memory.\n")
    header("form", "size", "read", "goal", "write", "goal", "peak memory")
    goals = {"gcb": (0.7, 0.5), "json": (3.0, 2.0)}
    for form, (read_goal, write_goal) in goals.items():
        path = folder / f"graph.{form}"
        runs = [phases(folder, "opt", path, "-o", folder / f"out.{form}", "-O", "none") for _ in range(3)]
        read, written = (min(times[phase] for times, _ in runs) for phase in ("read", "write"))
        report.goal(f"reading {form}", read * 1e6 / count, read_goal, " s a million nodes")
        report.goal(f"writing {form}", written * 1e6 / count, write_goal, " s a million nodes")
        peak = runs[0][1]
        cells = [f"{read:.2f} s", f"{read_goal:g} s", f"{written:.2f} s", f"{write_goal:g} s", f"{peak / MIB:.0f} MiB"]
        row(form, f"{path.stat().st_size / 1e6:.0f} MB", *cells)
        report.figures[f"files {form}"] = {"read": read, "write": written, "peak": peak}


# ---- shapes


def _chain(n, x):
    for i in range(n):
        x = (np.sin, np.tanh)[i % 2](x)
    return x


def _ladder(n, y):
    for _ in range(n):
        y = np.sin(y) + np.cos(y)
    return y


TRUTH = {
    "chain": _chain,
    "readers": lambda n, x: np.arctan2(x, 0.5).sum(keepdims=True),
    "ladder": _ladder,
    "twins": lambda n, x: np.tanh(np.sin(x)),
}
LEVELS = ["none", "fast_compile", "fast_run"]


def check(path, artifact, folder, name, size, level, report):
    """The artifact's results against NumPy's; a training step's against the artifact that was compiled as it stands."""
    inputs, outputs = folder / "in.npz", folder / f"{level}.npz"
    told = json.loads(subprocess.run([GCOMP, "inspect", path, "--json"], check=True, capture_output=True).stdout)
    random = np.random.default_rng(1)
    x = {i["name"]: random.uniform(-0.5, 0.5, i["dims"]).astype(i["dtype"]) for i in told["inputs"]}
    np.savez(inputs, **x)
    cpu, _, _ = usage([*SMALL_STACK, str(GCOMP), "run", *map(str, (artifact, "--inputs", inputs, "--outputs", outputs))])
    got = dict(np.load(outputs))
    want = {"y": TRUTH[name](size, x["x"])} if name in TRUTH else dict(np.load(folder / "none.npz"))
    for key, value in want.items():
        error = np.max(np.abs(got[key] - value) / (1e-6 + np.abs(value)), initial=0)
        report.goal(f"relative error of {name} {size} at {level}", error, 1e-6)
    return cpu


def shapes(report, folder, sizes, names):
    print("From file to artifact under `ulimit -s 256`, seconds of CPU time at each size; in brackets the slope of log time over")
    print("log nodes (goal: 1.1; the first size is mostly the compiler's start and kernels) and the peak memory of the largest.\n")
    header("graph", "nodes", *[f"`-O {level}`" for level in LEVELS])
    for name in names:
        graph_row = user_graphs.GRAPHS[name]
        times, peaks = {level: [] for level in LEVELS}, {}
        for nodes in sizes:
            size = graph_row.size_for(name, nodes)
            graph = graph_row.make(name, size)
            count = len(graph.nodes)
            path, artifact = folder / "graph.gcb", folder / "model.so"
            write(graph, path)
            del graph
            for level in LEVELS:
                command = [*SMALL_STACK, str(GCOMP), str(path), "-o", str(artifact), "-O", level]
                cpu, _, peaks[level] = usage(command)
                times[level].append((count, cpu))
                check(path, artifact, folder, name, size, level, report)
        cells = []
        for level in LEVELS:
            s = slope(times[level])
            report.goal(f"growth of {name} at {level}", s, 1.1)
            if count > 900_000:
                report.goal(f"a million nodes, {name} at {level}", times[level][-1][1], 15, " s")
            report.figures[f"shapes {name} {level}"] = {"points": times[level], "slope": s, "peak": peaks[level]}
            listed = " / ".join(f"{t:.2f}" for _, t in times[level])
            cells.append(f"{listed} ({s:.2f}, {peaks[level] / MIB:.0f} MiB)")
        row(name, f"{count:,}", *cells)


# ---- chain


def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def write_chain(n, path):
    """tanh(sin(tanh(sin(x)))...) of n nodes as a binary graph (lib/formats/binary.cpp), without an object a node."""
    strings = [b"", b"4", b"x", b"sin", b"tanh", b"y"]
    head = b"GCOMPBIN" + struct.pack("<II", 1, 0) + varint(len(strings)) + b"".join(varint(len(s)) + s for s in strings)
    head += bytes([1, 1, 0, 1, 0, 1])  # an extent, "4"; no constants; the empty attribute list; a graph
    head += bytes([0, 1, 2, 0, 12, 1, 0, 0])  # no symbols; the input "x", float64[4]; no constants
    nodes = bytes([3, 0, 0, 1, 1]) + bytes([4, 0, 0, 1, 1])  # of the value before each
    tail = bytes([1, 5]) + varint(n // 2 * 2) + bytes([0])
    with open(path, "wb") as f:
        f.write(head + varint(n // 2 * 2) + nodes * (n // 2) + tail)
        f.write(bytes(-f.tell() % 64))


def chain(report, folder, nodes):
    path, out = folder / "chain.gcb", folder / "out.gcb"
    write_chain(nodes, path)
    header("what", "nodes", "seconds", "peak memory", "goal")
    for level in ("none", "fast_run"):
        cpu, _, peak = usage([*SMALL_STACK, *map(str, (GCOMP, "opt", path, "-o", out, "-O", level))])
        report.goal(f"memory of {nodes:,} nodes", peak / 2**30, 24, " GiB")
        report.figures[f"chain {nodes} {level}"] = {"cpu": cpu, "peak": peak}
        row(f"`gcomp opt -O {level}` of a chain", f"{nodes:,}", f"{cpu:.1f}", f"{peak / 2**30:.2f} GiB", "24 GiB")


# ---- weights

ROWS_WIDTH = 256  # of the large table
MATRIX_COLUMNS = 50_000


def weights_data(base, rows):
    """Where in the file a sparse table [rows, 256] and a matrix [256, columns] have elements that are not 0, and their values."""
    table = {r: v for r, v in ((0, 1.5), (1, 2.5), (rows // 2, -3.0), (rows - 1, 7.0))}
    at = {base + (r * ROWS_WIDTH + r % ROWS_WIDTH) * 4: v for r, v in table.items()}
    matrix = base + rows * ROWS_WIDTH * 4
    for k in range(ROWS_WIDTH):
        at[matrix + (k * MATRIX_COLUMNS + k * 9973 % MATRIX_COLUMNS) * 4] = k + 1.0
    return table, at


def write_sparse(path, head, at, size):
    with open(path, "wb") as f:
        f.write(head)
        f.truncate(size)
        for offset, value in at.items():
            f.seek(offset)
            f.write(struct.pack("<f", value))


def json_model(folder, rows):
    sizes = rows * ROWS_WIDTH * 4, ROWS_WIDTH * MATRIX_COLUMNS * 4
    shapes = {"table": [rows, ROWS_WIDTH], "matrix": [ROWS_WIDTH, MATRIX_COLUMNS]}
    offsets = {"table": [0, sizes[0]], "matrix": [sizes[0], sum(sizes)]}
    text = json.dumps({k: {"dtype": "F32", "shape": shapes[k], "data_offsets": offsets[k]} for k in shapes}).encode()
    text += b" " * (-len(text) % 8)
    table, at = weights_data(8 + len(text), rows)
    write_sparse(folder / "w.safetensors", struct.pack("<Q", len(text)) + text, at, 8 + len(text) + sum(sizes))
    constants = [
        {"id": i + 1, "dtype": "float32", "shape": shapes[k], "file": {"path": "w.safetensors", "tensor": k}}
        for i, k in enumerate(shapes)
    ]
    graph = {
        "version": 1,
        "symbols": ["B"],
        "inputs": [{"id": 0, "name": "i", "dtype": "int64", "shape": ["B"]}],
        "constants": constants,
        "nodes": [
            {"op": "gather", "in": [1, 0], "out": [3], "attrs": {"axis": 0}},
            {"op": "matmul", "in": [3, 2], "out": [4]},
            {"op": "reduce_sum", "in": [4], "out": [5], "attrs": {"axes": [1]}},
        ],
        "outputs": [{"name": "rows", "id": 3}, {"name": "y", "id": 5}],
    }
    (folder / "model.json").write_text(json.dumps(graph))
    return folder / "model.json", folder / "w.safetensors", table


def onnx_model(folder, rows):
    import onnx
    from onnx import TensorProto, helper

    shapes = {"table": [rows, ROWS_WIDTH], "matrix": [ROWS_WIDTH, MATRIX_COLUMNS]}
    table, at = weights_data(0, rows)
    write_sparse(folder / "w.bin", b"", at, sum(4 * a * b for a, b in shapes.values()))
    offset, tensors = 0, []
    for name, shape in shapes.items():
        tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
        size = 4 * shape[0] * shape[1]
        for key, value in (("location", "w.bin"), ("offset", offset), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        offset += size
        tensors.append(tensor)
    nodes = [
        helper.make_node("Gather", ["table", "i"], ["rows"], axis=0),
        helper.make_node("MatMul", ["rows", "matrix"], ["products"]),
        helper.make_node("ReduceSum", ["products", "last"], ["y"], keepdims=0),
    ]
    tensors.append(helper.make_tensor("last", TensorProto.INT64, [1], [1]))
    inputs = [helper.make_tensor_value_info("i", TensorProto.INT64, ["B"])]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("rows", "y")]
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, tensors), opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx", folder / "w.bin", table


def weights(report, folder, gigabytes):
    """Private memory, which RLIMIT_DATA counts, stays small: weights are mapped, and streamed into the artifact."""
    rows = int(gigabytes * 1e9) // (4 * ROWS_WIDTH)
    print("Private memory is limited to 512 MiB: weights are mapped from their file and streamed into the artifact's.\n")
    header("graph", "weights", "file to artifact", "artifact", "load and call", "relative error")
    for what, make in (("JSON and safetensors", json_model), ("ONNX and external data", onnx_model)):
        path, file, table = make(folder, rows)
        artifact, inputs, outputs = folder / "model.so", folder / "in.npz", folder / "out.npz"
        compiled, _, _ = usage([str(c) for c in (GCOMP, path, "-o", artifact, "--max-memory=512M")])
        size = file.stat().st_size
        file.unlink()  # the artifact needs no other file
        index = np.array([0, 1, rows // 2, rows - 1, -1, 5])
        np.savez(inputs, i=index)
        called, _, _ = usage([str(c) for c in (GCOMP, "run", artifact, "--inputs", inputs, "--outputs", outputs)])
        want = np.zeros((len(index), ROWS_WIDTH), np.float32)
        for k, r in enumerate(index % rows):
            if r in table:
                want[k, r % ROWS_WIDTH] = table[r]
        products = want @ np.arange(1, ROWS_WIDTH + 1, dtype=np.float32)
        got = np.load(outputs)
        error = max(np.abs(got["rows"] - want).max(), np.abs(got["y"] - products).max() / np.abs(products).max())
        report.goal(f"error of {what}", float(error), 1e-6)
        report.goal(f"artifact of {what}", artifact.stat().st_size / size, 1.01, " of its weights")
        report.figures[f"weights {what}"] = {"compile": compiled, "call": called, "error": float(error)}
        row(what, f"{size / 1e9:.2f} GB", f"{compiled:.1f} s", f"{artifact.stat().st_size / 1e9:.2f} GB", f"{called:.2f} s", f"{error:.0e}")
        artifact.unlink()


SECTIONS = ["files", "shapes", "chain", "weights"]
SHAPES = ["chain", "readers", "ladder", "twins", "training_step"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--nodes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000], metavar="N")
    parser.add_argument("--graphs", nargs="+", choices=SHAPES, default=SHAPES, metavar="NAME")
    parser.add_argument("--chain-nodes", type=int, default=10_000_000, metavar="N")
    parser.add_argument("--weights-gb", type=float, default=5.0, metavar="GB")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    report = Report()
    run = {
        "files": lambda folder: files(report, folder, args.nodes),
        "shapes": lambda folder: shapes(report, folder, args.nodes, args.graphs),
        "chain": lambda folder: chain(report, folder, args.chain_nodes),
        "weights": lambda folder: weights(report, folder, args.weights_gb),
    }
    for section in args.sections:
        with tempfile.TemporaryDirectory() as folder:
            run[section](Path(folder))
            print()
    if args.json:
        args.json.write_text(json.dumps(report.figures, indent=1) + "\n")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
