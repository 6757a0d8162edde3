"""Xception, and the aligned Xception-41, whose modules end in a strided separable convolution instead of a pool.

Papers: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", https://arxiv.org/abs/1610.02357;
Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
https://arxiv.org/abs/1802.02611 (figure 4, xception41). timm's names and epsilons: 1e-3 of xception41; 1e-5 of
xception, timm's legacy_xception, which also pads its pools by one where Keras's pads as TensorFlow does.
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
    return g.linear(g.dropout(x, 0.5), "head.fc", num_classes)


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


# --- the Xception of the first paper

# modules: (channels of each separable convolution, whether it halves the map)
MODULES = (((128, 128), 2), ((256, 256), 2), ((728, 728), 2), *(((728, 728, 728), 1),) * 8, ((728, 1024), 2))


def build_first(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    for i, (channels, stride) in enumerate(((32, 2), (64, 1)), 1):
        x = g.conv(x, f"conv{i}", channels, 3, stride, bias=False)
        x = g.relu(g.batch_norm(x, f"bn{i}"), f"act{i}")
    for i, (widths, stride) in enumerate(MODULES, 1):
        with g.scope(f"block{i}"):
            x = pooled_module(g, x, widths, stride, starts_with_relu=i > 1)
    for i, channels in ((3, 1536), (4, 2048)):
        x = g.relu(g.batch_norm(pair(g, x, f"conv{i}", channels), f"bn{i}"), f"act{i}")
    if not include_top:
        return x
    x = g.flatten(g.global_avg_pool(x, "global_pool"), name="flatten")
    return g.linear(g.dropout(x, 0.5), "fc", num_classes)


def pooled_module(g: GraphBuilder, x: str, widths: tuple[int, ...], stride: int, starts_with_relu: bool) -> str:
    """x, projected where the shape changes, plus ReLU, separable convolution and batch norm, repeated, then a pool."""
    y, index = x, 0
    for i, channels in enumerate(widths):
        if i or starts_with_relu:
            y, index = g.relu(y, f"rep.{index}"), index + 1
        y = g.batch_norm(pair(g, y, f"rep.{index}", channels), f"rep.{index + 1}")
        index += 2
    if stride != 1:
        y = g.max_pool(y, 3, stride, 1, name=f"rep.{index}")
    if stride != 1 or g.channels(x) != widths[-1]:
        x = g.batch_norm(g.conv(x, "skip", widths[-1], 1, stride, bias=False), "skipbn")
    return g.add(y, x, "add")


def pair(g: GraphBuilder, x: str, name: str, channels: int) -> str:
    """3x3 depthwise and 1x1 convolution, nothing between them."""
    c = g.channels(x)
    with g.scope(name):
        x = g.conv(x, "conv1", c, 3, padding=1, groups=c, bias=False)
        return g.conv(x, "pointwise", channels, 1, bias=False)


# --- the same as Keras has it


def build_keras(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    """Epsilon 1e-3, pools padded as TensorFlow does, a softmax at the end. Shortcuts are named by their order."""
    for i, (channels, stride) in enumerate(((32, 2), (64, 1)), 1):
        name = f"block1_conv{i}"
        x = g.conv(x, name, channels, 3, stride, bias=False)
        x = g.relu(g.batch_norm(x, f"{name}_bn", EPS), f"{name}_act")
    shortcuts = 0
    for block, (widths, stride) in enumerate(MODULES, 2):
        y, shortcut = x, x
        if stride != 1:
            number = f"_{shortcuts}" if shortcuts else ""
            shortcut = g.conv(x, f"conv2d{number}", widths[-1], 1, stride, bias=False)
            shortcut = g.batch_norm(shortcut, f"batch_normalization{number}", EPS)
            shortcuts += 1
        for i, channels in enumerate(widths, 1):
            name = f"block{block}_sepconv{i}"
            y = y if (block, i) == (2, 1) else g.relu(y, f"{name}_act")
            y = g.batch_norm(keras_pair(g, y, name, channels), f"{name}_bn", EPS)
        if stride != 1:
            y = g.max_pool(y, 3, stride, "same", name=f"block{block}_pool")
        x = g.add(y, shortcut, f"block{block}_add")
    for i, channels in enumerate((1536, 2048), 1):
        name = f"block{len(MODULES) + 2}_sepconv{i}"
        x = g.relu(g.batch_norm(keras_pair(g, x, name, channels), f"{name}_bn", EPS), f"{name}_act")
    if not include_top:
        return x
    x = g.flatten(g.global_avg_pool(x, "avg_pool"), name="flatten")
    return g.softmax(g.linear(x, "predictions", num_classes), "softmax")


def keras_pair(g: GraphBuilder, x: str, name: str, channels: int) -> str:
    """A SeparableConv2D, which has two kernels."""
    c = g.channels(x)
    with g.scope(name):
        x = g.conv(x, "depthwise", c, 3, padding=1, groups=c, bias=False)
        return g.conv(x, "pointwise", channels, 1, bias=False)


register(
    Architecture(
        "keras_xception",
        build_keras,
        params=22_855_952,
        macs=8_357_403_496,
        bn_buffers=54_528,
        input_shape=(3, 299, 299),
        paper="https://arxiv.org/abs/1610.02357",
        reference="keras:Xception",
    )
)
register(
    Architecture(
        "xception",
        build_first,
        params=22_855_952,
        macs=8_357_403_496,
        bn_buffers=54_528,
        input_shape=(3, 299, 299),
        paper="https://arxiv.org/abs/1610.02357",
        reference="timm:legacy_xception",
        aliases=("legacy_xception",),
    )
)
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
