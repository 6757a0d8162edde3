"""Dropout at test time: the identity, or the 2012 rule that scales the weights behind it."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkern import models
from cnnkern.graph.dropout import scale_weights


@pytest.mark.parametrize(
    ("name", "scaled"),
    [
        ("alexnet_227", {"fc7": 0.5, "fc8": 0.5}),
        ("alexnet", {"classifier.1": 0.5, "classifier.4": 0.5}),  # torchvision drops in front of them
        ("vgg16", {"classifier.3": 0.5, "classifier.6": 0.5}),
        ("nin_cifar10", {"conv2": 0.5, "conv3": 0.5}),
        ("nin_imagenet", {"conv4-1024": 0.5}),
        ("googlenet_2014_aux", {"loss3/classifier": 0.6, "loss1/classifier": 0.3, "loss2/classifier": 0.3}),
        ("squeezenet1_1", {"classifier.1": 0.5}),
        ("efficientnet_b3", {"classifier.1": 0.7}),
    ],
)
def test_weights_behind_dropout_are_scaled(name, scaled):
    graph = models.get(name).graph()
    weights = {key: np.ones(1, np.float32) for key in graph.params}
    after = scale_weights(graph, weights)
    changed = {key.removesuffix(".weight"): float(after[key][0]) for key in weights if after[key] is not weights[key]}
    assert changed == pytest.approx(scaled)


def test_halving_is_an_option_of_loading(rng):
    """The hidden layer's outputs halved, and the outgoing weights halved, are the same network."""
    model, halved = (models.create("alexnet_227", num_classes=7, input_shape=(3, 67, 67)) for _ in range(2))
    halved.load_state_dict(model.state_dict(), dropout="scale")
    x = rng.standard_normal((2, 3, 67, 67)).astype(np.float32)
    taps = model.features(x, ["relu6"])["relu6"]
    np.testing.assert_array_equal(halved.features(x, ["relu6"])["relu6"], taps)
    np.testing.assert_array_equal(halved.weights["fc7.weight"], model.weights["fc7.weight"] / 2)
    np.testing.assert_array_equal(halved.weights["fc7.bias"], model.weights["fc7.bias"])
    assert np.abs(halved(x) - model(x)).max() > 1e-4


def test_what_drops_nothing_says_so():
    model = models.create("resnet18")
    with pytest.raises(ValueError, match="dropout: resnet18 drops nothing"):
        model.load_state_dict(model.state_dict(), dropout="scale")
    with pytest.raises(ValueError, match="dropout.*'identity', 'scale'.*'halve'"):
        model.load_state_dict(model.state_dict(), dropout="halve")
