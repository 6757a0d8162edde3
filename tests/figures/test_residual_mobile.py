"""B4: ResNet, depthwise separable convolutions, SqueezeNet, DeepFace, LeNet. (B4.6 is a training recipe.)"""

from __future__ import annotations

import numpy as np
import pytest
from documented import Figure, depth, each, layer, model, summary, values, volume

import cnnkern
from cnnkern import evaluate, images
from cnnkern.graph.builder import GraphBuilder
from cnnkern.model import Model
from cnnkern.ops import Conv2dSpec
from cnnkern.testing import assert_close, reference

DEPTHS = {18: "2+2*(2+2+2+2)", 34: "2+2*(3+4+6+3)", 50: "2+3*(3+4+6+3)", 101: "2+3*(3+4+23+3)", 152: "2+3*(3+8+36+3)"}
LENET = ("conv2d", "pool2d", "linear")  # C1, S2, C3, S4, C5, F6, output
ALEXNETS = ("alexnet_227_grouped", "alexnet_227")
MB = 1e6


def example():
    """The depthwise example: 12x12x3, 5x5 filters, 256 outputs; one convolution, and the pair of them."""
    g = GraphBuilder("example")
    x = g.input((3, 12, 12))
    normal = g.conv(x, "normal", 256, 5, bias=False)
    pointwise = g.conv(g.conv(x, "depthwise", 3, 5, groups=3, bias=False), "pointwise", 256, 1, bias=False)
    return {row.name: row for row in Model(g.finish([normal, pointwise])).summary().layers}


EXAMPLE = example()


def times(large: float, small: float) -> float:
    return round(large / small, 2)


def fewer(name: str, small: str = "squeezenet1_0") -> float:
    return times(summary(name).params, summary(small).params)


FIGURES = (
    Figure("B4.1", "003", "ResNet-152 60M", 60_000_000, "rounded", 60_192_808, lambda: summary("resnet152").params),
    *(
        Figure("B4.2", "002", f"{layers} = {sum_}", layers, "right", layers, lambda n=layers: depth(f"resnet{n}"))
        for layers, sum_ in DEPTHS.items()
    ),
    Figure("B4.7", "000", "256x5x5x3x8x8 = 1.228M", 1_228_000, "truncated", 1_228_800, lambda: EXAMPLE["normal"].macs),
    Figure("B4.8", "000", "3x5x5x1x8x8 = 4800", 4_800, "right", 4_800, lambda: EXAMPLE["depthwise"].macs),
    Figure("B4.9", "000", "256x1x1x3x8x8 = 49K", 49_000, "rounded", 49_152, lambda: EXAMPLE["pointwise"].macs),
    Figure("B4.10", "000", "total ~54K", 54_000, "rounded", 53_952,
           lambda: EXAMPLE["depthwise"].macs + EXAMPLE["pointwise"].macs),
    Figure("B4.10", "000", "times fewer", None, "derived", 22.78,
           lambda: times(EXAMPLE["normal"].macs, EXAMPLE["depthwise"].macs + EXAMPLE["pointwise"].macs)),
    Figure("B4.11", "000", "12x12x3 -> 8x8x256", (256, 8, 8), "right", (256, 8, 8),
           lambda: EXAMPLE["normal"].output_shape),
    Figure("B4.11", "000", "... and through the pair", (256, 8, 8), "right", (256, 8, 8),
           lambda: EXAMPLE["pointwise"].output_shape),
    Figure("B4.13", "004", "5*5*3*256 = 19200", 19_200, "right", 19_200, lambda: EXAMPLE["normal"].params),
    Figure("B4.14", "004", "(5*5*1)*3 + 1*1*3*256 = 843", (75, 768, 843), "right", (75, 768, 843),
           lambda: (EXAMPLE["depthwise"].params, EXAMPLE["pointwise"].params,
                    EXAMPLE["depthwise"].params + EXAMPLE["pointwise"].params)),
    Figure("B4.15", "001", "50x fewer params", 50, "rounded", 48.83, lambda: fewer(ALEXNETS[0])),
    Figure("B4.15", "001", "50x fewer than ungrouped AlexNet", 50, "rounded", 49.97, lambda: fewer(ALEXNETS[1])),
    Figure("B4.15", "001", "50x, v1.1 and torchvision's AlexNet", 50, "rounded", 49.45,
           lambda: fewer("alexnet", "squeezenet1_1")),
    Figure("B4.16", "001", "500x smaller than AlexNet, in bytes", 500, "misleading", 48.83,
           lambda: times(4 * summary(ALEXNETS[0]).params, 4 * summary("squeezenet1_0").params)),
    Figure("B4.16", "001", "... in MB of float32", None, "derived", (4.99, 243.86),
           lambda: tuple(round(4 * summary(name).params / MB, 2) for name in ("squeezenet1_0", ALEXNETS[0]))),
    Figure("B4.16", "001", "500x: bits a weight", None, "derived", 3.13,
           lambda: times(8 * 4 * summary(ALEXNETS[0]).params / 500, summary("squeezenet1_0").params)),
    *(
        Figure("B4.17", "000", f"{name}: 4096 dim", 4096, "wrong", n, lambda name=name: values("deepface", name))
        for name, n in (("L4", 48_400), ("L5", 10_000), ("L6", 7_056))
    ),
    Figure("B4.17", "000", "4096 dim, of F7", 4096, "right", 4096, lambda: values("deepface", "F7")),
    Figure("B4.18", "004", "LeNet 60 thousand", 60_000, "right", 60_000, lambda: summary("lenet5_1998").params),
    Figure("B4.18", "004", "LeNet as built today", None, "derived", 61_706, lambda: summary("lenet5").params),
    Figure("B4.19", "004", "LeNet 7 layers", 7, "right", 7, lambda: depth("lenet5_1998", LENET)),
    Figure("B4.19", "004", "LeNet(8) counts the input", 8, "inconsistent", 7, lambda: depth("lenet5", LENET)),
)  # fmt: skip


