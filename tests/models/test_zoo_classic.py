"""The classic families against torchvision, timm and Keras; what none of them has, against a definition in torch."""

from __future__ import annotations

import re

import numpy as np
import pytest

import cnnkern

from .conftest import make_pictures
from .keras_zoo import assign, keras_on_torch, state
from .test_zoo import googlenet_2014
from .zoo import TOLERANCE, VARIATION, check, check_against, error, randomise, reference_network

# network: library, its name there, input size
CASES = [
    ("vgg11", "torchvision", "vgg11", 64),  # a 2x2 map is spread to 7x7 before the classifier
    ("vgg13", "torchvision", "vgg13", 64),
    ("vgg11_bn", "torchvision", "vgg11_bn", 64),
    ("vgg13_bn", "timm", "vgg13_bn", 64),
    ("vgg16_bn", "torchvision", "vgg16_bn", 64),
    ("vgg19_bn", "torchvision", "vgg19_bn", 64),
]


@pytest.mark.parametrize("name, library, theirs, size", CASES, ids=lambda value: str(value))
def test_network_equals_its_reference(name, library, theirs, size, request, torch):
    check_against(torch, request.getfixturevalue(library), name, theirs, size)


# --- auxiliary heads: torchvision runs them in training alone, on the maps that these modules give

AUXILIARY = [
    ("googlenet", 128, {"aux1": "inception4a", "aux2": "inception4d"}),
    ("inception_v3", 299, {"AuxLogits": "Mixed_6e"}),
]


@pytest.mark.parametrize("theirs, size, heads", AUXILIARY, ids=lambda value: str(value))
def test_auxiliary_heads_equal_their_reference(theirs, size, heads, torch, torchvision):
    net = reference_network(torchvision, theirs)
    for head, source in heads.items():

        def run(module, inputs, y, head=head):
            net.get_submodule(head)(y)  # and leave y as it is

        net.get_submodule(source).register_forward_hook(run)
    randomise(torch, net, size)
    model = cnnkern.models.create(f"{theirs}_aux", input_shape=(3, size, size))
    assert not model.load_state_dict(net.state_dict())
    x, expected = make_pictures((2, 3, size, size)), {}
    for head in heads:
        net.get_submodule(head).register_forward_hook(lambda m, i, y, head=head: expected.update({head: y.numpy()}))
    with torch.no_grad():
        y = net(torch.from_numpy(x)).numpy()
    assert_outputs(model(x), [y, *(expected[head] for head in heads)])


def assert_outputs(mine, theirs) -> None:
    assert len(mine) == len(theirs)
    errors = [error(a, b) for a, b in zip(mine, theirs)]
    print([f"{value:.1e}" for value in errors])
    assert max(errors) <= TOLERANCE
    assert all(np.abs(y[0] - y[1]).max() > VARIATION * np.ptp(y) for y in theirs)


# --- Keras


@pytest.fixture(scope="module")
def keras(torch):
    with keras_on_torch() as keras:
        yield keras


def cats_dogs(keras, shape, classes):
    layers = keras.layers
    convs = [layers.Conv2D(c, 3, activation="relu", name=f"conv2d_{i}") for i, c in enumerate((32, 64, 128, 128), 1)]
    pools = [layers.MaxPooling2D(2, name=f"max_pooling2d_{i}") for i in (1, 2, 3, 4)]
    features = [layer for pair in zip(convs, pools) for layer in pair]
    return keras.Sequential([layers.Input(shape), *features, *dense_layers(layers, 512, classes)])


def transfer(keras, shape, classes):
    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=shape)
    return keras.Model(base.input, keras.Sequential(dense_layers(keras.layers, 256, classes))(base.output))


def dense_layers(layers, width, classes):
    first = layers.Dense(width, activation="relu", name="dense_1")
    return [layers.Flatten(name="flatten_1"), first, layers.Dense(classes, activation="sigmoid", name="dense_2")]


def vgg_of(name):
    return lambda keras, shape, classes: getattr(keras.applications, name)(
        weights=None, input_shape=shape, classes=classes
    )


KERAS = {  # network: how Keras makes it, input size; the sigmoids of many classes have a range, that of one has none
    "keras_cats_dogs": (cats_dogs, 150),
    "vgg16_transfer_150": (transfer, 150),
    "keras_vgg16": (vgg_of("VGG16"), 64),
    "keras_vgg19": (vgg_of("VGG19"), 64),
}


