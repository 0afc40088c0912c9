"""The package's C extension, which makes calls several times faster. It is optional: without a compiler or
Python's headers the package works without it, and so does one that was copied away from include/."""

import pathlib

import numpy
from setuptools import Extension, setup

INCLUDE = pathlib.Path(__file__).resolve().parents[2] / "include"

setup(
    ext_modules=[
        Extension(
            "gcomp._call",
            ["gcomp/_call.c"],
            include_dirs=[numpy.get_include(), str(INCLUDE)],
            depends=[str(INCLUDE / "gcomp" / "runtime.h")],
            optional=True,
        )
    ]
)
