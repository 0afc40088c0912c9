"""`python -m gcomp.batch --scheduler ADDRESS IN... -o OUTDIR`: many graphs on a Dask cluster; see gcomp.batch."""

import sys

from gcomp import _batch

if __name__ == "__main__":
    sys.exit(_batch.main())
# Imported, the module would hide the function of this name: they are one.
sys.modules[__name__] = _batch.batch
