"""The .npz files that `gcomp run` takes and gives.

Keys are the names of the signature; a graph without names uses input_0, input_1, ... and output_0, ....
bfloat16 travels as uint16. Entries are not compressed.
"""

import os

import numpy as np


def save_npz(path, arrays, prefix="input"):
    """Writes arrays (a mapping by name, or a sequence: prefix_0, prefix_1, ...) for `gcomp run`."""
    if not hasattr(arrays, "items"):
        arrays = {f"{prefix}_{i}": a for i, a in enumerate(arrays)}
    out = {}
    for name, array in arrays.items():
        array = np.asarray(array, order="C")
        if array.dtype.name == "bfloat16":
            array = array.view("uint16")
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise TypeError(f"{name}: gcomp has no dtype {array.dtype}")
        out[name] = array
    with open(os.fspath(path), "wb") as f:  # a file object: savez would add a suffix to a name
        np.savez(f, **out)


def load_npz(path):
    """The arrays of an .npz file by name, in the file's order."""
    with np.load(os.fspath(path), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
