"""Model: running, compiling, features, summary."""

from __future__ import annotations

import numpy as np
import pytest

import cnnkern
from cnnkern import models
from cnnkern.graph.builder import GraphBuilder
from cnnkern.model import MAX_COMPILED, Model


@pytest.fixture
def small():
    g = GraphBuilder("small")
    x = g.input((3, 9, 9))
    with g.scope("stem"):
        x = g.relu(g.batch_norm(g.conv(x, "conv", 8, 3, 2, 1, bias=False), "bn"))
    y = g.add(x, g.conv(x, "side", 8, 3, padding=1), "join")
    y = g.linear(g.flatten(g.global_avg_pool(y, "pool")), "fc", 5)
    return Model(g.finish(y))


def test_a_call_is_the_graph_by_hand(small, pictures):
    x = pictures((2, 3, 9, 9))
    w = small.weights
    y = cnnkern.conv2d(x, w["stem.conv.weight"], stride=2, padding=1, backend="reference")
    y = cnnkern.batch_norm(y, *(w[f"stem.bn.{k}"] for k in ("running_mean", "running_var", "weight", "bias")))
    y = cnnkern.relu(y)
    y = y + cnnkern.conv2d(y, w["side.weight"], w["side.bias"], padding=1)
    expected = y.mean((2, 3)) @ w["fc.weight"].T + w["fc.bias"]
    np.testing.assert_allclose(small(x, backend="reference"), expected, rtol=1e-4, atol=1e-5)


def test_features_are_taps_of_the_same_run(small, pictures):
    x = pictures((2, 3, 9, 9))
    taps = small.features(x, ["stem", "stem.bn", "join", "fc"], backend="reference")
    assert list(taps) == ["stem", "stem.bn", "join", "fc"]
    assert np.array_equal(taps["stem"], np.maximum(taps["stem.bn"], 0))
    assert np.array_equal(taps["fc"], small(x, backend="reference"))
    assert small.features(x, "pool", backend="reference")["pool"].shape == (2, 8, 1, 1)
    assert small.features(x, [], backend="reference") == {}


def test_features_of_the_input_itself(small, pictures):
    x = pictures((1, 3, 9, 9))
    assert np.array_equal(small.features(x, ["input"], backend="reference")["input"], x)


def test_features_run_no_more_than_they_need(small, pictures):
    small.features(pictures((1, 3, 9, 9)), "stem", backend="reference")
    (executable,) = small._compiled.values()
    assert [step.name for step in executable.steps] == ["stem.conv", "stem.bn", "stem.relu"]


@pytest.mark.parametrize(
    "wrong, nearest", [("layer5", "layer4"), ("layer1.0.convl", "layer1.0.conv1"), ("avg", "avgpool")]
)
def test_a_wrong_layer_gets_the_nearest(wrong, nearest, pictures):
    with pytest.raises(ValueError, match=f"{wrong}.*{nearest}"):
        models.create("resnet18").features(pictures((1, 3, 32, 32)), wrong)


def test_any_batch_and_size(pictures):
    model = models.create("squeezenet1_1", num_classes=3)
    for shape in ((1, 3, 64, 64), (3, 3, 65, 71), (0, 3, 64, 64)):
        assert model(np.zeros(shape, np.float32), backend="reference").shape == (shape[0], 3)


def test_compiled_is_the_same_as_called(small, pictures):
    x = pictures((2, 3, 9, 9))
    executable = small.compile((2, 3, 9, 9), backend="reference")
    assert np.array_equal(executable(x), small(x, backend="reference"))
    assert small.compile(backend="reference").plan.inputs[0].shape == (1, 3, 9, 9)


@pytest.mark.parametrize(
    "shape", [(3, 9, 9), (1, 4, 9, 9), (1, 3, 10, 9), (-1, 3, 9, 9), ("N", 3, 9, 9), (1, 3, 9, 9, 1), (True, 3, 9, 9)]
)
def test_shapes_it_cannot_take(small, shape):
    with pytest.raises((TypeError, ValueError), match="^small|^input_shape"):
        small.compile(shape, backend="reference")


def test_a_network_made_for_one_size_says_so():
    with pytest.raises(ValueError, match="alexnet_227.*cannot take"):
        models.create("alexnet_227").compile((1, 3, 195, 195), backend="reference")


@pytest.mark.parametrize("bad", [[1, 2], None, np.zeros((1, 3, 9, 9)), np.zeros((1, 3, 9, 9), np.uint8)])
def test_inputs_that_are_no_float32_arrays(small, bad):
    with pytest.raises(TypeError, match="^x"):
        small(bad, backend="reference")


