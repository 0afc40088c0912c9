#!/usr/bin/env python3
"""Runs clang-tidy, with the short list in .clang-tidy, over the C++ sources of lib/ and tools/; findings fail.

A source that was clean is not looked at again until it, a header of ours that it includes, or the list
changes: the answer is kept in the build folder. So the first run takes minutes and the next one seconds. A build
by clang (the checked one) makes it twice as fast: its precompiled header serves clang-tidy too.

    scripts/check_tidy.py [--build DIR] [--jobs N] [FILE...]
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import check_layers

ROOT = Path(__file__).resolve().parent.parent


@cache
def own_includes(path: Path) -> tuple[Path, ...]:
    found = (
        check_layers.resolve(*match.groups(), path, ROOT)
        for match in check_layers.INCLUDE.finditer(path.read_text(encoding="utf-8"))
    )
    return tuple(ROOT / name for name in found if name and (ROOT / name).is_file())


def fingerprint(source: Path, command: str) -> str:
    """A hash of everything of ours that decides what clang-tidy says of `source`."""
    reached, todo = {source}, [source]
    while todo:
        for path in own_includes(todo.pop()):
            if path not in reached:
                reached.add(path)
                todo.append(path)
    digest = hashlib.sha256(command.encode())
    for path in [ROOT / ".clang-tidy", *sorted(reached)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def tidy(source: Path, build: Path) -> str:
    """What clang-tidy finds in `source`; empty when clean."""
    done = subprocess.run(
        ["clang-tidy-19", "--quiet", f"-p={build}", "--extra-arg=-Wno-unknown-warning-option",
         "--extra-arg=-Wno-ignored-gch", str(source)],
        capture_output=True, text=True,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    wanted = {path.resolve() for path in args.files}
    kept = args.build / "tidy"
    kept.mkdir(exist_ok=True)

    def check(entry: dict) -> str:
        source = Path(entry["file"])
        mark = kept / fingerprint(source, entry["command"])
        if mark.exists():
            return ""
        found = tidy(source, args.build)
        if found:
            print(found, flush=True)
        else:
            mark.touch()
        return found

    commands = json.loads((args.build / "compile_commands.json").read_text())
    ours = [e for e in commands if any(Path(e["file"]).is_relative_to(ROOT / part) for part in ("lib", "tools"))]
    chosen = {e["file"]: e for e in ours if not wanted or Path(e["file"]) in wanted}
    with ThreadPoolExecutor(args.jobs) as pool:
        findings = list(pool.map(check, chosen.values()))
    return 1 if any(findings) else 0


if __name__ == "__main__":
    sys.exit(main())