@pytest.mark.parametrize("name", KERAS)
def test_network_equals_kerass(name, keras):
    """Random numbers, put into Keras's layers and read back by the names of its layers."""
    make, size = KERAS[name]
    net, options = make(keras, (size, size, 3), 20), {"num_classes": 20, "input_shape": (3, size, size)}
    assign(net, cnnkern.models.create(name, seed=5, **options).weights)
    model = cnnkern.models.create(name, **options)
    assert not model.load_state_dict(state(keras, net))
    pools = [node.name for node in model.graph.nodes if node.spec.op == "pool2d"]
    tapped = keras.Model(net.inputs, [net.outputs[0], *(net.get_layer(pool).output for pool in pools)])
    x = make_pictures((2, 3, size, size))
    y, *taps = (keras.ops.convert_to_numpy(out) for out in tapped([np.ascontiguousarray(x.transpose(0, 2, 3, 1))]))
    check(model, y, {pool: tap.transpose(0, 3, 1, 2) for pool, tap in zip(pools, taps)}, x)


# --- networks that no library has: (torch.nn.functional, weights, x, name) -> scores


def conv(F, w, x, name, act="relu", **options):
    return getattr(F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **options), act)()


def dense(F, w, x, name):
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def norm_2012(F, x):
    return F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)  # torch divides alpha by the size, the paper not


def alexnet(F, w, x, name):
    groups, without = 2 if "grouped" in name else 1, name.partition("_minus_")[2]
    x = norm_2012(F, F.max_pool2d(conv(F, w, x, "conv1", stride=4), 3, 2))
    x = norm_2012(F, F.max_pool2d(conv(F, w, x, "conv2", padding=2, groups=groups), 3, 2))
    x = x if "3" in without else conv(F, w, x, "conv3", padding=1)
    x = x if "4" in without else conv(F, w, x, "conv4", padding=1, groups=groups)
    x = F.max_pool2d(conv(F, w, x, "conv5", padding=1, groups=groups), 3, 2).flatten(1)
    x = x if "6" in without else dense(F, w, x, "fc6").relu()
    x = x if "7" in without else dense(F, w, x, "fc7").relu()
    return dense(F, w, x, "fc8").softmax(1)


def zfnet(F, w, x, name):
    x = norm_2012(F, F.max_pool2d(conv(F, w, x, "conv1", stride=2, padding=1), 3, 2, ceil_mode=True))
    x = norm_2012(F, F.max_pool2d(conv(F, w, x, "conv2", stride=2), 3, 2, ceil_mode=True))
    for layer in ("conv3", "conv4", "conv5"):
        x = conv(F, w, x, layer, padding=1)
    x = F.max_pool2d(x, 3, 2, ceil_mode=True).flatten(1)
    return dense(F, w, dense(F, w, dense(F, w, x, "fc6").relu(), "fc7").relu(), "fc8").softmax(1)


def nin_cifar10(F, w, x, name):
    x = conv(F, w, conv(F, w, conv(F, w, x, "conv1", padding=2), "cccp1"), "cccp2")
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    x = conv(F, w, conv(F, w, conv(F, w, x, "conv2", padding=2), "cccp3"), "cccp4")
    x = F.avg_pool2d(x, 3, 2, ceil_mode=True)
    x = conv(F, w, conv(F, w, conv(F, w, x, "conv3", padding=1), "cccp5"), "cccp6")
    return F.avg_pool2d(x, 8).flatten(1).softmax(1)


def nin_imagenet(F, w, x, name):
    x = conv(F, w, conv(F, w, conv(F, w, x, "conv1", stride=4), "cccp1"), "cccp2")
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    x = conv(F, w, conv(F, w, conv(F, w, x, "conv2", padding=2), "cccp3"), "cccp4")
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    x = conv(F, w, conv(F, w, conv(F, w, x, "conv3", padding=1), "cccp5"), "cccp6")
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    x = conv(F, w, conv(F, w, conv(F, w, x, "conv4-1024", padding=1), "cccp7-1024"), "cccp8-1024")
    return x.mean((2, 3)).softmax(1)


