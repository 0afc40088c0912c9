"""Models with gradients, written once in the language that Theano 1.0.5 and PyTensor share.

`tt` is theano.tensor or pytensor.tensor, `grad` the package's gradient function. A model gives (inputs, outputs, names of
the outputs, arrays for the inputs by name), the objective first.
"""

import numpy as np


def rnn(tt, grad, n):
    """n steps of a tanh layer, and the squares of the last state."""
    batch, inputs, size = 16, 8, 32
    x, w, u, b = tt.tensor3("x"), tt.matrix("w"), tt.matrix("u"), tt.vector("b")
    h = tt.zeros((batch, size))
    for t in range(n):
        h = tt.tanh(tt.dot(x[t], w) + tt.dot(h, u) + b)
    shapes = {"x": (n, batch, inputs), "w": (inputs, size), "u": (size, size), "b": (size,)}
    return _with_gradient(grad, "loss", (h**2).sum(), [x], [w, u, b], shapes, 0.2)


def hmm(tt, grad, n):
    """The forward algorithm over n observations, scaled at every step."""
    states, symbols = 4, 5
    start, move, emit = tt.vector("start"), tt.matrix("move"), tt.matrix("emit")
    logp, alpha = 0.0, None
    for symbol in np.random.default_rng(0).integers(0, symbols, n):
        seen = emit[:, int(symbol)]
        alpha = start * seen if alpha is None else tt.dot(alpha, move) * seen
        total = alpha.sum()
        alpha = alpha / total
        logp = logp + tt.log(total)
    shapes = {"start": (states,), "move": (states, states), "emit": (states, symbols)}
    return _with_gradient(grad, "logp", logp, [], [start, move, emit], shapes, None)


def mixture(tt, grad, n):
    """The log-density of 200 values under a mixture of n Normals, written term by term."""
    x, weights, means, sigmas = tt.vector("x"), tt.vector("weights"), tt.vector("means"), tt.vector("sigmas")
    density = None
    for k in range(n):
        term = weights[k] * tt.exp(-0.5 * ((x - means[k]) / sigmas[k]) ** 2) / sigmas[k]
        density = term if density is None else density + term
    shapes = {"x": (200,), "weights": (n,), "means": (n,), "sigmas": (n,)}
    return _with_gradient(grad, "logp", tt.log(density).sum(), [x], [weights, means, sigmas], shapes, None)


def mlp(tt, grad, n):
    """One step of gradient descent for n tanh layers: the squared error and every parameter's next value."""
    batch, size = 32, 64
    x, y = tt.matrix("x"), tt.matrix("y")
    weights, biases = [tt.matrix(f"w{i}") for i in range(n)], [tt.vector(f"b{i}") for i in range(n)]
    h = x
    for w, b in zip(weights, biases):
        h = tt.tanh(tt.dot(h, w) + b)
    shapes = {"x": (batch, size), "y": (batch, size)}
    shapes |= {w.name: (size, size) for w in weights} | {b.name: (size,) for b in biases}
    inputs, outputs, names, arrays = _with_gradient(grad, "loss", ((h - y) ** 2).sum(), [x, y], [*weights, *biases], shapes, 0.2)
    steps = [p - 0.01 * g for p, g in zip(inputs[2:], outputs[1:])]
    return inputs, [outputs[0], *steps], ["loss", *(f"next_{p.name}" for p in inputs[2:])], arrays


MODELS = {"rnn": (rnn, 80), "hmm": (hmm, 80), "mixture": (mixture, 40), "mlp": (mlp, 20)}


def _with_gradient(grad, name, objective, data, parameters, shapes, scale):
    """`scale`: of normal values; None: values between 0.5 and 1.5, which may stand for probabilities and deviations."""
    rng = np.random.default_rng(0)
    arrays = {
        key: rng.uniform(0.5, 1.5, shape) if scale is None else scale * rng.normal(size=shape) for key, shape in shapes.items()
    }
    names = [name, *(f"grad_{p.name}" for p in parameters)]
    return [*data, *parameters], [objective, *grad(objective, parameters)], names, arrays
