"""States, from shared variables with updates to calls of compiled models: against NumPy written by hand, and
against PyTensor's own functions. At every level and as both kinds of code."""

import itertools
import json
import os
import pathlib
import pickle
import sys
import threading

import numpy as np
import pytest

pytensor = pytest.importorskip("pytensor")
import pytensor.tensor as pt  # noqa: E402
from pytensor.raise_op import Assert  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "python"))

import gcomp  # noqa: E402
import gcomp_cli  # noqa: E402
from gcomp import _runtime  # noqa: E402

LEVELS = ["none", "merge", "fast_compile", "fast_run"]
KINDS = [*itertools.product(LEVELS, ["plan", "straight"])]


@pytest.fixture(autouse=True)
def command(monkeypatch):
    monkeypatch.setenv("GCOMP", str(gcomp_cli.GCOMP))


@pytest.fixture(params=["extension", "ctypes"])
def calls(request, monkeypatch):
    if request.param == "ctypes":
        monkeypatch.setattr(_runtime, "_Caller", None)
    elif _runtime._Caller is None:
        pytest.skip("the extension is not built")
    return request.param


def load(graph, folder, level="fast_run", code="auto", **options):
    path = folder / f"{level}-{code}.so"
    return gcomp.load(gcomp.compile(graph, path, level, options=[f"--code={code}"]), **options)


# ---- training: gradients and optimizers by hand ----

N_IN, N_HIDDEN, N_OUT, BATCH, STEPS = 5, 8, 3, 16, 100
RATE, MOMENTUM, BETA1, BETA2, EPSILON = 0.05, 0.9, 0.9, 0.999, 1e-8


def initial_weights():
    rng = np.random.default_rng(1)
    return {
        "w1": rng.normal(size=(N_IN, N_HIDDEN)) / 2,
        "b1": np.zeros(N_HIDDEN),
        "w2": rng.normal(size=(N_HIDDEN, N_OUT)) / 2,
        "b2": np.zeros(N_OUT),
    }


def batches():
    rng = np.random.default_rng(2)
    return [(rng.normal(size=(BATCH, N_IN)), rng.normal(size=(BATCH, N_OUT))) for _ in range(STEPS)]


def loss_and_gradients(p, x, y):
    h = np.tanh(x @ p["w1"] + p["b1"])
    error = h @ p["w2"] + p["b2"] - y
    d_out = 2 * error / error.size
    d_hidden = (d_out @ p["w2"].T) * (1 - h**2)
    gradients = {"w1": x.T @ d_hidden, "b1": d_hidden.sum(0), "w2": h.T @ d_out, "b2": d_out.sum(0)}
    return (error**2).mean(), gradients


def train_by_hand(optimizer):
    s = initial_weights()
    s.update({f"m_{k}": np.zeros_like(v) for k, v in initial_weights().items() if optimizer != "sgd"})
    s.update({f"v_{k}": np.zeros_like(v) for k, v in initial_weights().items() if optimizer == "adam"})
    s["t"] = np.int64(0)
    losses = []
    for x, y in batches():
        loss, gradients = loss_and_gradients(s, x, y)
        losses.append(loss)
        s["t"] += 1
        for k, g in gradients.items():
            if optimizer == "sgd":
                s[k] = s[k] - RATE * g
            elif optimizer == "momentum":
                s[f"m_{k}"] = MOMENTUM * s[f"m_{k}"] - RATE * g
                s[k] = s[k] + s[f"m_{k}"]
            else:
                s[f"m_{k}"] = BETA1 * s[f"m_{k}"] + (1 - BETA1) * g
                s[f"v_{k}"] = BETA2 * s[f"v_{k}"] + (1 - BETA2) * g**2
                m, v = s[f"m_{k}"] / (1 - BETA1 ** float(s["t"])), s[f"v_{k}"] / (1 - BETA2 ** float(s["t"]))
                s[k] = s[k] - RATE * m / (np.sqrt(v) + EPSILON)
    return losses, s


@pytest.fixture(scope="module", params=["sgd", "momentum", "adam"])
def trained(request):
    return request.param, *train_by_hand(request.param)


