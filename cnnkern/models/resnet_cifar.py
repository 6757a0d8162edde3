"""Residual networks for the 32x32 pictures of CIFAR-10, their plain twins, ResNeXt-29, and stochastic depth.

Papers: He et al., "Deep Residual Learning for Image Recognition", https://arxiv.org/abs/1512.03385 (section 4.2:
6n+2 layers, shortcuts without parameters; `_b`: projections); Xie et al., https://arxiv.org/abs/1611.05431; Huang et
al., "Deep Networks with Stochastic Depth", https://arxiv.org/abs/1603.09382 (at test time every branch is there,
scaled by how often it was in training). torchvision's names of layers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register
from .resnet import ResNet, build


def small_stem(channels: int, g: GraphBuilder, x: str) -> str:
    x = g.conv(x, "conv1", channels, 3, padding=1, bias=False)
    return g.relu(g.batch_norm(x, "bn1"), "relu")


def cifar(depth: int, shortcut: str = "A") -> ResNet:
    """Three stages of n blocks of two layers: 6n+2 with stem and classifier."""
    n = (depth - 2) // 6
    return ResNet((n, n, n), bottleneck=False, shortcut=shortcut, width=16, stem=partial(small_stem, 16))


def next29(groups: int, base_width: int) -> ResNet:
    return ResNet((3, 3, 3), True, groups, base_width, stem=partial(small_stem, 64))


# name                network                                      parameters  running stats      MACs
TABLE = {
    "resnet20_cifar": (cifar(20), 269_722, 1_376, 40_551_040),
    "resnet32_cifar": (cifar(32), 464_154, 2_272, 68_862_592),
    "resnet44_cifar": (cifar(44), 658_586, 3_168, 97_174_144),
    "resnet56_cifar": (cifar(56), 853_018, 4_064, 125_485_696),
    "resnet110_cifar": (cifar(110), 1_727_962, 8_096, 252_887_680),
    "resnet1202_cifar": (cifar(1202), 19_421_274, 89_632, 2_829_238_912),
    "resnet20_cifar_b": (cifar(20, "B"), 272_474, 1_568, 40_813_184),
    "resnet56_cifar_b": (cifar(56, "B"), 855_770, 4_256, 125_747_840),
    "resnet110_cifar_b": (cifar(110, "B"), 1_730_714, 8_288, 253_149_824),
    "plain20_cifar": (cifar(20, "none"), 269_722, 1_376, 40_551_040),
    "plain56_cifar": (cifar(56, "none"), 853_018, 4_064, 125_485_696),
    "plain110_cifar": (cifar(110, "none"), 1_727_962, 8_096, 252_887_680),
    "resnext29_8x64d_cifar10": (next29(8, 64), 34_426_698, 57_472, 5_387_266_048),
    "resnext29_16x64d_cifar10": (next29(16, 64), 68_155_210, 100_480, 10_688_866_304),
    "stochastic_depth_110_cifar": (replace(cifar(110), last_survival=0.5), 1_727_962, 8_096, 252_887_680),
}
PAPERS = {"resnext": "https://arxiv.org/abs/1611.05431", "stochas": "https://arxiv.org/abs/1603.09382"}

for name, (net, params, bn_buffers, macs) in TABLE.items():
    register(
        Architecture(
            name,
            partial(build, net),
            params,
            macs,
            bn_buffers,
            input_shape=(3, 32, 32),
            num_classes=10,
            paper=PAPERS.get(name[:7], "https://arxiv.org/abs/1512.03385"),
        )
    )
