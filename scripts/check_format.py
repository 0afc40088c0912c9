#!/usr/bin/env python3
"""Fails when a C++ source is not laid out as .clang-format says; --fix lays it out.

    scripts/check_format.py [--fix] [FILE...]
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = {".h", ".c", ".cpp"}


def sources() -> list[Path]:
    """Every C and C++ source that is not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "include", "lib", "scripts", "test", "tools"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [path for path in paths if path.suffix in SUFFIXES and path.is_file()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--fix", action="store_true", help="change the files")
    parser.add_argument("--build", type=Path, help="not used; every check takes it")
    args = parser.parse_args()
    mode = ["-i"] if args.fix else ["--dry-run", "-Werror"]
    files = [str(path.resolve()) for path in args.files or sources()]
    if not files:
        return 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(lambda file: subprocess.run(["clang-format-19", *mode, file], capture_output=True), files))
    wrong = [file for file, result in zip(files, done, strict=True) if result.returncode != 0]
    for file in wrong:
        print(f"{Path(file).relative_to(ROOT)} is not laid out as .clang-format says")
    if wrong:
        print("mend with: scripts/check_format.py --fix")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