def training_graph(optimizer, path, batch):
    x, y = pt.dmatrices("x", "y")
    weights = {k: pytensor.shared(v, name=k) for k, v in initial_weights().items()}
    loss = ((pt.tanh(x @ weights["w1"] + weights["b1"]) @ weights["w2"] + weights["b2"] - y) ** 2).mean()
    t = pytensor.shared(np.int64(0), name="t")
    updates = {t: t + 1}
    for (k, w), g in zip(weights.items(), pt.grad(loss, list(weights.values()))):
        if optimizer == "sgd":
            updates[w] = w - RATE * g
            continue
        m = pytensor.shared(np.zeros_like(w.get_value()), name=f"m_{k}")
        if optimizer == "momentum":
            updates[m] = MOMENTUM * m - RATE * g
            updates[w] = w + updates[m]
            continue
        v = pytensor.shared(np.zeros_like(w.get_value()), name=f"v_{k}")
        updates[m], updates[v] = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g**2
        unbiased = updates[m] / (1 - BETA1 ** updates[t].astype("float64"))
        scale = pt.sqrt(updates[v] / (1 - BETA2 ** updates[t].astype("float64"))) + EPSILON
        updates[w] = w - RATE * unbiased / scale
    dims = {"x": [batch, N_IN], "y": [batch, N_OUT]}
    return gcomp.export_pytensor([x, y], [loss], path, updates, output_names=["loss"], dims=dims)


@pytest.mark.parametrize("level, code", KINDS)
def test_training_is_what_numpy_does(trained, level, code, tmp_path):
    optimizer, losses, states = trained
    model = load(training_graph(optimizer, tmp_path / "g.json", BATCH), tmp_path, level, code)
    assert model.input_names == ["x", "y"] and model.output_names == ["loss"]
    found = [model(x, y)[0] for x, y in batches()]
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(found, losses, rtol=1e-9)
    assert set(model.states) == set(states)
    for name, value in states.items():
        np.testing.assert_allclose(model.states[name], value, rtol=1e-7, atol=1e-10, err_msg=name)


def test_training_with_a_symbolic_batch(trained, tmp_path):
    optimizer, losses, _ = trained
    model = load(training_graph(optimizer, tmp_path / "g.json", "N"), tmp_path)
    np.testing.assert_allclose([model(x, y)[0] for x, y in batches()], losses, rtol=1e-9)


# ---- every mix of updates, against PyTensor ----


def shared(value, name):
    return pytensor.shared(np.asarray(value), name=name)


def swap(x):
    a, b = shared(np.arange(3.0), "a"), shared(np.arange(3.0) * 10, "b")
    return [a + b * x], {a: b, b: a}


def chain(x):
    # The oldest of four values, as a delay line has it.
    s = [shared(np.full(3, float(i)), f"s{i}") for i in range(4)]
    return [s[0] + x], {s[0]: s[1], s[1]: s[2], s[2]: s[3], s[3]: s[3] + x}


def one_reads_what_the_other_replaces(x):
    p1, p2 = shared(np.float64(1.0), "p1"), shared(np.float64(10.0), "p2")
    return [x], {p1: p1 + 1, p2: p2 + p1}


def two_become_the_same(x):
    a, b = shared(np.zeros(3), "a"), shared(np.ones(3), "b")
    new = a * 2 + b + x
    return [new], {a: new, b: new}


def two_become_an_old_value(x):
    a, b, c = shared(np.zeros(3), "a"), shared(np.ones(3), "b"), shared(np.full(3, 5.0), "c")
    return [a + b + x], {a: c, b: c, c: c + 1}


def identity(x):
    a, b = shared(np.arange(3.0), "a"), shared(np.arange(3.0), "b")
    return [a * x, b], {a: a, b: a}


def cycle_with_a_reader(x):
    a, b, c = (shared(np.full(3, float(i)), "abc"[i]) for i in range(3))
    return [pt.exp(-a) + b, c], {a: b, b: c, c: a}


def also_an_output(x):
    a = shared(np.zeros((2, 3)), "a")
    new = pt.tanh(a + x)
    return [new, a, new.sum()], {a: new}


def constants_and_inputs(x):
    a, b = shared(np.zeros(3), "a"), shared(np.ones(3), "b")
    return [a - b], {a: x, b: pt.constant(np.array([3.0, 1.0, 2.0]))}


def views(x):
    a, b = shared(np.arange(6.0).reshape(2, 3), "a"), shared(np.arange(6.0).reshape(3, 2), "b")
    return [a[0] + x], {a: b.T, b: a.T}


def integers_and_booleans(x):
    n, flag = shared(np.int64(1), "n"), shared(np.array([True, False, True]), "flag")
    return [pt.switch(flag, x, -x) * n], {n: n * 3 % 7, flag: ~flag}


