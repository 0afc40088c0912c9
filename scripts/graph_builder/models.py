"""Log-densities with gradients, unrolled in a loop of the user's program."""

import numpy as np

from .gradient import with_gradient

LOG_TWO_PI = float(np.log(2 * np.pi))


def normal_terms(g, n):
    """Theano #689, #1795: the log-density of n Normal observations, written as a sum of n terms."""
    rng = np.random.default_rng(0)
    mu, log_tau = g.input("mu", (4,)), g.input("log_tau")
    total = None
    for _ in range(n):
        tau = g.exp(log_tau)
        y = g.constant(rng.normal(size=4))
        term = g.sum((g.square(y - mu) * tau * -0.5) + (g.log(tau) - LOG_TWO_PI) * 0.5)
        total = term if total is None else total + term
    with_gradient(g, total, {"mu": mu, "log_tau": log_tau}, "logp")


def normal_data(n):
    rng = np.random.default_rng(0)
    return np.array([rng.normal(size=4) for _ in range(n)])


def row_dots(g, n):
    """Theano #5295: a sum of n dot products of gathered rows, with the gradient of both tables."""
    rng = np.random.default_rng(0)
    left, right = g.input("left", (20, 4)), g.input("right", (20, 4))
    total = None
    for i, j in rng.integers(0, 20, (n, 2)):
        a = g.gather(left, g.constant([i], "int64"))
        b = g.gather(right, g.constant([j], "int64"))
        dot = g.sum(a * b)
        total = dot if total is None else total + dot
    with_gradient(g, total, {"left": left, "right": right}, "total")


def row_pairs(n):
    return np.random.default_rng(0).integers(0, 20, (n, 2))


def knowledge_tracing(g, n, steps=8):
    """pymc #4018: Bayesian knowledge tracing, a two-state hidden Markov model of n pupils' eight answers, in scalars."""
    logits = {name: g.input(name) for name in ("prior", "learn", "guess", "slip")}
    total = None
    for answers in pupils(n, steps):
        known = g.sigmoid(logits["prior"])
        for right in answers:
            slip, guess, learn = (g.sigmoid(logits[k]) for k in ("slip", "guess", "learn"))
            if right:
                p_known, p_unknown = known * (1.0 - slip), (1.0 - known) * guess
            else:
                p_known, p_unknown = known * slip, (1.0 - known) * (1.0 - guess)
            p = p_known + p_unknown
            total = g.log(p) if total is None else total + g.log(p)
            after = p_known / p
            known = after + (1.0 - after) * learn
    with_gradient(g, total, logits, "logp")


def pupils(n, steps=8):
    return np.random.default_rng(0).integers(0, 2, (n, steps)).tolist()


HMM_STATES, HMM_SYMBOLS = 3, 5


def hmm(g, n):
    """The forward algorithm of a hidden Markov model over n observations, in logarithms."""
    k = HMM_STATES
    start, move, emit = g.input("start", (k,)), g.input("move", (k, k)), g.input("emit", (HMM_SYMBOLS, k))

    def log_normalised(x):
        axes = (len(x.shape) - 1,)
        return x - g.keep(x, axes, g.log_sum_exp(x, axes[0]))

    log_move, log_emit = log_normalised(move), log_normalised(emit)
    alpha = log_normalised(start)
    for t, symbol in enumerate(hmm_symbols(n)):
        if t > 0:
            alpha = g.log_sum_exp(g.reshape(alpha, (k, 1)) + log_move, 0)
        alpha = alpha + log_emit[symbol]
    with_gradient(g, g.log_sum_exp(alpha, 0), {"start": start, "move": move, "emit": emit}, "logp")


def hmm_symbols(n):
    return np.random.default_rng(0).integers(0, HMM_SYMBOLS, n).tolist()


def mixture(g, n):
    """The log-density of 20 values under n Normals, written term by term, and a Normal prior of each mean."""
    values = g.constant(mixture_data())
    weights, means, log_sigmas = (g.input(name, (n,)) for name in ("weights", "means", "log_sigmas"))
    p = g.softmax(weights)
    likelihood, prior = None, None
    for i in range(n):
        mean, sigma = means[i], g.exp(log_sigmas[i])
        z = (values - mean) / sigma
        density = p[i] * (g.exp(g.square(z) * -0.5) / (sigma * float(np.sqrt(2 * np.pi))))
        likelihood = density if likelihood is None else likelihood + density
        term = g.square(mean) * -0.5 - 0.5 * LOG_TWO_PI
        prior = term if prior is None else prior + term
    logp = g.sum(g.log(likelihood)) + prior
    with_gradient(g, logp, {"weights": weights, "means": means, "log_sigmas": log_sigmas}, "logp")


def mixture_data():
    return np.random.default_rng(0).normal(size=20)


def ode(g, n):
    """pymc #2751: n Euler steps, c = c + c * g, with the gradient of both."""
    c, rate = g.input("c", (4,)), g.input("rate", (4,))
    step = rate * (1.0 / n)
    end = c
    for _ in range(n):
        end = end + end * step
    with_gradient(g, g.sum(end), {"c": c, "rate": rate})


def flow(g, n):
    """Theano #6501: the log-density of an inverse autoregressive flow n deep; every layer builds its network for the shift
    and once more for the scale, with constants of its own, as inlining does."""
    size = 4
    x = g.input("x", (3, size))
    weights = {}
    logdet, z = None, x
    for layer in range(n):
        w = [g.input(f"w{layer}_{i}", (size, size)) for i in range(3)]
        weights.update({f"w{layer}_{i}": v for i, v in enumerate(w)})

        def network(head, z=z, w=w):
            hidden = g.tanh(z @ (w[0] * g.constant(np.tril(np.ones((size, size)), -1).T)))
            return hidden @ (w[head] * g.constant(np.tril(np.ones((size, size))).T))

        log_scale = g.tanh(network(2))
        z = (z - network(1)) * g.exp(-g.tanh(network(2)))
        logdet = g.sum(log_scale) if logdet is None else logdet + g.sum(log_scale)
        z = g.reverse(z, 1)
    logp = g.sum(g.square(z)) * -0.5 - logdet - 0.5 * LOG_TWO_PI * 3 * size
    with_gradient(g, logp, {"x": x, **weights}, "logp")
