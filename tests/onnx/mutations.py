"""Small models that are fine, and ways to spoil them: in numbers that mean something, in any field of the protobuf, in
their bytes."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hostile_models import FLOAT, INT64, constant, graph_of, model, node, value
from onnx import TensorProto, helper

WHOLE = (
    -(2**63), -(2**31), -7, -2, -1, 0, 1, 2, 3, 4, 5, 8, 13, 64, 255, 4096, 2**24, 2**31 - 1, 2**31, 2**40, 2**63 - 1,
)  # fmt: skip
REAL = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, 3.4e38, float("inf"), float("-inf"), float("nan"))
OPS = """
    Conv ConvTranspose MaxPool AveragePool Relu Softmax Concat Split Slice Pad Resize Reshape Transpose Expand Tile
    Gather ReduceSum ReduceMean MatMul Gemm Add Where Cast Shape ConstantOfShape Range NonZero TopK Loop If Einsum LSTM
    OneHot DepthToSpace BatchNormalization InstanceNormalization LRN Clip Dropout Squeeze Unsqueeze Flatten Scan
    Constant
    """.split()  # noqa: SIM905


def ones(name: str, *shape: int) -> onnx.TensorProto:
    return constant(name, np.linspace(-1, 1, int(np.prod(shape))).reshape(shape), np.float32)


def network() -> onnx.ModelProto:
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", "c s b m v", "n"),
        node("Relu", "n", "r"),
        node("MaxPool", "r", "p", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]),
        node("Concat", "p r", "k", axis=1),
        node("AveragePool", "k", "a", kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
        node("GlobalAveragePool", "a", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f l", "o", transB=1, alpha=0.5),
        node("Softmax", "o", axis=1),
    ]
    weights = [ones("w", 4, 3, 3, 3), ones("l", 5, 8), *(constant(n, np.ones(4), np.float32) for n in "sbmv")]
    return model(nodes, weights)


def shapes() -> onnx.ModelProto:
    """Shape arithmetic around a reshape, a pad, an expand and a slice."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s i", "n", axis=0),
        node("Concat", "n m", "t", axis=0),
        node("Reshape", "x t", "r"),
        node("Pad", "r p", "q", mode="edge"),
        node("Slice", "q a e d", "z"),
        node("Unsqueeze", "z d", "u"),
        node("Expand", "u f", "y"),
    ]
    whole = {"i": [0], "m": [-1, 4], "p": [0, 1, 0, 0, 1, 0], "a": [1], "e": [9], "d": [1], "f": [1, 2, 1, 1]}
    return model(nodes, [constant(name, numbers) for name, numbers in whole.items()], [value("x", ("N", 3, 8, 8))])


def images() -> onnx.ModelProto:
    nodes = [
        node("Resize", "x _ r", "z", mode="linear", coordinate_transformation_mode="align_corners"),
        node("ConvTranspose", "z w", "c", strides=[2, 2], group=1),
        node("DepthToSpace", "c", "d", blocksize=2),
        node("InstanceNormalization", "d s s", "n"),
        node("LRN", "n", "l", size=3),
        node("Transpose", "l", "t", perm=[0, 2, 3, 1]),
        node("Clip", "t lo hi", "h"),
        node("ReduceMean", "h", axes=[1, 2], keepdims=0),
    ]
    floats = [constant(n, v, np.float32) for n, v in (("r", [1, 1, 2, 1.5]), ("s", [1]), ("lo", -1), ("hi", 1))]
    return model(nodes, [ones("w", 3, 4, 2, 2), *floats])


def values() -> onnx.ModelProto:
    """Shapes that hang on values, whole numbers, what runs on the evaluator."""
    nodes = [
        node("NonZero", "x", "i"),
        node("Transpose", "i", "t", perm=[1, 0]),
        node("GatherND", "x t", "g"),
        node("TopK", "g k", "v w", axis=0),
        node("Range", "a b c", "r"),
        node("ConstantOfShape", "k", "o"),
        node("Cast", "o", "p", to=FLOAT),
        node("Tile", "v n", "q"),
        node("Cast", "r", "e", to=FLOAT),
        node("Mul", "q p", "m"),
        node("Add", "m e", "y"),
    ]
    whole = {"k": [4], "a": 0, "b": 4, "c": 1, "n": [1]}
    return model(nodes, [constant(name, numbers) for name, numbers in whole.items()])


