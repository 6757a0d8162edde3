"""Files that Keras itself wrote, against what its networks compute."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkern import ModelError, models
from cnnkern.weights import our_names, read_state_dict

from .conftest import make_pictures
from .keras_zoo import assign, keras_on_torch, ours, state, variables
from .zoo import check

h5py = pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def keras(torch):
    with keras_on_torch() as keras:
        yield keras


def application(theirs, size, **options):
    return lambda keras: getattr(keras.applications, theirs)(weights=None, input_shape=(size, size, 3), **options)


def mnist(keras):
    layers = keras.layers
    convs = [layers.Conv2D(c, 3, activation="relu") for c in (32, 64, 64)]
    parts = [convs[0], layers.MaxPooling2D(2), convs[1], layers.MaxPooling2D(2), convs[2], layers.Flatten()]
    dense = [layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax")]
    return keras.Sequential([layers.Input((28, 28, 1)), *parts, *dense])


def cats_dogs(keras):
    layers = keras.layers
    pairs = [[layers.Conv2D(c, 3, activation="relu"), layers.MaxPooling2D(2)] for c in (32, 64, 128, 128)]
    top = [layers.Flatten(), layers.Dense(512, activation="relu"), layers.Dense(20, activation="sigmoid")]
    return keras.Sequential([layers.Input((150, 150, 3)), *(layer for pair in pairs for layer in pair), *top])


def transfer(keras):
    layers = keras.layers
    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(150, 150, 3))
    top = [layers.Flatten(), layers.Dense(256, activation="relu"), layers.Dense(20, activation="sigmoid")]
    return keras.Sequential([base, *top])


KERAS = {  # network: how Keras makes it, input shape, options
    "keras_mnist_convnet": (mnist, (1, 28, 28), {}),
    "keras_cats_dogs": (cats_dogs, (3, 150, 150), {"num_classes": 20}),
    "vgg16_transfer_150": (transfer, (3, 150, 150), {"num_classes": 20}),
    "keras_vgg16": (application("VGG16", 64), (3, 64, 64), {}),
    "keras_resnet50": (application("ResNet50", 65), (3, 65, 65), {}),
    "keras_mobilenet_v2": (application("MobileNetV2", 96), (3, 96, 96), {}),
    "keras_xception": (application("Xception", 96), (3, 96, 96), {}),
    "keras_inception_v3": (application("InceptionV3", 107), (3, 107, 107), {}),
    "keras_efficientnet_b0": (application("EfficientNetB0", 64), (3, 64, 64), {}),
    "keras_densenet121": (application("DenseNet121", 64), (3, 64, 64), {}),
}


@pytest.mark.parametrize("name", KERAS)
def test_what_keras_saves(name, keras, tmp_path):
    make, shape, options = KERAS[name]
    make(keras)  # so that automatic names do not start anew
    net = make(keras)
    random = models.create(name, seed=5, input_shape=shape, **options)
    wider = {"keras_resnet50": 1.2, "keras_efficientnet_b0": 0.94}.get(name, 1)
    assign_in_order(net, random, wider)
    x = make_pictures((2, *shape))
    pixels = 255 if "efficientnet" in name else 1  # that network begins with a division
    y = keras.ops.convert_to_numpy(net(pixels * np.ascontiguousarray(x.transpose(0, 2, 3, 1))))
    paths = [tmp_path / "w.h5", tmp_path / "w.weights.h5", tmp_path / "w.keras", tmp_path / "nameless.weights.h5"]
    for path in paths[:3]:
        (net.save_weights if "weights" in path.name else net.save)(path)
    without_names(paths[1], paths[3])
    first = None
    for path in paths:
        model = models.create(name, input_shape=shape, **options)
        assert not model.load_state_dict(path)
        if first is None:
            first = model.weights
            check(model, y, {}, x)
        assert all(np.array_equal(model.weights[key], array) for key, array in first.items()), path.name


def assign_in_order(net, random, wider) -> None:
    """As `assign`, by the library's own counting of automatic names."""
    keys = [ours(layer, v, np.empty(v.shape))[0] for layer, v in variables(net)]
    names = our_names(keys, random.graph.params, None)
    assign(net, {key: random.weights[name] for key, name in names.items()}, wider)


def without_names(source, target) -> None:
    """As Keras 3 wrote it before 3.6."""
    target.write_bytes(source.read_bytes())
    with h5py.File(target, "a") as file:
        groups = []
        file.visititems(lambda path, group: groups.append(group) if path.endswith("vars") else None)
        for group in groups:
            group.attrs.pop("name", None)


@pytest.mark.parametrize("wrong, theirs, options", [("keras_resnet50", "ResNet50V2", {}), ("resnet50", "ResNet50", {})])
def test_the_network_that_a_file_of_keras_is_of(wrong, theirs, options, keras, tmp_path):
    net = application(theirs, 64, **options)(keras)
    net.save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(ModelError, match=f"looks like keras_{theirs.lower()}"):
        models.create(wrong).load_state_dict(tmp_path / "w.weights.h5")
    assert state(keras, net).keys() == read_state_dict(tmp_path / "w.weights.h5").keys()
