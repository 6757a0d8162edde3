"""The residual families against torchvision, timm and Keras; what none of them has, against its definition in torch."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

import cnnkern
from cnnkern.graph.builder import GraphBuilder
from cnnkern.model import Model

from .conftest import make_pictures
from .keras_zoo import assign, keras_on_torch, state
from .zoo import check, check_against, common_taps, randomise, reference_network, run_with_taps

# network: library, its name there, input size
CASES = [
    ("resnext101_32x8d", "torchvision", "resnext101_32x8d", 64),
    ("resnext101_64x4d", "torchvision", "resnext101_64x4d", 64),
    ("resnext101_32x4d", "timm", "resnext101_32x4d", 64),
    ("wide_resnet50_2", "torchvision", "wide_resnet50_2", 64),
    ("wide_resnet101_2", "torchvision", "wide_resnet101_2", 64),
    ("resnetv2_18", "timm", "resnetv2_18", 96),
    ("resnetv2_34", "timm", "resnetv2_34", 96),
    ("resnetv2_50", "timm", "resnetv2_50", 97),
    ("resnetv2_101", "timm", "resnetv2_101", 64),
    ("resnetv2_152", "timm", "resnetv2_152", 64),
    ("seresnet18", "timm", "seresnet18", 96),
    ("seresnet34", "timm", "seresnet34", 96),
    ("seresnet50", "timm", "seresnet50", 97),
    ("seresnet101", "timm", "seresnet101", 64),
    ("seresnet152", "timm", "seresnet152", 64),
    ("seresnext50_32x4d", "timm", "seresnext50_32x4d", 64),
    ("seresnext101_32x4d", "timm", "seresnext101_32x4d", 64),
    ("seresnet50_v1", "timm", "legacy_seresnet50", 97),
    ("senet154", "timm", "senet154", 64),
]


@pytest.mark.parametrize("name, library, theirs, size", CASES, ids=lambda value: str(value))
def test_network_equals_its_reference(name, library, theirs, size, request, torch):
    check_against(torch, request.getfixturevalue(library), name, theirs, size)


def test_resnet50_v1_is_torchvisions_with_the_stride_moved(torch, torchvision):
    net = reference_network(torchvision, "resnet50")
    for stage in (net.layer2, net.layer3, net.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    randomise(torch, net, 97)
    model, x = cnnkern.models.create("resnet50_v1", input_shape=(3, 97, 97)), make_pictures((2, 3, 97, 97))
    assert not model.load_state_dict(net.state_dict())
    check(model, *run_with_taps(torch, net, x, common_taps(net, model, None)), x)


# --- Keras


@pytest.fixture(scope="module")
def keras(torch):
    with keras_on_torch() as keras:
        yield keras


@pytest.mark.parametrize("v, depth", [("", 50), ("", 101), ("", 152), ("v2", 50), ("v2", 101), ("v2", 152)])
def test_network_equals_kerass(keras, v, depth):
    """Random numbers, put into Keras's layers and read back by the names of its layers."""
    name, shape = f"keras_resnet{depth}{v}", (3, 65, 65) if depth == 50 else (3, 64, 64)
    net = getattr(keras.applications, f"ResNet{depth}{v.upper()}")(weights=None, input_shape=(*shape[1:], 3))
    random = cnnkern.models.create(name, input_shape=shape, seed=5).weights
    margin = 1 if v else 1.2  # in v1 rounding would grow over a hundred layers; v2's sums do not let it
    assign(net, random, margin)
    model = cnnkern.models.create(name, input_shape=shape)
    assert not model.load_state_dict(state(keras, net))
    taps = ["conv1_conv", "pool1_pool", *(f"conv{stage}_block{i}_out" for stage in (2, 3, 4, 5) for i in (1, 2, 3))]
    tapped = keras.Model(net.inputs, [net.output, *(net.get_layer(tap).output for tap in taps)])
    x = make_pictures((2, *shape))
    y, *outputs = (keras.ops.convert_to_numpy(o) for o in tapped(np.ascontiguousarray(x.transpose(0, 2, 3, 1))))
    check(model, y, {tap: o.transpose(0, 3, 1, 2) for tap, o in zip(taps, outputs)}, x)


# --- networks that no library has


