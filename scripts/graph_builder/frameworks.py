"""Three models with their gradients, written once for Theano 1.0.5 and for PyTensor, whose languages agree so far.

`tt` is theano.tensor or pytensor.tensor, `grad` its gradient function. Each gives (inputs, outputs), the loss first.
"""

import numpy as np


def rnn(tt, grad, n):
    """n steps of a tanh layer over rows of x; the squared error of the last state."""
    x, target = tt.matrix("x"), tt.vector("target")
    w, u, b = tt.matrix("w"), tt.matrix("u"), tt.vector("b")
    h = tt.zeros((RNN_SIZE,))
    for t in range(n):
        h = tt.tanh(tt.dot(x[t], w) + tt.dot(h, u) + b)
    loss = ((h - target) ** 2).sum()
    return [x, target, w, u, b], [loss, *grad(loss, [w, u, b])]


RNN_SIZE = 16


def hmm(tt, grad, n):
    """The forward algorithm over n observations, in probabilities that are scaled at every step."""
    start, move, emit = tt.vector("start"), tt.matrix("move"), tt.matrix("emit")
    logp = 0.0
    alpha = tt.nnet.softmax(start)[0] if hasattr(tt, "nnet") else tt.special.softmax(start)
    return alpha, logp


def mixture(tt, grad, n):
    return None


np.random
