"""Models that must be refused: kilobytes that ask for gigabytes, names that dangle, graphs that turn in circles.

CASES: what it is -> (a function that makes the model, words that the refusal must have).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
HUGE = 1 << 40


def value(name: str, shape: Sequence[Any] | None = (1, 3, 8, 8), kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name: str, array: Any, dtype: Any = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array, dtype), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[onnx.TensorProto] = (),
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model from x (1, 3, 8, 8) to y."""
    inputs = [value("x")] if inputs is None else inputs
    outputs = [value("y", None)] if outputs is None else outputs
    graph = helper.make_graph(list(nodes), "hostile", list(inputs), list(outputs), list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """`node("Add", "a b", "y")`; "_" is an input left out. It is called after its op."""
    given = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(op, given, outputs.split(), name=f"the_{op}", **attributes)


def weightless(name: str, dims: Sequence[int], kind: int = FLOAT, raw: bytes = b"1234") -> onnx.TensorProto:
    """A tensor that says it is large and is not."""
    return TensorProto(name=name, dims=dims, data_type=kind, raw_data=raw)


def single(op: str, inputs: str = "x", *initializers: onnx.TensorProto, opset: int = 17, **attributes: Any):
    """A function that makes a model of one node."""
    return lambda: model([node(op, inputs, **attributes)], initializers, opset=opset)


def graph_of(*nodes: onnx.NodeProto, outputs: Sequence[str] = ("out",)) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "inner", [], [value(name, None) for name in outputs])


# --- names and graphs


def cycle() -> onnx.ModelProto:
    return model([node("Relu", "b", "a"), node("Sigmoid", "a", "b"), node("Add", "x b", "y")])


def long_cycle() -> onnx.ModelProto:
    ring = [helper.make_node("Relu", [f"v{i}"], [f"v{(i + 1) % 5000}"], name=f"r{i}") for i in range(5000)]
    return model([*ring, node("Add", "x v0", "y")])


def deep_chain() -> onnx.ModelProto:
    """Nothing wrong with it, but for the opset: whoever walks it by recursion is gone before that is seen."""
    chain = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"], name=f"r{i}") for i in range(20000)]
    return model([node("Relu", "x", "v0"), *reversed(chain), node("NoSuchOp", "v20000", "y")])


def duplicate_initialiser() -> onnx.ModelProto:
    return model([node("Add", "x w")], [constant("w", 1, np.float32), constant("w", 2, np.float32)])


def without(field: str) -> Callable[[], onnx.ModelProto]:
    def made() -> onnx.ModelProto:
        m = model([node("Relu", "x")])
        m.ClearField(field)
        return m

    return made


def domains(*versions: tuple[str, int], domain: str = "") -> Callable[[], onnx.ModelProto]:
    def made() -> onnx.ModelProto:
        m = model([helper.make_node("Relu", ["x"], ["y"], name="the_Relu", domain=domain)])
        del m.opset_import[:]
        m.opset_import.extend(helper.make_opsetid(*version) for version in versions)
        return m

    return made


def recursive_function() -> onnx.ModelProto:
    m = model([helper.make_node("F", ["x"], ["y"], domain="own")])
    m.opset_import.append(helper.make_opsetid("own", 1))
    calls = [helper.make_node("F", ["a"], ["b"], domain="own")]
    m.functions.append(helper.make_function("own", "F", ["a"], ["b"], calls, list(m.opset_import)))
    return m


def exponential_functions() -> onnx.ModelProto:
    """Each of 30 functions calls the one before twice."""
    m = model([helper.make_node("F30", ["x"], ["y"], domain="own")])
    m.opset_import.append(helper.make_opsetid("own", 1))
    for i in range(31):
        calls = [
            helper.make_node(f"F{i - 1}" if i else "Relu", [a], [b], domain="own" if i else "")
            for a, b in (("a", "m"), ("m", "b"))
        ]
        m.functions.append(helper.make_function("own", f"F{i}", ["a"], ["b"], calls, list(m.opset_import)))
    return m


# --- sizes


