"""gcomp: from PyTensor and PyMC models to compiled tensor functions.

    gcomp.export_pymc(model, "model.json")          # or export_pytensor(inputs, outputs, path)
    gcomp.compile("model.json", "model.so")
    logp = gcomp.load("model.so")
    logp(mu, tau_log__=0.3)                          # NumPy arrays by position or name
    gcomp.batch("models/", "out", keep_going=True)   # many graphs, client= for a Dask cluster

Importing this package needs NumPy only; the exporters import PyTensor and PyMC when they are called.
"""

from ._compiler import compile, find_gcomp
from ._errors import CompileError, GcompError, ModelError, UnsupportedOps
from ._npz import load_npz, save_npz
from ._runtime import Model, ValueInfo, load
from ._safetensors import load_safetensors, save_safetensors

__version__ = "0.1.0"
__all__ = [
    "CompileError",
    "GcompError",
    "Model",
    "ModelError",
    "UnsupportedOps",
    "ValueInfo",
    "batch",
    "compile",
    "export_pymc",
    "export_pytensor",
    "export_theano",
    "find_gcomp",
    "load",
    "load_npz",
    "load_safetensors",
    "save_npz",
    "save_safetensors",
]


def batch(inputs=(), out=None, **options):
    """Compiles many graphs, here or on a Dask cluster (client=). Options are those of gcomp._batch.batch: client,
    manifest, results, jobs, keep_going, resume, fallback, options, retries, gcomp."""
    from ._batch import batch as f

    return f(inputs, out, **options)


def export_pytensor(inputs, outputs, path, updates=None, **options):
    """Writes a PyTensor graph as JSON. Options are those of gcomp._export.pytensor.export_pytensor:
    input_names, output_names, name, dims, checks."""
    from ._export.pytensor import export_pytensor as f

    return f(inputs, outputs, path, updates, **options)


def export_theano(inputs, outputs, path, updates=None, **options):
    """Writes a graph of Theano 1.0.5 as JSON; options as for export_pytensor."""
    from ._export.theano import export_theano as f

    return f(inputs, outputs, path, updates, **options)


def export_pymc(model, path, **options):
    """Writes a PyMC model's log-density and gradient as JSON. Options are those of
    gcomp._export.pymc.export_pymc: jacobian, gradient, pregrad, data, name."""
    from ._export.pymc import export_pymc as f

    return f(model, path, **options)