def test_inputs_of_another_rank(small):
    with pytest.raises(ValueError, match="^x"):
        small(np.zeros((3, 9, 9), np.float32), backend="reference")


def test_nan_passes_through(small, pictures):
    x = pictures((2, 3, 9, 9))
    x[1, 0, 4, 4] = np.nan
    y = small(x, backend="reference")
    assert np.isfinite(y[0]).all() and np.isnan(y[1]).all()


def test_strided_and_read_only_inputs(small, pictures):
    x = pictures((2, 3, 9, 9))
    strided = np.repeat(x, 2, axis=3)[..., ::2]
    strided.flags.writeable = False
    assert np.array_equal(small(strided, backend="reference"), small(x, backend="reference"))


def test_executables_are_kept_and_bounded(small, pictures):
    for batch in range(1, MAX_COMPILED + 3):
        small(pictures((batch, 3, 9, 9)), backend="reference")
    kept = list(small._compiled.values())
    small(pictures((MAX_COMPILED + 2, 3, 9, 9)), backend="reference")
    assert list(small._compiled.values()) == kept and len(kept) == MAX_COMPILED


def test_new_weights_are_used(small, pictures):
    x = pictures((1, 3, 9, 9))
    before = small(x, backend="reference")
    small.load_state_dict({name: 2 * array for name, array in small.weights.items()})
    assert not np.allclose(small(x, backend="reference"), before)


def test_weights_are_read_only(small):
    with pytest.raises(ValueError, match="read-only"):
        small.weights["fc.bias"][0] = 1


def test_trained_weights_come_with_the_model(pictures):
    shipped, random = models.create("lenet5-digits"), models.create("lenet5")
    assert not np.array_equal(shipped.weights["c1.weight"], random.weights["c1.weight"])
    assert models.create("lenet5-digits", num_classes=3)(pictures((1, 1, 32, 32))).shape == (1, 3)
    assert models.create("lenet5-digits", include_top=False).weights.keys() < shipped.weights.keys()


# --- summary


def test_summary_of_resnet50():
    summary = models.create("resnet50").summary()
    text = str(summary)
    assert summary.params == 25_557_032 and summary.buffers == 53_120 and summary.macs == 4_089_184_256
    conv1 = next(line for line in text.splitlines() if line.startswith("conv1 "))
    assert " ".join(conv1.split()) == "conv1 (conv2d) (None, 64, 112, 112) 9,408 3.06 MiB 118,013,952 7 2"
    assert "25,557,032" in text.splitlines()[-4] and "4,089,184,256" in text
    assert summary.activation_bytes == sum(layer.activation_bytes for layer in summary.layers)


# receptive fields: worked out by hand with r += (k - 1) j, j *= s
FIELDS = {
    "alexnet_227": "conv1 11 pool1 19 conv2 51 pool2 67 conv3 99 conv4 131 conv5 163 pool5 195",
    "vgg16": "features.2 5 features.4 6 features.9 16 features.16 44 features.23 100 features.30 212",
    "resnet34": "conv1 7 maxpool 11 layer1.2.relu 59 layer2.3.relu 179 layer3.5.relu 547 layer4.2.relu 899",
    "resnet50": "layer1.2.relu 35 layer2.3.relu 91 layer3.5.relu 267 layer4.2.relu 427",
    "lenet5": "c1 5 s2 6 c3 14 s4 16 c5 32",
    "keras_mnist_convnet": "conv2d_1 3 max_pooling2d_1 4 conv2d_2 8 max_pooling2d_2 10 conv2d_3 18",
}


@pytest.mark.parametrize("name", FIELDS)
def test_receptive_fields(name):
    fields = {layer.name: layer.receptive_field for layer in models.create(name).summary().layers}
    words = FIELDS[name].split()
    for layer, size in zip(words[::2], map(int, words[1::2])):
        assert fields[layer] == (size, size), layer


def test_receptive_fields_may_differ_by_axis(small):
    g = GraphBuilder("wide")
    x = g.input((1, 20, 20))
    g.finish(g.conv(g.conv(x, "a", 1, (1, 7), stride=(1, 2)), "b", 1, 3, dilation=(1, 2)))
    layers = Model(g.graph).summary().layers
    assert [layer.receptive_field for layer in layers] == [(1, 7), (3, 15)]
    assert "3x15" in str(Model(g.graph).summary())
