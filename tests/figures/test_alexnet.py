"""B1: output sizes, and AlexNet."""

from __future__ import annotations

import pytest
from documented import Figure, depth, each, kernels, layer, model, summary, values, volume, weighted

from cnnkern.ops import Conv2dSpec, Pool2dSpec

A, GROUPED = "alexnet_227", "alexnet_227_grouped"
LENET = ("conv2d", "pool2d", "linear")  # C1, S2, C3, S4, C5, F6, output
NEURONS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
VOLUMES = {
    "conv2": (27, 27, 256), "pool2": (13, 13, 256), "conv3": (13, 13, 384), "conv4": (13, 13, 384),
    "conv5": (13, 13, 256), "pool5": (6, 6, 256), "fc6": (4096,), "fc7": (4096,), "fc8": (1000,),
}  # fmt: skip


def without(name: str, removed: str) -> int:
    """Parameters that a network loses with these layers."""
    return summary(name).params - summary(f"{name}_minus_{removed}").params


FIGURES = (
    Figure("B1.2", "002", "(227-11)/4+1 = 55", 55, "right", 55, lambda: volume(A, "conv1")[0]),
    Figure("B1.3", "001, 002", "CONV1 55x55x96", (55, 55, 96), "right", (55, 55, 96), lambda: volume(A, "conv1")),
    Figure("B1.3", "001, 002", "CONV1 values", None, "derived", 290_400, lambda: values(A, "conv1")),
    Figure("B1.4", "002", "(55-3)/2+1 = 27", (27, 27, 96), "right", (27, 27, 96), lambda: volume(A, "pool1")),
    Figure("B1.4", "001", "POOL1 params 0", 0, "right", 0, lambda: layer(A, "pool1").params),
    Figure("B1.5", "001", "(11*11*3)*96 = 35k", 35_000, "rounded", 34_848, lambda: kernels(A, "conv1")),
    Figure("B1.6", "002", "(11*11*3+1)*96 = 35K", 35_000, "rounded", 34_944, lambda: layer(A, "conv1").params),
    *(
        Figure("B1.7", "001, 002", f"{name} {'x'.join(map(str, s))}", s, "right", s, lambda name=name: volume(A, name))
        for name, s in VOLUMES.items()
    ),
    Figure("B1.8", "003", "62M parameters", 62_000_000, "rounded", 62_378_344, lambda: summary(A).params),
    # to the one digit printed; 61 million would be nearer
    Figure("B1.9", "003, 004", "60 million", 60_000_000, "rounded", 60_965_224, lambda: summary(GROUPED).params),
    # cut off, strictly: rounded to its digits it would be 660,000
    Figure("B1.10", "003", "650,000 neurons", 650_000, "truncated", 659_272,
           lambda: sum(values(A, name) for name in NEURONS)),
    Figure("B1.11", "003", "8 layers", 8, "right", 8, lambda: depth(A)),
    Figure("B1.11", "003", "7 hidden layers", 7, "right", 7, lambda: len(weighted(A)) - 1),
    Figure("B1.12", "004", "AlexNet(7)", 7, "inconsistent", 8, lambda: depth(A)),
    Figure("B1.12", "004", "AlexNet 8 Layers", 8, "right", 8, lambda: depth(A)),
    Figure("B1.12", "004", "LeNet(8)", 8, "inconsistent", 7, lambda: depth("lenet5_1998", LENET)),
    Figure("B1.12", "004", "LeNet 7 Layers", 7, "right", 7, lambda: depth("lenet5_1998", LENET)),
    Figure("B1.12", "004", "GoogLeNet(19)", 19, "wrong", 22, lambda: depth("googlenet_2014")),
    Figure("B1.12", "004", "GoogLeNet 22 Layers", 22, "right", 22, lambda: depth("googlenet_2014")),
    Figure("B1.12", "004", "VGG Net(16)", 16, "right", 16, lambda: depth("vgg16")),
    Figure("B1.12", "004", "VGGNet 19 Layers", 19, "right", 19, lambda: depth("vgg19")),
    Figure("B1.13", "003", "drop 16 million", 16_000_000, "truncated", 16_781_312, lambda: without(A, "7")),
    Figure("B1.14", "003", "drop ~50 million (net)", 50_000_000, "rounded", 49_414_144, lambda: without(A, "67")),
    Figure("B1.14", "003", "fc6 and fc7 (gross)", 50_000_000, "rounded", 54_534_144,
           lambda: layer(A, "fc6").params + layer(A, "fc7").params),
    Figure("B1.15", "003", "now only 4 layers", 4, "right", 4, lambda: len(weighted(f"{A}_minus_3467"))),
    Figure("B1.15", "003", "4 layers' parameters", None, "derived", 10_456_680,
           lambda: summary(f"{A}_minus_3467").params),
    Figure("B1.15", "003", "4 layers' parameters, grouped", None, "derived", 9_854_568,
           lambda: summary(f"{GROUPED}_minus_3467").params),
    # right for torchvision's network; the one of the rest of 002 has 96 filters
    Figure("B1.16", "002", "64 x 3 x 11 x 11", (64, 3, 11, 11), "right", (64, 3, 11, 11),
           lambda: model("alexnet").graph.params["features.0.weight"].shape),
    Figure("B1.16", "002", "64 filters, elsewhere 96", (64, 3, 11, 11), "inconsistent", (96, 3, 11, 11),
           lambda: model(A).graph.params["conv1.weight"].shape),
)  # fmt: skip


@each(FIGURES)
def test_figure(figure):
    figure.check()


def test_b1_1_the_output_size_when_the_stride_divides(rng):
    """B1.1 (002): W' = (W - F + 2P) / S + 1: right where it divides."""
    for _ in range(50):
        stride, padding, out = (int(n) for n in rng.integers(1, 6, 3))
        kernel = int(rng.integers(2 * padding + 1, 2 * padding + 8))
        width = (out - 1) * stride + kernel - 2 * padding
        found = Conv2dSpec(stride, padding).infer((1, 1, width, width), (1, 1, kernel, kernel))
        assert found == ((1, 1, (width - kernel + 2 * padding) // stride + 1, out),), (width, kernel, padding, stride)


@pytest.mark.parametrize("ceil_mode, size", [(False, 55), (True, 56)])
def test_b1_1_a_size_that_does_not_divide_needs_floor_or_ceil(ceil_mode, size):
    """B1.1 (002): 112, F 3, S 2 gives 55.5."""
    assert Pool2dSpec("max", (3, 3), (2, 2), ceil_mode=ceil_mode).infer((1, 8, 112, 112)) == ((1, 8, size, size),)


def test_b1_1_a_padded_size_that_does_not_divide():
    """B1.1 (002): 224, F 7, S 2, P 1 gives 110.5."""
    assert Conv2dSpec((2, 2), 1).infer((1, 3, 224, 224), (64, 3, 7, 7)) == ((1, 64, 110, 110),)


def test_b1_11_five_convolutions_and_three_dense_layers():
    """B1.11 (003)."""
    assert [row.op for row in weighted(A)] == ["conv2d"] * 5 + ["linear"] * 3


def test_b1_15_the_layers_that_are_left():
    """B1.15 (003)."""
    assert [row.name for row in weighted(f"{A}_minus_3467")] == ["conv1", "conv2", "conv5", "fc8"]