def types() -> onnx.ModelProto:
    """Half floats, whole numbers and truth values; two inputs and two outputs."""
    nodes = [
        node("Cast", "x", "h", to=TensorProto.FLOAT16),
        node("MatMul", "h w", "m"),
        node("Cast", "m", "f", to=FLOAT),
        node("Greater", "f z", "g"),
        node("Where", "g f z", "y"),
        node("ReduceSum", "k a", "s", keepdims=0),
        node("Split", "s", "u v", axis=0),
    ]
    weights = [constant("w", np.ones((8, 5)), np.float16), constant("z", 0, np.float32), constant("a", [1])]
    inputs, outputs = [value("x"), value("k", (2, 3), INT64)], [value("y", None), value("u", None, INT64)]
    return model(nodes, weights, inputs, outputs, 13)


def branches() -> onnx.ModelProto:
    """An If on a constant, and a function of the model's own."""
    then, other = graph_of(node("Relu", "x", "out")), graph_of(node("Abs", "x", "out"))
    choice = node("If", "c", "i", then_branch=then, else_branch=other)
    nodes = [choice, helper.make_node("F", ["i"], ["y"], domain="own")]
    m = model(nodes, [constant("c", True, np.bool_)], outputs=[value("y", None)])
    m.opset_import.append(helper.make_opsetid("own", 1))
    body = [helper.make_node("Mul", ["a", "a"], ["b"])]
    m.functions.append(helper.make_function("own", "F", ["a"], ["b"], body, list(m.opset_import)))
    return m


def signals() -> onnx.ModelProto:
    """One dimension, grouped and dilated."""
    nodes = [
        node("Conv", "x w", "c", dilations=[2], group=3),
        node("Unsqueeze", "c a", "u"),
        node("Conv", "u v", "e", pads=[0, 1, 0, 1]),
        node("Squeeze", "e a", "d"),
        node("AveragePool", "d", "p", kernel_shape=[2], ceil_mode=1, count_include_pad=1),
        node("PRelu", "p s", "y"),
    ]
    weights = [ones("w", 3, 1, 3), ones("v", 3, 3, 1, 3), constant("a", [2]), ones("s", 3, 1)]
    return model(nodes, weights, [value("x", (2, 3, 16))])


MODELS = (network, shapes, images, values, types, branches, signals)


def sites(message: Message) -> Iterator[tuple[Message, FieldDescriptor, int | None]]:
    """Every place that can be changed: a field that is set, or one entry of a repeated one."""
    for field, content in message.ListFields():
        if not isinstance(content, (str, bytes)) and hasattr(content, "__len__") and not isinstance(content, Message):
            for i, entry in enumerate(content):
                yield message, field, i
                if isinstance(entry, Message):
                    yield from sites(entry)
        else:
            yield message, field, None
            if isinstance(content, Message):
                yield from sites(content)


def mutate(message: Message, rng: random.Random) -> None:
    """Change one field somewhere in it."""
    places = list(sites(message))
    if not places:
        return
    at, field, index = rng.choice(places)
    content = getattr(at, field.name)
    if index is not None and rng.random() < 0.3:
        _rearrange(content, index, rng)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        target = content if index is None else content[index]
        if rng.random() < 0.3:
            target.Clear()
        else:
            target.CopyFrom(_another(message, target, rng))
    else:
        fresh = _scalar(message, field, content if index is None else content[index], rng)
        try:
            if index is None:
                setattr(at, field.name, fresh)
            else:
                content[index] = fresh
        except (ValueError, TypeError):  # out of the field's range, no UTF-8
            at.ClearField(field.name)


def tweak(m: onnx.ModelProto, rng: random.Random) -> None:
    """Change a number that means something: of a constant, an attribute, a dimension, an opset; or an operand."""
    nodes = list(m.graph.node)
    attributes = [a for n in nodes for a in n.attribute if a.type != onnx.AttributeProto.GRAPH]
    choices = [lambda: _number(rng.choice(m.graph.initializer), rng)] * 4 if m.graph.initializer else []
    choices += [lambda: _attribute(rng.choice(attributes), rng)] * 4 if attributes else []
    choices += [lambda: _dimension(rng.choice(m.graph.input), rng)] if m.graph.input else []
    choices += [lambda: _operand(nodes, rng)] if nodes else []
    choices += [lambda: setattr(rng.choice(m.opset_import), "version", rng.randrange(1, 26))] if m.opset_import else []
    if choices:
        rng.choice(choices)()