class Torch:
    """The few functions of torch that the definitions need, on the weights of one of our networks."""

    def __init__(self, torch, weights):
        self.F, self.w = torch.nn.functional, {name: torch.tensor(array) for name, array in weights.items()}

    def conv(self, x, name, stride=1, groups=1):
        weight = self.w[f"{name}.weight"]
        return self.F.conv2d(x, weight, None, stride, padding=weight.shape[-1] // 2, groups=groups)

    def norm(self, x, name):
        return self.F.batch_norm(
            x, *(self.w[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        )

    def padded(self, x, channels, stride):
        """Option A: every second pixel, and zeros around the channels."""
        x, more = x[:, :, ::stride, ::stride], channels - x.shape[1]
        return self.F.pad(x, (0, 0, 0, 0, more // 2, more - more // 2))

    def blocks(self, form):
        """(name of the block, stride) as the weights' names have them."""
        for stage in count():
            if form.format(stage, 0) + ".conv1.weight" not in self.w:
                return
            for block in count():
                if (name := form.format(stage, block)) + ".conv1.weight" not in self.w:
                    break
                yield name, 2 if stage and block == 0 else 1


def residual(torch, w, x, shortcuts=True, last_survival=1.0, groups=1):
    """He et al. 2015, section 3.3 and 4.2; for pictures of 224 pixels with the other stem."""
    t = Torch(torch, {name.replace("layer", "stages."): array for name, array in w.items()})
    t.w |= {name.replace(f"stages.{i}.", f"stage{i - 1}.", 1): t.w[name] for name in [*t.w] for i in (1, 2, 3, 4)}
    imagenet = t.w["conv1.weight"].shape[-1] == 7
    x = t.norm(t.conv(x, "conv1", 2 if imagenet else 1), "bn1").relu()
    x = t.F.max_pool2d(x, 3, 2, 1) if imagenet else x
    blocks = list(t.blocks("stage{}.{}"))
    for i, (name, stride) in enumerate(blocks, 1):
        if f"{name}.conv3.weight" in t.w:
            y = t.norm(t.conv(x, f"{name}.conv1"), f"{name}.bn1").relu()
            y = t.norm(t.conv(y, f"{name}.conv2", stride, groups), f"{name}.bn2").relu()
            y = t.norm(t.conv(y, f"{name}.conv3"), f"{name}.bn3")
        else:
            y = t.norm(t.conv(x, f"{name}.conv1", stride), f"{name}.bn1").relu()
            y = t.norm(t.conv(y, f"{name}.conv2"), f"{name}.bn2")
        y = (1 - i / len(blocks) * (1 - last_survival)) * y
        if f"{name}.downsample.0.weight" in t.w:
            y = y + t.norm(t.conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
        elif shortcuts:
            y = y + t.padded(x, y.shape[1], stride)
        x = y.relu()
    return t.F.linear(x.mean((2, 3)), t.w["fc.weight"], t.w["fc.bias"])


def preact(torch, w, x):
    """He et al. 2016, and Zagoruyko and Komodakis: projections of what norm and ReLU have passed."""
    t = Torch(torch, w)
    imagenet = t.w["stem.conv.weight"].shape[-1] == 7
    x = t.conv(x, "stem.conv", 2 if imagenet else 1)
    x = t.F.max_pool2d(t.norm(x, "stem.norm").relu(), 3, 2, 1) if imagenet else x
    for name, stride in t.blocks("stages.{}.blocks.{}"):
        bottleneck = f"{name}.conv3.weight" in t.w
        y = activated = t.norm(x, f"{name}.norm1").relu()
        y = t.conv(y, f"{name}.conv1", 1 if bottleneck else stride)
        y = t.conv(t.norm(y, f"{name}.norm2").relu(), f"{name}.conv2", stride if bottleneck else 1)
        if bottleneck:
            y = t.conv(t.norm(y, f"{name}.norm3").relu(), f"{name}.conv3")
        if f"{name}.downsample.conv.weight" in t.w:
            x = y + t.conv(activated, f"{name}.downsample.conv", stride)
        else:
            x = y + t.padded(x, y.shape[1], stride)
    return t.F.linear(t.norm(x, "norm").relu().mean((2, 3)), t.w["head.fc.weight"], t.w["head.fc.bias"])


@pytest.mark.parametrize(
    "name, forward, options",
    [
        ("resnet20_cifar", residual, {}),
        ("resnet56_cifar", residual, {}),
        ("resnet110_cifar_b", residual, {}),
        ("plain20_cifar", residual, {"shortcuts": False}),
        ("plain34", residual, {"shortcuts": False}),
        ("stochastic_depth_110_cifar", residual, {"last_survival": 0.5}),
        ("resnext29_8x64d_cifar10", residual, {"groups": 8}),
        ("preact_resnet20_cifar", preact, {}),
        ("preact_resnet164_cifar", preact, {}),
        ("preact_resnet50_stembn", preact, {}),
        ("wrn_16_8_cifar10", preact, {}),
        ("wrn_40_4_cifar10", preact, {}),
    ],
)
def test_network_equals_its_definition(torch, name, forward, options):
    small = cnnkern.models.get(name).input_shape[1] == 32
    model = cnnkern.models.create(name, input_shape=(3, 32, 32) if small else (3, 97, 97))
    x = make_pictures((2, *model.input_shape))
    with torch.no_grad():
        y = forward(torch, model.weights, torch.from_numpy(x), **options).numpy()
    check(model, y, {}, x)


def test_stochastic_depth_takes_the_weights_of_resnet110():
    """Survival probabilities belong to the definition: no state dict holds them, and nobody counts them."""
    plain, scaled = (cnnkern.models.create(name) for name in ("resnet110_cifar", "stochastic_depth_110_cifar"))
    assert not scaled.load_state_dict(plain.state_dict())
    survivals = [float(array.item()) for name, array in scaled.weights.items() if name.endswith("survival.factor")]
    np.testing.assert_allclose(survivals, [1 - i / 54 * 0.5 for i in range(1, 55)], rtol=1e-6)
    assert scaled.param_count == plain.param_count and scaled.buffer_count == plain.buffer_count


def test_survival_is_folded_into_the_convolution():
    m = cnnkern.models.create("stochastic_depth_110_cifar")
    graph, _ = cnnkern.graph.passes.apply(m.graph.bind(1), m.weights)
    assert not [node for node in graph.nodes if node.spec.op in ("mul", "batch_norm")]


def test_a_factor_is_folded_into_a_convolution_without_bias():
    g = GraphBuilder("scaled")
    y = g.scale(g.conv(g.input((3, 9, 9)), "conv", 4, 3, bias=False), 0.25, "scale")
    model = Model(g.finish(g.relu(y, "relu")))
    graph, _ = cnnkern.graph.passes.apply(model.graph.bind(1), model.weights)
    assert [node.spec.op for node in graph.nodes] == ["conv2d"]
    assert model.param_count == 4 * 3 * 9 and model.buffer_count == 0
    x = make_pictures((2, 3, 9, 9))
    conv, folded = model.features(x, "conv")["conv"], model(x)
    np.testing.assert_allclose(folded, np.maximum(0.25 * conv, 0), atol=1e-6)