@each(FIGURES)
def test_figure(figure):
    figure.check()


@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_b4_3_a_stage_halves_the_volume(name):
    """B4.3 (002): twice the filters at stride 2: 2C * H/2 * W/2 = CHW / 2."""
    blocks = {row.name.partition(".")[0]: row for row in summary(name).layers if row.name.startswith("layer")}
    sizes = [blocks[f"layer{i}"].activation_bytes for i in (1, 2, 3, 4)]
    channels = [blocks[f"layer{i}"].output_shape[0] for i in (1, 2, 3, 4)]
    assert all(2 * b == a for a, b in zip(sizes, sizes[1:])) and all(b == 2 * a for a, b in zip(channels, channels[1:]))


@pytest.mark.parametrize("layers, filters", [(n, [3, 3] if n < 50 else [1, 3, 1]) for n in DEPTHS])
def test_b4_4_every_block_has_two_3x3_layers_up_to_34_only(layers, filters):
    """B4.4 (001, 002): misleading: from 50 on blocks are 1x1, 3x3, 1x1."""
    blocks: dict[str, list[int]] = {}
    for name, param in model(f"resnet{layers}").graph.params.items():
        if name.startswith("layer") and ".conv" in name:
            blocks.setdefault(name.rpartition(".conv")[0], []).append(param.shape[-1])
    assert len(blocks) == (layers - 2) // len(filters) and all(found == filters for found in blocks.values())


class Listener:
    """In the place of a network: keeps what it is asked."""

    name, input_shape = "resnet34", (3, 224, 224)

    def __init__(self):
        self.seen = []

    def __call__(self, x):
        self.seen.append(np.array(x))
        return np.zeros((len(x), 10), np.float32)


