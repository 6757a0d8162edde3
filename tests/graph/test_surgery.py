"""Layers taken out and put in: ablations equal the networks built so, identity blocks change nothing."""

from __future__ import annotations

import numpy as np
import pytest

import cnnkern
from cnnkern import models
from cnnkern.graph import surgery
from cnnkern.graph.builder import GraphBuilder
from cnnkern.model import Model

ABLATIONS = {"7": ["fc7"], "67": ["fc6", "fc7"], "34": ["conv3", "conv4"], "3467": ["conv3", "conv4", "fc6", "fc7"]}


@pytest.mark.parametrize("base", ["alexnet_227", "alexnet_227_grouped"])
@pytest.mark.parametrize("removed", ABLATIONS)
def test_alexnets_ablations(base, removed):
    """C59: surgery gives, node by node, the networks that are registered."""
    made, built = surgery.remove(models.get(base).graph(), ABLATIONS[removed]), models.get(f"{base}_minus_{removed}")
    graph = built.graph()
    assert made.nodes == graph.nodes
    assert made.params == graph.params and made.values == graph.values and made.outputs == graph.outputs
    assert made.dropped == graph.dropped


def test_weights_that_fit_are_kept(rng):
    model = models.create("lenet5")
    x = rng.standard_normal((2, 1, 32, 32)).astype(np.float32)
    before = model(x)
    smaller = model.without("f6")
    assert smaller.graph.params["output.weight"].shape == (10, 120)
    kept = [name for name in smaller.weights if smaller.weights[name].shape == model.weights[name].shape]
    assert all(np.array_equal(smaller.weights[name], model.weights[name]) for name in kept)
    assert "output.weight" not in kept and "c1.weight" in kept
    assert smaller(x).shape == (2, 10) and np.ptp(smaller(x)) > 0
    np.testing.assert_array_equal(model(x), before)


def test_blocks_of_a_residual_network_can_go(rng):
    """Veit et al. (2016): without one block, the others keep their weights; the network still runs."""
    model = models.create("resnet18", input_shape=(3, 64, 64))
    x = rng.standard_normal((1, 3, 64, 64)).astype(np.float32)
    model(x)
    smaller = model.without("layer2.1", "layer3.1")
    assert not any(name.startswith(("layer2.1.", "layer3.1.")) for name in smaller.graph.params)
    assert smaller.param_count == model.param_count - 4 * 9 * (128**2 + 256**2) // 2 - 4 * (128 + 256)
    assert all(smaller.weights[name] is model.weights[name] or np.array_equal(smaller.weights[name], w)
               for name, w in model.weights.items() if name in smaller.weights)  # fmt: skip
    assert not np.allclose(smaller(x), model(x))


def test_depthwise_and_grouped_layers_take_new_widths():
    graph = models.get("mobilenet_v2").graph()
    made = surgery.remove(graph, ["features.2.conv.0"])  # the expansion 16 -> 96
    assert made.params["features.2.conv.1.0.weight"].shape == (16, 1, 3, 3)
    assert made.params["features.2.conv.1.1.running_mean"].shape == (16,)
    assert made.params["features.2.conv.2.weight"].shape == (24, 16, 1, 1)
    with pytest.raises(ValueError, match="32 groups do not divide 3"):
        surgery.remove(models.get("resnext50_32x4d").graph(), ["conv1", "bn1", "layer1.0.conv1", "layer1.0.bn1"])


def test_an_ablated_model_takes_other_sizes_and_the_whole_networks_weights():
    model = models.create("squeezenet1_1")
    smaller = model.without("features.4")
    assert smaller.compile((1, 3, 96, 96)).plan.outputs[0].shape == (1, 1000)
    assert not smaller.load_state_dict(model.weights)


@pytest.mark.parametrize(
    ("name", "layers", "message"),
    [
        ("lenet5", ["c9"], "no layer or block 'c9'"),
        ("resnet18", ["layer1.0.add"], "reads 2 values and gives 1"),
        ("resnet18", ["layer2.0.bn1"], None),
    ],
)
def test_what_cannot_go_says_why(name, layers, message):
    graph = models.get(name).graph()
    if message is None:
        assert surgery.remove(graph, layers).nodes
        return
    with pytest.raises(ValueError, match=message):
        surgery.remove(graph, layers)


# --- solution by construction: a deeper network that is the shallow one


def residual(g: GraphBuilder, x: str, name: str) -> str:
    c = g.channels(x)
    with g.scope(name):
        y = g.relu(g.batch_norm(g.conv(x, "conv1", c, 3, padding=1, bias=False), "bn1"), "relu1")
        y = g.batch_norm(g.conv(y, "conv2", c, 3, padding=1, bias=False), "bn2")
        return g.relu(g.add(y, x, "add"), "relu2")


@pytest.mark.parametrize("backend", ["reference", None])
def test_identity_blocks_leave_the_output_unchanged(rng, backend):
    """C60 (He et al., 2015, section 1): blocks whose last batch norm has gamma and beta 0 add nothing to x >= 0."""
    model = models.create("resnet18", input_shape=(3, 64, 64))
    graph = model.graph
    for stage in (1, 2, 3, 4):
        after = cnnkern.model.find_value(graph, f"layer{stage}")
        for i in range(2):
            graph = surgery.insert(graph, after, lambda g, x, name=f"layer{stage}.new{i}": residual(g, x, name))
    weights = {**Model(graph, seed=3).weights, **model.weights}
    for name in weights:
        if ".new" in name and name.endswith(("bn2.weight", "bn2.bias", "bn2.running_mean")):
            weights[name] = np.zeros_like(weights[name])
    deeper = Model(graph, weights)
    assert len(graph.nodes) == len(model.graph.nodes) + 8 * 7
    x = rng.standard_normal((2, 3, 64, 64)).astype(np.float32)
    ours, theirs = deeper(x, backend=backend), model(x, backend=backend)
    if backend == "reference":
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.ptp(theirs))
    assert np.abs(np.diff(theirs, axis=0)).max() > 0.01 * np.ptp(theirs)


def test_what_is_put_in_is_named_once():
    graph = models.get("lenet5").graph()
    with pytest.raises(ValueError, match="'c1' exists already"):
        surgery.insert(graph, "c3", lambda g, x: g.relu(x, "c1"))
    with pytest.raises(ValueError, match="after: a value of lenet5.*'nothing'"):
        surgery.insert(graph, "nothing", lambda g, x: x)


def test_an_output_moves_on():
    graph = models.get("lenet5").graph()
    made = surgery.insert(graph, graph.outputs[0], lambda g, x: g.softmax(x, "prob"))
    assert made.outputs == ["prob"] and made.nodes[-1].name == "prob"
