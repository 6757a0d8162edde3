"""ResNets with pre-activation (v2): batch norm and ReLU before each convolution, nothing after the sum.

Paper: He et al., "Identity Mappings in Deep Residual Networks", https://arxiv.org/abs/1603.05027. timm's names.
`resnetv2_*` are timm's: no norm in the stem, a 1x1 convolution as classifier. `preact_*` follow the authors: a norm in
the stem (for ImageNet) and a linear classifier. Wide residual networks (`wrn_*`) are built the same way:
Zagoruyko and Komodakis, https://arxiv.org/abs/1605.07146.

Projections read what norm and ReLU have passed; option A's parameter-free shortcut reads the block's input itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register
from .resnet import add_padded


@dataclass(frozen=True)
class PreAct:
    """`blocks` per stage, the first of `width` channels (a bottleneck's output: 4 times that), each later of twice as
    many."""

    blocks: tuple[int, ...]
    bottleneck: bool
    width: int = 64
    shortcut: str = "B"  # where the shape changes: "B" a 1x1 projection, "A" zeros for new channels
    stem_width: int = 64
    small: bool = False  # for 32x32 pixels: a 3x3 convolution as stem, and no pooling
    stem_norm: bool = False
    conv_head: bool = False


def build(net: PreAct, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    kernel, stride = (3, 1) if net.small else (7, 2)
    x = g.conv(x, "stem.conv", net.stem_width, kernel, stride, kernel // 2, bias=False)
    if net.stem_norm:
        x = g.relu(g.batch_norm(x, "stem.norm"), "stem.act")
    if not net.small:
        x = g.max_pool(x, 3, 2, 1, name="stem.pool")
    for stage, blocks in enumerate(net.blocks):
        for block in range(blocks):
            with g.scope(f"stages.{stage}.blocks.{block}"):
                x = preact_block(g, x, net, net.width << stage, stride=2 if stage and block == 0 else 1)
    x = g.relu(g.batch_norm(x, "norm"), "act")
    if not include_top:
        return x
    x = g.global_avg_pool(x, "head.global_pool")
    if net.conv_head:
        return g.flatten(g.conv(x, "head.fc", num_classes, 1), name="head.flatten")
    return g.linear(g.flatten(x, name="head.flatten"), "head.fc", num_classes)


def preact_block(g: GraphBuilder, x: str, net: PreAct, width: int, stride: int) -> str:
    """branch(x) + shortcut(x)."""
    y = activated = g.relu(g.batch_norm(x, "norm1"), "act1")
    if net.bottleneck:
        layers = ((width, 1, 1), (width, 3, stride), (4 * width, 1, 1))
    else:
        layers = ((width, 3, stride), (width, 3, 1))
    for i, (channels, kernel, step) in enumerate(layers, 1):
        if i > 1:
            y = g.relu(g.batch_norm(y, f"norm{i}"), f"act{i}")
        y = g.conv(y, f"conv{i}", channels, kernel, step, kernel // 2, bias=False)
    if stride == 1 and g.channels(x) == channels:
        return g.add(y, x, "add")
    if net.shortcut == "A":
        return add_padded(g, y, x, stride)
    return g.add(y, g.conv(activated, "downsample.conv", channels, 1, stride, bias=False), "add")


V2_18 = PreAct((2, 2, 2, 2), bottleneck=False, conv_head=True)
V2_50 = PreAct((3, 4, 6, 3), bottleneck=True, conv_head=True)
AUTHORS = PreAct((3, 4, 6, 3), bottleneck=True, stem_norm=True)

# name                network                                             parameters  running stats      MACs
TIMM = {
    "resnetv2_18": (V2_18, 11_687_720, 7_808, 1_814_073_344),
    "resnetv2_34": (replace(V2_18, blocks=(3, 4, 6, 3)), 21_795_880, 15_232, 3_663_761_408),
    "resnetv2_50": (V2_50, 25_549_352, 45_440, 4_089_184_256),
    "resnetv2_101": (replace(V2_50, blocks=(3, 4, 23, 3)), 44_541_480, 97_664, 7_801_405_440),
    "resnetv2_152": (replace(V2_50, blocks=(3, 8, 36, 3)), 60_185_128, 143_744, 11_513_626_624),
}
IMAGENET = {
    "preact_resnet50_stembn": (AUTHORS, 25_549_480, 45_568, 4_089_184_256),
    "preact_resnet200": (replace(AUTHORS, blocks=(3, 24, 36, 3)), 64_666_280, 168_448, 15_007_481_856),
}


def cifar(depth: int, bottleneck: bool) -> PreAct:
    """6n+2 layers with option A, or 9n+2 with bottlenecks and projections."""
    n, shortcut = (depth - 2) // (9 if bottleneck else 6), "B" if bottleneck else "A"
    return PreAct((n, n, n), bottleneck, width=16, shortcut=shortcut, stem_width=16, small=True)


def wide(depth: int, factor: int) -> PreAct:
    """6n+4 layers, `factor` times as wide."""
    n = (depth - 4) // 6
    return PreAct((n, n, n), bottleneck=False, width=16 * factor, stem_width=16, small=True)


CIFAR = {
    "preact_resnet20_cifar": (cifar(20, bottleneck=False), 269_722, 1_376, 40_551_040),
    "preact_resnet110_cifar": (cifar(110, bottleneck=False), 1_727_962, 8_096, 252_887_680),
    "preact_resnet164_cifar": (cifar(164, bottleneck=True), 1_703_258, 24_224, 247_646_720),
    "preact_resnet1001_cifar": (cifar(1001, bottleneck=True), 10_327_706, 149_216, 1_490_995_712),
    "wrn_16_8_cifar10": (wide(16, 8), 10_961_370, 7_200, 1_548_145_664),
    "wrn_40_4_cifar10": (wide(40, 4), 8_949_210, 10_784, 1_298_582_016),
    "wrn_28_10_cifar10": (wide(28, 10), 36_479_194, 17_952, 5_243_328_768),
    "wrn_28_12_cifar10": (wide(28, 12), 52_517_850, 21_536, 7_543_905_792),
}

for name, (net, params, bn_buffers, macs) in (TIMM | IMAGENET | CIFAR).items():
    paper = "https://arxiv.org/abs/1605.07146" if name.startswith("wrn") else "https://arxiv.org/abs/1603.05027"
    reference = f"timm:{name}" if name in TIMM else "paper"
    size = {"input_shape": (3, 32, 32), "num_classes": 10} if name in CIFAR else {}
    network = partial(build, net)
    register(Architecture(name, network, params, macs, bn_buffers, paper=paper, reference=reference, **size))
