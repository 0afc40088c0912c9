"""Shapes that break compilers which recurse, scan users, count paths or compare trees."""


def chain(g, n):
    """Ours: n functions of each other."""
    y = g.input("x", (4,))
    for i in range(n):
        y = g.unary(("sin", "tanh")[i % 2], y)
    g.output("y", y)


def readers(g, n):
    """Ours: n readers of one constant."""
    x, c = g.input("x", (n,)), g.constant([0.5])
    terms = [g.binary("atan2", g.slice(x, (i,), (1,)), c) for i in range(n)]
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2])] + terms[len(terms) // 2 * 2 :]
    g.output("y", terms[0])


def ladder(g, n):
    """Ours: n rungs of two functions of the last sum: 2^n paths."""
    y = g.input("x", (4,))
    for _ in range(n):
        y = g.unary("sin", y) + g.unary("cos", y)
    g.output("y", y)


def twins(g, n):
    """Ours: n equal subtrees, summed pairwise."""
    x = g.input("x", (4,))
    terms = [g.tanh(g.unary("sin", x)) for _ in range(n)]
    while len(terms) > 1:
        terms = [g.binary("max", a, b) for a, b in zip(terms[::2], terms[1::2])] + terms[len(terms) // 2 * 2 :]
    g.output("y", terms[0])


def doubling(g, n):
    """Theano 1.0.5, 17 s at n = 20: y = y + y, n times."""
    y = g.input("x", (4,))
    for _ in range(n):
        y = y + y
    g.output("y", y)


def left_sum(g, n):
    """Theano 1.0.5, 35 s at n = 400: a left-deep sum of n rows."""
    x = g.input("x", (n, 4))
    y = x[0]
    for i in range(1, n):
        y = y + x[i]
    g.output("y", y)


def repeated_sum(g, n):
    """Ours: a left-deep sum of n terms, sixteen different ones again and again."""
    xs = [g.input(f"x{i}", (4,)) for i in range(16)]
    y = xs[0]
    for i in range(1, n):
        y = y + xs[i % 16]
    g.output("y", y)
