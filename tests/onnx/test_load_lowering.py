"""What converters see and write into: nodes, known values, params, and falling back when they decline."""

from __future__ import annotations

import re

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")

from graphs import model, node, port  # noqa: E402  beside this file

from cnnkern import ModelError  # noqa: E402
from cnnkern.onnx import convert, load  # noqa: E402
from cnnkern.onnx.lowering import Decline, Lowerer, Node  # noqa: E402
from cnnkern.ops import ActivationSpec, AddSpec, ConcatSpec, SliceSpec  # noqa: E402

X = port("x", (2, 3))
ONES = np.ones((2, 3), np.float32)


def a_node(op: str = "Conv", inputs: str = "x w", outputs: str = "y", name: str = "first", **attributes) -> Node:
    return Node(node(op, inputs, outputs, name, **attributes), name, 17)


def lowerer(**constants) -> Lowerer:
    b = Lowerer("test", ["w"])
    b.constants.update(constants)
    b.add_input("x", (2, 3), "float16")
    b.add_input("i", (4,), "int64")
    return b


def test_a_node_as_converters_read_it():
    tensor = onnx.numpy_helper.from_array(np.arange(3))
    n = a_node(a=1, b=0.5, c="text", d=[1, 2], e=[0.5], f=["a", "b"], t=tensor)
    found = [n.attr(name) for name in "abcdef"]
    assert found == [1, 0.5, "text", [1, 2], [0.5], ["a", "b"]]
    assert [type(value) for value in found] == [int, float, str, list, list, list]
    assert n.attr("t").tolist() == [0, 1, 2]
    assert (n.attr("absent"), n.attr("absent", 7)) == (None, 7)
    assert (n.op, n.name, n.domain, n.opset, n.inputs, n.outputs) == ("Conv", "first", "", 17, ("x", "w"), ("y",))
    assert a_node(inputs="x - w").reads == ("x", "w")


def test_what_is_known_of_values():
    b = lowerer(w=np.ones(3, np.float32), k=np.array([1, 2]))
    assert (b.shape("x"), b.dtype("x"), b.is_float("x"), b.const("x")) == ((2, 3), "float16", True, None)
    assert (b.shape("k"), b.dtype("k"), b.is_float("k"), b.const("k").tolist()) == ((2,), "int64", False, [1, 2])
    assert (b.dtype("i"), b.is_float("i"), b.const("")) == ("int64", False, None)
    assert (b.graph.values["x"].dtype, b.graph.values["i"].dtype) == ("float32", "int64")
    assert (b.value("x"), b.value("")) == ("x", "")


def test_params_are_made_once_and_initialisers_keep_their_names():
    b = lowerer(w=np.ones(3, np.float32), k=np.array([1, 2]), h=np.ones(2, np.float16))
    b.at(a_node())
    assert b.weight("w", "bias") == b.value("w") == "w"
    assert b.graph.params["w"].kind == "bias"
    assert b.weights["w"] is not None and not b.weights["w"].flags.writeable
    assert b.value("h") == b.weight("h", "conv_weight") == "h"  # an operand first, then known to be a weight
    assert (b.graph.params["h"].kind, b.weights["h"].dtype) == ("conv_weight", np.float32)
    assert b.weights[b.value("k")].tolist() == [1.0, 2.0]
    assert (b.param(np.float64(3), "factor"), b.param(np.ones(2), "factor")) == ("first.factor", "first.factor_1")
    assert b.weights["first.factor"].shape == ()
    with pytest.raises(Decline, match="'x' is computed while running; only a constant can be a bias"):
        b.weight("x", "bias")


def test_layers_are_called_after_the_node():
    b = lowerer()
    b.at(a_node())
    assert b.emit(ActivationSpec("relu"), ["x"]) == "first"
    assert b.emit(ActivationSpec("relu"), ["first"], "again") == "first/again"
    assert b.emit(AddSpec(), ["first", "x"]) == "first_1"
    assert b.emit(ActivationSpec("relu"), ["x"], "again") == "first/again_1"
    b.at(a_node(name="w"))
    assert b.emit(ActivationSpec("relu"), ["x"]) == "w_1"  # an initialiser has that name
    b.at(a_node(name="x"))
    assert b.emit(ActivationSpec("relu"), ["x"]) == "x_1"  # and an input that one
    with pytest.raises(ValueError, match="slice"):
        b.emit(SliceSpec(0, 5, 9), ["x"])


