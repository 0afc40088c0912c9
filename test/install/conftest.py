"""gcomp as it is installed, once for the tests of a file."""

import re
import shutil
import subprocess

import fetch_models
import pytest
from gcomp_cli import BUILD, ROOT

EXAMPLES = ROOT / "scripts/examples"


def run(*command, ok=True, **kwargs) -> str:
    """What a command that must succeed (ok) or fail writes."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300, **kwargs)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def prefix(tmp_path_factory):
    """`cmake --install` of the build under test, in a folder with a space."""
    folder = tmp_path_factory.mktemp("installed") / "the prefix"
    run("cmake", "--install", BUILD, "--prefix", folder)
    return folder


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """The Debian package, and a folder that it was unpacked into."""
    folder = tmp_path_factory.mktemp("package")
    run("cpack", "-G", "DEB", "-B", folder, "--config", BUILD.resolve() / "CPackConfig.cmake", cwd=folder)
    (deb,) = folder.glob("*.deb")
    run("dpkg-deb", "-x", deb, folder / "root")
    return deb, folder / "root"


@pytest.fixture
def repository(tmp_path):
    """A folder as the examples want it: their sources, the graphs."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for file in (EXAMPLES / "cmake/CMakeLists.txt", EXAMPLES / "cmake/main.cpp", ROOT / "graphs/eight_schools.json"):
        shutil.copy(file, folder)
    shutil.copy(fetch_models.fetch(["magika"])["magika"], folder / "magika.onnx")
    return folder


def check_output(text: str) -> None:
    """test_cmake.py compares the numbers; here it is enough that both models answered."""
    assert re.match(r"logp -43\.372\d+\ngrad( -?\d\.\d+){8}\nmain\.cpp: type \d+, 0\.9", text), text
