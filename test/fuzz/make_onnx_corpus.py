#!/usr/bin/env python3
"""Writes the seeds of the ONNX fuzzer: small models that together use most import functions.

usage: make_onnx_corpus.py [FOLDER]   (needs the onnx package; default: corpus/onnx beside this file)
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def info(name, shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes, inputs, outputs, weights=None, opset=18):
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", inputs, [info(o, None) for o in outputs], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="")


def chain(ops, inputs, weights=None, opset=18):
    """Each op reads the first input (and what it names) and is an output."""
    nodes, outputs = [], []
    for i, (op, names, attributes) in enumerate(ops):
        nodes.append(helper.make_node(op, ["x", *names], [f"y{i}"], **attributes))
        outputs.append(f"y{i}")
    return model(nodes, inputs, outputs, weights, opset)


def models():
    f32 = np.float32
    i64 = np.int64
    x2 = [info("x", ["n", 6])]
    x4 = [info("x", ["n", 4, 8, "w"])]
    yield "elementwise", chain(
        [(op, [], {}) for op in ("Relu", "Gelu", "Selu", "Mish", "HardSwish", "Softsign", "Erf", "IsInf", "Softmax",
                                 "Hardmax", "LogSoftmax", "Round", "Reciprocal", "Shape", "Size", "NonZero")]
        + [("Clip", ["lo", "lo"], {}), ("Pow", ["lo"], {}), ("Max", ["row", "lo"], {}), ("Mod", ["row"], {"fmod": 1})],
        x2, {"lo": f32(0.5), "row": np.ones(6, f32)}, 20)
    yield "layout", chain(
        [("Reshape", ["shape"], {}), ("Transpose", [], {"perm": [1, 0]}), ("Slice", ["a", "b", "c"], {}),
         ("Pad", ["pads"], {"mode": "reflect"}), ("Tile", ["reps"], {}), ("Expand", ["reps"], {}),
         ("Squeeze", ["none"], {}), ("Unsqueeze", ["c"], {}), ("Split", [], {"axis": 1, "num_outputs": 1}),
         ("Flatten", [], {}), ("Trilu", [], {}), ("EyeLike", [], {}), ("CumSum", ["axis"], {}),
         ("TopK", ["c"], {}), ("Gather", ["c"], {"axis": 1}), ("OneHot", ["depth", "off_on"], {})],
        x2, {"shape": np.array([2, -1], i64), "a": np.array([1], i64), "b": np.array([2**31 - 1], i64),
             "c": np.array([1], i64), "pads": np.array([0, 1, 0, 1], i64), "reps": np.array([2, 1], i64),
             "none": np.array([], i64), "axis": np.array(0, i64), "depth": np.array(3, i64),
             "off_on": np.array([0, 1], f32)})
    yield "windows", chain(
        [("Conv", ["w", "b"], {"pads": [1, 1, 1, 1], "strides": [2, 1]}),
         ("ConvTranspose", ["t"], {"strides": [2, 2], "output_padding": [1, 0]}),
         ("MaxPool", [], {"kernel_shape": [3, 3], "ceil_mode": 1, "dilations": [1, 2]}),
         ("AveragePool", [], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "count_include_pad": 1}),
         ("LpPool", [], {"kernel_shape": [2, 2]}), ("GlobalAveragePool", [], {}),
         ("BatchNormalization", ["b", "b", "b", "b"], {}), ("InstanceNormalization", ["b", "b"], {}),
         ("LRN", [], {"size": 3}), ("DepthToSpace", [], {"blocksize": 2}),
         ("Resize", ["", "scales"], {"mode": "linear"}), ("Resize", ["", "scales"], {"mode": "cubic"}),
         ("Resize", ["", "", "sizes"], {"mode": "nearest"})],
        x4, {"w": np.ones((4, 4, 3, 3), f32), "b": np.ones(4, f32), "t": np.ones((4, 2, 2, 2), f32),
             "scales": np.array([1, 1, 2, 0.5], f32), "sizes": np.array([1, 4, 5, 7], i64)})
    yield "reductions", chain(
        [(op, ["axes"], {"keepdims": 0}) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2",
                                                    "ReduceLogSumExp")]
        + [("ArgMax", [], {"axis": 1}), ("LayerNormalization", ["s"], {}), ("LpNormalization", [], {}),
           ("MatMul", ["m"], {}), ("Gemm", ["m", "s"], {"alpha": 0.5})],
        x2, {"axes": np.array([1], i64), "s": np.ones(6, f32), "m": np.ones((6, 6), f32)})
    yield "einsum", chain([("Einsum", ["m"], {"equation": "...i,ij->...j"})], x2, {"m": np.ones((6, 2), f32)})
    yield "quantize", chain(
        [("QuantizeLinear", ["s", "z"], {}), ("DynamicQuantizeLinear", [], {})], x2,
        {"s": f32(0.1), "z": np.array(3, np.uint8)}, 21)
    then = helper.make_graph([helper.make_node("Add", ["x", "x"], ["r"])], "t", [], [info("r", None)])
    other = helper.make_graph([helper.make_node("Slice", ["x", "one", "two"], ["r"])], "e", [], [info("r", None)])
    yield "if", model([helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
                      [info("c", [], BOOL), info("x", ["n", 6])], ["y"],
                      {"one": np.array([1], i64), "two": np.array([5], i64)})
    body = helper.make_graph(
        [helper.make_node("Concat", ["acc", "x"], ["next"], axis=0),
         helper.make_node("Identity", ["go"], ["again"]), helper.make_node("ReduceSum", ["next"], ["sum"])],
        "b", [info("i", [], INT64), info("go", [], BOOL), info("acc", ["k", 6])],
        [info("again", [], BOOL), info("next", None), info("sum", None)])
    yield "loop", model([helper.make_node("Loop", ["m", "", "x"], ["y", "z"], body=body)],
                        [info("m", [], INT64), info("x", ["n", 6])], ["y", "z"])
    body = helper.make_graph([helper.make_node("Add", ["s", "e"], ["t"]), helper.make_node("Identity", ["t"], ["o"])],
                             "b", [info("s", [6]), info("e", [6])], [info("t", None), info("o", None)])
    yield "scan", model([helper.make_node("Scan", ["s0", "x"], ["y", "z"], body=body, num_scan_inputs=1)],
                        x2, ["y", "z"], {"s0": np.zeros(6, f32)})
    yield "lstm", model([helper.make_node("LSTM", ["x", "w", "r", "b"], ["y", "h", "c"], hidden_size=2)],
                        [info("x", ["t", 3, 2])], ["y", "h", "c"],
                        {"w": np.ones((1, 8, 2), f32), "r": np.ones((1, 8, 2), f32), "b": np.ones((1, 16), f32)})
    yield "attention", model([helper.make_node("Attention", ["x", "x", "x"], ["y"], is_causal=1, softcap=2.0)],
                             [info("x", ["b", 2, "s", 4])], ["y"], opset=23)
    yield "grid", model([helper.make_node("GridSample", ["x", "g"], ["y"], mode="cubic", padding_mode="reflection")],
                        [info("x", [1, 1, "h", 4]), info("g", [1, "p", 3, 2])], ["y"], opset=20)
    yield "indexed", model(
        [helper.make_node("ScatterElements", ["x", "i", "x"], ["a"], axis=1, reduction="add"),
         helper.make_node("GatherElements", ["x", "i"], ["b"], axis=1),
         helper.make_node("Compress", ["x", "c"], ["d"], axis=0), helper.make_node("Unique", ["x"], ["u", "v", "w", "z"]),
         helper.make_node("ReverseSequence", ["x", "l"], ["e"], batch_axis=0, time_axis=1),
         helper.make_node("ConstantOfShape", ["l"], ["f"]), helper.make_node("Range", ["p", "q", "p"], ["g"])],
        [info("x", ["n", 6]), info("i", ["n", 6], INT64), info("c", ["n"], BOOL), info("l", [2], INT64),
         info("p", [], INT64), info("q", [], INT64)], ["a", "b", "d", "u", "v", "w", "z", "e", "f", "g"])
    yield "stft", model([helper.make_node("STFT", ["x", "s", "w"], ["y"])], [info("x", ["b", 64, 1])], ["y"],
                        {"s": np.array(8, i64), "w": np.ones(16, f32)})
    yield "loss", model([helper.make_node("SoftmaxCrossEntropyLoss", ["x", "l"], ["y"], ignore_index=1)],
                        [info("x", ["n", 6]), info("l", ["n"], INT64)], ["y"])
    # A function that calls one with an attribute handed on and a branch inside.
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]
    leaky = helper.make_node("LeakyRelu", ["a"], ["p"])
    leaky.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    branches = [helper.make_graph([leaky], "t", [], [info("p", None)]),
                helper.make_graph([helper.make_node("Neg", ["a"], ["q"])], "e", [], [info("q", None)])]
    inner = helper.make_function(
        "f", "inner", ["a", "c", "unused"], ["r"],
        [helper.make_node("If", ["c"], ["r"], then_branch=branches[0], else_branch=branches[1])], opsets, ["slope"])
    call = helper.make_node("inner", ["a", "c"], ["r"], domain="f")
    call.attribute.append(onnx.AttributeProto(name="slope", ref_attr_name="s", type=onnx.AttributeProto.FLOAT))
    outer = helper.make_function("f", "outer", ["a", "c"], ["r"], [call], opsets, [], [helper.make_attribute("s", 0.5)])
    graph = helper.make_graph([helper.make_node("outer", ["x", "b"], ["y"], domain="f")], "g",
                              [info("x", ["n", 6]), info("b", [], BOOL)], [info("y", None)])
    yield "functions", helper.make_model(graph, opset_imports=opsets, functions=[inner, outer], producer_name="")


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "corpus" / "onnx"
    folder.mkdir(parents=True, exist_ok=True)
    for name, m in models():
        (folder / f"{name}.onnx").write_bytes(m.SerializeToString())


if __name__ == "__main__":
    main()