def shape_bomb(op: str, dims: Sequence[int], inputs: str = "x s") -> Callable[[], onnx.ModelProto]:
    return single(op, inputs, constant("s", dims))


def doubling(steps: int = 60) -> onnx.ModelProto:
    """Every node makes its output twice as large as its input."""
    chain = [helper.make_node("Concat", [f"v{i}"] * 2, [f"v{i + 1}"], name=f"c{i}", axis=0) for i in range(steps)]
    return model([node("Relu", "x", "v0"), *chain, node("Relu", f"v{steps}", "y")])


def doubling_constants(steps: int = 60) -> onnx.ModelProto:
    """The same on constants, which a loader folds."""
    chain = [helper.make_node("Concat", [f"v{i}"] * 2, [f"v{i + 1}"], name=f"c{i}", axis=0) for i in range(steps)]
    return model([*chain, node("Add", f"x v{steps}", "y")], [constant("v0", np.ones(64), np.float32)])


def many_constants() -> onnx.ModelProto:
    """A thousand of 64 megabytes."""
    made = [helper.make_node("ConstantOfShape", ["s"], [f"c{i}"], name=f"c{i}") for i in range(1000)]
    sums = [helper.make_node("Add", [f"s{i}", f"c{i}"], [f"s{i + 1}"], name=f"a{i}") for i in range(1000)]
    nodes = [*made, node("Relu", "x", "s0"), *sums, node("Relu", "s1000")]
    return model(nodes, [constant("s", [1 << 12, 1, 8, 8 * 64])])


def string_bomb() -> onnx.ModelProto:
    chain = [helper.make_node("StringConcat", [f"v{i}"] * 2, [f"v{i + 1}"], name=f"s{i}") for i in range(40)]
    text = helper.make_tensor("v0", TensorProto.STRING, [1], [b"a" * 100])
    return model(chain, [text], [], [value("v40", [1], TensorProto.STRING)], opset=20)


def sparse_bomb() -> onnx.ModelProto:
    m = model([node("Add", "x w")])
    values = constant("w", [1.0], np.float32)
    indices = constant("i", [0])
    m.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 20, 1 << 20]))
    return m


def conv(weight: Sequence[int], **attributes: Any) -> Callable[[], onnx.ModelProto]:
    return single("Conv", "x w", constant("w", np.ones(weight), np.float32), **attributes)


