"""B7: receptive fields, by r += (k - 1) j, j *= s from `summary`."""

from __future__ import annotations

import numpy as np
import pytest
from documented import summary

from cnnkern import models, ops
from cnnkern.graph.builder import GraphBuilder
from cnnkern.model import Model

# network: layer, its receptive field, its jump
FIELDS = {
    "alexnet_227": (
        ("conv1", 11, 4), ("pool1", 19, 8), ("conv2", 51, 8), ("pool2", 67, 16), ("conv3", 99, 16),
        ("conv4", 131, 16), ("conv5", 163, 16), ("pool5", 195, 32),
    ),
    "vgg16": (
        ("features.0", 3, 1), ("features.2", 5, 1), ("features.4", 6, 2), ("features.5", 10, 2), ("features.7", 14, 2),
        ("features.9", 16, 4), ("features.10", 24, 4), ("features.12", 32, 4), ("features.14", 40, 4),
        ("features.16", 44, 8), ("features.17", 60, 8), ("features.19", 76, 8), ("features.21", 92, 8),
        ("features.23", 100, 16), ("features.24", 132, 16), ("features.26", 164, 16), ("features.28", 196, 16),
        ("features.30", 212, 32),
    ),
    "resnet34": (
        ("conv1", 7, 2), ("maxpool", 11, 4), ("layer1.2.relu", 59, 4), ("layer2.3.relu", 179, 8),
        ("layer3.5.relu", 547, 16), ("layer4.2.relu", 899, 32),
    ),
    "resnet50": (
        ("conv1", 7, 2), ("maxpool", 11, 4), ("layer1.2.relu", 35, 4), ("layer2.3.relu", 91, 8),
        ("layer3.5.relu", 267, 16), ("layer4.2.relu", 427, 32),
    ),
    "lenet5": (("c1", 5, 1), ("s2", 6, 2), ("c3", 14, 2), ("s4", 16, 4), ("c5", 32, 4)),
    "keras_mnist_convnet": (
        ("conv2d_1", 3, 1), ("max_pooling2d_1", 4, 2), ("conv2d_2", 8, 2), ("max_pooling2d_2", 10, 4),
        ("conv2d_3", 18, 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS, ids=lambda name: f"B7 {name}")
def test_fields_and_jumps(name):
    rows = {row.name: row for row in summary(name).layers}
    found = tuple((layer, *rows[layer].receptive_field, *rows[layer].jump) for layer, _, _ in FIELDS[name])
    assert found == tuple((layer, size, size, jump, jump) for layer, size, jump in FIELDS[name])


@pytest.mark.parametrize("name", ["alexnet_227", "vgg16"])
def test_b7_names_every_convolution_and_pool(name):
    assert [row.name for row in summary(name).layers if row.op in ("conv2d", "pool2d")] == [n for n, *_ in FIELDS[name]]


# --- what the rule means behind layers that are no windows


def fields(g: GraphBuilder, out: str) -> dict[str, tuple]:
    return {row.name: (row.receptive_field, row.jump) for row in Model(g.finish(out)).summary().layers}


def test_behind_a_global_pool_every_layer_sees_the_whole_map():
    """ResNet-50's 7x7 map: 427 + 6 * 32; nothing adds to it."""
    rows = summary("resnet50").layers
    at = [row.name for row in rows].index("avgpool")
    assert {(row.receptive_field, row.jump) for row in rows[at:]} == {((619, 619), (0, 0))}


def test_a_gate_sees_the_whole_map_and_so_does_what_it_scales():
    """Squeeze and excitation: the product keeps the jump of the map, and what follows grows by it."""
    g = GraphBuilder("gate")
    x = g.conv(g.input((4, 9, 9)), "conv", 4, 3, stride=2)
    gate = g.activation(g.conv(g.global_avg_pool(x, "pool"), "fc", 4, 1), "sigmoid")
    found = fields(g, g.conv(g.emit(ops.MulSpec(), (x, gate), "scaled"), "after", 4, 3))
    assert found["pool"] == found["fc"] == ((9, 9), (0, 0))
    assert found["scaled"] == ((9, 9), (2, 2)) and found["after"] == ((13, 13), (2, 2))


def test_a_flattened_map_keeps_its_field_as_an_image_again():
    """lenet5_1998 and deepface make images of their dense layers' outputs; windows over those see nothing new."""
    for name in ("lenet5_1998", "deepface"):
        rows = summary(name).layers
        at = [row.op for row in rows].index("flatten")
        assert len({row.receptive_field for row in rows[at:]}) == 1


@pytest.mark.parametrize("side, size, tiles", [(12, (2, 2), (2, 2)), (8, (2, 2), (2, 2)), (10, (3, 3), (2, 2))])
def test_an_adaptive_pool_sees_its_largest_window(side, size, tiles):
    """Into 6x6: of 12 windows of 2 lie side by side, of 8 and 10 they overlap, some of 10 taking in 3."""
    g = GraphBuilder("adaptive")
    pooled = g.adaptive_avg_pool(g.input((2, side, side)), 6, "pool")
    found = fields(g, g.flatten(pooled, name="flatten"))
    assert found == {"pool": (size, tiles), "flatten": ((side, side), (0, 0))}


def test_an_uneven_adaptive_pool_does_not_widen_the_whole():
    """VGG16 at 288: a 9x9 map into 7x7 by windows of up to 3; all of them together see 212 + 8 * 32, no more."""
    rows = {row.name: row for row in models.create("vgg16", input_shape=(3, 288, 288)).summary().layers}
    assert rows["avgpool"].receptive_field == (212 + 2 * 32,) * 2
    assert rows["flatten"].receptive_field == (212 + 8 * 32,) * 2


def test_a_field_is_what_the_output_depends_on(rng):
    """The rule against the network itself: change a pixel within the field, or the nearest one beside it."""
    g = GraphBuilder("field")
    x = g.conv(g.input((1, 40, 40)), "a", 2, (3, 5), stride=(2, 1), bias=False)
    x = g.max_pool(x, 2, name="b")
    x = g.concat((g.conv(x, "c", 2, 3, padding=1, bias=False), g.conv(x, "d", 2, 1, bias=False)), name="e")
    made = Model(g.finish(g.conv(x, "f", 1, (3, 1), dilation=(2, 1), padding=(2, 0), bias=False)), seed=3)
    row = made.summary().layers[-1]
    weights = {name: np.abs(array) + 0.1 for name, array in made.state_dict().items()}
    made.load_state_dict(weights)
    image = np.zeros((1, 1, 40, 40), np.float32)
    at = tuple(size // 2 for size in row.output_shape[1:])
    seen = []
    for axis in (0, 1):
        hits = []
        for offset in range(40):
            pixel = image.copy()
            pixel[(0, 0, offset) if axis == 0 else (0, 0, slice(None), offset)] = 1
            hits.append(made(pixel)[(0, 0, *at)] > 0)
        seen.append(sum(hits))
    assert tuple(seen) == row.receptive_field
