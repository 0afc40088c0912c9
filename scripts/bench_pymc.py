#!/usr/bin/env python3
"""Times a call of each PyMC model's log-density and gradient: PyTensor (C and Numba) and gcomp, one run.

    scripts/bench_pymc.py [--only NAME ...] [--threads 1 2] [--no-numba] [--seconds S] [--json FILE]

All are called from Python with the same arrays, in turn, several rounds; the best time per call of each is
shown, and PyTensor's divided by gcomp's on one thread (above 1: gcomp is faster). PyTensor runs with
trust_input, as PyMC's samplers call it. The gcomp command is $GCOMP, build/gcomp or the one on PATH.
"""

import argparse
import contextlib
import json
import logging
import pathlib
import sys
import tempfile
import time
import warnings

warnings.simplefilter("ignore")

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "graphs"), str(ROOT / "scripts" / "python")]

import numpy as np  # noqa: E402

ROUNDS = 15


def pytensor_call(model, mode):
    """(callable without arguments left to choose, seconds it took to compile and call once)."""
    import pymc as pm
    from gcomp._export.pymc import logp_and_gradient

    started = time.perf_counter()
    inputs, outputs, _ = logp_and_gradient(model)
    with model:
        f = pm.pytensorf.compile(inputs, outputs, mode=mode, on_unused_input="ignore")
    f.trust_input = True
    f(*arguments(model))
    return f, time.perf_counter() - started


def gcomp_call(model, name, folder, threads):
    import gcomp

    started = time.perf_counter()
    graph = pathlib.Path(folder) / f"{name}.json"
    if not graph.exists():
        gcomp.export_pymc(model, graph, name=name)
        started = time.perf_counter()
    f = gcomp.load(gcomp.compile(graph), threads=threads)
    f(*arguments(model))
    return f, time.perf_counter() - started


def arguments(model):
    start = model.initial_point()
    rng = np.random.default_rng(1)
    return [np.asarray(start[v.name] + 0.3 * rng.normal(size=start[v.name].shape)) for v in model.value_vars]


def best_times(calls, arrays, seconds):
    """Best seconds per call of each, taken in turn so that all see the same machine."""
    counts = {}
    for key, f in calls.items():
        started, n = time.perf_counter(), 0
        while time.perf_counter() - started < 0.02:
            f(*arrays)
            n += 1
        counts[key] = max(1, int(n * seconds / 0.02 / ROUNDS))
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for key, f in calls.items():
            n = counts[key]
            started = time.perf_counter()
            for _ in range(n):
                f(*arrays)
            best[key] = min(best[key], (time.perf_counter() - started) / n)
    return best


def worst_difference(calls, arrays):
    """Largest difference between gcomp's outputs and PyTensor's, of the largest element of each."""
    want = [np.asarray(x) for x in calls["C"](*arrays)]
    worst = 0.0
    for got, w in zip(calls["gcomp 1"](*arrays), want):
        worst = max(worst, float(np.max(np.abs(got - w), initial=0) / np.max(np.abs(w), initial=1e-300)))
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="for gcomp; 1 is always there")
    parser.add_argument("--no-numba", action="store_true")
    parser.add_argument("--seconds", type=float, default=1.0, help="of calls for each entry")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures there too")
    args = parser.parse_args()
    for logger in ("pytensor", "pytensor.tensor.blas", "numba"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    import export_pymc_models as models

    unknown = set(args.only or ()) - set(models.MODELS)
    if unknown:
        parser.error(f"no such model: {', '.join(sorted(unknown))} (there are {', '.join(models.MODELS)})")
    threads = sorted({1, *args.threads})
    keys = ["C"] + ([] if args.no_numba else ["Numba"]) + [f"gcomp {t}" for t in threads]
    print("Microseconds per call from Python; in brackets seconds from model to first result.\n")
    header = ["model", "PyTensor C"] + (["Numba"] if "Numba" in keys else [])
    header += [f"gcomp, {t} thread{'s' if t > 1 else ''}" for t in threads] + ["C / gcomp"]
    header += ["Numba / gcomp"] if "Numba" in keys else []
    header.append("difference")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header), flush=True)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, build in models.MODELS.items():
            if args.only and name not in args.only:
                continue
            model = build()
            made = {}
            with contextlib.redirect_stderr(sys.stderr):
                for key in keys:
                    if key == "C":
                        made[key] = pytensor_call(model, "CVM")
                    elif key == "Numba":
                        made[key] = pytensor_call(model, "NUMBA")
                    else:
                        made[key] = gcomp_call(model, name, folder, int(key.split()[1]))
            calls = {k: f for k, (f, _) in made.items()}
            arrays = arguments(model)
            best = best_times(calls, arrays, args.seconds)
            ratios = {k: best[k] / best["gcomp 1"] for k in ("C", "Numba") if k in best}
            row = [name] + [f"{best[k] * 1e6:.1f} ({made[k][1]:.2f})" for k in keys]
            row += [f"{r:.1f}" for r in ratios.values()] + [f"{worst_difference(calls, arrays):.0e}"]
            print("| " + " | ".join(row) + " |", flush=True)
            figures[name] = {
                "seconds_per_call": best,
                "seconds_to_first_result": {k: s for k, (_, s) in made.items()},
                "ratios": ratios,
            }
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    slow = [n for n, f in figures.items() if f["ratios"]["C"] < 2.0]
    if slow:
        print(f"\nless than twice as fast as PyTensor's C: {', '.join(slow)}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
