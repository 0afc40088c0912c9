"""What scripts/demo shows, once everything is built: two graphs compiled and used."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "python"))
import fetch_models  # noqa: E402
import gcomp  # noqa: E402
import model_inputs  # noqa: E402

GCOMP = ROOT / "build" / "gcomp"
CALLS = 2000


def compile_graph(graph: str, artifact: Path) -> None:
    """Compiles with the command itself, and says what it took."""
    command = [str(GCOMP), graph, "-O", "fast_run", "-o", str(artifact)]
    begin = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - begin
    shown = Path(graph).relative_to(ROOT) if Path(graph).is_relative_to(ROOT) else Path(graph).name
    print(f"$ gcomp {shown} -O fast_run -o {artifact.name}")
    print(f"  {seconds:.2f} s, {artifact.stat().st_size / 1024:.0f} KiB")


def median_seconds(call) -> float:
    times = []
    for _ in range(CALLS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return sorted(times)[CALLS // 2]


def show_eight_schools(folder: Path) -> None:
    print("Eight schools: log-density and gradient of a PyMC model\n")
    artifact = folder / "eight_schools.so"
    compile_graph(str(ROOT / "graphs" / "eight_schools.json"), artifact)
    function = gcomp.load(artifact, threads=1)
    point = {"mu": np.array(4.0), "tau_log__": np.array(1.1), "eta": np.linspace(-1, 1, 8)}
    for name, value in function.run_dict(**point).items():
        print(f"  {name:15} {np.array2string(np.asarray(value), precision=6, suppress_small=True)}")
    print(f"  a call from Python takes {median_seconds(lambda: function(**point)) * 1e6:.1f} us\n")


def files_to_name() -> list[Path]:
    """Real files that every clone and machine has, of several types."""
    names = ["README.md", "CMakeLists.txt", "scripts/demo", "scripts/demo.py", "lib/support/error.cpp"]
    return [*(ROOT / name for name in names), ROOT / "graphs" / "eight_schools.json", GCOMP]


def show_magika(folder: Path) -> None:
    import onnxruntime

    print("Magika: a network that tells the type of a file from its bytes\n")
    paths = fetch_models.fetch(["magika"])
    artifact = folder / "magika.so"
    compile_graph(paths["magika"], artifact)
    function = gcomp.load(artifact, threads=1)
    files = files_to_name()
    inputs = model_inputs.magika_inputs([file.read_bytes() for file in files], paths)
    (scores,) = function(**inputs)
    (expected,) = onnxruntime.InferenceSession(paths["magika"]).run(None, inputs)
    print(f"\n  {'file':34} {'magika.so':12} ONNX Runtime")
    answers = zip(model_inputs.magika_labels(scores, paths), model_inputs.magika_labels(expected, paths))
    same = True
    for file, (ours, theirs) in zip(files, answers):
        print(f"  {str(file.relative_to(ROOT)):34} {ours:12} {theirs}")
        same &= ours == theirs
    worst = np.abs(scores - expected).max() / np.abs(expected).max()
    print(f"\n  largest difference: {worst:.1e} of the largest score")
    if not same or worst > 2e-5:
        raise SystemExit("demo: the answers differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the compiled files there")
    args = parser.parse_args()
    version = subprocess.run([str(GCOMP), "--version"], check=True, capture_output=True, text=True)
    print(f"{version.stdout.strip()}: one file that needs libc and libm, from a graph\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        show_eight_schools(folder)
        show_magika(folder)


if __name__ == "__main__":
    main()