VGG = {  # convolutions of each block, up to the last feature map; the normalisation stands behind the first of all
    "vgg11_lrn": (1, 1, 2, 2, 2),
    "vgg16_c": (2, 2, 3, 3, 3),
    "vgg_b_shallow5x5": (1, 1, 1, 1, 1),
}


def vgg(F, w, x, name):
    layers = iter(sorted({int(key.split(".")[1]) for key in w if key.startswith("features.")}))
    for count in VGG[name]:
        for i in range(count):
            layer = f"features.{next(layers)}"
            kernel = 5 if name == "vgg_b_shallow5x5" else 1 if name == "vgg16_c" and i == 2 else 3
            assert w[f"{layer}.weight"].shape[2:] == (kernel, kernel)
            x = conv(F, w, x, layer, padding=kernel // 2)
            x = norm_2012(F, x) if name == "vgg11_lrn" and layer == "features.0" else x
        x = F.max_pool2d(x, 2)
    return x  # the classifier is that of all VGGs


def inception_naive(F, w, x, name):
    a, b, c = conv(F, w, x, "1x1"), conv(F, w, x, "3x3", padding=1), conv(F, w, x, "5x5", padding=2)
    return concat((a, b, c, F.max_pool2d(x, 3, 1, 1)))


def inception_bottleneck(F, w, x, name):
    a, b = conv(F, w, x, "1x1"), conv(F, w, conv(F, w, x, "3x3_reduce"), "3x3", padding=1)
    c = conv(F, w, conv(F, w, x, "5x5_reduce"), "5x5", padding=2)
    return concat((a, b, c, conv(F, w, F.max_pool2d(x, 3, 1, 1), "pool_proj")))


def concat(parts):
    import torch

    return torch.cat(parts, 1)


def lenet5_1998(F, w, x, name):
    maps = ["012", "123", "234", "345", "045", "015"]
    maps += ["0123", "1234", "2345", "0345", "0145", "0125", "0134", "1245", "0235", "012345"]
    filters = [(w[f"c3.{i}.weight"][j], w[f"c3.{i}.bias"][j]) for i, n in enumerate((6, 9, 1)) for j in range(n)]

    def squash(x):
        return 1.7159 * (x * 2 / 3).tanh()

    def subsample(x, name):
        total = x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]
        return squash(total * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None])

    x = subsample(squash(F.conv2d(x, w["c1.weight"], w["c1.bias"])), "s2")
    x = concat([F.conv2d(x[:, [*map(int, s)]], f[None], b[None]) for s, (f, b) in zip(maps, filters)])
    x = squash(F.conv2d(subsample(squash(x), "s4"), w["c5.weight"], w["c5.bias"])).flatten(1)
    x = squash(dense(F, w, x, "f6"))
    codes = w["output.weight"] / -2
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    return (x[:, None] - codes[None]).square().sum(2)


def deepface(F, w, x, name):
    x = conv(F, w, F.max_pool2d(conv(F, w, x, "C1"), 3, 2, ceil_mode=True), "C3")
    for layer, stride in (("L4", 1), ("L5", 2), ("L6", 1)):
        x = local(F, w, x, layer, stride)
    return dense(F, w, dense(F, w, x.flatten(1), "F7").relu(), "F8").softmax(1)


def local(F, w, x, name, stride):
    p, q, k, c, r, s = w[f"{name}.weight"].shape
    patches = F.unfold(x, (r, s), stride=stride)  # N, C R S, P Q
    y = (w[f"{name}.weight"].reshape(p * q, k, c * r * s) @ patches.permute(2, 1, 0)).permute(2, 1, 0)
    return (y.reshape(-1, k, p, q) + w[f"{name}.bias"]).relu()


