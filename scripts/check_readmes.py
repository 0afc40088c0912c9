#!/usr/bin/env python3
"""Fails when a folder has no README.md that says what lives there, or one that is only a heading."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEAST_CHARACTERS = 200  # a heading and a sentence do not tell how to add to a folder


def folders() -> list[Path]:
    libraries = [path for path in sorted((ROOT / "lib").iterdir()) if path.is_dir()]
    return [ROOT, *libraries, *(ROOT / name for name in ("graphs", "scripts", "test", "tools"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, help="not used; every check takes it")
    parser.parse_args()
    wrong = []
    for folder in folders():
        readme = folder / "README.md"
        if not readme.is_file() or len(readme.read_text(encoding="utf-8")) < LEAST_CHARACTERS:
            wrong.append(f"{folder.relative_to(ROOT)}/README.md: say what lives there and how to add to it")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
