"""ResNet and ResNetV2 as keras.applications has them.

Papers: He et al., https://arxiv.org/abs/1512.03385 and https://arxiv.org/abs/1603.05027. Keras's names of layers and
its epsilon; the classifier ends in a softmax. Unlike torchvision's, every convolution of v1 has a bias, and the stride
is on the first 1x1. In v2 a stage strides in its last block, whose shortcut is every second pixel, and zeros surround
the first pooling, which is not after a ReLU there.
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

EPS = 1.001e-5
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

# name                 depth parameters  running stats      MACs
V1 = {
    "keras_resnet50": (50, 25_583_592, 53_120, 3_857_973_248),
    "keras_resnet101": (101, 44_601_832, 105_344, 7_570_194_432),
    "keras_resnet152": (152, 60_268_520, 151_424, 11_282_415_616),
}
V2 = {
    "keras_resnet50v2": (50, 25_568_360, 45_440, 3_482_255_360),
    "keras_resnet101v2": (101, 44_577_896, 97_664, 7_194_476_544),
    "keras_resnet152v2": (152, 60_236_904, 143_744, 10_906_697_728),
}


def build_v1(depth: int, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = g.conv(x, "conv1_conv", 64, 7, stride=2, padding=3)
    x = norm_relu(g, x, "conv1")
    x = g.max_pool(x, 3, 2, 1, name="pool1_pool")
    for stage, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            with g.scope(f"conv{stage + 2}_block{block + 1}", "_"):
                x = block_v1(g, x, 64 << stage, stride=2 if stage and block == 0 else 1)
    return classifier(g, x, num_classes) if include_top else x


def block_v1(g: GraphBuilder, x: str, width: int, stride: int) -> str:
    y = norm_relu(g, g.conv(x, "1_conv", width, 1, stride), "1")
    y = norm_relu(g, g.conv(y, "2_conv", width, 3, padding=1), "2")
    y = g.batch_norm(g.conv(y, "3_conv", 4 * width, 1), "3_bn", EPS)
    if g.channels(x) != 4 * width:
        x = g.batch_norm(g.conv(x, "0_conv", 4 * width, 1, stride), "0_bn", EPS)
    return g.relu(g.add(x, y, "add"), "out")


def build_v2(depth: int, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = g.conv(x, "conv1_conv", 64, 7, stride=2, padding=3)
    x = g.max_pool(g.pad(x, (1, 1), name="pool1_pad"), 3, 2, name="pool1_pool")
    for stage, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            with g.scope(f"conv{stage + 2}_block{block + 1}", "_"):
                x = block_v2(g, x, 64 << stage, stride=2 if stage < 3 and block == blocks - 1 else 1)
    x = norm_relu(g, x, "post")
    return classifier(g, x, num_classes) if include_top else x


def block_v2(g: GraphBuilder, x: str, width: int, stride: int) -> str:
    activated = norm_relu(g, x, "preact")
    y = norm_relu(g, g.conv(activated, "1_conv", width, 1, bias=False), "1")
    y = norm_relu(g, g.conv(y, "2_conv", width, 3, stride, padding=1, bias=False), "2")
    y = g.conv(y, "3_conv", 4 * width, 1)
    if g.channels(x) != 4 * width:
        x = g.conv(activated, "0_conv", 4 * width, 1)
    elif stride != 1:
        x = g.max_pool(x, 1, stride, name="subsample")
    return g.add(x, y, "out")


def norm_relu(g: GraphBuilder, x: str, name: str) -> str:
    return g.relu(g.batch_norm(x, f"{name}_bn", EPS), f"{name}_relu")


def classifier(g: GraphBuilder, x: str, num_classes: int) -> str:
    x = g.flatten(g.global_avg_pool(x, "avg_pool"), name="flatten")
    return g.softmax(g.linear(x, "predictions", num_classes), "softmax")


for build, table, number in ((build_v1, V1, "1512.03385"), (build_v2, V2, "1603.05027")):
    for name, (depth, params, bn_buffers, macs) in table.items():
        paper, theirs = f"https://arxiv.org/abs/{number}", f"ResNet{depth}{'V2' if build is build_v2 else ''}"
        network = partial(build, depth)
        register(Architecture(name, network, params, macs, bn_buffers, paper=paper, reference=f"keras:{theirs}"))