def moved_after_a_part_changed(x):
    # The part may be changed in place, but not in the state's memory: the new value lies elsewhere.
    a = shared(np.arange(3.0), "a")
    return [], {a: pt.inc_subtensor(a[0], x.sum())[::-1]}


def nothing_else(x):
    a = shared(np.zeros(3), "a")
    return [], {a: a + x}


CASES = [swap, chain, one_reads_what_the_other_replaces, two_become_the_same, two_become_an_old_value, identity,
         cycle_with_a_reader, also_an_output, constants_and_inputs, views, integers_and_booleans, moved_after_a_part_changed,
         nothing_else]  # fmt: skip


def truth_of(case, calls):
    """(graph, what each call gives, the states after each)."""
    x = pt.dvector("x")
    outputs, updates = case(x)
    updates = {v: pt.specify_shape(u, v.get_value().shape) if np.ndim(v.get_value()) else u for v, u in updates.items()}
    f = pytensor.function([x], outputs, updates=updates, on_unused_input="ignore", mode="FAST_COMPILE")
    start = {v: v.get_value() for v in updates}
    steps = []
    for call in calls:
        result = f(call)
        steps.append((result, {v.name: v.get_value() for v in updates}))
    for v, value in start.items():
        v.set_value(value)
    return x, outputs, updates, steps


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_updates_are_those_of_pytensor(case, tmp_path):
    rng = np.random.default_rng(3)
    calls = list(rng.normal(size=(20, 3)))
    x, outputs, updates, steps = truth_of(case, calls)
    graph = gcomp.export_pytensor([x], outputs, tmp_path / "g.json", updates, dims={"x": [3]})
    for level, code in KINDS:
        model = load(graph, tmp_path, level, code)
        for call, (result, states) in zip(calls, steps):
            found = model(call)
            assert len(found) == len(result)
            for f, r in zip(found, result):
                np.testing.assert_allclose(f, r, rtol=1e-12, err_msg=f"{level}, {code}")
            for name, value in states.items():
                np.testing.assert_allclose(model.states[name], value, rtol=1e-12, err_msg=f"{level}, {code}: {name}")
    # The reference evaluator, and the optimized graph as a file: all steps on the same x.
    x, outputs, updates, steps = truth_of(case, calls[:1] * 5)
    np.savez(tmp_path / "in.npz", x=calls[0])
    gcomp_cli.gcomp_ok("opt", graph, "-o", tmp_path / "opt.gcb")
    for program, *options in [(graph, "--interpret"), (graph,), (tmp_path / "opt.gcb", "--interpret")]:
        gcomp_cli.gcomp_ok("run", program, "--inputs", tmp_path / "in.npz", "--states-out", tmp_path / "s.npz",
                           "--repeat", 4, *options)  # fmt: skip
        states = gcomp.load_npz(tmp_path / "s.npz")
        assert set(states) == set(steps[-1][1])
        for name, value in steps[-1][1].items():
            np.testing.assert_allclose(states[name], value, rtol=1e-12, err_msg=f"{program}: {name}")