# network: its definition, input size: smaller than published where that serves
DEFINITIONS = {
    **{
        f"alexnet_227{groups}{minus}": (alexnet, 115)
        for groups in ("", "_grouped")
        for minus in ("_minus_7", "_minus_67", "_minus_34", "_minus_3467")
    },
    "alexnet_227_grouped": (alexnet, 227),
    "zfnet": (zfnet, 224),
    "zfnet_wide": (zfnet, 112),
    "nin_cifar10": (nin_cifar10, 32),
    "nin_imagenet": (nin_imagenet, 224),
    **dict.fromkeys(VGG, (vgg, 96)),
    "inception_naive": (inception_naive, 28),
    "inception_bottleneck": (inception_bottleneck, 28),
    "lenet5_1998": (lenet5_1998, 32),
    "deepface": (deepface, 96),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_network_equals_its_definition(name, torch):
    forward, size = DEFINITIONS[name]
    shape = (cnnkern.models.get(name).input_shape[0], size, size)
    model = cnnkern.models.create(name, include_top=forward is not vgg, input_shape=shape)
    x = make_pictures((2, *model.input_shape))
    check(model, in_torch(torch, model, forward, x, name), {}, x)


def in_torch(torch, model, forward, x, *args) -> np.ndarray:
    weights = {name: torch.tensor(array) for name, array in model.weights.items()}
    with torch.no_grad():
        return forward(torch.nn.functional, weights, torch.from_numpy(x), *args).numpy()


def test_googlenet_2014_auxiliary_heads(torch):
    model = cnnkern.models.create("googlenet_2014_aux")
    x = make_pictures((2, *model.input_shape))

    def head(F, w, x, name):
        x = conv(F, w, F.avg_pool2d(x, 5, 3), f"{name}/conv").flatten(1)
        return dense(F, w, dense(F, w, x, f"{name}/fc").relu(), f"{name}/classifier")

    weights = {name: torch.tensor(array) for name, array in model.weights.items()}
    maps = model.features(x, ["inception_4a", "inception_4d"])
    with torch.no_grad():
        y = googlenet_2014(torch, weights, torch.from_numpy(x)).numpy()
    heads = [in_torch(torch, model, head, y, f"loss{i}") for i, y in enumerate(maps.values(), 1)]
    assert_outputs(model(x), [y, *heads])


def test_googlenet_aux_head_is_the_one_behind_4a():
    model, head = cnnkern.models.create("googlenet_2014_aux"), cnnkern.models.create("googlenet_aux_head")
    theirs = {name.removeprefix("loss1/"): w for name, w in model.weights.items() if name.startswith("loss1/")}
    assert not head.load_state_dict(theirs)
    x = make_pictures((2, *model.input_shape))
    expected = model(x)[1]
    assert error(head(model.features(x, "inception_4a")["inception_4a"]), expected) < 1e-5
    assert np.abs(np.diff(expected, axis=0)).max() > VARIATION * np.ptp(expected)


def test_googlenet_without_heads_ignores_theirs(torchvision):
    net = reference_network(torchvision, "googlenet")
    assert not cnnkern.models.create("googlenet").load_state_dict(net.state_dict())
    assert not cnnkern.models.create("googlenet+aux").load_state_dict(net.state_dict())


# --- DeepFace's descriptor, LeNet-5's connections


def test_deepface_descriptor_has_length_one():
    model = cnnkern.models.create("deepface", input_shape=(3, 96, 96))
    taps = model.features(make_pictures((2, 3, 96, 96)), ["representation", "descriptor"])
    lengths = np.linalg.norm(taps["representation"].astype(np.float64), axis=1, keepdims=True)
    assert error(taps["descriptor"], taps["representation"] / lengths) < 1e-5
    assert np.abs(np.diff(taps["descriptor"], axis=0)).max() > 0.01


def test_lenet5_1998_has_the_connections_of_the_paper():
    """340,908: the products of its convolutions and linear layers, a bias per output, four inputs and a bias per
    subsampled value; the output's codes have no bias."""
    layers = {layer.name: layer for layer in cnnkern.models.create("lenet5_1998").summary().layers}
    size = {name: int(np.prod(layer.output_shape)) for name, layer in layers.items()}
    summed = [name for name in layers if re.fullmatch(r"c1|c3\.\d|c5|f6", name)]
    connections = sum(layers[name].macs + size[name] for name in summed) + 5 * (size["s2"] + size["s4"])
    assert connections + layers["output"].macs == 340_908
    assert [layers[name].params for name in ("c1", "s2", "s4", "c5", "f6")] == [156, 12, 32, 48_120, 10_164]
    assert sum(layers[f"c3.{i}"].params for i in range(3)) == 1_516


def test_lenet5_1998_has_codes_for_ten_classes():
    with pytest.raises(ValueError, match="codes for 10 classes, got 11"):
        cnnkern.models.create("lenet5_1998", num_classes=11)
