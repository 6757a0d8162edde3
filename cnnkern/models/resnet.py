"""ResNet, ResNeXt and Wide ResNet for ImageNet, ResNet-50 as first published, and the plain networks beside them.

Papers: He et al., "Deep Residual Learning for Image Recognition", https://arxiv.org/abs/1512.03385;
Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", https://arxiv.org/abs/1611.05431;
Zagoruyko and Komodakis, "Wide Residual Networks", https://arxiv.org/abs/1605.07146.
The bottleneck is the "v1.5" form of torchvision and timm: the stride is on the 3x3 convolution; in `resnet50_v1`, the
first paper's, it is on the first 1x1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

Layers = Callable[[GraphBuilder, str], str]


def stem(g: GraphBuilder, x: str) -> str:
    x = g.conv(x, "conv1", 64, 7, stride=2, padding=3, bias=False)
    x = g.relu(g.batch_norm(x, "bn1"), "relu")
    return g.max_pool(x, 3, 2, 1, name="maxpool")


@dataclass(frozen=True)
class ResNet:
    """`blocks` per stage, the first of `width` channels (a bottleneck's output: 4 times that), each later of twice as
    many; the bottleneck's inner width is base_width/64 of the stage's, times `groups`."""

    blocks: tuple[int, ...]
    bottleneck: bool
    groups: int = 1
    base_width: int = 64
    shortcut: str = "B"  # where the shape changes: "B" a 1x1 projection, "A" zeros for new channels; "none" anywhere
    first_strides: bool = False  # the stride is on the bottleneck's first convolution
    width: int = 64
    stem: Layers = stem
    gate: Layers | None = None  # what the branch passes through before the sum
    reduce_first: int = 1  # what divides the width between the bottleneck's first two convolutions
    down_kernel: int = 1  # of projections that stride
    last_survival: float = 1.0  # stochastic depth: how often the last block was kept; the first nearly always


# name                network                                                   parameters  running stats      MACs
TABLE = {
    "resnet18": (ResNet((2, 2, 2, 2), bottleneck=False), 11_689_512, 9_600, 1_814_073_344),
    "resnet34": (ResNet((3, 4, 6, 3), bottleneck=False), 21_797_672, 17_024, 3_663_761_408),
    "resnet50": (ResNet((3, 4, 6, 3), bottleneck=True), 25_557_032, 53_120, 4_089_184_256),
    "resnet101": (ResNet((3, 4, 23, 3), bottleneck=True), 44_549_160, 105_344, 7_801_405_440),
    "resnet152": (ResNet((3, 8, 36, 3), bottleneck=True), 60_192_808, 151_424, 11_513_626_624),
    "resnet50_v1": (ResNet((3, 4, 6, 3), bottleneck=True, first_strides=True), 25_557_032, 53_120, 3_857_973_248),
    "plain18": (ResNet((2, 2, 2, 2), bottleneck=False, shortcut="none"), 11_515_688, 7_808, 1_794_805_760),
    "plain34": (ResNet((3, 4, 6, 3), bottleneck=False, shortcut="none"), 21_623_848, 15_232, 3_644_493_824),
    "resnext50_32x4d": (ResNet((3, 4, 6, 3), True, groups=32, base_width=4), 25_028_904, 68_224, 4_230_479_872),
    "resnext101_32x4d": (ResNet((3, 4, 23, 3), True, groups=32, base_width=4), 44_177_704, 137_856, 7_969_996_800),
    "resnext101_32x8d": (ResNet((3, 4, 23, 3), True, groups=32, base_width=8), 88_791_336, 202_880, 16_414_015_488),
    "resnext101_64x4d": (ResNet((3, 4, 23, 3), True, groups=64, base_width=4), 83_455_272, 202_880, 15_460_270_080),
    "wide_resnet50_2": (ResNet((3, 4, 6, 3), True, base_width=128), 68_883_240, 68_224, 11_398_021_120),
    "wide_resnet101_2": (ResNet((3, 4, 23, 3), True, base_width=128), 126_886_696, 137_856, 22_753_050_624),
}
REFERENCES = {"resnet50_v1": "paper", "plain18": "paper", "plain34": "paper", "resnext101_32x4d": "timm"}


def build(net: ResNet, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x, done = net.stem(g, x), 0
    for stage, blocks in enumerate(net.blocks):
        for block in range(blocks):
            done += 1
            survival = 1 - done / sum(net.blocks) * (1 - net.last_survival)
            with g.scope(f"layer{stage + 1}.{block}"):
                stride = 2 if stage and block == 0 else 1
                x = residual_block(g, x, net, net.width << stage, stride, survival)
    if not include_top:
        return x
    x = g.flatten(g.global_avg_pool(x, "avgpool"), name="flatten")
    return g.linear(x, "fc", num_classes)


def residual_block(g: GraphBuilder, x: str, net: ResNet, width: int, stride: int, survival: float = 1.0) -> str:
    """relu(survival * branch(x) + shortcut(x)); the shortcut is x itself where the shape stays."""
    y = bottleneck(g, x, net, width, stride) if net.bottleneck else pair(g, x, width, stride)
    if net.gate:
        y = net.gate(g, y)
    if survival != 1:
        y = g.scale(y, survival, "survival")
    if net.shortcut == "none":
        return g.relu(y, "relu")
    if stride == 1 and g.channels(x) == g.channels(y):
        y = g.add(y, x, "add")
    elif net.shortcut == "A":
        y = add_padded(g, y, x, stride)
    else:
        kernel = 1 if stride == 1 else net.down_kernel
        x = g.conv(x, "downsample.0", g.channels(y), kernel, stride, kernel // 2, bias=False)
        y = g.add(y, g.batch_norm(x, "downsample.1"), "add")
    return g.relu(y, "relu")


def bottleneck(g: GraphBuilder, x: str, net: ResNet, width: int, stride: int) -> str:
    """1x1 to the inner width, 3x3, 1x1 to four times the width."""
    inner = width * net.base_width // 64 * net.groups
    first, second = (stride, 1) if net.first_strides else (1, stride)
    x = g.conv(x, "conv1", inner // net.reduce_first, 1, first, bias=False)
    x = g.relu(g.batch_norm(x, "bn1"), "relu1")
    x = g.conv(x, "conv2", inner, 3, second, padding=1, groups=net.groups, bias=False)
    x = g.relu(g.batch_norm(x, "bn2"), "relu2")
    return g.batch_norm(g.conv(x, "conv3", 4 * width, 1, bias=False), "bn3")


def pair(g: GraphBuilder, x: str, width: int, stride: int) -> str:
    """Two 3x3 convolutions."""
    x = g.conv(x, "conv1", width, 3, stride, padding=1, bias=False)
    x = g.relu(g.batch_norm(x, "bn1"), "relu1")
    return g.batch_norm(g.conv(x, "conv2", width, 3, padding=1, bias=False), "bn2")


def add_padded(g: GraphBuilder, y: str, x: str, stride: int) -> str:
    """y plus every `stride`-th pixel of x, with as many channels of zeros before x's as after: option A of the paper.

    The zeros are not added: x's channels in the middle of y are, the others stay.
    """
    c, more = g.channels(x), g.channels(y) - g.channels(x)
    if stride != 1:
        x = g.max_pool(x, 1, stride, name="subsample")  # a window of one pixel
    before = more // 2
    middle = g.add(g.slice(y, before, before + c, "middle"), x, "add")
    edges = g.slice(y, 0, before, "before"), g.slice(y, before + c, c + more, "after")
    return g.concat([edges[0], middle, edges[1]], "shortcut")


def reference(name: str) -> str:
    library = REFERENCES.get(name, "tv")
    return library if library == "paper" else f"{library}:{name}"


def paper(name: str) -> str:
    if name.startswith("resnext"):
        return "https://arxiv.org/abs/1611.05431"
    return f"https://arxiv.org/abs/{'1605.07146' if name.startswith('wide') else '1512.03385'}"


for name, (net, params, bn_buffers, macs) in TABLE.items():
    register(
        Architecture(name, partial(build, net), params, macs, bn_buffers, paper=paper(name), reference=reference(name))
    )
