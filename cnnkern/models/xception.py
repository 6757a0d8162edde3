"""Aligned Xception-41: residual modules of three separable convolutions, the last one strided instead of a pool.

Papers: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", https://arxiv.org/abs/1610.02357;
Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
https://arxiv.org/abs/1802.02611 (figure 4, which this is). timm's names and epsilon (1e-3). It is not the Xception
of the first paper.
"""

from __future__ import annotations

from ..graph.builder import GraphBuilder
from .layers import conv_norm_act
from .registry import Architecture, register

EPS = 1e-3
# blocks with a shortcut: (channels of the three separable convolutions, stride of the third)
ENTRY = (((128, 128, 128), 2), ((256, 256, 256), 2), ((728, 728, 728), 2))
MIDDLE = (((728, 728, 728), 1),) * 8
EXIT = (((728, 1024, 1024), 2),)
LAST = (1536, 1536, 2048)  # no shortcut; a ReLU after every convolution instead of one before each pair


def build(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = conv_norm_act(g, x, "stem.0", 32, 3, 2, eps=EPS, names=("conv", "bn", "act"))
    x = conv_norm_act(g, x, "stem.1", 64, 3, eps=EPS, names=("conv", "bn", "act"))
    blocks = (*ENTRY, *MIDDLE, *EXIT)
    for index, (widths, stride) in enumerate(blocks):
        with g.scope(f"blocks.{index}"):
            x = module(g, x, widths, stride)
    for i, channels in enumerate(LAST, 1):
        x = separable(g, x, f"blocks.{len(blocks)}.stack.conv{i}", channels, act="relu")
    if not include_top:
        return x
    x = g.flatten(g.global_avg_pool(x, "head.global_pool"), name="head.flatten")
    return g.linear(g.dropout(x), "head.fc", num_classes)


def module(g: GraphBuilder, x: str, widths: tuple[int, int, int], stride: int) -> str:
    """x, projected where the shape changes, plus three times ReLU and separable convolution."""
    y = x
    for i, channels in enumerate(widths, 1):
        y = g.relu(y, f"stack.act{i}")
        y = separable(g, y, f"stack.conv{i}", channels, stride if i == 3 else 1)
    if stride != 1 or g.channels(x) != widths[-1]:
        x = conv_norm_act(g, x, "shortcut", widths[-1], 1, stride, act=None, eps=EPS, names=("conv", "bn", "act"))
    return g.add(y, x, "add")


def separable(g: GraphBuilder, x: str, name: str, channels: int, stride: int = 1, act: str | None = None) -> str:
    """3x3 depthwise and 1x1 convolution, each with its batch norm (and activation)."""
    c = g.channels(x)
    x = conv_norm_act(g, x, name, c, 3, stride, groups=c, act=act, eps=EPS, names=("conv_dw", "bn_dw", "act_dw"))
    return conv_norm_act(g, x, name, channels, 1, act=act, eps=EPS, names=("conv_pw", "bn_pw", "act_pw"))


register(
    Architecture(
        "xception41",
        build,
        params=26_969_560,
        macs=9_204_134_312,
        bn_buffers=115_312,
        input_shape=(3, 299, 299),
        paper="https://arxiv.org/abs/1802.02611",
        reference="timm:xception41",
    )
)
