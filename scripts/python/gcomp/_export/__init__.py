"""Exporters from PyTensor and PyMC. Imported only when used: they need those packages."""