def test_counter_random_numbers(tmp_path):
    """A generator whose state is an integer that wraps around."""
    state = shared(np.int64(12345), "state")
    new = state * np.int64(6364136223846793005) + np.int64(1442695040888963407)
    u = ((new // np.int64(1 << 33)) % np.int64(1 << 20)).astype("float64") / float(1 << 20)
    graph = gcomp.export_pytensor([], [u], tmp_path / "g.json", {state: new})
    for level, code in KINDS:
        model = load(graph, tmp_path, level, code)
        s = np.array(12345, "int64")
        for _ in range(50):
            s = s * np.array(6364136223846793005, "int64") + np.array(1442695040888963407, "int64")
            assert model()[0] == float((s // (1 << 33)) % (1 << 20)) / (1 << 20)
        assert model.states["state"] == s


# ---- the mapping, errors, threads, processes ----


def counter(folder, **options):
    x = pt.dvector("x")
    count, scale = shared(np.int64(0), "count"), shared(np.float64(2.0), "scale")
    total = shared(np.zeros(3), "total")
    y = Assert("x must be positive")(total + scale * x, (x > 0).all())
    return gcomp.export_pytensor([x], [y, count], folder / "g.json", {count: count + 1, total: y}, states=[scale],
                                 dims={"x": [3]}, **options)  # fmt: skip


def test_states_are_a_mapping(calls, tmp_path):
    model = load(counter(tmp_path), tmp_path)
    assert list(model.states) == ["count", "total", "scale"] and len(model.states) == 3
    assert [str(i) for i in model.states.infos] == ["count: int64[]", "total: float64[3]", "scale: float64[]"]
    model(np.ones(3))
    model.states["scale"] = 10.0
    model(np.ones(3))
    np.testing.assert_array_equal(model.states["total"], [12.0] * 3)
    kept = dict(model.states)
    assert kept["count"] == 2
    model.states["total"][:] = 77  # a copy
    model.states.reset()
    assert model.states["count"] == 0 and model.states["scale"] == 2.0
    model.states.update(kept)
    model.states["total"] = np.arange(6.0)[::-2]
    np.testing.assert_array_equal(model(np.ones(3))[0], np.arange(6.0)[::-2] + 10)


def test_wrong_values_change_nothing(calls, tmp_path):
    model = load(counter(tmp_path), tmp_path)
    model(np.ones(3))
    before = dict(model.states)
    with pytest.raises(KeyError, match="no state 'totl'; did you mean 'total'"):
        model.states["totl"] = np.zeros(3)
    with pytest.raises(KeyError, match="no state 'x'"):
        model.states["x"]
    with pytest.raises(KeyError, match="no state 'y'"):
        model.states.update({"count": 5, "y": 0})
    with pytest.raises(ValueError, match=r"state 'total' has shape \(4,\); the model wants total: float64\[3\]"):
        model.states["total"] = np.zeros(4)
    with pytest.raises(ValueError, match="state 'count' has rank 1"):
        model.states["count"] = np.zeros(1, "int64")
    with pytest.raises(TypeError, match="state 'total' is float32"):
        model.states["total"] = np.zeros(3, "float32")
    with pytest.raises(gcomp.ModelError, match="x must be positive"):
        model(-np.ones(3))
    with pytest.raises(ValueError, match="input 'x' has shape"):
        model(np.ones(4))
    assert {k: v.tobytes() for k, v in model.states.items()} == {k: v.tobytes() for k, v in before.items()}
    model(np.ones(3))
    assert model.states["count"] == 2


def test_models_have_states_of_their_own(calls, tmp_path):
    one, other = load(counter(tmp_path), tmp_path), gcomp.load(tmp_path / "fast_run-auto.so")
    for _ in range(3):
        one(np.ones(3))
    assert one.states["count"] == 3 and other.states["count"] == 0
    again = pickle.loads(pickle.dumps(one))
    again(np.ones(3))
    assert again.states["count"] == 4 and one.states["count"] == 3
    np.testing.assert_array_equal(again.states["total"], [8.0] * 3)


def test_threads_take_turns(calls, tmp_path):
    model = load(counter(tmp_path), tmp_path)
    seen = [[] for _ in range(4)]

    def work(counts):
        for _ in range(250):
            counts.append(int(model(np.ones(3))[1]))
            model.states["scale"]

    threads = [threading.Thread(target=work, args=(counts,)) for counts in seen]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(itertools.chain(*seen)) == list(range(1000))
    assert model.states["count"] == 1000
    np.testing.assert_array_equal(model.states["total"], [2000.0] * 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_the_states_of_its_parent(calls, tmp_path):
    model = load(counter(tmp_path), tmp_path)
    model(np.ones(3))
    model.states["scale"] = 5.0
    pid = os.fork()
    if pid == 0:
        try:
            model.states["scale"] = model.states["scale"] + 1
            ok = float(model(np.ones(3))[0][0]) == 2.0 + 6.0 and model.states["count"] == 2
        finally:
            os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert model.states["count"] == 1 and model.states["scale"] == 5.0


def test_a_state_without_initial_value_must_be_set(calls, tmp_path):
    graph = json.loads(counter(tmp_path).read_text())
    del graph["states"][1]["initial"]
    (tmp_path / "g.json").write_text(json.dumps(graph))
    model = load(tmp_path / "g.json", tmp_path)
    with pytest.raises(gcomp.ModelError, match="total.*has no value"):
        model(np.ones(3))
    assert model.states["count"] == 0
    with pytest.raises(gcomp.ModelError, match="has no value"):
        model.states["total"]
    model.states["total"] = np.ones(3)
    np.testing.assert_array_equal(model(np.ones(3))[0], [3.0] * 3)


def test_donated_inputs(calls, tmp_path):
    x, y = pt.dvectors("x", "y")
    graph = gcomp.export_pytensor([x, y], [x + y, x], tmp_path / "g.json", donate=[x], dims={"x": [3], "y": [3]})
    model = load(graph, tmp_path)
    assert [i.donated for i in model.inputs] == [True, False]
    a, b = np.arange(3.0), np.ones(3)
    np.testing.assert_array_equal(model(a, b), [[1.0, 2.0, 3.0], [0.0, 1.0, 2.0]])
    frozen = np.arange(3.0)
    frozen.flags.writeable = False
    np.testing.assert_array_equal(model(a, frozen)[0], 2 * np.arange(3.0))
    with pytest.raises(ValueError, match="input 'x' is donated.*read-only"):
        model(frozen, b)
    with pytest.raises(gcomp.ModelError, match='donated input "x".*shares memory with input "y"'):
        model(a, a)


# ---- the command ----


def test_the_command_reads_and_writes_states(tmp_path):
    graph = counter(tmp_path)
    artifact = gcomp.compile(graph, tmp_path / "m.so")
    np.savez(tmp_path / "in.npz", x=np.ones(3))
    np.savez(tmp_path / "start.npz", scale=np.float64(3.0), count=np.int64(10))
    for program, *options in [(artifact,), (graph,), (graph, "--interpret")]:
        gcomp_cli.gcomp_ok("run", program, "--inputs", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz",
                           "--states", tmp_path / "start.npz", "--states-out", tmp_path / "end.npz",
                           "--repeat", 4, *options)  # fmt: skip
        assert list(gcomp.load_npz(tmp_path / "out.npz")) == ["output_0", "count"]
        end = gcomp.load_npz(tmp_path / "end.npz")
        assert end["count"] == 15 and end["scale"] == 3.0
        np.testing.assert_array_equal(end["total"], [15.0] * 3)
    np.savez(tmp_path / "wrong.npz", scal=np.float64(3.0))
    run = gcomp_cli.gcomp("run", artifact, "--inputs", tmp_path / "in.npz", "--states", tmp_path / "wrong.npz")
    assert run.returncode == 6 and "no state 'scal'" in run.stderr and "there is 'scale'" in run.stderr
    np.savez(tmp_path / "wrong.npz", total=np.zeros(4))
    for options in [], ["--interpret"]:
        run = gcomp_cli.gcomp("run", graph if options else artifact, "--inputs", tmp_path / "in.npz",
                              "--states", tmp_path / "wrong.npz", *options)  # fmt: skip
        assert run.returncode == 6 and "total" in run.stderr


def test_files_say_what_lives_between_calls(tmp_path):
    graph = counter(tmp_path)
    gcomp.compile(graph, tmp_path / "m.so")
    gcomp_cli.gcomp_ok("convert", graph, "-o", tmp_path / "g.gcb")
    for path in graph, tmp_path / "g.gcb", tmp_path / "m.so":
        told = json.loads(gcomp_cli.gcomp_ok("inspect", path, "--json"))
        assert [i["name"] for i in told["inputs"]] == ["x"]
        assert len(told["outputs"]) == 2
        assert told["states"] == [
            {"name": "count", "dtype": "int64", "dims": [], "changes": True, "initial": True},
            {"name": "total", "dtype": "float64", "dims": [3], "changes": True, "initial": True},
            {"name": "scale", "dtype": "float64", "dims": [], "changes": False, "initial": True},
        ]
        assert "scale: float64[], unchanged by runs" in gcomp_cli.gcomp_ok("inspect", path)
    assert gcomp.load(tmp_path / "m.so").description["states"] == told["states"]


def test_bisect_looks_at_one_step(tmp_path):
    np.savez(tmp_path / "in.npz", x=np.ones(3))
    out = gcomp_cli.gcomp_ok("bisect", counter(tmp_path), "--inputs", tmp_path / "in.npz", "-o", tmp_path / "r.json")
    assert "leave every output as it was" in out


def test_fixing_an_extent_must_fit_the_initial_value(tmp_path):
    x = pt.dvector("x")
    total = shared(np.zeros(3), "total")
    graph = gcomp.export_pytensor([x], [total], tmp_path / "g.json", {total: total + x},
                                  dims={"x": ["N"], "total": ["N"]})  # fmt: skip
    model = load(graph, tmp_path)
    model(np.ones(3))
    with pytest.raises(gcomp.ModelError, match="N is"):
        model(np.ones(4))
    model.states["total"] = np.zeros(4)
    model(np.ones(4))
    np.testing.assert_array_equal(model.states["total"], np.ones(4))
    gcomp.compile(graph, tmp_path / "m.so", dims={"N": 3})
    with pytest.raises(gcomp.CompileError, match=r"its initial value float64\[3\]"):
        gcomp.compile(graph, tmp_path / "m.so", dims={"N": 4})