INF = float("inf")
CASES: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    # names
    "cycle": (cycle, "cycle"),
    "long cycle": (long_cycle, "cycle"),
    "deep chain": (deep_chain, "NoSuchOp"),
    "node that reads itself": (lambda: model([node("Add", "x y", "y")]), "the_Add"),
    "dangling input": (single("Add", "x nowhere"), "the_Add.*'nowhere'"),
    "dangling output": (lambda: model([node("Relu", "x", "z")]), "'y'"),
    "output made twice": (lambda: model([node("Relu", "x"), node("Sigmoid", "x")]), "the_Sigmoid.*'y'"),
    "output over an input": (lambda: model([node("Relu", "x", "x")], outputs=[value("x")]), "'x'"),
    "initialiser twice": (duplicate_initialiser, "'w'"),
    "input twice": (lambda: model([node("Relu", "x")], inputs=[value("x"), value("x")]), "'x'"),
    "input without a name": (lambda: model([node("Relu", "x")], inputs=[value("x"), value("")]), "name"),
    # what it is
    "no graph": (without("graph"), "graph"),
    "no opset": (without("opset_import"), "opset"),
    "opset of the future": (single("Relu", opset=1000), "opset is 1000"),
    "opset zero": (single("Relu", opset=0), "opset is 0"),
    "opset below zero": (single("Relu", opset=-5), "opset is -5"),
    "opset of a domain beyond 32 bits": (domains(("", 17), ("own", 1 << 31)), "opset of 'own' is 2147483648"),
    "opset of a domain below zero": (domains(("", 17), ("own", -1)), "opset of 'own' is -1"),
    "two opsets": (domains(("", 17), ("", 13)), "opset"),
    "unknown domain": (domains(("", 17), domain="com.example"), "the_Relu.*com.example"),
    "unknown domain, imported": (domains(("", 17), ("com.example", 1), domain="com.example"), "the_Relu.*com.example"),
    "unknown op": (single("Convolute"), "the_Convolute.*'Convolute'"),
    "op of a later opset": (single("Gelu", opset=17), "the_Gelu.*opset 17"),
    "unknown attribute": (single("Relu", speed=3), "the_Relu.*speed"),
    "attribute of another type": (single("Softmax", axis=1.5), "the_Softmax.*axis"),
    "missing attribute": (single("Concat", "x x"), "the_Concat.*axis"),
    "too few inputs": (single("Conv", "x"), "the_Conv"),
    "too many inputs": (single("Relu", "x x x"), "the_Relu"),
    "too many outputs": (lambda: model([node("Relu", "x", "y z")]), "the_Relu"),
    "loop": (
        single("Loop", "_ _ x", body=graph_of(node("Relu", "x", "out"))),
        "the_Loop.*control flow",
    ),
    "scan": (single("Scan", "x", body=graph_of(node("Relu", "x", "out")), num_scan_inputs=1), "the_Scan.*control flow"),
    "recursive function": (recursive_function, "'F'.*itself"),
    "exponential functions": (exponential_functions, "functions"),
    # types
    "wrong input type": (
        lambda: model([node("Conv", "x w")], [constant("w", np.ones((1, 3, 1, 1)))]),
        "the_Conv",
    ),
    "type that does not exist": (lambda: model([node("Relu", "x")], inputs=[value("x", (1,), 99)]), "'x'.*99"),
    "initialiser of no type": (single("Add", "x w", weightless("w", [1], 0)), "'w'"),
    "initialiser of a type that does not exist": (single("Add", "x w", weightless("w", [1], 200)), "'w'.*200"),
    "strings to a convolution": (
        lambda: model([node("Conv", "x w")], [helper.make_tensor("w", TensorProto.STRING, [1, 1, 1, 1], [b"a"])]),
        "the_Conv",
    ),
    "strings as raw bytes": (single("Add", "x w", weightless("w", [4], TensorProto.STRING)), "'w'"),
    # dimensions
    "negative input dimension": (lambda: model([node("Relu", "x")], inputs=[value("x", (1, -3, 8, 8))]), "'x'.*-3"),
    "negative initialiser dimension": (single("Add", "x w", weightless("w", [-1])), "'w'.*-1"),
    "two negative initialiser dimensions": (single("Add", "x w", weightless("w", [-1, -1])), "'w'.*-1"),
    "initialiser of terabytes": (single("Add", "x w", weightless("w", [HUGE, 1])), "'w'"),
    "initialiser whose size overflows": (single("Add", "x w", weightless("w", [1 << 33, 1 << 33])), "'w'"),
    "initialiser whose size overflows to 4 bytes": (single("Add", "x w", weightless("w", [1 << 62, 4, 1])), "'w'"),
    "initialiser of zero times terabytes": (
        single("Add", "x w", weightless("w", [HUGE, HUGE, HUGE, 0], raw=b"")),
        "'w'",
    ),
    "initialiser with too few bytes": (single("Add", "x w", weightless("w", [2])), "'w'.*8 bytes.* 4"),
    "initialiser with too many bytes": (single("Add", "x w", weightless("w", [1], raw=b"12345678")), "'w'"),
    "initialiser with half an element": (single("Add", "x w", weightless("w", [1], raw=b"123")), "'w'"),
    "initialiser without data": (single("Add", "x w", TensorProto(name="w", dims=[2], data_type=FLOAT)), "'w'"),
    "initialiser with too few values": (
        single("Add", "x w", TensorProto(name="w", dims=[3], data_type=FLOAT, float_data=[1])),
        "'w'",
    ),
    "sparse initialiser of terabytes": (sparse_bomb, "'w'"),
    "weights of other channels": (conv((4, 5, 3, 3)), "the_Conv"),
    "matrices that do not fit": (single("MatMul", "x w", constant("w", np.ones((7, 3)), np.float32)), "the_MatMul"),
    "shapes that do not broadcast": (single("Add", "x w", constant("w", np.ones(5), np.float32)), "the_Add"),
    # numbers
    "stride zero": (conv((4, 3, 3, 3), strides=[0, 1]), "the_Conv"),
    "stride below zero": (conv((4, 3, 3, 3), strides=[-1, 1]), "the_Conv"),
    "dilation zero": (conv((4, 3, 3, 3), dilations=[0, 0]), "the_Conv"),
    "dilation of billions": (conv((4, 3, 3, 3), dilations=[1 << 40, 1]), "the_Conv"),
    "groups zero": (conv((4, 3, 3, 3), group=0), "the_Conv"),
    "groups below zero": (conv((4, 3, 3, 3), group=-3), "the_Conv"),
    "groups that do not divide": (conv((4, 3, 3, 3), group=2), "the_Conv"),
    "kernel larger than the image": (conv((4, 3, 9, 9)), "the_Conv"),
    "kernel_shape that is not the weight's": (conv((4, 3, 3, 3), kernel_shape=[2, 2]), "the_Conv"),
    "pads below zero": (conv((4, 3, 3, 3), pads=[-9, -9, -9, -9]), "the_Conv"),
    "pads of terabytes": (conv((4, 3, 3, 3), pads=[HUGE, 0, HUGE, 0]), "the_Conv"),
    "pads of a wrong length": (conv((4, 3, 3, 3), pads=[1]), "the_Conv"),
    "strides of a wrong length": (conv((4, 3, 3, 3), strides=[1, 1, 1]), "the_Conv"),
    "auto_pad that does not exist": (conv((4, 3, 3, 3), auto_pad="SOMEHOW"), "the_Conv"),
    "pool kernel zero": (single("MaxPool", kernel_shape=[0, 0]), "the_MaxPool"),
    "pool kernel below zero": (single("MaxPool", kernel_shape=[-2, 2]), "the_MaxPool"),
    "pool pads of terabytes": (single("AveragePool", kernel_shape=[2, 2], pads=[HUGE] * 4), "the_AveragePool"),
    "transposed convolution of terabytes": (
        single("ConvTranspose", "x w", constant("w", np.ones((3, 4, 3, 3)), np.float32), strides=[HUGE, 1]),
        "the_ConvTranspose",
    ),
    "axis out of range": (single("Softmax", axis=7), "the_Softmax"),
    "permutation that is none": (single("Transpose", perm=[0, 0, 1, 2]), "the_Transpose"),
    "permutation of a wrong length": (single("Transpose", perm=[0, 1]), "the_Transpose"),
    "local response size zero": (single("LRN", size=0), "the_LRN"),
    "block size zero": (single("DepthToSpace", blocksize=0), "the_DepthToSpace"),
    "gather out of range": (single("Gather", "x i", constant("i", [99]), axis=1), "the_Gather"),
    "split that does not add up": (
        lambda: model([node("Split", "x s", "y z", axis=1)], [constant("s", [1, 1])]),
        "the_Split",
    ),
    "split below zero": (lambda: model([node("Split", "x s", "y z", axis=1)], [constant("s", [5, -2])]), "the_Split"),
    "reshape to another size": (shape_bomb("Reshape", [7]), "the_Reshape"),
    "reshape with two unknowns": (shape_bomb("Reshape", [-1, -1]), "the_Reshape"),
    "reshape below minus one": (shape_bomb("Reshape", [-2, 3]), "the_Reshape"),
    # bombs
    "reshape of terabytes": (shape_bomb("Reshape", [HUGE, 1]), "the_Reshape"),
    "expand to terabytes": (shape_bomb("Expand", [HUGE, 3, 8, 8]), "the_Expand"),
    "expand beyond 64 bits": (shape_bomb("Expand", [1 << 62, 3, 8, 8]), "the_Expand"),
    "expand below zero": (shape_bomb("Expand", [-5, 3, 8, 8]), "the_Expand"),
    "expand to a thousand dimensions": (shape_bomb("Expand", [1] * 1000), "the_Expand"),
    "tile to terabytes": (shape_bomb("Tile", [1 << 20, 1, 1 << 20, 1]), "the_Tile"),
    "tile below zero": (shape_bomb("Tile", [-1, 1, 1, 1]), "the_Tile"),
    "pad to terabytes": (shape_bomb("Pad", [0, 0, HUGE, 0, 0, 0, 0, 0]), "the_Pad"),
    "pad beyond 64 bits": (shape_bomb("Pad", [(1 << 63) - 1] * 8), "the_Pad"),
    "pad of a wrong length": (shape_bomb("Pad", [1, 1, 1]), "the_Pad"),
    "pad that leaves nothing": (shape_bomb("Pad", [0, 0, -20, 0, 0, 0, 0, 0]), "the_Pad"),
    "constant of terabytes": (
        lambda: model([node("ConstantOfShape", "s", "c"), node("Add", "x c")], [constant("s", [HUGE])]),
        "the_ConstantOfShape",
    ),
    "constant of gigabytes": (
        lambda: model([node("ConstantOfShape", "s", "c"), node("Add", "x c")], [constant("s", [1 << 30])]),
        "the_ConstantOfShape|the_Add",
    ),
    "constant below zero": (
        lambda: model([node("ConstantOfShape", "s", "c"), node("Add", "x c")], [constant("s", [-4])]),
        "the_ConstantOfShape",
    ),
    "constant of a thousand dimensions": (
        lambda: model([node("ConstantOfShape", "s", "c"), node("Add", "x c")], [constant("s", [1] * 1000)]),
        "the_ConstantOfShape|the_Add",
    ),
    "range of terabytes": (
        lambda: model(
            [node("Range", "a b c", "r"), node("Add", "x r")],
            [constant("a", 0, np.float32), constant("b", 1e12, np.float32), constant("c", 1, np.float32)],
        ),
        "the_Range",
    ),
    "range without an end": (
        lambda: model(
            [node("Range", "a b c", "r"), node("Add", "x r")], [constant("a", 0), constant("b", 9), constant("c", 0)]
        ),
        "the_Range",
    ),
    "resize to terabytes": (single("Resize", "x _ _ s", constant("s", [1, 3, 1 << 20, 1 << 20])), "the_Resize"),
    "resize by millions": (single("Resize", "x _ r", constant("r", [1, 1, 1e6, 1e6], np.float32)), "the_Resize"),
    "resize by infinity": (single("Resize", "x _ r", constant("r", [1, 1, INF, 1], np.float32)), "the_Resize"),
    "resize by nan": (single("Resize", "x _ r", constant("r", [1, 1, np.nan, 1], np.float32)), "the_Resize"),
    "resize below zero": (single("Resize", "x _ r", constant("r", [1, 1, -2, 1], np.float32)), "the_Resize"),
    "resize without sizes": (single("Resize", "x"), "the_Resize"),
    "upsample by millions": (
        single("Upsample", "x r", constant("r", [1, 1, 1e6, 1e6], np.float32), opset=9),
        "the_Upsample",
    ),
    "one hot of terabytes": (
        lambda: model(
            [node("OneHot", "i d v")],
            [constant("i", [1]), constant("d", HUGE), constant("v", [0, 1], np.float32)],
            inputs=[],
        ),
        "the_OneHot",
    ),
    "eye of terabytes": (
        lambda: model([node("ConstantOfShape", "s", "c"), node("EyeLike", "c")], [constant("s", [1 << 20] * 2)], []),
        "the_ConstantOfShape|the_EyeLike",
    ),
    "depth to space of nothing": (single("DepthToSpace", blocksize=1 << 31), "the_DepthToSpace"),
    "doubling": (doubling, "c[0-9]+"),
    "doubling constants": (doubling_constants, "c[0-9]+|the_Add"),
    "many constants": (many_constants, "c[0-9]+"),
    "doubling strings": (string_bomb, "s[0-9]+"),
}
