"""Artifacts with code for a GPU on the fake driver (fake_cuda.cpp): the texts of their kernels, compiled for this
host against the emulator."""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gcomp_cli import BUILD, ROOT, gcomp_ok

FAKE = BUILD / "fake_cuda" / "libcuda.so.1"
FLAGS = "-std=c++20 -O1 -w -fPIC -ffp-contract=off".split()  # as in test/CMakeLists.txt
EMULATOR = next(p for p in (FAKE.parent / "emulator.h", ROOT / "test/cuda/emulator.h") if p.exists())


def compile_kernels(graph, folder: Path, *options) -> list[Path]:
    """Libraries of the kernels that `gcomp GRAPH --target cpu,cuda` makes."""
    text = folder / "kernels.cu"
    gcomp_ok(graph, "--target", "cpu,cuda", "--cuda-everything", "--emit", "cuda", "-o", text, *options)
    modules = re.split(r"^// module \d+\n", text.read_text(), flags=re.MULTILINE)[1:]

    def compile_one(i: int) -> Path:
        source, library = folder / f"kernels{i}.cu", folder / f"kernels{i}.so"
        source.write_text(modules[i])
        command = [os.environ.get("CXX", "c++"), *FLAGS, "-shared", "-include", EMULATOR]
        subprocess.run([*command, "-x", "c++", source, "-o", library], check=True)
        return library

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(compile_one, range(len(modules))))


def environment(libraries: list[Path]) -> dict[str, str]:
    """Of a process that is to find the fake driver, with these kernels."""
    return os.environ | {
        "LD_LIBRARY_PATH": str(FAKE.parent),
        "GCOMP_FAKE_CUDA_KERNELS": ":".join(map(str, libraries)),
    }
