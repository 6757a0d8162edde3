"""Inception v3 and Inception-ResNet-v2 as keras.applications has them.

Papers: Szegedy et al., https://arxiv.org/abs/1512.00567 and https://arxiv.org/abs/1602.07261. Batch norms have no gamma
and epsilon 1e-3, average pools leave the padding out, the classifier ends in a softmax. Keras names most layers by the
order in which they were made, conv2d, conv2d_1 and so on, and so do these.
"""

from __future__ import annotations

from ..graph.builder import GraphBuilder, Pair
from .inception_resnet import BLOCK8, BLOCK17, BLOCK35, Branch
from .registry import Architecture, register

EPS = 1e-3
Branches = tuple[Branch, ...]
STEM_BRANCHES: Branches = (((96, 1),), ((48, 1), (64, 5)), ((64, 1), (96, 3), (96, 3)))
REDUCTION_6A: Branches = (((384, 3),), ((256, 1), (256, 3), (384, 3)))
REDUCTION_7A: Branches = (((256, 1), (384, 3)), ((256, 1), (288, 3)), ((256, 1), (288, 3), (320, 3)))
V3_A: Branches = (((64, 1),), ((48, 1), (64, 5)), ((64, 1), (96, 3), (96, 3)))
V3_B: Branches = (((384, 3),), ((64, 1), (96, 3), (96, 3)))
V3_D: Branches = (((192, 1), (320, 3)), ((192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)))


def v3_c(c: int) -> Branches:
    twice = ((c, 1), (c, (7, 1)), (c, (1, 7)), (c, (7, 1)), (192, (1, 7)))
    return ((192, 1),), ((c, 1), (c, (1, 7)), (192, (7, 1))), twice


class Numbered:
    """The layers of one network, counted as Keras counts them."""

    def __init__(self, g: GraphBuilder):
        self.g, self.count = g, 0

    def conv(self, x: str, channels: int, kernel: Pair, stride: int = 1, valid: bool = False) -> str:
        """Convolution, batch norm, ReLU."""
        number = f"_{self.count}" if self.count else ""
        self.count += 1
        return self.named(x, f"conv2d{number}", f"batch_normalization{number}", channels, kernel, stride, valid)

    def named(self, x: str, conv: str, norm: str, channels: int, kernel: Pair, stride=1, valid=False) -> str:
        x = self.g.conv(x, conv, channels, kernel, stride, "valid" if valid else "same", bias=False)
        return self.g.relu(self.g.batch_norm(x, norm, EPS, scale=False), f"{conv}_relu")

    def branches(self, x: str, branches: Branches, stride: int = 1) -> list[str]:
        """What each branch gives; with a stride their last convolutions take it, and pad nothing."""
        ends = []
        for branch in branches:
            y = x
            for i, (channels, kernel) in enumerate(branch):
                last = stride > 1 and i == len(branch) - 1
                y = self.conv(y, channels, kernel, stride if last else 1, valid=last)
            ends.append(y)
        return ends

    def pooled(self, x: str, channels: int) -> str:
        return self.conv(self.g.avg_pool(x, 3, 1, 1, count_include_pad=False), channels, 1)

    def stem(self, x: str) -> str:
        x = self.conv(self.conv(x, 32, 3, 2, valid=True), 32, 3, valid=True)
        x = self.g.max_pool(self.conv(x, 64, 3), 3, 2)
        return self.g.max_pool(self.conv(self.conv(x, 80, 1), 192, 3, valid=True), 3, 2)


def build_v3(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    net = Numbered(g)
    x = net.stem(x)
    modules = [*((V3_A, pool) for pool in (32, 64, 64)), (V3_B, 0), *((v3_c(c), 192) for c in (128, 160, 160, 192))]
    modules += [(V3_D, 0)]
    for i, (branches, pool) in enumerate(modules):
        ends = net.branches(x, branches, stride=1 if pool else 2)
        x = g.concat((*ends, net.pooled(x, pool) if pool else g.max_pool(x, 3, 2)), f"mixed{i}")
    for i in (9, 10):
        a = net.conv(x, 320, 1)
        b = net.conv(x, 384, 1)
        b1, b2 = net.conv(b, 384, (1, 3)), net.conv(b, 384, (3, 1))
        c = net.conv(net.conv(x, 448, 1), 384, 3)
        c1, c2 = net.conv(c, 384, (1, 3)), net.conv(c, 384, (3, 1))
        x = g.concat((a, b1, b2, c1, c2, net.pooled(x, 192)), f"mixed{i}")
    return classifier(g, x, num_classes) if include_top else x


def build_resnet(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    net = Numbered(g)
    x = net.stem(x)
    x = g.concat((*net.branches(x, STEM_BRANCHES), net.pooled(x, 64)), "mixed_5b")
    for i in range(1, 11):
        x = residual(net, x, f"block35_{i}", BLOCK35, 0.17)
    x = g.concat((*net.branches(x, REDUCTION_6A, stride=2), g.max_pool(x, 3, 2)), "mixed_6a")
    for i in range(1, 21):
        x = residual(net, x, f"block17_{i}", BLOCK17, 0.1)
    x = g.concat((*net.branches(x, REDUCTION_7A, stride=2), g.max_pool(x, 3, 2)), "mixed_7a")
    for i in range(1, 11):
        x = residual(net, x, f"block8_{i}", BLOCK8, 0.2 if i < 10 else 1.0)
    x = net.named(x, "conv_7b", "conv_7b_bn", 1536, 1)
    return classifier(g, x, num_classes) if include_top else x


def residual(net: Numbered, x: str, name: str, branches: Branches, scale: float) -> str:
    """x plus `scale` times what the branches come to; and a ReLU, except in the last one, which scales nothing."""
    g = net.g
    y = g.concat(net.branches(x, branches), f"{name}_mixed")
    y = g.conv(y, f"{name}_conv", g.channels(x), 1)
    if scale == 1.0:
        return g.add(x, y, f"{name}_add")
    return g.relu(g.add(x, g.scale(y, scale, f"{name}_scale"), f"{name}_add"), f"{name}_ac")


def classifier(g: GraphBuilder, x: str, num_classes: int) -> str:
    x = g.flatten(g.global_avg_pool(x, "avg_pool"), name="flatten")
    return g.softmax(g.linear(x, "predictions", num_classes), "softmax")


register(
    Architecture(
        "keras_inception_v3",
        build_v3,
        params=23_817_352,
        macs=5_713_216_096,
        bn_buffers=34_432,
        input_shape=(3, 299, 299),
        paper="https://arxiv.org/abs/1512.00567",
        reference="keras:InceptionV3",
    )
)
register(
    Architecture(
        "keras_inception_resnet_v2",
        build_resnet,
        params=55_813_192,
        macs=13_155_794_016,
        bn_buffers=60_544,
        input_shape=(3, 299, 299),
        paper="https://arxiv.org/abs/1602.07261",
        reference="keras:InceptionResNetV2",
    )
)
