"""Activations of any layer (list C48): DeCAF's, those behind and before a ReLU, and no more work than they need."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkern import models

from .conftest import make_pictures

DECAF = {"pool5": (256, 6, 6), "relu6": (4096,), "relu7": (4096,)}  # 9216, 4096 and 4096 values (Donahue et al., 2013)


def test_decaf_features_of_the_two_tower_alexnet():
    model = models.create("alexnet_227_grouped")
    x = make_pictures((2, 3, 227, 227))
    features = model.features(x, list(DECAF))
    assert {name: f.shape[1:] for name, f in features.items()} == DECAF
    assert sum(map(np.prod, DECAF.values())) == 9216 + 4096 + 4096
    before = model.features(x, "fc6")["fc6"]
    np.testing.assert_allclose(features["relu6"], np.maximum(before, 0), atol=1e-5 * np.abs(before).max())
    assert (before < 0).any() and np.abs(np.diff(features["relu7"], axis=0)).max() > 0


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet", "efficientnet_b0"])
def test_what_no_feature_needs_is_not_run(name):
    model = models.create(name, input_shape=(3, 64, 64))
    first = model.graph.nodes[3].outputs[0]
    made = model._compile([(1, 3, 64, 64)], [first], None)
    assert len(made.steps) < 8 < len(model.compile((1, 3, 64, 64)).steps)
    x = make_pictures((1, 3, 64, 64))
    np.testing.assert_allclose(
        model.features(x, first)[first], model.features(x, first, backend="reference")[first], atol=1e-4
    )


def test_every_layer_at_once():
    """Tapping keeps values apart that a plan would fuse; none may change."""
    model = models.create("squeezenet1_1", input_shape=(3, 64, 64))
    x = make_pictures((2, 3, 64, 64))
    names = [node.outputs[0] for node in model.graph.nodes]
    mine, theirs = model.features(x, names), model.features(x, names, backend="reference")
    for name in names:
        np.testing.assert_allclose(mine[name], theirs[name], atol=2e-5 * np.ptp(theirs[name]), err_msg=name)
