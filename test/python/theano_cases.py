"""Run by Theano's own Python (test_theano.py): exports one graph with many ops and writes what Theano computes without any rewriting.

    theano_cases.py FOLDER      writes cases.json, cases.npz (inputs, and outputs as out_<name>)
"""

import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import theano  # noqa: E402
import theano.tensor as tt  # noqa: E402

import gcomp  # noqa: E402

x, y, v, k = tt.matrix("x"), tt.matrix("y"), tt.vector("v"), tt.lvector("k")
u = tt.row("u")

UNARY = ["exp", "expm1", "log", "log1p", "log2", "sqrt", "sqr", "inv", "neg", "abs_", "sgn", "floor", "ceil", "sin", "cos", "tanh",
         "arctan", "erf", "erfc", "gammaln", "psi"]  # fmt: skip
CASES = {name: getattr(tt, name)(x) for name in UNARY}
CASES.update(
    sigmoid=tt.nnet.sigmoid(x),
    softplus=tt.nnet.softplus(x),
    softmax=tt.nnet.softmax(x),
    relu=tt.nnet.relu(x - 1.0),
    row=x * u + v,
    column=x - x.sum(axis=1, keepdims=True),
    power=x**2.5,
    integers=k / 2,
    quotient=(x / y) // 0.3 + x % 0.7,
    switch=tt.switch(tt.gt(x, y), x, tt.zeros_like(y)),
    logic=tt.and_(x > y, tt.neq(x, 0.0)) + tt.or_(x <= y, x >= 2.0),
    clip=tt.clip(x, 0.6, 1.1),
    maximum=tt.maximum(x, y) - tt.minimum(x, y),
    cast=tt.cast(x * 3, "int32") + tt.cast(k[0], "float32"),
    max_axis=x.max(axis=0),
    argmax=x.argmax(axis=1),
    min_all=x.min(),
    prod=x.prod(axis=1),
    any_all=tt.any(x > 1.2, axis=0) + tt.all(x > 0.1, axis=0),
    mean=x.mean(),
    var=x.var(axis=0),
    dot_mm=tt.dot(x, y.T),
    dot_mv=tt.dot(x, v),
    dot_vm=tt.dot(v, x.T),
    dot_vv=tt.dot(v, v),
    reshape=x.reshape((-1, 2)),
    flatten=x.flatten(),
    dimshuffle=x.dimshuffle(1, "x", 0),
    rows=x[1:, ::-1],
    element=x[0, -1] + v[k[0]],
    advanced=x[k],
    pair=x[k, k],
    set_rows=tt.set_subtensor(x[1:2], 7.0),
    inc_advanced=tt.inc_subtensor(x[k], y[k]),
    concatenate=tt.concatenate([x, y], axis=1),
    stack=tt.stack([x[0], v]),
    arange=tt.arange(3) * k.sum(),
    alloc=tt.alloc(v[0], 2, 3) + tt.ones((2, 3)),
    eye=tt.eye(3),
    cumsum=tt.cumsum(x, axis=0),
    specify=tt.specify_shape(x, (3, 4)),
    broadcastable=tt.addbroadcast(x[:1], 0) + x,
    gradient=tt.grad((tt.tanh(tt.dot(x, v)) ** 2).sum() + x.max(axis=1).sum(), x),
    softmax_gradient=tt.grad(tt.log(tt.nnet.softmax(x))[:, 0].sum(), x),
)


def main():
    folder = Path(sys.argv[1])
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.uniform(0.5, 1.5, (3, 4)),
        "y": rng.uniform(0.5, 1.5, (3, 4)),
        "v": rng.uniform(0.5, 1.5, 4),
        "k": np.array([2, 0]),
        "u": rng.uniform(0.5, 1.5, (1, 4)),
    }
    inputs = [x, y, v, k, u]
    gcomp.export_theano(inputs, list(CASES.values()), folder / "cases.json", output_names=list(CASES))
    mode = theano.Mode(linker="py", optimizer=None)
    f = theano.function(inputs, list(CASES.values()), mode=mode)
    results = f(*[arrays[i.name] for i in inputs])
    np.savez(folder / "cases.npz", **arrays, **{f"out_{name}": r for name, r in zip(CASES, results)})


if __name__ == "__main__":
    main()