def test_what_is_declined_leaves_nothing_behind():
    b = lowerer(w=np.ones(3, np.float32))
    b.at(a_node())
    mark = b.mark()
    b.emit(ActivationSpec("relu"), ["x"])
    b.value("w")
    b.param(np.ones(3), "extra")
    b.rewind(mark)
    assert (b.graph.nodes, b.graph.params, b.weights, set(b.graph.values)) == ([], {}, {}, {"x", "i"})
    assert b.emit(ActivationSpec("relu"), ["x"]) == "first"
    assert (b.param(np.ones(3), "extra"), b.value("w")) == ("first.extra", "w")


def test_values_beyond_the_limit_are_refused():
    b = Lowerer("test", limit_bytes=100)
    b.add_input("x", (2, 5), "float32")
    b.at(a_node())
    with pytest.raises(
        ModelError, match=r"node 'first' \(Conv\): a value of shape \(8, 5\) takes 160 bytes; at most 100"
    ):
        b.emit(ConcatSpec(0), ["x"] * 4)


@pytest.fixture
def neg(monkeypatch):
    """Put another converter in the place of Neg's."""
    return lambda function: monkeypatch.setitem(convert.CONVERTERS, "Neg", [(1, function)])


def test_a_converter_that_declines(neg):
    def half(b, n):
        b.emit(ActivationSpec("relu"), [b.value(n.inputs[0])])
        raise b.Decline("not today")

    neg(half)
    m = load(model([node("Neg", "x", "y")], [X], ["y"]))
    assert m.fallbacks() == [("Neg_of_y", "Neg", "not today")]
    assert m(ONES, backend="reference").max() == -1


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (
            lambda b, n: [b.emit(ConcatSpec(0), [b.value(n.inputs[0])] * 2)],
            r"shape \(4, 3\), where onnx expects \(2, 3\)",
        ),
        (lambda b, n: [""], "its output 'y' is not made"),
        (lambda b, n: [None], "its output 'y' is not made"),
    ],
)
def test_a_converter_that_makes_something_else(neg, function, reason):
    neg(function)
    m = load(model([node("Neg", "x", "y")], [X], ["y"]))
    [(_, _, why)] = m.fallbacks()
    assert re.search(reason, why)
    assert m(ONES, backend="reference").max() == -1


def test_what_a_spec_refuses_names_the_node(neg):
    neg(lambda b, n: [b.emit(SliceSpec(0, 5, 9), [b.value(n.inputs[0])])])
    with pytest.raises(ModelError, match=r"node 'Neg_of_y' \(Neg\): slice: \[5:9\] is empty"):
        load(model([node("Neg", "x", "y")], [X], ["y"])).fallbacks()


def test_converters_are_asked_for_floats_alone(neg):
    asked = []

    def note(b, n):
        asked.append(n.name)
        return [b.value(n.inputs[0])]

    neg(note)
    whole = port("i", (2,), "int64")
    m = load(model([node("Neg", "i", "y"), node("Neg", "x", "z")], [whole, X], ["y", "z"]))
    y, z = m.run({"i": np.array([1, 2]), "x": ONES}, backend="reference")
    assert (asked, y.tolist(), z.max()) == (["Neg_of_z"], [-1, -2], 1)


def test_converters_by_opset():
    def old(b, n):
        return []

    def new(b, n):
        return []

    try:
        convert.converter("Test", since=7)(old)
        convert.converter("Test", since=13)(new)
        assert [convert.find("Test", opset) for opset in (6, 7, 12, 13, 20)] == [None, old, old, new, new]
        with pytest.raises(ValueError, match="exists already"):
            convert.converter("Test", since=13)(old)
    finally:
        del convert.CONVERTERS["Test"]
