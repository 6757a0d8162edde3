"""Operations that exporters spell out are found, constants beside a layer go into it, and look-alikes stay."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnkern.graph import passes
from cnnkern.graph.builder import GraphBuilder
from cnnkern.ops import AddSpec, BinarySpec, Conv2dSpec, MulSpec, ReshapeSpec, TransposeSpec, UnarySpec


def constant(g, name, shape):
    return g._param(name, shape, "constant")


def applied(graphs, transform, g, outputs, weights=None):
    graph = g.finish(outputs).bind(2)
    given = {**graphs.weights_of(graph), **(weights or {})}
    return graphs.apply(transform, graph, given)[0]


@pytest.mark.parametrize("gate, whole", [("sigmoid", "silu"), ("hardsigmoid", "hardswish")])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_gate_by_itself_is_an_activation(graphs, gate, whole, swapped):
    g = GraphBuilder("gate")
    x = g.relu(g.input((3, 4, 5)))
    pair = (x, g.activation(x, gate))
    found = applied(graphs, passes.recognise, g, g.mul(*(pair[::-1] if swapped else pair)))
    assert [node.spec.kind for node in found.nodes] == ["relu", whole]


def test_other_gates_stay(graphs, ops_of):
    g = GraphBuilder("stays")
    x = g.input((3, 4, 5))
    gate = g.activation(x, "sigmoid")
    outputs = [g.mul(g.relu(x), g.activation(x, "sigmoid")), g.mul(x, gate), g.mul(x, g.activation(x, "tanh")), gate]
    found = applied(graphs, passes.recognise, g, outputs)
    assert ops_of(found).count("mul") == 3


def spelled_gelu(g, x, order, root, half=0.5):
    inner = {
        "affine": lambda: g.emit(UnarySpec("affine", math.sqrt(0.5), 0.0), (x,)),
        "mul": lambda: g.mul(x, root),
        "div": lambda: g.emit(BinarySpec("div"), (x, root)),
    }[order[0]]()
    shifted = g.emit(UnarySpec("affine", 1.0, 1.0), (g.emit(UnarySpec("erf"), (inner,)),))
    scale = UnarySpec("affine", half, 0.0)
    if order[1] == "last":
        return g.emit(scale, (g.mul(x, shifted),))
    if order[1] == "first":
        return g.mul(g.emit(scale, (x,)), shifted)
    return g.mul(x, g.emit(scale, (shifted,)))


@pytest.mark.parametrize("inner", ["affine", "mul", "div"])
@pytest.mark.parametrize("outer", ["last", "first", "middle"])
def test_gelu_in_its_spellings(graphs, inner, outer):
    g = GraphBuilder("gelu")
    x = g.relu(g.input((3, 4, 5)))
    root = constant(g, "root", (1,))
    y = spelled_gelu(g, x, (inner, outer), root)
    value = math.sqrt(2) if inner == "div" else math.sqrt(0.5)
    graph = g.finish([y, g.mul(x, root)]).bind(2)
    weights = {**graphs.weights_of(graph), "root": graphs.weights_of(graph)["root"] * 0 + value}
    found, _ = graphs.apply(passes.recognise, graph, weights)
    assert [n.spec.kind for n in found.nodes if n.spec.op == "activation"] == ["relu", "gelu"]


def test_what_is_no_gelu_stays(graphs, ops_of):
    g = GraphBuilder("no_gelu")
    x = g.relu(g.input((3, 4, 5)))
    y = spelled_gelu(g, x, ("affine", "last"), None, half=0.25)
    assert ops_of(applied(graphs, passes.recognise, g, y)) == ["activation", "unary", "unary", "unary", "mul", "unary"]


@pytest.mark.parametrize("whole, spelling", [("hardswish", "last"), ("hardswish", "first"), ("hardsigmoid", "last")])
@pytest.mark.parametrize("divides", [False, True])
def test_hard_gates_in_their_spellings(graphs, whole, spelling, divides):
    g = GraphBuilder("hard")
    x = g.relu(g.input((3, 4, 5)))
    six = constant(g, "six", ())
    over = (lambda y: g.emit(BinarySpec("div"), (y, six))) if divides else (lambda y: g.mul(six, y))
    gate = g.activation(g.emit(UnarySpec("affine", 1.0, 3.0), (x,)), "relu6")
    y = over(gate) if whole == "hardsigmoid" else over(g.mul(x, gate)) if spelling == "last" else g.mul(over(gate), x)
    graph = g.finish([y, g.mul(x, six)]).bind(2)
    weights = {"six": np.array(6.0 if divides else 1 / 6)}
    found, _ = graphs.apply(passes.recognise, graph, weights)
    assert [n.spec.kind for n in found.nodes if n.spec.op == "activation"] == ["relu", whole]


def test_a_number_of_more_axes_stays_a_product(graphs, ops_of):
    g = GraphBuilder("more_axes")
    x = g.relu(g.input((3, 4, 5)))
    gate = g.activation(g.emit(UnarySpec("affine", 1.0, 3.0), (x,)), "relu6")
    y = g.mul(g.mul(x, gate), constant(g, "sixth", (1,) * 5))
    found = applied(graphs, passes.recognise, g, y, {"sixth": np.full((1,) * 5, 1 / 6)})
    assert ops_of(found) == ["activation", "unary", "activation", "mul", "mul"]


@pytest.mark.parametrize("groups", [2, 3])
def test_a_shuffle_in_three_moves(graphs, ops_of, groups):
    g = GraphBuilder("shuffle")
    x = g.relu(g.input((6, 4, 5)))
    y = g.reshape(x, (0, groups, 6 // groups, 4, 5))
    y = g.emit(TransposeSpec((0, 2, 1, 3, 4)), (y,))
    y = g.emit(ReshapeSpec((0, 6, 4, 5)), (y,))
    found = applied(graphs, passes.recognise, g, y)
    assert ops_of(found) == ["activation", "channel_shuffle"] and found.nodes[1].spec.groups == groups


def test_other_transposes_stay(graphs, ops_of):
    g = GraphBuilder("no_shuffle")
    x = g.relu(g.input((6, 4, 4)))
    y = g.emit(TransposeSpec((0, 1, 2, 4, 3)), (g.reshape(x, (0, 2, 3, 4, 4)),))
    found = applied(graphs, passes.recognise, g, g.emit(ReshapeSpec((0, 6, 4, 4)), (y,)))
    assert ops_of(found) == ["activation", "reshape", "transpose", "reshape"]


@pytest.mark.parametrize("shape", [(), (1,), (5, 1, 1), (1, 5, 1, 1)])
@pytest.mark.parametrize("spec", [AddSpec, MulSpec])
@pytest.mark.parametrize("first", [False, True])
def test_constants_behind_a_convolution_fold(graphs, ops_of, shape, spec, first):
    g = GraphBuilder("folds")
    x = g.conv(g.input((3, 6, 6)), "conv", 5, 3)
    k = constant(g, "k", shape)
    y = g.emit(spec(), (k, x) if first else (x, k))
    y = g.emit(UnarySpec("affine", 1.5, -0.25), (y,))
    assert ops_of(applied(graphs, passes.fold_batch_norm, g, y)) == ["conv2d"]


@pytest.mark.parametrize("shape", [(5,), (6, 5), (1, 1, 6, 1), (1, 1, 1, 1, 1)])
def test_constants_of_other_shapes_stay(graphs, ops_of, shape):
    g = GraphBuilder("stays")
    x = g.conv(g.input((3, 7, 7)), "conv", 5, (2, 3))
    if shape == (5,):
        assert g.shape(x)[3] == 5  # along the columns, not the channels
    y = g.emit(MulSpec(), (x, constant(g, "k", shape)))
    assert "mul" in ops_of(applied(graphs, passes.fold_batch_norm, g, y))


def test_a_linear_layer_takes_them_too(graphs, ops_of):
    g = GraphBuilder("linear")
    x = g.linear(g.flatten(g.input((3, 2, 2))), "fc", 7)
    y = g.add(g.mul(x, constant(g, "a", (7,))), constant(g, "b", (1, 7)))
    assert ops_of(applied(graphs, passes.fold_batch_norm, g, y)) == ["flatten", "linear"]


def test_silu_then_joins_its_convolution(graphs):
    g = GraphBuilder("silu")
    x = g.conv(g.input((3, 6, 6)), "conv", 5, 3)
    found = applied(graphs, passes.apply, g, g.mul(x, g.activation(x, "sigmoid")))
    assert [node.spec for node in found.nodes] == [Conv2dSpec(activation="silu")]
