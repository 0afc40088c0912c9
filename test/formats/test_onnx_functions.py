"""Functions of an ONNX model are inlined: against ONNX Runtime, which does so itself, or NumPy."""

import numpy as np
import onnx
import onnxruntime
import pytest
from gcomp_cli import gcomp, run_npz
from onnx import AttributeProto, TensorProto, helper

OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
RNG = np.random.default_rng(11)


def function(name, inputs, outputs, nodes, attributes=(), defaults=()):
    return helper.make_function("local", name, inputs, outputs, nodes, OPSETS, list(attributes), list(defaults))


def node(op, inputs, outputs, domain="", refer=None, **attributes):
    """`refer` maps attributes of the node to those of the function around it."""
    made = helper.make_node(op, inputs, outputs, domain=domain, **attributes)
    for name, (outer, kind) in (refer or {}).items():
        made.attribute.append(AttributeProto(name=name, ref_attr_name=outer, type=kind))
    return made


def model(nodes, functions, inputs=("x",), outputs=("y",)):
    def values(names):
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4]) for n in names]

    graph = helper.make_graph(nodes, "g", values(inputs), values(outputs))
    return helper.make_model(graph, opset_imports=OPSETS, functions=functions, ir_version=10)


LEAK = {"alpha": ("slope", AttributeProto.FLOAT)}
LEAKY = function(
    "leaky", ["a"], ["r"], [node("LeakyRelu", ["a"], ["t"], refer=LEAK), node("Exp", ["t"], ["r"])], ["slope"]
)
TWICE = function(
    "twice",
    ["a", "b"],
    ["r"],
    [
        node("leaky", ["a"], ["t"], "local", refer={"slope": ("strength", AttributeProto.FLOAT)}),
        node("leaky", ["b"], ["u"], "local", slope=0.25),
        node("Add", ["t", "u"], ["r"]),
    ],
    defaults=[helper.make_attribute("strength", 0.75)],
)


def branch(op, result):
    out = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
    return helper.make_graph([node(op, ["a"], [result], refer=LEAK if op == "LeakyRelu" else None)], op, [], [out])


CHOOSE = function(
    "choose",
    ["a"],
    ["r"],
    [
        node("ReduceMax", ["a"], ["m"], keepdims=0),
        node("Constant", [], ["zero"], value_float=0.0),
        node("Greater", ["m", "zero"], ["c"]),
        node("If", ["c"], ["r"], then_branch=branch("LeakyRelu", "p"), else_branch=branch("Neg", "q")),
    ],
    ["slope"],
)

MODELS = {
    "attributes": model([node("leaky", ["x"], ["y"], "local", slope=0.5)], [LEAKY]),
    "an attribute left out": model([node("leaky", ["x"], ["y"], "local")], [LEAKY]),
    "names of the caller": model(
        [node("Neg", ["x"], ["t"]), node("leaky", ["t"], ["r"], "local", slope=2.0), node("Add", ["r", "t"], ["y"])],
        [LEAKY],
    ),
    "calls in calls": model(
        [
            node("twice", ["x", "z"], ["u"], "local"),
            node("twice", ["u", "x"], ["v"], "local", strength=0.125),
            node("Mul", ["u", "v"], ["y"]),
        ],
        [LEAKY, TWICE],
        ["x", "z"],
    ),
    "nested graphs": model([node("choose", ["x"], ["y"], "local", slope=0.5)], [CHOOSE]),
}


@pytest.mark.parametrize("how", [[], ["--interpret"]])
@pytest.mark.parametrize("name", MODELS)
def test_functions_are_inlined(name, how, tmp_path):
    onnx.save(MODELS[name], tmp_path / "model.onnx")
    inputs = {i.name: RNG.normal(size=(3, 4)).astype(np.float32) for i in MODELS[name].graph.input}
    wanted = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, inputs)
    found = run_npz(tmp_path / "model.onnx", inputs, tmp_path, *how)
    np.testing.assert_allclose(found["y"], wanted[0], rtol=2e-6)


def test_an_optional_input_may_be_left_out(tmp_path):
    clip = function("clip", ["a", "low", "high"], ["r"], [node("Clip", ["a", "low", "high"], ["r"])])
    nodes = [node("Constant", [], ["c"], value_float=0.5), node("clip", ["x", "", "c"], ["y"], "local")]
    onnx.save(model(nodes, [clip]), tmp_path / "model.onnx")
    x = RNG.normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(run_npz(tmp_path / "model.onnx", {"x": x}, tmp_path)["y"], np.minimum(x, 0.5))


def fails(tmp_path, made) -> str:
    onnx.save(made, tmp_path / "model.onnx")
    done = gcomp(tmp_path / "model.onnx", "-o", tmp_path / "x.so")
    assert done.returncode == 1
    return done.stderr


def test_what_is_wrong_in_a_function_is_placed(tmp_path):
    bad = function("bad", ["a"], ["r"], [node("Mystery", ["a"], ["t"], name="inner"), node("Nowhere", ["t"], ["r"])])
    message = fails(tmp_path, model([node("bad", ["x"], ["y"], "local", name="outer")], [bad]))
    assert "function bad: inner: operator Mystery" in message and "Nowhere_#1" in message
    late = function("late", ["a"], ["r"], [node("Neg", ["missing"], ["r"], name="inner")])
    message = fails(tmp_path, model([node("late", ["x"], ["y"], "local", name="outer")], [late]))
    assert "outer/inner: value 'missing'" in message
    unused = function("unused", ["a"], ["r"], [node("Mystery", ["a"], ["r"])])
    onnx.save(model([node("Neg", ["x"], ["y"])], [unused]), tmp_path / "model.onnx")
    assert gcomp(tmp_path / "model.onnx", "-o", tmp_path / "x.so").returncode == 0


def test_functions_without_end_are_refused(tmp_path):
    again = function("again", ["a"], ["r"], [node("again", ["a"], ["r"], "local")])
    assert "calls itself" in fails(tmp_path, model([node("again", ["x"], ["y"], "local")], [again]))
    doubling = [function("f0", ["a"], ["r"], [node("Neg", ["a"], ["r"])])]
    for i in range(1, 40):  # 2^40 nodes
        calls = [node(f"f{i - 1}", ["a"], ["t"], "local"), node(f"f{i - 1}", ["t"], ["r"], "local")]
        doubling.append(function(f"f{i}", ["a"], ["r"], calls))
    assert "too often" in fails(tmp_path, model([node("f39", ["x"], ["y"], "local")], doubling))
