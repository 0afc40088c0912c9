#!/usr/bin/env python3
"""What scripts/test-gpu runs: each graph is compiled for CPU and this machine's GPU into one file, run on both on
the same inputs, and compared, without libraries and with cuBLASLt and cuDNN; then under compute-sanitizer, if there is one.

    scripts/test_gpu.py [NAME...]
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "test")]

import fetch_models  # noqa: E402
import gpu_device  # noqa: E402
from gcomp_cli import GCOMP, gcomp, random_inputs  # noqa: E402

TOOLS = {"memcheck": [], "racecheck": ["--racecheck-report", "all"]}
TOLERANCES = {"float64": (1e-9, 1e-9), "float32": (2e-4, 1e-4), "float16": (2e-2, 1e-2)}


def graphs(words: list[str]) -> dict[str, Path]:
    """By name: samples of this repository, and the real models that were fetched before."""
    found = {path.stem: path for path in sorted((ROOT / "graphs").glob("*.json"))}
    cache = fetch_models.default_cache()
    models = [name for name in fetch_models.MODELS if fetch_models.is_cached(name, cache)]
    found |= {name: Path(fetch_models.paths_of(name, cache)[name]) for name in models}
    return {name: path for name, path in found.items() if not words or any(w in name for w in words)}


def difference(a: np.ndarray, b: np.ndarray) -> str:
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}"
    rtol, atol = TOLERANCES.get(a.dtype.name, (0, 0))
    if np.allclose(a, b, rtol, atol, equal_nan=True):
        return ""
    return f"differ by up to {np.abs(a.astype('float64') - b.astype('float64')).max():g}"


def run(artifact: Path, folder: Path, device: str) -> dict[str, np.ndarray]:
    target = folder / f"{device}.npz"
    done = gcomp("run", artifact, "--inputs", folder / "in.npz", "--outputs", target, "--device", device)
    if done.returncode:
        raise RuntimeError(f"on {device}: {done.stderr.strip()}")
    with np.load(target) as outputs:
        return {name: outputs[name] for name in outputs.files}


def sanitize(artifact: Path, folder: Path) -> list[str]:
    """What compute-sanitizer finds."""
    program = shutil.which("compute-sanitizer")
    found = []
    for tool, options in TOOLS.items() if program else []:
        command = [program, "--tool", tool, "--error-exitcode", "99", *options, GCOMP, "run", artifact]
        command += ["--inputs", folder / "in.npz", "--device", "cuda"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode:
            found.append(f"{tool}: {done.stdout[-2000:]}")
    return found


def check(path: Path, arch: str) -> list[str]:
    """What is wrong with this graph on this GPU; once more with products by cuBLASLt and convolutions by cuDNN, if it has any."""
    with tempfile.TemporaryDirectory() as name:
        folder, artifact = Path(name), Path(name) / "model.so"
        np.savez(folder / "in.npz", **random_inputs(path))
        wrong = []
        for libraries in ("none", "all"):
            options = ["--target", "cpu,cuda", "--cuda-everything", "--cuda-arch", arch, f"--cuda-libs={libraries}"]
            done = gcomp(path, *options, "-o", artifact)
            if done.returncode:
                return [done.stderr.strip()]
            if "nothing in the graph gains" in done.stderr:
                return []
            if libraries == "all" and b'"library":' not in artifact.read_bytes():
                break
            wrong += [f"--cuda-libs={libraries}: {text}" for text in compare(artifact, folder)]
            if libraries == "none":
                wrong += sanitize(artifact, folder)
        return wrong


def compare(artifact: Path, folder: Path) -> list[str]:
    """What differs between the devices."""
    try:
        there, here = run(artifact, folder, "cuda"), run(artifact, folder, "cpu")
    except RuntimeError as error:
        return [str(error)]
    texts = {name: difference(there[name], here[name]) for name in here}
    return [f"{name}: {text}" for name, text in texts.items() if text]


def main() -> int:
    device, why = gpu_device.find()
    chosen = graphs(sys.argv[1:])
    if device is None:
        print(f"test-gpu: no device: {why}. Not run: {', '.join(chosen)}.")
        return gpu_device.NO_DEVICE
    arch = f"sm_{device.capability}"
    has_tool = shutil.which("compute-sanitizer") is not None
    print(f"GPU {arch}, driver for CUDA {device.version // 1000}.{device.version % 1000 // 10}, "
          f"compute-sanitizer {'found' if has_tool else 'not found: no memcheck, no racecheck'}")  # fmt: skip
    failed = 0
    for name, path in chosen.items():
        wrong = check(path, arch)
        failed += bool(wrong)
        print(f"{'FAILED' if wrong else 'ok':6} {name}", *wrong, sep="\n       " if wrong else "", flush=True)
    print(f"{len(chosen) - failed} of {len(chosen)} agree with the CPU")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