def test_b4_5_five_scales_of_ten_crops():
    """B4.5 (002): {224, 256, 384, 480, 640} x 10 crops = 50, all different where the picture leaves room."""
    listener = Listener()
    found = evaluate.multi_crop(listener, images.photograph())
    assert evaluate.SCALES == (224, 256, 384, 480, 640) and found.crops.shape == (5, 10, 10)
    crops = np.concatenate(listener.seen)
    assert crops.shape == (50, 3, 224, 224)
    for scale in range(1, 5):  # at 224 the corners of a picture higher than wide coincide
        assert len({crop.tobytes() for crop in crops[10 * scale : 10 * scale + 10]}) == 10


def test_b4_10_the_share_is_that_of_the_formula():
    """B4.10 (000): 1/256 + 1/25."""
    share = (EXAMPLE["depthwise"].macs + EXAMPLE["pointwise"].macs) / EXAMPLE["normal"].macs
    assert share == pytest.approx(1 / 256 + 1 / 25, rel=1e-12) and round(share, 4) == 0.0439


def test_b4_7_to_14_the_specs_count_the_same():
    """B4.7 to B4.10, B4.13, B4.14: theory of the very operations that `separable_conv2d` runs."""
    x, normal, first, second = (1, 3, 12, 12), (256, 3, 5, 5), (3, 1, 5, 5), (256, 3, 1, 1)
    assert Conv2dSpec().theory(x, normal).fma == 1_228_800
    assert Conv2dSpec(groups=3).theory(x, first).fma == 4_800
    [between] = Conv2dSpec(groups=3).infer(x, first)
    assert Conv2dSpec().theory(between, second).fma == 49_152
    assert Conv2dSpec().infer(between, second) == Conv2dSpec().infer(x, normal) == ((1, 256, 8, 8),)


def test_b4_12_a_depthwise_filter_is_k_by_k_by_1():
    """B4.12 (000): "depth x depth x 1" is the wrong wording; a filter as deep as wide is refused."""
    x, pointwise = np.ones((1, 3, 12, 12), np.float32), np.ones((256, 3, 1, 1), np.float32)
    assert cnnkern.separable_conv2d(x, np.ones((3, 1, 5, 5), np.float32), pointwise).shape == (1, 256, 8, 8)
    with pytest.raises(ValueError, match=r"depthwise_weight must have shape \(C M, 1, R, S\)"):
        cnnkern.separable_conv2d(x, np.ones((3, 3, 5, 5), np.float32), pointwise)


def test_b4_7_to_14_the_separable_convolution_is_the_two_convolutions(rng):
    """B4.7 to B4.14 (000, 004), run on 12x12x3, and against the one convolution whose weights are their product."""
    x = rng.standard_normal((1, 3, 12, 12), np.float32)
    first = rng.standard_normal((3, 1, 5, 5), np.float32)
    second = rng.standard_normal((256, 3, 1, 1), np.float32)
    y = cnnkern.separable_conv2d(x, first, second)
    between = cnnkern.conv2d(x, first, groups=3)
    np.testing.assert_array_equal(y, cnnkern.conv2d(between, second))
    assert_close(between, reference("conv2d", x, first, groups=3), Conv2dSpec(groups=3))
    whole = second.astype(np.float64) * first.reshape(1, 3, 5, 5)
    oracle = reference(Conv2dSpec(), x, whole)
    assert y.shape == oracle.shape == (1, 256, 8, 8)
    # two float32 sums in a row, of 25 and of 3 products
    scale = reference(Conv2dSpec(), np.abs(x), np.abs(whole))
    assert np.all(np.abs(y - oracle) <= 28 * 2.0**-23 * scale)


def test_b4_17_the_locally_connected_layers_are_maps():
    """B4.17 (000): L4, L5 and L6 are 55x55x16, 25x25x16 and 21x21x16; the 4096 numbers are F7's."""
    assert [volume("deepface", name) for name in ("L4", "L5", "L6")] == [(55, 55, 16), (25, 25, 16), (21, 21, 16)]
    assert layer("deepface", "F7").output_shape == (4096,)
