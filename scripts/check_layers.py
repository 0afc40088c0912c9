#!/usr/bin/env python3
"""Fails when an #include line points the wrong way.

The libraries under lib/ form one line: each may use only those before it. Third-party headers are confined
to the libraries named for them, so that each can be replaced by changing one folder. Reads #include lines
alone: no compiler, no build folder, a fraction of a second.

    scripts/check_layers.py [--root DIR]
"""

import argparse
import re
import sys
from pathlib import Path

# Each may include only itself and what stands before it.
ORDER = [
    "support", "ir", "formats", "interp", "rewrite", "rules", "pass", "passes", "schedule", "kernel", "lower",
    "codegen", "runtime", "artifact", "driver", "tools",
]  # fmt: skip

# Libraries that use even fewer than the order would let them, and why.
ONLY = {
    "interp": ({"support", "ir", "interp"}, "the reference evaluator shares nothing with what it judges"),
    "runtime": ({"runtime"}, "it is linked into artifacts, where nothing else of gcomp exists"),
}

# First part of a third-party path -> libraries that may include it.
THIRD_PARTY = {
    "spdlog": {"support"},
    "fmt": {"support"},
    "nlohmann": {"support", "formats", "pass", "artifact", "driver"},  # wherever a JSON document is read or written
    "google": {"formats"},
    "onnx": {"formats"},
    "llvm": {"codegen", "artifact"},
    "lld": {"artifact"},
    "Eigen": {"runtime"},
    "boost": {"interp", "runtime"},
    "CLI": {"tools"},
}

# C and POSIX headers, and the intrinsics of compilers; C++'s own have neither a dot nor a slash.
SYSTEM = re.compile(
    r"^((sys|linux)/\w+|assert|ctype|dirent|dlfcn|elf|errno|fcntl|fenv|float|glob|immintrin|inttypes|link|limits|malloc"
    r"|math|poll|pthread|sched|signal|spawn|stdarg|stdbool|stddef|stdint|stdio|stdlib|string|strings|termios|time"
    r"|ucontext|unistd|cpuid)\.h$"
)
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)
SUFFIXES = {".h", ".hpp", ".c", ".cpp", ".inc", ".def"}


def library_of(path: str) -> str | None:
    """The library that a path relative to the root belongs to; None where no rule applies."""
    parts = path.split("/")
    if parts[0] == "tools":
        return "tools"
    if parts[0] == "lib" and len(parts) > 2:
        return parts[1]
    if parts[:2] == ["include", "gcomp"]:
        return parts[2].removesuffix(".h")
    return None


def resolve(kind: str, target: str, source: Path, root: Path) -> str | None:
    """An included file of this project as a path relative to the root; None for other people's headers."""
    if target.startswith("gcomp/"):
        return f"include/{target}"
    if kind == "<":
        return None
    base = root / "lib" / source.relative_to(root).parts[1] if source.is_relative_to(root / "lib") else source.parent
    for candidate in (source.parent / target, base / target):
        if candidate.is_file() and candidate.resolve().is_relative_to(root):
            return candidate.resolve().relative_to(root).as_posix()
    return None


def check_own(library: str, target: str) -> str | None:
    """What is wrong with `library` including the project's own file `target`, or None."""
    other = library_of(target)
    if other is None or other == library:
        return None
    if other not in ORDER:
        return f"'{other}' is not a library of the list in scripts/check_layers.py"
    if library in ONLY and other not in ONLY[library][0]:
        return f"'{library}' may not use '{other}': {ONLY[library][1]}"
    if ORDER.index(other) > ORDER.index(library):
        return f"'{library}' may not use '{other}', which stands after it"
    return None


def check_other(library: str, target: str) -> str | None:
    """What is wrong with `library` including the system or third-party header `target`, or None."""
    if SYSTEM.match(target) or ("/" not in target and "." not in target):
        return None
    name = target.split("/")[0]
    if name not in THIRD_PARTY:
        return f"<{target}> is a third party that scripts/check_layers.py does not know"
    if library not in THIRD_PARTY[name]:
        return f"'{library}' may not use {name}, which belongs in {' and '.join(sorted(THIRD_PARTY[name]))}"
    return None


def check_file(path: Path, root: Path) -> list[str]:
    relative = path.relative_to(root).as_posix()
    library = library_of(relative)
    if library is None:
        return []
    if library not in ORDER:
        return [f"{relative}: '{library}' is not a library of the list in scripts/check_layers.py"]
    text = path.read_text(encoding="utf-8")
    problems = []
    for match in INCLUDE.finditer(text):
        kind, target = match.groups()
        own = resolve(kind, target, path, root)
        problem = check_own(library, own) if own else check_other(library, target)
        if problem:
            line = text.count("\n", 0, match.start(1)) + 1
            problems.append(f"{relative}:{line}: {problem}")
    return problems


def check(root: Path) -> list[str]:
    """Every wrong #include line under `root`, as "file:line: reason"."""
    root = root.resolve()
    files = [
        path
        for folder in ("include", "lib", "tools")
        for path in sorted((root / folder).rglob("*"))
        if path.suffix in SUFFIXES and path.is_file()
    ]
    return [problem for path in files for problem in check_file(path, root)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--build", type=Path, help="not used; every check takes it")
    problems = check(parser.parse_args().root)
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
