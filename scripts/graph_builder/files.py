"""Writes a Graph as .json or .gcb (lib/formats/README.md, lib/formats/binary.cpp), a million nodes in seconds."""

import json
import struct
from pathlib import Path

import numpy as np

DTYPES = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64".split()
)
# Kinds of attributes in the binary form.
INT, STRING, DTYPE, INTS, DIMS = 0, 2, 3, 4, 5
KINDS = {
    "axes": INTS, "axis": INT, "dilations": INTS, "dtype": DTYPE, "high": DIMS, "low": DIMS,
    "output_padding": DIMS, "perm": INTS, "reduction": STRING, "shape": DIMS, "starts": DIMS, "strides": INTS,
}  # fmt: skip


def write(graph, path):
    path = Path(path)
    if path.suffix == ".json":
        _write_json(graph, path)
    elif path.suffix == ".gcb":
        path.write_bytes(_binary(graph))
    else:
        raise ValueError(f"{path}: the name must end in .json or .gcb")


def _numbering(graph):
    """By value id, the file's: inputs, constants, then results in order."""
    ids = [0] * len(graph.node_of)
    order = [v for _, v in graph.inputs] + [v for v, _ in graph.constants] + [n[3] for n in graph.nodes]
    for new, value in enumerate(order):
        ids[value.id] = new
    return ids


# ---- JSON ----


def _write_json(graph, path):
    ids = _numbering(graph)
    texts = {}  # attributes are few: their text is made once

    def attributes_text(attributes):
        key = tuple(attributes.items())
        if key not in texts:
            texts[key] = f', "attrs": {json.dumps(attributes)}'
        return texts[key]

    def node_text(node):
        op, operands, attributes, result = node
        operands = ", ".join([str(ids[v.id]) for v in operands])
        rest = attributes_text(attributes) if attributes else ""
        return f'  {{"op": "{op}", "in": [{operands}], "out": [{ids[result.id]}]{rest}}}'

    def section(name, lines):
        return f' "{name}": [\n' + ",\n".join(lines) + "\n ]"

    def value_text(value, **more):
        return "  " + json.dumps({"id": ids[value.id], **more})

    parts = [
        ' "version": 1',
        f' "name": {json.dumps(graph.name)}',
        ' "symbols": []',
        section("inputs", [value_text(v, name=n, dtype=v.dtype, shape=v.shape) for n, v in graph.inputs]),
        section(
            "constants",
            [value_text(v, dtype=v.dtype, shape=v.shape, data=a.ravel().tolist()) for v, a in graph.constants],
        ),
        section("nodes", map(node_text, graph.nodes)),
        section("outputs", [value_text(v, name=n) for n, v in graph.outputs]),
    ]
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


# ---- binary ----


def _varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _zigzag(number):
    return _varint(number << 1 ^ number >> 63)


class _Table:
    """Things by their first use, each once."""

    def __init__(self):
        self.ids = {}

    def __call__(self, thing):
        return self.ids.setdefault(thing, len(self.ids))

    def __iter__(self):
        return iter(self.ids)

    def __len__(self):
        return len(self.ids)


class _Varints(dict):
    """The encodings of numbers, kept."""

    def __missing__(self, number):
        self[number] = text = _varint(number)
        return text


def _binary(graph):
    ids = _numbering(graph)
    strings, dims, attribute_lists, constants = _Table(), _Table(), _Table(), _Table()
    varint = _Varints()
    nothing = _varint(strings(""))

    def dim(n):
        return varint[dims(strings(str(n)))]

    def attribute(key, value):
        kind = KINDS[key]
        head = _varint(strings(key)) + _varint(kind)
        if kind == INT:
            return head + _zigzag(value)
        if kind == STRING:
            return head + _varint(strings(value))
        if kind == DTYPE:
            return head + _varint(DTYPES.index(value))
        return head + _varint(len(value)) + b"".join(map(_zigzag if kind == INTS else dim, value))

    def encode_attributes(attributes):
        return _varint(len(attributes)) + b"".join(attribute(k, v) for k, v in attributes.items())

    attribute_lists(b"\0")
    heads = {}  # (op, attributes) -> the bytes of a node that come before its operands

    def head(op, attributes):
        key = (op, tuple(attributes.items()) if attributes else None)
        if key not in heads:
            index = attribute_lists(encode_attributes(attributes)) if attributes else 0
            heads[key] = _varint(strings(op)) + _varint(index) + nothing
        return heads[key]

    out = [varint[0], varint[len(graph.inputs)]]
    for name, v in graph.inputs:
        out += [varint[strings(name)], nothing, varint[DTYPES.index(v.dtype)], varint[len(v.shape)], *map(dim, v.shape)]
    out.append(varint[len(graph.constants)])
    for v, array in graph.constants:
        out += [varint[constants((v.dtype, v.shape, array.tobytes()))], nothing]
    out.append(varint[len(graph.nodes)])
    for op, operands, attributes, result in graph.nodes:
        at = ids[result.id]
        out += [head(op, attributes), varint[len(operands)], *[varint[at - ids[v.id]] for v in operands]]
    out.append(varint[len(graph.outputs)])
    for name, v in graph.outputs:
        out += [varint[strings(name)], varint[ids[v.id]]]
    out.append(varint[0])

    begin = [b"GCOMPBIN", struct.pack("<II", 1, 0), _varint(len(strings))]
    for s in strings:
        begin += [_varint(len(s.encode())), s.encode()]
    begin += [_varint(len(dims)), *map(_varint, dims), _varint(len(constants))]
    offset, data = 0, []
    for dtype, shape, content in constants:
        begin += [_varint(DTYPES.index(dtype)), _varint(len(shape)), *map(_varint, shape), _varint(offset)]
        data.append(content + bytes(-len(content) % 64))
        offset += len(data[-1])
    begin += [_varint(len(attribute_lists)), *attribute_lists, _varint(1)]
    text = b"".join(begin + out)
    return b"".join([text, bytes(-len(text) % 64), *data])


def sample_inputs(graph, seed=1):
    """An array for each input, by name: normal, of scale 0.5; of integers, 0 or 1."""
    rng = np.random.default_rng(seed)
    return {name: np.asarray(0.5 * rng.normal(size=v.shape), v.dtype) for name, v in graph.inputs}
