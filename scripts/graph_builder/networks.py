"""Neural networks with their gradients, unrolled and cloned as Keras, Lasagne and Blocks programs did."""

import numpy as np

from .gradient import clone, gradients, with_gradient


def rnn(g, n):
    """n steps of a tanh recurrence and the squared error of every state's projection."""
    x, y = g.input("x", (n, 2, 3)), g.input("y", (n, 2, 1))
    w, u, b, v = g.input("w", (3, 4)), g.input("u", (4, 4)), g.input("b", (4,)), g.input("v", (4, 1))
    h = g.full((2, 4), 0.0)
    loss = None
    for t in range(n):
        h = g.tanh(x[t] @ w + h @ u + b)
        error = g.sum(g.square(h @ v - y[t]))
        loss = error if loss is None else loss + error
    with_gradient(g, loss / float(n), {"w": w, "u": u, "b": b, "v": v})


def _lstm_step(g, x, state, w, u, b, size):
    h, c = state
    z = x @ w + h @ u + b

    def gate(i):
        return g.slice(z, (0, i * size), (z.shape[0], size))

    c = g.sigmoid(gate(0)) * c + g.sigmoid(gate(1)) * g.tanh(gate(2))
    return g.sigmoid(gate(3)) * g.tanh(c), c


def _cross_entropy(g, logits, targets):
    """-mean(log(softmax)[target]), as users write it."""
    return -g.mean(g.sum(g.log(g.softmax(logits)) * targets, (1,)))


def char_rnn(g, n):
    """CGT's announcement: a two-layer LSTM over n characters, predicting the next one."""
    size, letters, batch = 4, 5, 2
    text = g.input("text", (n + 1, batch, letters))
    p = {}
    for layer, inputs in enumerate((letters, size)):
        p[f"w{layer}"] = g.input(f"w{layer}", (inputs, 4 * size))
        p[f"u{layer}"] = g.input(f"u{layer}", (size, 4 * size))
        p[f"b{layer}"] = g.input(f"b{layer}", (4 * size,))
    p["out"] = g.input("out", (size, letters))
    zero = [g.full((batch, size), 0.0) for _ in range(4)]
    states = [(zero[0], zero[1]), (zero[2], zero[3])]
    loss = None
    for t in range(n):
        x = text[t]
        for layer in range(2):
            weights = (p[f"{k}{layer}"] for k in "wub")
            states[layer] = _lstm_step(g, x, states[layer], *weights, size)
            x = states[layer][0]
        step = _cross_entropy(g, x @ p["out"], text[t + 1])
        loss = step if loss is None else loss + step
    with_gradient(g, loss / float(n), p)


def translation(g, n):
    """Theano #3341: a Keras graph for translation, GRU encoder, attention and GRU decoder over n words, each decoder step
    with a copy of the encoder's last state, as building from the outputs down made them."""
    size, words, batch = 4, 5, 2
    source, target = g.input("source", (n, batch, words)), g.input("target", (n + 1, batch, words))
    p = {}
    for part, inputs in (("enc", words), ("dec", words + size)):
        for gate in ("r", "z", "c"):
            p[f"{part}_w{gate}"] = g.input(f"{part}_w{gate}", (inputs, size))
            p[f"{part}_u{gate}"] = g.input(f"{part}_u{gate}", (size, size))
    p["attend"], p["out"] = g.input("attend", (size, size)), g.input("out", (size, words))

    def gru(part, x, h):
        def gate(k, h):
            return x @ p[f"{part}_w{k}"] + h @ p[f"{part}_u{k}"]

        reset, update = g.sigmoid(gate("r", h)), g.sigmoid(gate("z", h))
        return update * h + (1.0 - update) * g.tanh(gate("c", reset * h))

    h = g.full((batch, size), 0.0)
    memory = []
    for t in range(n):
        h = gru("enc", source[t], h)
        memory.append(h)
    state, loss = h, None
    for t in range(n):
        last = clone(g, memory[-1])
        scores = [g.sum((m @ p["attend"]) * state, (1,)) for m in memory[-8:]]
        weights = g.softmax(g.concat([g.reshape(s, (batch, 1)) for s in scores], 1))
        context = last
        for i, m in enumerate(memory[-8:]):
            context = context + g.slice(weights, (0, i), (batch, 1)) * m
        state = gru("dec", g.concat([target[t], context], 1), state)
        step = _cross_entropy(g, state @ p["out"], target[t + 1])
        loss = step if loss is None else loss + step
    with_gradient(g, loss / float(n), p)


