"""gcomp: from PyTensor and PyMC models to compiled tensor functions.

    gcomp.export_pymc(model, "model.json")          # or export_pytensor(inputs, outputs, path)
    gcomp.compile("model.json", "model.so")
    logp = gcomp.load("model.so")
    logp(mu, tau_log__=0.3)                          # NumPy arrays by position or name

Importing this package needs NumPy only; the exporters import PyTensor and PyMC when they are called.
"""

from ._errors import CompileError, GcompError, ModelError, UnsupportedOps

__version__ = "0.1.0"
__all__ = [
    "CompileError",
    "GcompError",
    "ModelError",
    "UnsupportedOps",
    "export_pymc",
    "export_pytensor",
]


def export_pytensor(inputs, outputs, path, updates=None, **options):
    from ._export.pytensor import export_pytensor as f

    return f(inputs, outputs, path, updates, **options)


def export_pymc(model, path, **options):
    from ._export.pymc import export_pymc as f

    return f(model, path, **options)


def _adopt_docs():
    """Shows the full documentation without importing PyTensor."""
    note = "See gcomp._export.{0}: help(gcomp._export.{0}.{1})"
    export_pytensor.__doc__ = note.format("pytensor", "export_pytensor")
    export_pymc.__doc__ = note.format("pymc", "export_pymc")


_adopt_docs()
