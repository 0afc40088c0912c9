"""The user-group graphs: values against NumPy, gradients against finite differences of the NumPy function."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from gcomp_cli import ROOT, gcomp_ok, run_npz

sys.path.insert(0, str(ROOT / "scripts"))
import user_graphs  # noqa: E402
from graph_builder import models  # noqa: E402
from graph_builder.files import sample_inputs, write  # noqa: E402

SIZES = {name: row.small for name, row in user_graphs.GRAPHS.items()}
TRUTH = {}


def truth(function):
    """The value of the graph of this name, in NumPy: by output name, from the inputs by name. The first output is the one
    whose gradients the graph has."""
    TRUTH[function.__name__] = function
    return function


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_normalised(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def normal_logpdf(x, mean, sigma):
    return -0.5 * ((x - mean) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)


@truth
def normal_terms(n, mu, log_tau):
    return {"logp": normal_logpdf(models.normal_data(n), mu, np.exp(-log_tau / 2)).sum()}


@truth
def row_dots(n, left, right):
    i, j = models.row_pairs(n).T
    return {"total": np.sum(left[i] * right[j])}


@truth
def knowledge_tracing(n, prior, learn, guess, slip):
    learn, guess, slip = sigmoid(learn), sigmoid(guess), sigmoid(slip)
    logp = 0.0
    for answers in models.pupils(n):
        # Joint probabilities of the answers so far and of each state, without normalising.
        joint = np.array([1 - sigmoid(prior), sigmoid(prior)])
        for t, right in enumerate(answers):
            if t > 0:
                joint = joint @ np.array([[1 - learn, learn], [0, 1]])
            joint = joint * (np.array([guess, 1 - slip]) if right else np.array([1 - guess, slip]))
        logp += np.log(joint.sum())
    return {"logp": logp}


@truth
def hmm(n, start, move, emit):
    start, move, emit = (np.exp(log_normalised(x)) for x in (start, move, emit))
    p = start
    for t, symbol in enumerate(models.hmm_symbols(n)):
        p = (p if t == 0 else p @ move) * emit[symbol]
    return {"logp": np.log(p.sum())}


@truth
def mixture(n, weights, means, log_sigmas):
    y = models.mixture_data()[:, None]
    likelihood = (softmax(weights) * np.exp(normal_logpdf(y, means, np.exp(log_sigmas)))).sum(1)
    return {"logp": np.log(likelihood).sum() + normal_logpdf(means, 0, 1).sum()}


@truth
def ode(n, c, rate):
    return {"loss": (c * (1 + rate / n) ** n).sum()}


@truth
def flow(n, x, **w):
    z, logdet = x, 0.0
    for layer in range(n):
        hidden = np.tanh(z @ np.triu(w[f"w{layer}_0"], 1))
        shift = hidden @ np.triu(w[f"w{layer}_1"])
        log_scale = np.tanh(hidden @ np.triu(w[f"w{layer}_2"]))
        z = ((z - shift) / np.exp(log_scale))[:, ::-1]
        logdet = logdet + log_scale.sum()
    return {"logp": normal_logpdf(z, 0, 1).sum() - logdet}


@truth
def rnn(n, x, y, w, u, b, v):
    h, loss = np.zeros((2, 4)), 0.0
    for t in range(n):
        h = np.tanh(np.concatenate([x[t], h], 1) @ np.concatenate([w, u]) + b)
        loss += np.sum((h @ v - y[t]) ** 2)
    return {"loss": loss / n}


def cross_entropy(logits, targets):
    return -np.mean((log_normalised(logits) * targets).sum(-1))


@truth
def char_rnn(n, text, out, **p):
    h, c, losses = np.zeros((2, 2, 4)), np.zeros((2, 2, 4)), []
    for t in range(n):
        x = text[t]
        for layer in range(2):
            z = x @ p[f"w{layer}"] + h[layer] @ p[f"u{layer}"] + p[f"b{layer}"]
            forget, write_, new, show = np.split(z, 4, 1)
            c[layer] = sigmoid(forget) * c[layer] + sigmoid(write_) * np.tanh(new)
            x = h[layer] = sigmoid(show) * np.tanh(c[layer])
        losses.append(cross_entropy(x @ out, text[t + 1]))
    return {"loss": np.mean(losses)}


@truth
def translation(n, source, target, attend, out, **p):
    def gru(part, x, h):
        def gate(k, h):
            return np.concatenate([x, h], 1) @ np.concatenate([p[f"{part}_w{k}"], p[f"{part}_u{k}"]])

        update = sigmoid(gate("z", h))
        return update * h + (1 - update) * np.tanh(gate("c", sigmoid(gate("r", h)) * h))

    h, memory, losses = np.zeros((2, 4)), [], []
    for word in source:
        h = gru("enc", word, h)
        memory.append(h)
    memory = np.stack(memory, 1)[:, -8:]
    state = h
    for t in range(n):
        weights = softmax(np.einsum("bmi,ij,bj->bm", memory, attend, state))
        context = h + np.einsum("bm,bmi->bi", weights, memory)
        state = gru("dec", np.concatenate([target[t], context], 1), state)
        losses.append(cross_entropy(state @ out, target[t + 1]))
    return {"loss": np.mean(losses)}


@truth
def turing_machine(n, x, y, **p):
    memory = np.linspace(-0.5, 0.5, 12).reshape(4, 3) + 0.1
    h, read, focus, loss = np.zeros(4), np.full(3, 0.1), np.full(4, 0.25), 0.0
    for t in range(n):
        h = np.tanh(x[t] @ p["wx"] + read @ p["wr"] + h @ p["wh"])
        key = np.tanh(h @ p["key"])
        lengths = np.sqrt((memory**2).sum(1) + 1e-6) * np.sqrt((key**2).sum() + 1e-6)
        content = softmax(memory @ key / lengths * np.log1p(np.exp(h @ p["beta"])))
        gate = sigmoid(h @ p["gate"])
        mixed = gate * content + (1 - gate) * focus
        left, stay, right = softmax(h @ p["shift"])
        moved = left * np.roll(mixed, -1) + stay * mixed + right * np.roll(mixed, 1)
        sharp = moved ** (1 + np.log1p(np.exp(h @ p["sharp"])))
        focus = sharp / sharp.sum()
        erase, add = sigmoid(h @ p["erase"]), np.tanh(h @ p["add"])
        memory = memory * (1 - np.outer(focus, erase)) + np.outer(focus, add)
        read = focus @ memory
        loss += np.sum((read @ p["out"] - y[t]) ** 2)
    return {"loss": loss}


@truth
def resnet(n, x, labels, out, **p):
    results, h, skip = {"loss": None}, x, x
    for layer in range(n):
        padded = np.pad(h, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
        h = np.einsum("ncijkl,ockl->noij", windows, p[f"w{layer}"])
        mean, inv_std = h.mean((0, 2, 3)), 1 / np.sqrt(h.var((0, 2, 3)) + 1e-4)
        results[f"new_mean{layer}"] = 0.9 * p[f"mean{layer}"] + 0.1 * mean
        results[f"new_inv_std{layer}"] = 0.9 * p[f"inv_std{layer}"] + 0.1 * inv_std
        h = (h.transpose(0, 2, 3, 1) - mean) * inv_std * p[f"scale{layer}"] + p[f"shift{layer}"]
        h = h.transpose(0, 3, 1, 2)
        if layer % 2 == 1:
            h = skip = h + skip
        h = np.maximum(h, 0)
        results[f"monitor{layer}"] = 8 * h.mean()
    results["loss"] = cross_entropy(h.mean((2, 3)) @ out, labels)
    return results


@truth
def residual(n, x, scales, shifts):
    y = x
    for scale, shift in zip(scales, shifts):
        y = (y + shift) * (scale / n + 1) - y / n
    return {"loss": y.sum()}


@truth
def fills(n, x, w):
    h = x
    for row in w:
        h = np.tanh(h * row)
    return {"loss": 8 * h.sum()}


@truth
def training_step(n, x, y, w, b):
    def loss(w, b):
        h = x
        for wi, bi in zip(w, b):
            h = np.tanh(h @ wi + bi)
        return np.mean((h - y) ** 2)

    new_w = w - 0.1 * difference(lambda v: loss(v, b), w)
    return {"loss": loss(w, b), "new_w": new_w, "new_b": b - 0.1 * difference(lambda v: loss(w, v), b)}


@truth
def chain(n, x):
    for i in range(n):
        x = (np.sin, np.tanh)[i % 2](x)
    return {"y": x}


@truth
def readers(n, x):
    return {"y": np.arctan2(x, 0.5).sum(keepdims=True)}


@truth
def ladder(n, x):
    for _ in range(n):
        x = np.sin(x) + np.cos(x)
    return {"y": x}


@truth
def twins(n, x):
    return {"y": np.tanh(np.sin(x))}


@truth
def doubling(n, x):
    return {"y": 2.0**n * x}


@truth
def left_sum(n, x):
    return {"y": x.sum(0)}


@truth
def repeated_sum(n, **x):
    return {"y": sum(x[f"x{i % 16}"] for i in range(n))}


def difference(f, x, step=1e-5):
    """The gradient of f at x by central differences."""
    result = np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[at] += step
        down[at] -= step
        result[at] = (f(up) - f(down)) / (2 * step)
    return result


def check(name, size, inputs, outputs):
    def value(**changed):
        return TRUTH[name](size, **{**inputs, **changed})

    want = value()
    first = next(iter(want))
    for key, got in outputs.items():
        if key.startswith("grad_"):
            parameter = key.removeprefix("grad_")
            expected = difference(lambda v: value(**{parameter: v})[first], inputs[parameter])
        else:
            expected = want[key]
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-8, err_msg=f"{name}: {key}")


@pytest.mark.parametrize("name", SIZES)
def test_values_and_gradients(name, tmp_path):
    graph = user_graphs.make(name, SIZES[name])
    write(graph, tmp_path / "graph.gcb")
    inputs = sample_inputs(graph)
    check(name, SIZES[name], inputs, run_npz(tmp_path / "graph.gcb", inputs, tmp_path, "--interpret"))
    check(name, SIZES[name], inputs, run_npz(tmp_path / "graph.gcb", inputs, tmp_path))


@pytest.mark.parametrize("name", SIZES)
def test_forms_agree_and_the_file_is_current(name, tmp_path):
    graph = user_graphs.make(name, SIZES[name])
    texts = []
    for suffix in (".json", ".gcb"):
        write(graph, tmp_path / f"graph{suffix}")
        gcomp_ok("convert", tmp_path / f"graph{suffix}", "-o", tmp_path / "again.json")
        # The reader of JSON names nodes that have no place by their position.
        texts.append(re.sub(r', "loc": "[^"]*"', "", (tmp_path / "again.json").read_text()))
    assert texts[0] == texts[1]
    committed = ROOT / "graphs" / "user" / f"{name}.json"
    assert committed.read_text() == (tmp_path / "graph.json").read_text(), "run scripts/user_graphs.py small"


def test_every_graph_has_a_truth():
    assert set(TRUTH) == set(SIZES)


@pytest.mark.parametrize("name", ["hmm", "resnet", "training_step", "left_sum"])
def test_nodes_asked_for(name):
    size = user_graphs.GRAPHS[name].size_for(name, 10_000)
    assert 7_000 < len(user_graphs.make(name, size).nodes) < 13_000


def test_command(tmp_path):
    def command(*args):
        return subprocess.run([sys.executable, ROOT / "scripts/user_graphs.py", *map(str, args)], capture_output=True, text=True)

    made = command("make", "ladder", "--size", 7, "-o", tmp_path / "ladder.json")
    assert made.returncode == 0 and "7 rungs, 21 nodes" in made.stdout
    assert len(json.loads((tmp_path / "ladder.json").read_text())["nodes"]) == 21
    assert all(name in command("list").stdout for name in SIZES)
    for wrong in (["ladder", "--size", 0], ["ladders"], ["ladder", "-o", tmp_path / "ladder.onnx"]):
        done = command("make", "-o", tmp_path / "a.json", *wrong)
        assert done.returncode == 2 and "error:" in done.stderr
