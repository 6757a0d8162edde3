"""Every network against its reference implementation: the same random weights, outputs and intermediate taps equal.

The references are torchvision's and timm's; networks that neither has are written down here once more, in torch.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import cnnkern
from cnnkern.model import find_value

from .conftest import make_pictures

TOLERANCE = 1e-4  # of the range of the output, or of the tap
VARIATION = 1e-2  # of the range: by how much the outputs of the two inputs differ, or nothing was tested
TAPS = 12

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


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request, torch, torchvision, timm):
    """(our name, input size, the reference implementation with random weights)."""
    name, library, theirs, size = request.param
    net = reference_network(torchvision if library == "torchvision" else timm, theirs)
    randomise(torch, net, size)
    return name, size, net


def reference_network(library, name: str):
    if not hasattr(library, "get_model_weights"):
        return library.create_model(name, pretrained=False).eval()
    options = {"googlenet": {"aux_logits": True, "init_weights": False}, "inception_v3": {"init_weights": False}}
    return library.get_model(name, weights=None, **options.get(name, {})).eval()


def randomise(torch, net, size: int) -> None:
    """He weights, jittered gamma and beta, and batch-norm statistics taken from one forward pass, then shaken.

    The shaken variances are on the large side: else rounding, the reference's too, grows over a hundred layers beyond
    any tolerance.
    """
    torch.manual_seed(1)
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for module in net.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                torch.nn.init.normal_(module.bias, std=0.1)
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.8, 1.2)
        torch.nn.init.normal_(norm.bias, std=0.1)
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        net(torch.from_numpy(make_pictures((4, 3, size, size), seed=3)))
        for norm in norms:
            norm.eval()
            norm.running_mean += 0.05 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(1.0, 1.4)


def run_with_taps(torch, net, x: np.ndarray, names: dict[str, str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The output, and the outputs of these modules under our names, copied before anything writes over them."""
    taps: dict[str, np.ndarray] = {}
    modules = dict(net.named_modules())
    hooks = [
        modules[theirs].register_forward_hook(lambda m, i, out, ours=ours: taps.__setitem__(ours, out.numpy().copy()))
        for theirs, ours in names.items()
    ]
    with torch.no_grad():
        y = net(torch.from_numpy(x)).numpy()
    for hook in hooks:
        hook.remove()
    return y, taps


def common_taps(net, model, rename) -> dict[str, str]:
    """Their module -> our layer or block, for some that both have, spread over the network's depth."""
    pairs = {}
    for name, module in net.named_modules():
        ours = ((rename(f"{name}.weight") or "") if rename else name).removesuffix(".weight")
        fused = "Act2d" in type(module).__name__ or type(net).__module__.startswith("timm") and name == "features"
        if name and not fused:  # timm's norms, and what ends in one, hold the activation too
            with contextlib.suppress(ValueError):
                pairs[name] = find_value(model.graph, ours)
    names = list(pairs)[:: max(1, len(pairs) // TAPS)]
    return {name: pairs[name] for name in names}


def error(mine: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the range of what is expected."""
    assert mine.shape[:2] == theirs.shape[:2]
    return float(np.abs(mine - theirs.reshape(mine.shape)).max() / np.ptp(theirs))  # timm may keep (N, C, 1, 1)


def check(model, y: np.ndarray, taps: dict[str, np.ndarray], x: np.ndarray, backend=None) -> None:
    assert np.abs(y[0] - y[1]).max() > VARIATION * np.ptp(y), "the two inputs give the same output: nothing is tested"
    expected = {**taps, model.graph.outputs[0]: y}
    mine = model.features(x, list(expected), backend=backend)
    errors = {name: error(mine[name], theirs) for name, theirs in expected.items()}
    errors["untapped"] = error(model(x, backend=backend), y)  # where nothing hinders fusion
    print({name: f"{value:.1e}" for name, value in errors.items()})
    wrong = {name: value for name, value in errors.items() if not value <= TOLERANCE}
    assert not wrong, f"{model.name}: {wrong}"


def test_network_equals_its_reference(case, torch):
    name, size, net = case
    model = cnnkern.models.create(name, input_shape=(3, size, size))
    assert not model.load_state_dict(net.state_dict())
    x = make_pictures((2, 3, size, size))
    names = common_taps(net, model, cnnkern.models.get(name).rename)
    assert len(names) >= 8
    y, taps = run_with_taps(torch, net, x, names)
    check(model, y, taps, x)
    if name in ON_REFERENCE:
        check(model, y, {}, x, backend="reference")


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