def _number(tensor: onnx.TensorProto, rng: random.Random) -> None:
    """One element of a constant, or its shape: the same bytes as other rows and columns."""
    if rng.random() < 0.2:
        total = int(np.prod(tensor.dims, dtype=np.int64))
        factor = rng.choice((1, 2, 3, max(total, 1)))
        if total % factor == 0:
            tensor.dims[:] = rng.choice(
                ([factor, total // factor], [total], [1, factor, 1, total // factor], [total, 1])
            )
        return
    formats = {FLOAT: ("f", REAL), INT64: ("q", WHOLE)}
    letter, numbers = formats.get(tensor.data_type, ("B", range(256)))
    size = struct.calcsize(letter)
    if len(tensor.raw_data) >= size:
        data = bytearray(tensor.raw_data)
        struct.pack_into(letter, data, size * rng.randrange(len(data) // size), rng.choice(numbers))
        tensor.raw_data = bytes(data)


def _attribute(attribute: onnx.AttributeProto, rng: random.Random) -> None:
    kinds = onnx.AttributeProto
    if attribute.type == kinds.INT:
        attribute.i = rng.choice(WHOLE)
    elif attribute.type == kinds.FLOAT:
        attribute.f = rng.choice(REAL)
    elif attribute.type == kinds.STRING:
        attribute.s = rng.choice((b"", b"SAME_LOWER", b"VALID", b"cubic", b"reflect", b"CRD", b"floor", b"\xff"))
    elif attribute.type == kinds.INTS and attribute.ints:
        how = rng.random()
        if how < 0.6:
            attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(WHOLE)
        elif how < 0.8:
            attribute.ints.append(rng.choice(WHOLE))
        else:
            del attribute.ints[0]


def _dimension(info: onnx.ValueInfoProto, rng: random.Random) -> None:
    shape = info.type.tensor_type.shape
    if shape.dim and rng.random() < 0.8:
        shape.dim[rng.randrange(len(shape.dim))].dim_value = rng.choice((0, 1, 2, 3, 4, 7, 8, 9, 16, 33, 2**20))
    elif shape.dim and rng.random() < 0.5:
        del shape.dim[0]
    else:
        shape.dim.add().dim_value = rng.choice((0, 1, 3))


def _operand(nodes: list[onnx.NodeProto], rng: random.Random) -> None:
    """A node reads something else that is there by then, or does something else."""
    at = rng.randrange(len(nodes))
    if rng.random() < 0.2:
        nodes[at].op_type = rng.choice(OPS)
        return
    there = [name for n in nodes[: at + 1] for name in n.input] + [name for n in nodes[:at] for name in n.output]
    if nodes[at].input:
        nodes[at].input[rng.randrange(len(nodes[at].input))] = rng.choice(["", *there])


def _rearrange(content: Any, index: int, rng: random.Random) -> None:
    """Take an entry out, or put it there a few times more."""
    entry = content[index]
    if rng.random() < 0.5:
        del content[index]
    else:
        content.extend([entry] * rng.choice((1, 2, 40)))


def _another(root: Message, like: Message, rng: random.Random) -> Message:
    """A message of the same type from elsewhere in the model."""
    found = [like]
    for at, field, index in sites(root):
        content = getattr(at, field.name)
        entry = content if index is None else content[index]
        if isinstance(entry, type(like)):
            found.append(entry)
    copy = type(like)()
    copy.CopyFrom(rng.choice(found))
    return copy


def _scalar(root: Message, field: FieldDescriptor, old: Any, rng: random.Random) -> Any:
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return rng.choice((rng.choice(WHOLE), old + 1, old - 1, -old, rng.randrange(30)))
    if isinstance(old, float):
        return rng.choice(REAL)
    if isinstance(old, bytes):
        return _spoiled(old, rng)
    if field.name == "op_type":
        return rng.choice(OPS)
    names = {name for n in getattr(root, "graph", onnx.GraphProto()).node for name in (*n.input, *n.output)}
    return rng.choice((*sorted(names), "", "nowhere", "ai.onnx", "x" * 3000, "\0", "é%s{}"))


def _spoiled(data: bytes, rng: random.Random) -> bytes:
    """Bytes that are cut, grown, flipped or shuffled."""
    if not data:
        return rng.randbytes(rng.randrange(9))
    spoiled, place = bytearray(data), rng.randrange(len(data))
    how = rng.randrange(5)
    if how == 0:
        del spoiled[place:]
    elif how == 1:
        spoiled[place] ^= 1 << rng.randrange(8)
    elif how == 2:
        del spoiled[place : place + rng.randrange(1, 9)]
    elif how == 3:
        spoiled[place:place] = rng.randbytes(rng.randrange(1, 9))
    else:
        start = rng.randrange(len(data))
        spoiled[place : place + 16] = data[start : start + 16]
    return bytes(spoiled)


def spoiled(seed: int) -> bytes:
    """A model that is spoiled in one to three places; the same one for the same seed."""
    rng = random.Random(seed)
    m = rng.choice(MODELS)()
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice((mutate, tweak, tweak))(m, rng)
    data = m.SerializeToString()
    return _spoiled(data, rng) if rng.random() < 0.1 else data
