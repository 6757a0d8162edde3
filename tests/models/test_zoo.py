"""Every network against its reference implementation: the same random weights, outputs and intermediate taps equal.

The references are torchvision's and timm's; networks that neither has are written down here once more, in torch.
"""

from __future__ import annotations

import pytest

import cnnkern

from .conftest import make_pictures
from .zoo import check, check_against

# network: library, its name there, input size; smaller than published where the network is deep and allows it
CASES = [
    ("alexnet", "torchvision", "alexnet", 224),
    ("vgg16", "torchvision", "vgg16", 224),
    ("vgg16", "timm", "vgg16", 224),
    ("vgg19", "torchvision", "vgg19", 96),  # its 3x3 map is spread to 7x7 before the classifier
    ("googlenet", "torchvision", "googlenet", 224),
    ("inception_v3", "torchvision", "inception_v3", 299),
    ("inception_v3", "timm", "inception_v3", 139),
    ("resnet18", "torchvision", "resnet18", 224),
    ("resnet34", "torchvision", "resnet34", 128),
    ("resnet50", "torchvision", "resnet50", 224),
    ("resnet50", "timm", "resnet50", 97),
    ("resnet101", "torchvision", "resnet101", 128),
    ("resnet152", "torchvision", "resnet152", 128),
    ("resnext50_32x4d", "torchvision", "resnext50_32x4d", 160),
    ("densenet121", "torchvision", "densenet121", 224),
    ("densenet121", "timm", "densenet121", 96),
    ("squeezenet1_0", "torchvision", "squeezenet1_0", 224),
    ("squeezenet1_1", "torchvision", "squeezenet1_1", 224),
    ("mobilenet_v1_100", "timm", "mobilenetv1_100", 224),
    ("mobilenet_v2", "torchvision", "mobilenet_v2", 224),
    ("mobilenet_v2", "timm", "mobilenetv2_100", 128),
    ("shufflenet_v2_x1_0", "torchvision", "shufflenet_v2_x1_0", 224),
    ("efficientnet_b0", "torchvision", "efficientnet_b0", 224),
    ("efficientnet_b0", "timm", "efficientnet_b0", 128),
    ("xception41", "timm", "xception41", 299),
]
ON_REFERENCE = ["squeezenet1_1", "shufflenet_v2_x1_0", "mobilenet_v1_100"]  # also there, whatever the default is


@pytest.mark.parametrize("name, library, theirs, size", CASES, ids=lambda value: str(value))
def test_network_equals_its_reference(name, library, theirs, size, request, torch):
    check_against(torch, request.getfixturevalue(library), name, theirs, size, on_reference=name in ON_REFERENCE)


# --- networks that neither library has


def lenet5(torch, w, x):
    F = torch.nn.functional
    x = F.avg_pool2d(F.conv2d(x, w["c1.weight"], w["c1.bias"]).tanh(), 2)
    x = F.avg_pool2d(F.conv2d(x, w["c3.weight"], w["c3.bias"]).tanh(), 2)
    x = F.conv2d(x, w["c5.weight"], w["c5.bias"]).tanh().flatten(1)
    x = F.linear(x, w["f6.weight"], w["f6.bias"]).tanh()
    return F.linear(x, w["output.weight"], w["output.bias"])


def keras_mnist_convnet(torch, w, x):
    F = torch.nn.functional
    for i in (1, 2, 3):
        x = F.conv2d(x, w[f"conv2d_{i}.weight"], w[f"conv2d_{i}.bias"]).relu()
        x = F.max_pool2d(x, 2) if i < 3 else x
    x = x.permute(0, 2, 3, 1).flatten(1)  # Keras flattens H, W, C
    x = F.linear(x, w["dense_1.weight"], w["dense_1.bias"]).relu()
    return F.linear(x, w["dense_2.weight"], w["dense_2.bias"]).softmax(1)


def alexnet_227(torch, w, x):
    F = torch.nn.functional

    def conv(x, i, **options):
        return F.conv2d(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"], **options).relu()

    def norm(x):  # torch divides alpha by the size; the paper does not
        return F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)

    x = norm(F.max_pool2d(conv(x, 1, stride=4), 3, 2))
    x = norm(F.max_pool2d(conv(x, 2, padding=2), 3, 2))
    x = conv(conv(conv(x, 3, padding=1), 4, padding=1), 5, padding=1)
    x = F.max_pool2d(x, 3, 2).flatten(1)
    x = F.linear(x, w["fc6.weight"], w["fc6.bias"]).relu()
    x = F.linear(x, w["fc7.weight"], w["fc7.bias"]).relu()
    return F.linear(x, w["fc8.weight"], w["fc8.bias"]).softmax(1)


def googlenet_2014(torch, w, x):
    F = torch.nn.functional

    def conv(x, name, stride=1):
        weight = w[f"{name}.weight"]
        return F.conv2d(x, weight, w[f"{name}.bias"], stride, padding=weight.shape[-1] // 2).relu()

    def pool(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def module(x, name):
        a = conv(x, f"{name}/1x1")
        b = conv(conv(x, f"{name}/3x3_reduce"), f"{name}/3x3")
        c = conv(conv(x, f"{name}/5x5_reduce"), f"{name}/5x5")
        d = conv(F.max_pool2d(x, 3, 1, 1), f"{name}/pool_proj")
        return torch.cat((a, b, c, d), 1)

    x = F.local_response_norm(pool(conv(x, "conv1/7x7_s2", 2)), 5, 1e-4, 0.75, 1.0)
    x = conv(conv(x, "conv2/3x3_reduce"), "conv2/3x3")
    x = pool(F.local_response_norm(x, 5, 1e-4, 0.75, 1.0))
    for name in ("3a", "3b", "pool", "4a", "4b", "4c", "4d", "4e", "pool", "5a", "5b"):
        x = pool(x) if name == "pool" else module(x, f"inception_{name}")
    return F.linear(x.mean((2, 3)), w["loss3/classifier.weight"], w["loss3/classifier.bias"])


@pytest.mark.parametrize("forward", [lenet5, keras_mnist_convnet, alexnet_227, googlenet_2014])
def test_network_equals_its_definition(torch, forward):
    model = cnnkern.models.create(forward.__name__)
    x = make_pictures((2, *model.input_shape))
    weights = {name: torch.tensor(array) for name, array in model.weights.items()}
    with torch.no_grad():
        y = forward(torch, weights, torch.from_numpy(x)).numpy()
    check(model, y, {}, x)
