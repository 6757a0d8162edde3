"""Dense, mobile, efficient and separable networks against their reference implementations, as test_zoo.py does."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import cnnkern

from .conftest import make_pictures
from .keras_zoo import assign, keras_on_torch, state
from .zoo import check, check_against

CASES = [
    ("densenet161", "torchvision", "densenet161", 64),
    ("densenet169", "torchvision", "densenet169", 64),
    ("densenet201", "torchvision", "densenet201", 64),
    ("densenet201", "timm", "densenet201", 64),
    ("mobilenetv2_035", "timm", "mobilenetv2_035", 97),
    ("mobilenetv2_050", "timm", "mobilenetv2_050", 96),
    ("mobilenetv2_075", "timm", "mobilenetv2_075", 96),
    ("mobilenetv2_140", "timm", "mobilenetv2_140", 96),
    ("shufflenet_v2_x0_5", "torchvision", "shufflenet_v2_x0_5", 96),
    ("shufflenet_v2_x1_5", "torchvision", "shufflenet_v2_x1_5", 96),
    ("shufflenet_v2_x2_0", "torchvision", "shufflenet_v2_x2_0", 96),
    *((f"efficientnet_b{i}", "torchvision", f"efficientnet_b{i}", 64) for i in range(1, 8)),
    *((f"efficientnet_b{i}", "timm", f"efficientnet_b{i}", 64) for i in range(1, 5)),
    *((f"timm_efficientnet_b{i}", "timm", f"efficientnet_b{i}", 64) for i in range(5, 8)),
    *((f"tf_efficientnet_b{i}", "timm", f"tf_efficientnet_b{i}", 64) for i in range(8)),
    ("inception_resnet_v2", "timm", "inception_resnet_v2", 107),
    ("xception", "timm", "legacy_xception", 96),
    ("nasnet_large", "timm", "nasnetalarge", 71),
    ("nasnet_large", "timm", "nasnetalarge", 96),
]


@pytest.mark.parametrize("name, library, theirs, size", CASES, ids=lambda value: str(value))
def test_network_equals_its_reference(name, library, theirs, size, request, torch):
    check_against(torch, request.getfixturevalue(library), name, theirs, size)


def test_densenet264_is_torchvisions_class(torch, torchvision):
    def create_model(name, pretrained):
        return torchvision.DenseNet(32, (6, 12, 64, 48), 64)

    check_against(torch, SimpleNamespace(create_model=create_model), "densenet264", "DenseNet", 64)


# --- keras.applications

KERAS = [
    ("keras_mobilenet", "MobileNet", 96, {}),
    ("keras_mobilenet_025", "MobileNet", 97, {"alpha": 0.25}),
    ("keras_mobilenet_050", "MobileNet", 96, {"alpha": 0.5}),
    ("keras_mobilenet_075", "MobileNet", 97, {"alpha": 0.75}),
    ("keras_mobilenet_v2", "MobileNetV2", 96, {}),
    ("keras_mobilenet_v2_035", "MobileNetV2", 97, {"alpha": 0.35}),
    ("keras_mobilenet_v2_050", "MobileNetV2", 96, {"alpha": 0.5}),
    ("keras_mobilenet_v2_075", "MobileNetV2", 96, {"alpha": 0.75}),
    ("keras_mobilenet_v2_140", "MobileNetV2", 96, {"alpha": 1.4}),
    ("keras_mobilenet_v2_130", "MobileNetV2", 97, {"alpha": 1.3}),
    ("keras_densenet121", "DenseNet121", 64, {}),
    ("keras_densenet169", "DenseNet169", 64, {}),
    ("keras_densenet201", "DenseNet201", 64, {}),
    ("keras_efficientnet_b0", "EfficientNetB0", 64, {}),
    ("keras_efficientnet_b3", "EfficientNetB3", 65, {}),
    *((f"keras_efficientnet_b{i}", f"EfficientNetB{i}", 64, {}) for i in (1, 2, 4, 5, 6, 7)),
    ("keras_xception", "Xception", 96, {}),
    ("keras_inception_v3", "InceptionV3", 107, {}),
    ("keras_inception_resnet_v2", "InceptionResNetV2", 107, {}),
    ("nasnet_mobile", "NASNetMobile", 96, {"classifier_activation": None}),
    ("keras_nasnet_mobile", "NASNetMobile", 65, {}),
    ("keras_nasnet_large", "NASNetLarge", 65, {}),
]


@pytest.fixture(scope="module")
def keras(torch):
    with keras_on_torch() as keras:
        yield keras


@pytest.mark.parametrize("name, theirs, size, options", KERAS, ids=lambda value: str(value))
def test_network_equals_kerass(keras, name, theirs, size, options):
    """Random numbers, put into Keras's layers and read back by the names of its layers."""
    keras.utils.clear_session()
    net = getattr(keras.applications, theirs)(weights=None, input_shape=(size, size, 3), **options)
    model = cnnkern.models.create(name, input_shape=(3, size, size))
    random = cnnkern.models.create(name, input_shape=(3, size, size), seed=5).weights
    rename = cnnkern.models.get(name).rename or (lambda key: key)
    # gates let little of a picture through: with variances as drawn, two of them hardly differ
    narrower = 0.94 if theirs.startswith("EfficientNet") else 1
    assign(net, {key: random[rename(key)] for key in state(keras, net)}, narrower)
    assert not model.load_state_dict(state(keras, net))
    layers = [layer for layer in net.layers if rename(f"{layer.name}.").rstrip(".") in model.graph.values]
    layers = [layer for layer in layers if "_se_" not in layer.name and layer.name != "predictions"]  # hold activations
    layers = layers[:: max(1, len(layers) // 12)]
    assert len(layers) >= 8
    tapped = keras.Model(net.inputs, [net.output, *(layer.output for layer in layers)])
    x = make_pictures((2, 3, size, size))
    pixels = 255 if theirs.startswith("EfficientNet") else 1  # that network begins with a division
    y, *outputs = (
        keras.ops.convert_to_numpy(o) for o in tapped(pixels * np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    )
    names = [rename(f"{layer.name}.").rstrip(".") for layer in layers]
    taps = {name: o.transpose(0, 3, 1, 2) if o.ndim == 4 else o for name, o in zip(names, outputs)}
    check(model, y, taps, x)


# --- networks that neither library has


def norm(torch, w, name, x):
    statistics = (w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return torch.nn.functional.batch_norm(x, *statistics, eps=1e-5)


def densenet(torch, w, x):
    F = torch.nn.functional

    def conv(x, name):
        weight = w[f"features.{name}.weight"]
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)

    x = conv(x, "conv0")
    for block in (1, 2, 3):
        parts, layer = [x], 1
        while f"features.denseblock{block}.denselayer{layer}.conv1.weight" in w:
            name = f"denseblock{block}.denselayer{layer}"
            x = torch.cat(parts, 1)
            for i in (1, 2):
                if f"features.{name}.conv{i}.weight" in w:
                    x = conv(norm(torch, w, f"features.{name}.norm{i}", x).relu(), f"{name}.conv{i}")
            parts.append(x)
            layer += 1
        x = torch.cat(parts, 1)
        if block < 3:
            x = conv(norm(torch, w, f"features.transition{block}.norm", x).relu(), f"transition{block}.conv")
            x = F.avg_pool2d(x, 2)
    x = norm(torch, w, "features.norm5", x).relu().mean((2, 3))
    return F.linear(x, w["classifier.weight"], w["classifier.bias"])


def shufflenet_v1(torch, w, x):
    F = torch.nn.functional

    def conv(x, name, **options):
        weight = w[f"{name}.conv.weight"]
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups, **options)
        return norm(torch, w, f"{name}.bn", x)

    x = F.max_pool2d(conv(x, "conv1", stride=2).relu(), 3, 2, 1)
    shared = w["stage3.1.expand.conv.weight"].shape
    groups = w["stage3.1.compress.conv.weight"].shape[0] // shared[1]
    for stage, units in ((2, 4), (3, 8), (4, 4)):
        for i in range(units):
            name = f"stage{stage}.{i}"
            y = conv(x, f"{name}.compress").relu()
            n, c, h, v = y.shape
            y = y.view(n, groups, c // groups, h, v).transpose(1, 2).flatten(1, 2)
            y = conv(conv(y, f"{name}.depthwise", stride=1 if i else 2), f"{name}.expand")
            x = (x + y if i else torch.cat((F.avg_pool2d(x, 3, 2, 1), y), 1)).relu()
    return F.linear(x.mean((2, 3)), w["fc.weight"], w["fc.bias"])


def fractalnet20(torch, w, x, pooled_columns=False):
    """By the recursion; the join of f_C(f_C(z)) and the columns beside it is the mean of all of them."""
    F = torch.nn.functional

    def unit(x, name):
        return norm(torch, w, f"{name}.bn", F.conv2d(x, w[f"{name}.conv.weight"], padding=1)).relu()

    def ends(z, block, column, step):
        """What the columns up to this one give at `step`, from z: the last halves of the smaller ones, and its own."""
        own = unit(z, f"block{block}.column{column}.{step}")
        if column == 0:
            return [own]
        halfway = ends(z, block, column - 1, step - 2 ** (column - 1))
        middle = sum(halfway) / len(halfway)
        return [*ends(middle, block, column - 1, step), own]

    for block in range(1, 6):
        columns = ends(x, block, 2, 4)
        if pooled_columns:
            x = sum(F.max_pool2d(column, 2) for column in columns) / len(columns)
        else:
            x = F.max_pool2d(sum(columns) / len(columns), 2)
    return F.linear(x.flatten(1), w["fc.weight"], w["fc.bias"])


DEFINED = [
    ("densenet_40_12_cifar10", densenet),
    ("densenet_bc_100_12_cifar10", densenet),
    ("shufflenet_v1_g1", shufflenet_v1),
    ("shufflenet_v1_g3", shufflenet_v1),
    ("shufflenet_v1_g8", shufflenet_v1),
    ("fractalnet20_cifar10", fractalnet20),
    ("fractalnet20_cifar10_pooled_columns", partial(fractalnet20, pooled_columns=True)),
]


@pytest.mark.parametrize("name, forward", DEFINED)
def test_network_equals_its_definition(torch, name, forward):
    size = min(cnnkern.models.get(name).input_shape[1], 96)
    model = cnnkern.models.create(name, input_shape=(3, size, size))
    x = make_pictures((2, *model.input_shape))
    weights = {name: torch.tensor(array) for name, array in model.weights.items()}
    with torch.no_grad():
        y = forward(torch, weights, torch.from_numpy(x)).numpy()
    check(model, y, {}, x)
