"""Run by Theano's own Python (test_theano.py): exports a function with updates and writes what Theano makes of it, call by call.

    theano_states.py FOLDER     writes states.json, states.npz: x0, x1, ...; out_<name><call>; and states after it, state_<name><call>

A training step with momentum, a counter, two that trade values, one by a default update, a subtensor, and a shared variable
without update, which is a constant.
"""

import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import theano  # noqa: E402
import theano.tensor as tt  # noqa: E402

import gcomp  # noqa: E402

CALLS = 4


def main(folder):
    rng = np.random.RandomState(3)
    x = tt.matrix("x")
    w = theano.shared(rng.randn(3, 2), name="w")
    velocity = theano.shared(np.zeros((3, 2)), name="velocity")
    count = theano.shared(np.int64(5), name="count")
    a, b = theano.shared(np.array([1.0, 2.0]), name="a"), theano.shared(np.array([3.0, 4.0]), name="b")
    decay = theano.shared(np.float64(1.0), name="decay")
    decay.default_update = decay * 0.5
    log = theano.shared(rng.randn(3), name="log")
    shift = theano.shared(rng.randn(2), name="shift")  # no update: a constant
    loss = tt.sqr(tt.tanh(tt.dot(x, w) + shift) * a).mean() * decay
    updates = {
        velocity: 0.9 * velocity - 0.1 * tt.grad(loss, w),
        w: w + 0.9 * velocity - 0.1 * tt.grad(loss, w),
        count: count + 1,
        a: b,
        b: a,
        log: tt.inc_subtensor(log[0], loss)[::-1],
    }
    outputs = {"loss": loss, "step": count * 2}
    gcomp.export_theano([x], list(outputs.values()), str(folder / "states.json"), updates=updates, output_names=list(outputs))
    f = theano.function([x], list(outputs.values()), updates=list(updates.items()), mode="FAST_COMPILE")
    found = {}
    for call in range(CALLS):
        found[f"x{call}"] = rng.randn(4, 3)
        for name, value in zip(outputs, f(found[f"x{call}"])):
            found[f"out_{name}{call}"] = value
        for state in (w, velocity, count, a, b, decay, log):
            found[f"state_{state.name}{call}"] = state.get_value()
    np.savez(folder / "states.npz", **found)


main(Path(sys.argv[1]))
