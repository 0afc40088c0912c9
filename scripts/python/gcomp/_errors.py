"""The errors of this package."""


class GcompError(Exception):
    """Base of all errors raised by this package."""


class UnsupportedOps(GcompError):
    """A graph uses ops that cannot be exported. `places` lists (op, variable) for each of them."""

    def __init__(self, places):
        self.places = list(places)
        lines = [f"  {op} (at {where})" for op, where in self.places]
        super().__init__(
            f"{len(lines)} node{'s' if len(lines) != 1 else ''} cannot be exported:\n" + "\n".join(lines)
        )


class CompileError(GcompError):
    """The gcomp command failed. `returncode` is its documented exit code, the text what it wrote."""

    def __init__(self, message, returncode):
        self.returncode = returncode
        super().__init__(message)


class ModelError(GcompError):
    """A compiled model could not be loaded, or a run of it failed. `status` is the ABI's code or None."""

    def __init__(self, message, status=None):
        self.status = status
        super().__init__(message)
