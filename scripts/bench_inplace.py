#!/usr/bin/env python3
"""Measures inplace decisions, edits and cycle detection: on user-group graphs op by op, and as gcomp uses them, after fusion.

    scripts/bench_inplace.py [--quick] [--json FILE] [--sections cost graphs compiled frameworks]

cost     the training step at 10,000, 100,000 and 900,000 nodes: an ordering edge, an edit, an attempt, all of them; the plain
         check of the whole schedule beside it
graphs   every user-group graph at 10,000 nodes: what is accepted, by what, and why the rest is not
compiled   user-group graphs, log-densities and ONNX models: decisions of each --cycle-detection and their time; pieces of
           memory, planned bytes and time of a call, with `inplace` and `lower_peak` and without
frameworks buffers that Theano 1.0.5 (.venv-theano, see scripts/setup.sh) allocates after its own inplace passes, and ours

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

import fetch_models  # noqa: E402
import measure_levels  # noqa: E402
import model_inputs  # noqa: E402
import user_graphs  # noqa: E402
from bench_optimizer import GCOMP, Report, header, row  # noqa: E402
from graph_builder.files import write  # noqa: E402

BENCH = Path(os.environ.get("GCOMP_BENCH_INPLACE", ROOT / "build" / "bench_inplace"))
OFF = "--optimizer-excluding=inplace,lower_peak"
LARGEST = 32_000  # layers of the training step: 900,000 nodes
REFUSALS = ("protected", "destroyed", "aliased", "cycle", "budget")


def made(folder, name, size):
    path = folder / f"{name}_{size}.gcb"
    write(user_graphs.make(name, size), path)
    return path


def measure(path, *options):
    told = subprocess.run([BENCH, *options, path], check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in (line.split() for line in told.splitlines())}


def cost(report, folder, sizes):
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
    report.goal("an ordering edge that agrees", last["edge_far"], 150, " ns")
    report.goal("an edit", last["copy"], 2000, " ns")
    report.goal("an attempt, mean", last["attempt_mean"], 250, " ns")
    report.goal("an attempt, worst", last["attempt_worst"], 100_000, " ns")
    report.goal("all candidates", last["decide_seconds"], 0.2, " s")
    report.goal(f"an attempt at {last['nodes']:,.0f} nodes over {first['nodes']:,.0f}", last["attempt_mean"] / first["attempt_mean"], 3)
    rule = last["by_labels"] + last["by_edges"]
    print(f"\nAccepted at {last['nodes']:,.0f} nodes: {rule:,.0f}, {rule / last['single_client']:.2f} times the single-client rule.")
    report.goal("single-client rule over ours", last["single_client"] / rule, 1 / 1.25)
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


# ---- After fusion ----

USERS = {"rnn": 80, "hmm": 80, "mixture": 40, "char_rnn": 90, "knowledge_tracing": 20, "training_step": 400, "resnet": 46}
MODELS = {"magika": (1,), "ppocr_cls": (6, 48, 192), "ppocr_det": (1, 320, 320), "deepcut": (200,), "attacut_c": (13,)}
MOST_CALLS = 5000  # for the plain check at every attempt


def compiled_graphs(meter, folder):
    for name, size in USERS.items():
        path = made(folder, name, size)
        yield measure_levels.Graph(name, path, measure_levels.random_inputs(meter, path), folder), []
    for path in sorted((ROOT / "graphs").glob("*.json")):
        yield measure_levels.Graph(path.stem, path, measure_levels.random_inputs(meter, path), folder), []
    paths = fetch_models.fetch(list(MODELS))
    for case in model_inputs.CASES:
        inputs = case.inputs(MODELS[case.name], paths)
        graph = measure_levels.Graph(case.name, Path(paths[case.name]), inputs, folder)
        yield graph, extents(meter, graph.path, inputs)


def extents(meter, path, inputs):
    """--dim options that give the symbols of a graph the extents of these inputs."""
    dims = {}
    for port in json.loads(meter.call("inspect", path, "--json")[2])["inputs"]:
        dims |= {d: n for d, n in zip(port["dims"], inputs[port["name"]].shape) if isinstance(d, str) and d.isidentifier()}
    return [f"--dim={name}={extent}" for name, extent in dims.items()]


def profile(meter, graph, artifact, *options):
    told = meter.folder / "profile.json"
    meter.call(graph.path, "-o", artifact, f"--profile={told}", *options)
    told = json.loads(told.read_text())
    return told["lowering"], told["memory"]


def compiled(report, folder):
    print("\nAfter fusion, a group of nodes at a time: candidates, how many each way to detect cycles accepts, milliseconds; then")
    print("pieces of memory, planned KiB and a call, with results over operands and in brackets without.\n")
    header("graph", "calls", "candidates", "incremental", "full", "off", "pieces", "planned", "a call", "ratio")
    meter = measure_levels.Meter(GCOMP, folder, 1)
    figures, lost = {}, []
    for graph, dims in compiled_graphs(meter, folder):
        on, off = folder / "on.so", folder / "off.so"
        lowering, memory = profile(meter, graph, on, *dims)
        plain, plain_memory = profile(meter, graph, off, OFF, *dims)
        modes = {"incremental": lowering["inplace"]}
        for mode in ("full", "off"):
            if mode == "off" or lowering["kernel_calls"] <= MOST_CALLS:
                modes[mode] = profile(meter, graph, folder / "mode.so", f"--cycle-detection={mode}", *dims)[0]["inplace"]
        calls = [[meter.run_seconds(graph, artifact) for artifact in (on, off)] for _ in range(3)]
        call, plain_call = map(min, zip(*calls))
        accepted = {mode: told["by_order"] + told["by_edges"] for mode, told in modes.items()}
        cells = [f"{accepted[m]:,}: {modes[m]['seconds'] * 1e3:.2f}" if m in modes else "" for m in ("incremental", "full", "off")]
        row(graph.name, f"{lowering['kernel_calls']:,}", f"{modes['incremental']['candidates']:,}", *cells,
            f"{lowering['pieces']:,} ({plain['pieces']:,})",
            f"{memory['planned_bytes'] / 1024:,.1f} ({plain_memory['planned_bytes'] / 1024:,.1f})",
            f"{measure_levels.unit(call)} ({measure_levels.unit(plain_call)})", f"{call / plain_call:.2f}")  # fmt: skip
        figures[graph.name] = {"modes": modes, "planned": memory["planned_bytes"], "call": call, "plain_call": plain_call}
        report.goal(f"{graph.name}: planned bytes over those without", memory["planned_bytes"], plain_memory["planned_bytes"])
        if plain_call > 1e-6:  # else three digits tell too little
            report.goal(f"{graph.name}: a call over one without", call / plain_call, measure_levels.NOISE)
        if "full" in accepted:
            lost.append((accepted["full"] - accepted["incremental"], modes["incremental"]["attempts"]))
    share = sum(most for most, _ in lost) / sum(attempts for _, attempts in lost)
    print(f"\nAccepted by the plain check only: {100 * share:.2f} % of attempts.")
    report.goal("attempts that only the plain check accepts", share, 0.02)
    return figures


def frameworks(report, folder):
    python = ROOT / os.environ.get("GCOMP_THEANO_VENV", ".venv-theano") / "bin" / "python"
    print("\nResults with memory of their own, of the graph after all rewriting: Theano 1.0.5's inplace passes and gcomp's (packed")
    print("factors are in neither).\n")
    if not python.exists():
        print(f"Not measured: there is no {python}; scripts/setup.sh bench makes it.")
        return {}
    header("model", "Theano", "gcomp")
    meter = measure_levels.Meter(GCOMP, folder, 1)
    figures = {}
    for name in ("hmm", "rnn", "mlp"):
        path = folder / f"theano_{name}.json"
        command = [python, ROOT / "scripts" / "framework_peer.py", name, "--export", path, "--backend", "py"]
        theirs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["allocated"]
        lowering, _ = profile(meter, measure_levels.Graph(name, path, {}, folder), folder / "theano.so")
        row(name, f"{theirs:,}", f"{lowering['pieces']:,}")
        report.goal(f"{name}: buffers", lowering["pieces"], theirs)
        figures[name] = {"theano": theirs, "gcomp": lowering["pieces"]}
    return figures


SECTIONS = ("cost", "graphs", "compiled", "frameworks")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without the largest training step")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    report = Report()
    step = user_graphs.GRAPHS["training_step"]
    sizes = [step.size_for("training_step", nodes) for nodes in (10_000, 100_000)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        measure_section = {
            "cost": lambda: cost(report, folder, sizes if args.quick else [*sizes, LARGEST]),
            "graphs": lambda: graphs(folder, 10_000),
            "compiled": lambda: compiled(report, folder),
            "frameworks": lambda: frameworks(report, folder),
        }
        for name in args.sections:
            report.figures[name] = measure_section[name]()
    if args.json:
        args.json.write_text(json.dumps(report.figures, indent=1) + "\n")
    print()
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