def turing_machine(g, n):
    """CGT's announcement: a neural Turing machine over n inputs: content addressing, gate, shift, sharpening, erase and add."""
    slots, width, inputs, size = 4, 3, 2, 4
    xs, ys = g.input("x", (n, inputs)), g.input("y", (n, inputs))
    shapes = {
        "wx": (inputs, size), "wr": (width, size), "wh": (size, size), "key": (size, width), "beta": (size, 1),
        "gate": (size, 1), "shift": (size, 3), "sharp": (size, 1), "erase": (size, width), "add": (size, width),
        "out": (width, inputs),
    }  # fmt: skip
    p = {name: g.input(name, shape) for name, shape in shapes.items()}
    memory = g.constant(np.linspace(-0.5, 0.5, slots * width).reshape(slots, width) + 0.1)
    h, read = g.full((1, size), 0.0), g.full((1, width), 0.1)
    focus = g.full((1, slots), 1.0 / slots)

    def length(v, axis):
        return g.sqrt(g.keep(v, (axis,), g.sum(g.square(v), (axis,))) + 1e-6)

    loss = None
    for t in range(n):
        x = g.slice(xs, (t,), (1,))
        h = g.tanh(x @ p["wx"] + read @ p["wr"] + h @ p["wh"])
        key = g.tanh(h @ p["key"])
        nearness = (key @ g.transpose(memory, (1, 0))) / (length(key, 1) * g.transpose(length(memory, 1), (1, 0)))
        content = g.softmax(nearness * g.unary("softplus", h @ p["beta"]))
        gate = g.sigmoid(h @ p["gate"])
        mixed = gate * content + (1.0 - gate) * focus
        shift = g.softmax(h @ p["shift"])
        moved = None
        for i, by in enumerate((1, 0, slots - 1)):
            parts = [g.slice(mixed, (0, by), (1, slots - by)), g.slice(mixed, (0, 0), (1, by))]
            turned = g.concat(parts, 1) if by else mixed
            term = g.slice(shift, (0, i), (1, 1)) * turned
            moved = term if moved is None else moved + term
        power = 1.0 + g.unary("softplus", h @ p["sharp"])
        sharp = g.exp(power * g.log(moved))
        focus = sharp / g.keep(sharp, (1,), g.sum(sharp, (1,)))
        column = g.transpose(focus, (1, 0))
        memory = memory * (1.0 - column @ g.sigmoid(h @ p["erase"])) + column @ g.tanh(h @ p["add"])
        read = focus @ memory
        error = g.sum(g.square(read @ p["out"] - g.slice(ys, (t,), (1,))))
        loss = error if loss is None else loss + error
    with_gradient(g, loss, p)


def resnet(g, n):
    """Theano #4494: a residual network of n convolutions with batch normalisation, its gradient, and for each layer running
    averages and eight monitors, each from a clone of all that lies before it: raw nodes grow with n squared."""
    channels, image, batch = 2, 4, 2
    x, labels = g.input("x", (batch, channels, image, image)), g.input("labels", (batch, 3))
    p, updates = {}, {}
    h, skip = x, x
    for layer in range(n):
        w = p[f"w{layer}"] = g.input(f"w{layer}", (channels, channels, 3, 3))
        scale = p[f"scale{layer}"] = g.input(f"scale{layer}", (channels,))
        shift = p[f"shift{layer}"] = g.input(f"shift{layer}", (channels,))
        h = g.conv(h, w, 1)
        mean = g.mean(h, (0, 2, 3))
        inv_std = 1.0 / g.sqrt(_variance(g, h) + 1e-4)
        for key, statistic in (("mean", mean), ("inv_std", inv_std)):
            running = g.input(f"{key}{layer}", (channels,))
            updates[f"new_{key}{layer}"] = running * 0.9 + clone(g, statistic) * 0.1
        h = (h - _channels(g, mean, h)) * _channels(g, scale * inv_std, h) + _channels(g, shift, h)
        if layer % 2 == 1:
            h = h + skip
            skip = h
        h = g.relu(h)
        monitored = g.mean(clone(g, h))
        for _ in range(7):
            monitored = monitored + g.mean(clone(g, h))
        updates[f"monitor{layer}"] = monitored
    p["out"] = g.input("out", (channels, 3))
    loss = _cross_entropy(g, g.mean(h, (2, 3)) @ p["out"], labels)
    with_gradient(g, loss, p)
    for name, value in updates.items():
        g.output(name, value)


def _channels(g, v, like):
    return g.broadcast(v, like.shape, (1,))


def _variance(g, h):
    return g.mean(g.square(h - _channels(g, g.mean(h, (0, 2, 3)), h)), (0, 2, 3))


def residual(g, n):
    """Theano #4797: products of sums n deep, which a rule that multiplies out turns into 2^n terms."""
    x = g.input("x", (4,))
    scales, shifts = g.input("scales", (n, 4)), g.input("shifts", (n, 4))
    y = x
    for i in range(n):
        y = (y + shifts[i]) * (scales[i] * (1.0 / n) + 1.0) - y * (1.0 / n)
    with_gradient(g, g.sum(y), {"x": x, "scales": scales, "shifts": shifts})


def fills(g, n):
    """Theano #5585, #2971: a model built eight times over, full of zeros and ones shaped like something, which made
    canonicalize go round: n layers."""
    x, w = g.input("x", (2, 4)), g.input("w", (n, 4))
    total = None
    for _ in range(8):
        h = x
        for i in range(n):
            ones = g.broadcast(g.reshape(g.full((4,), 1.0), (1, 4)), h.shape)
            zeros = h * 0.0 + g.broadcast(g.full((), 0.0), h.shape, ())
            h = g.tanh((h + zeros) * (w[i] * ones)) + ones - ones
        total = g.sum(h) if total is None else total + g.sum(h)
    with_gradient(g, total, {"x": x, "w": w})


def training_step(g, n):
    """Ours: a step of gradient descent of a perceptron n layers deep; ten nodes a layer and more, 900,000 at 32,000."""
    size = 2
    x, y, w, b = g.input("x", (2, size)), g.input("y", (2, size)), g.input("w", (n, size, size)), g.input("b", (n, size))
    weights, biases = [w[i] for i in range(n)], [b[i] for i in range(n)]
    h = x
    for wi, bi in zip(weights, biases):
        h = g.tanh(h @ wi + bi)
    loss = g.mean(g.square(h - y))
    g.output("loss", loss)
    parts = gradients(g, loss, weights + biases)
    rate = 0.1
    for name, old, new in (("w", weights, parts[:n]), ("b", biases, parts[n:])):
        steps = [g.reshape(o - d * rate, (1, *o.shape)) for o, d in zip(old, new)]
        g.output(f"new_{name}", g.concat(steps, 0))
