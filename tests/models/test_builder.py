"""GraphBuilder: names, shapes, parameters, and what it refuses."""

from __future__ import annotations

import pytest

from cnnkern.graph.builder import GraphBuilder
from cnnkern.ops import PadSpec


@pytest.fixture
def g():
    return GraphBuilder("net")


def test_layers_params_and_shapes(g):
    x = g.input((3, 8, 10))
    y = g.conv(x, "conv1", 16, (3, 5), stride=(2, 1), padding="same", groups=1)
    assert (y, g.shape(y), g.channels(y)) == ("conv1", ("N", 16, 4, 10), 16)
    y = g.batch_norm(y, "bn1", eps=1e-3)
    y = g.linear(g.flatten(g.global_avg_pool(y)), "fc", 7, bias=False)
    graph = g.finish(y)
    assert graph.inputs == ["input"] and graph.outputs == ["fc"]
    assert {name: param.shape for name, param in graph.params.items()} == {
        "conv1.weight": (16, 3, 3, 5),
        "conv1.bias": (16,),
        "bn1.running_mean": (16,),
        "bn1.running_var": (16,),
        "bn1.weight": (16,),
        "bn1.bias": (16,),
        "fc.weight": (7, 16),
    }
    assert [node.name for node in graph.nodes] == ["conv1", "bn1", "global_pool2d", "flatten", "fc"]
    assert graph.nodes[0].inputs == ("input", "conv1.weight", "conv1.bias", "")
    assert graph.nodes[1].spec.eps == 1e-3
    assert not graph.params["bn1.running_mean"].trainable
    assert graph.bind(5).shape("fc") == (5, 7) and graph.shape("fc") == ("N", 7)


def test_scopes_nest_and_end(g):
    x = g.input((4, 4, 4))
    with g.scope("a"), g.scope("b", "/"):
        assert g.conv(x, "c", 4, 1) == "a.b/c"
    assert g.conv(x, "c", 4, 1) == "c"
    assert "a.b/c.weight" in g.graph.params


def test_unnamed_layers_are_numbered(g):
    x = g.input((4, 4, 4))
    assert [g.relu(x), g.relu(x), g.relu(x), g.max_pool(x, 2)] == ["relu", "relu_1", "relu_2", "pool2d"]
    with g.scope("s"):
        assert g.relu(x) == "s.relu"


def test_a_name_is_taken_once(g):
    x = g.input((4, 4, 4))
    g.conv(x, "c", 4, 1)
    g.relu(x, "r")
    with pytest.raises(ValueError, match=r"net.*c\.weight"):
        g.conv(x, "c", 4, 1)
    with pytest.raises(ValueError, match="'r'"):
        g.relu(x, "r")
    with pytest.raises(ValueError, match="'input'"):
        g.relu(x, "input")


@pytest.mark.parametrize("padding, size", [(1, 8), ((1, 0), (8, 6)), (((0, 1), (2, 0)), (7, 8)), ("valid", 6)])
def test_paddings(g, padding, size):
    x = g.input((3, 8, 8))
    expected = size if isinstance(size, tuple) else (size, size)
    assert g.shape(g.conv(x, "c", 4, 3, padding=padding))[2:] == expected
    assert g.shape(g.avg_pool(x, 3, 1, padding if padding != ((0, 1), (2, 0)) else 1))[1] == 3


def test_pools(g):
    x = g.input((3, 112, 112))
    assert g.shape(g.max_pool(x, 3, 2, ceil_mode=True))[2:] == (56, 56)
    assert g.shape(g.max_pool(x, 3, 2))[2:] == (55, 55)
    assert g.shape(g.max_pool(x, 2))[2:] == (56, 56)
    assert g.adaptive_avg_pool(x, 112) == x
    assert g.shape(g.adaptive_avg_pool(x, 1)) == ("N", 3, 1, 1)
    assert g.shape(g.adaptive_avg_pool(x, (7, 5))) == ("N", 3, 7, 5)
    assert [node.spec.op for node in g.graph.nodes[-2:]] == ["global_pool2d", "adaptive_avg_pool2d"]


def test_joins_and_cuts(g):
    x = g.input((8, 4, 4))
    a, b = g.slice(x, 0, 4), g.slice(x, 4, 8)
    assert g.shape(g.concat((a, b))) == ("N", 8, 4, 4)
    assert g.shape(g.add(a, b)) == ("N", 4, 4, 4)
    assert g.shape(g.mul(x, g.global_avg_pool(x))) == ("N", 8, 4, 4)
    assert g.shape(g.channel_shuffle(x, 2)) == ("N", 8, 4, 4)
    assert g.shape(g.pad(x, ((1, 0), (2, 3)))) == ("N", 8, 5, 9)
    assert g.shape(g.emit(PadSpec(((1, 1), (1, 1)), 2.0), (x,), "framed")) == ("N", 8, 6, 6)
    assert g.dropout(x, 0.5) == x
    assert g.shape(g.lrn(x, 5)) == g.shape(g.activation(x, "leaky_relu", param=0.1)) == ("N", 8, 4, 4)
    assert g.shape(g.softmax(g.flatten(x, "HWC"))) == ("N", 128)


@pytest.mark.parametrize(
    "bad, message",
    [
        (lambda g, x: g.conv(x, "c", 4, 9), "net, layer 'c'.*kernel"),
        (lambda g, x: g.conv(x, "c", 4, 3, groups=2), "groups"),
        (lambda g, x: g.conv(x, "c", 4, 3, stride=0), "stride"),
        (lambda g, x: g.max_pool(x, 3, -1), "stride"),
        (lambda g, x: g.activation(x, "rleu"), "rleu"),
        (lambda g, x: g.add(x, g.conv(x, "c", 4, 3)), "add"),
        (lambda g, x: g.slice(x, 2, 9), "slice"),
    ],
)
def test_what_the_spec_refuses_names_the_layer(g, bad, message):
    x = g.input((3, 5, 5))
    with pytest.raises(ValueError, match=message):
        bad(g, x)
