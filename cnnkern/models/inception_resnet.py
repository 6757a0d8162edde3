"""Inception-ResNet-v2: inception modules whose output, scaled down, is added to their input.

Paper: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
https://arxiv.org/abs/1602.07261; timm's names and epsilon (1e-3).
"""

from __future__ import annotations

from ..graph.builder import GraphBuilder, Pair
from .layers import conv_norm_act
from .registry import Architecture, register

Branch = tuple[tuple[int, Pair], ...]  # (channels, kernel) of its convolutions
# the branches of each kind of residual block
BLOCK35: tuple[Branch, ...] = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3)))
BLOCK17: tuple[Branch, ...] = (((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1))))
BLOCK8: tuple[Branch, ...] = (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1))))


def build(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = conv(g, x, "conv2d_1a", 32, 3, 2, valid=True)
    x = conv(g, x, "conv2d_2a", 32, 3, valid=True)
    x = conv(g, x, "conv2d_2b", 64, 3)
    x = g.max_pool(x, 3, 2, name="maxpool_3a")
    x = conv(g, x, "conv2d_3b", 80, 1)
    x = conv(g, x, "conv2d_4a", 192, 3, valid=True)
    x = g.max_pool(x, 3, 2, name="maxpool_5a")
    with g.scope("mixed_5b"):
        x = mixed_5b(g, x)
    for i in range(10):
        x = residual(g, x, f"repeat.{i}", BLOCK35, 0.17)
    with g.scope("mixed_6a"):
        x = reduction(g, x, (((384, 3),), ((256, 1), (256, 3), (384, 3))))
    for i in range(20):
        x = residual(g, x, f"repeat_1.{i}", BLOCK17, 0.10)
    with g.scope("mixed_7a"):
        x = reduction(g, x, (((256, 1), (384, 3)), ((256, 1), (288, 3)), ((256, 1), (288, 3), (320, 3))))
    for i in range(9):
        x = residual(g, x, f"repeat_2.{i}", BLOCK8, 0.20)
    x = residual(g, x, "block8", BLOCK8, 1.0, relu=False)
    x = conv(g, x, "conv2d_7b", 1536, 1)
    if not include_top:
        return x
    x = g.dropout(g.flatten(g.global_avg_pool(x, "global_pool"), name="flatten"), 0.2)
    return g.linear(x, "classif", num_classes)


def conv(g: GraphBuilder, x: str, name: str, channels: int, kernel: Pair, stride: int = 1, valid: bool = False) -> str:
    """Convolution, batch norm, ReLU; `valid` pads nothing."""
    padding = 0 if valid else None
    return conv_norm_act(g, x, name, channels, kernel, stride, padding, eps=1e-3, names=("conv", "bn", "bn.act"))


def chain(g: GraphBuilder, x: str, name: str, branch: Branch, stride: int = 1) -> str:
    """The convolutions of a branch; the last one may have a stride, and then pads nothing."""
    for i, (channels, kernel) in enumerate(branch):
        last = stride > 1 and i == len(branch) - 1
        part = name if len(branch) == 1 else f"{name}.{i}"
        x = conv(g, x, part, channels, kernel, stride if last else 1, valid=last)
    return x


def mixed_5b(g: GraphBuilder, x: str) -> str:
    branches = (((96, 1),), ((48, 1), (64, 5)), ((64, 1), (96, 3), (96, 3)))
    parts = [chain(g, x, f"branch{i}", branch) for i, branch in enumerate(branches)]
    pooled = g.avg_pool(x, 3, 1, 1, name="branch3.0", count_include_pad=False)
    return g.concat((*parts, conv(g, pooled, "branch3.1", 64, 1)), "concat")


def reduction(g: GraphBuilder, x: str, branches: tuple[Branch, ...]) -> str:
    parts = [chain(g, x, f"branch{i}", branch, stride=2) for i, branch in enumerate(branches)]
    return g.concat((*parts, g.max_pool(x, 3, 2, name=f"branch{len(branches)}")), "concat")


def residual(g: GraphBuilder, x: str, name: str, branches: tuple[Branch, ...], scale: float, relu: bool = True) -> str:
    with g.scope(name):
        y = g.concat([chain(g, x, f"branch{i}", branch) for i, branch in enumerate(branches)], "concat")
        y = g.conv(y, "conv2d", g.channels(x), 1)
        y = g.add(y if scale == 1.0 else g.scale(y, scale, "scale"), x, "add")
        return g.relu(y, "act") if relu else y


register(
    Architecture(
        "inception_resnet_v2",
        build,
        params=55_843_464,
        macs=13_155_794_016,
        bn_buffers=60_544,
        input_shape=(3, 299, 299),
        paper="https://arxiv.org/abs/1602.07261",
        reference="timm:inception_resnet_v2",
    )
)
