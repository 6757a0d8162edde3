from __future__ import annotations

import math

import numpy as np
import pytest

from cnnkern import models, testing
from cnnkern.measure import accuracy
from cnnkern.measure.accuracy import LayerError, NetworkErrors


def test_an_error_is_a_share_of_the_references_range():
    reference = np.array([[-1.0, 3.0]])
    assert accuracy.range_error(np.array([[-1.0, 3.4]]), reference) == pytest.approx(0.1)
    assert accuracy.range_error(reference, reference) == 0.0


@pytest.mark.parametrize(
    "mine, reference, error",
    [
        (np.zeros((1, 2)), np.zeros((1, 3)), math.inf),
        (np.full((1, 2), 2.5), np.full((1, 2), 2.0), 0.25),
        (np.full((1, 2), 0.5), np.zeros((1, 2)), 0.5),
        (np.zeros((0, 2)), np.zeros((0, 2)), 0.0),
    ],
)
def test_odd_arrays(mine, reference, error):
    assert accuracy.range_error(mine, reference) == error


def test_a_nan_is_never_within_tolerance():
    error = accuracy.range_error(np.array([np.nan, 1.0]), np.array([0.0, 1.0]))
    wrong = LayerError("conv", "conv2d", (2,), error, 1e-5)
    assert not wrong.ok
    assert not NetworkErrors((wrong,), 0.5).ok


def test_the_first_wrong_layer_is_the_one_to_look_at():
    layers = [LayerError(name, "conv2d", (1,), error, 1e-5) for name, error in zip("abcd", (1e-6, 1e-3, 1.0, 9e-6))]
    assert NetworkErrors(tuple(layers), 0.5).worst.layer == "b"
    assert NetworkErrors((layers[0], layers[3]), 0.5).worst.layer == "d"


def test_an_output_that_does_not_vary_proves_nothing():
    exact = LayerError("fc", "linear", (2, 10), 0.0, 1e-5)
    assert NetworkErrors((exact,), 0.011).ok
    assert not NetworkErrors((exact,), 0.009).ok


def test_variation_is_between_the_first_two_images():
    assert accuracy.variation(np.array([[0.0, 1.0], [0.5, 1.0], [0.0, 1.0]])) == 0.5
    assert accuracy.variation(np.ones((2, 3))) == 0.0
    assert accuracy.variation(np.ones((1, 3))) == 0.0


def test_tolerances_of_layers_add_like_independent_errors():
    graph = models.create("lenet5").graph.bind(1)
    limits = list(accuracy.tolerances(graph).values())
    assert limits == sorted(limits)
    first = graph.nodes[0]
    assert limits[0] == accuracy.AMPLIFICATION * testing.tolerance(
        first.spec, *(graph.shape(name) for name in first.inputs)
    )


def test_float32_arithmetic_stays_within_and_a_bent_layer_does_not():
    model = models.create("lenet5")
    x = np.random.default_rng(1).standard_normal((2, 1, 32, 32), dtype=np.float32)
    graph = model.graph.bind(2)
    reference = accuracy.reference_taps(model, x)
    assert all(tap.dtype == np.float64 for tap in reference.values())
    varies = accuracy.variation(reference[graph.outputs[0]])
    mine = accuracy.taps(model.compile(x.shape, backend="reference"), x)
    good = accuracy.compare_network(graph, mine, reference, varies)
    assert good.ok and len(good.layers) == len(graph.nodes) - 1, "all but flatten"

    bent = {**mine, "s4": mine["s4"] + np.float32(1e-3)}
    wrong = accuracy.compare_network(graph, bent, reference, varies)
    assert not wrong.ok and wrong.worst.layer == "s4"


def test_unwanted_taps_are_not_kept():
    model = models.create("lenet5")
    x = np.zeros((2, 1, 32, 32), np.float32)
    assert set(accuracy.reference_taps(model, x, {"c3"}.__contains__)) == {"c3", model.graph.outputs[0]}
