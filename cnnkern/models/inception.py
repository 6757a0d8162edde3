"""Inception v3.

Paper: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", https://arxiv.org/abs/1512.00567;
layer names, epsilon (1e-3) and average pools that count their padding are torchvision's and timm's. `inception_v3+aux`
has the auxiliary head of training too: its outputs are the scores, and those of the head behind Mixed_6e.
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder, Pair
from .layers import conv_norm_act
from .registry import Architecture, register


def conv(g: GraphBuilder, x: str, name: str, channels: int, kernel: Pair, stride: int = 1, valid: bool = False) -> str:
    """BasicConv2d: convolution, batch norm, ReLU; `valid` pads nothing."""
    padding = 0 if valid else None
    return conv_norm_act(g, x, name, channels, kernel, stride, padding, eps=1e-3, names=("conv", "bn", "relu"))


def build(aux: bool, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str | list[str]:
    heads = []
    x = conv(g, x, "Conv2d_1a_3x3", 32, 3, 2, valid=True)
    x = conv(g, x, "Conv2d_2a_3x3", 32, 3, valid=True)
    x = conv(g, x, "Conv2d_2b_3x3", 64, 3)
    x = g.max_pool(x, 3, 2, name="maxpool1")
    x = conv(g, x, "Conv2d_3b_1x1", 80, 1)
    x = conv(g, x, "Conv2d_4a_3x3", 192, 3, valid=True)
    x = g.max_pool(x, 3, 2, name="maxpool2")
    for name, module, *widths in MODULES:
        with g.scope(name):
            x = module(g, x, *widths)
        if aux and include_top and name == "Mixed_6e":
            heads.append(auxiliary(g, x, num_classes))
    if not include_top:
        return x
    x = g.dropout(g.flatten(g.global_avg_pool(x, "avgpool"), name="flatten"), 0.5)
    x = g.linear(x, "fc", num_classes)
    return [x, *heads] if aux else x


def auxiliary(g: GraphBuilder, x: str, num_classes: int) -> str:
    with g.scope("AuxLogits"):
        x = conv(g, g.avg_pool(x, 5, 3, name="pool"), "conv0", 128, 1)
        x = g.global_avg_pool(conv(g, x, "conv1", 768, 5, valid=True), "avgpool")
        return g.linear(g.flatten(x), "fc", num_classes)


def inception_a(g: GraphBuilder, x: str, pool_features: int) -> str:
    a = conv(g, x, "branch1x1", 64, 1)
    b = conv(g, x, "branch5x5_1", 48, 1)
    b = conv(g, b, "branch5x5_2", 64, 5)
    c = conv(g, x, "branch3x3dbl_1", 64, 1)
    c = conv(g, c, "branch3x3dbl_2", 96, 3)
    c = conv(g, c, "branch3x3dbl_3", 96, 3)
    d = conv(g, g.avg_pool(x, 3, 1, 1), "branch_pool", pool_features, 1)
    return g.concat((a, b, c, d))


def reduction_b(g: GraphBuilder, x: str) -> str:
    a = conv(g, x, "branch3x3", 384, 3, 2, valid=True)
    b = conv(g, x, "branch3x3dbl_1", 64, 1)
    b = conv(g, b, "branch3x3dbl_2", 96, 3)
    b = conv(g, b, "branch3x3dbl_3", 96, 3, 2, valid=True)
    return g.concat((a, b, g.max_pool(x, 3, 2)))


def inception_c(g: GraphBuilder, x: str, c7: int) -> str:
    a = conv(g, x, "branch1x1", 192, 1)
    b = conv(g, x, "branch7x7_1", c7, 1)
    b = conv(g, b, "branch7x7_2", c7, (1, 7))
    b = conv(g, b, "branch7x7_3", 192, (7, 1))
    c = conv(g, x, "branch7x7dbl_1", c7, 1)
    c = conv(g, c, "branch7x7dbl_2", c7, (7, 1))
    c = conv(g, c, "branch7x7dbl_3", c7, (1, 7))
    c = conv(g, c, "branch7x7dbl_4", c7, (7, 1))
    c = conv(g, c, "branch7x7dbl_5", 192, (1, 7))
    d = conv(g, g.avg_pool(x, 3, 1, 1), "branch_pool", 192, 1)
    return g.concat((a, b, c, d))


def reduction_d(g: GraphBuilder, x: str) -> str:
    a = conv(g, x, "branch3x3_1", 192, 1)
    a = conv(g, a, "branch3x3_2", 320, 3, 2, valid=True)
    b = conv(g, x, "branch7x7x3_1", 192, 1)
    b = conv(g, b, "branch7x7x3_2", 192, (1, 7))
    b = conv(g, b, "branch7x7x3_3", 192, (7, 1))
    b = conv(g, b, "branch7x7x3_4", 192, 3, 2, valid=True)
    return g.concat((a, b, g.max_pool(x, 3, 2)))


def inception_e(g: GraphBuilder, x: str) -> str:
    """The 1x3 and 3x1 halves of a branch stand side by side; one flat concat holds what torchvision nests."""
    a = conv(g, x, "branch1x1", 320, 1)
    b = conv(g, x, "branch3x3_1", 384, 1)
    b1 = conv(g, b, "branch3x3_2a", 384, (1, 3))
    b2 = conv(g, b, "branch3x3_2b", 384, (3, 1))
    c = conv(g, x, "branch3x3dbl_1", 448, 1)
    c = conv(g, c, "branch3x3dbl_2", 384, 3)
    c1 = conv(g, c, "branch3x3dbl_3a", 384, (1, 3))
    c2 = conv(g, c, "branch3x3dbl_3b", 384, (3, 1))
    d = conv(g, g.avg_pool(x, 3, 1, 1), "branch_pool", 192, 1)
    return g.concat((a, b1, b2, c1, c2, d))


MODULES = (
    ("Mixed_5b", inception_a, 32),
    ("Mixed_5c", inception_a, 64),
    ("Mixed_5d", inception_a, 64),
    ("Mixed_6a", reduction_b),
    ("Mixed_6b", inception_c, 128),
    ("Mixed_6c", inception_c, 160),
    ("Mixed_6d", inception_c, 160),
    ("Mixed_6e", inception_c, 192),
    ("Mixed_7a", reduction_d),
    ("Mixed_7b", inception_e),
    ("Mixed_7c", inception_e),
)

# name: (auxiliary head, parameters, MACs, running statistics)
for name, (aux, *counts) in {
    "inception_v3": (False, 23_834_568, 5_713_216_096, 34_432),
    "inception_v3+aux": (True, 27_161_264, 5_718_899_296, 36_224),
}.items():
    register(
        Architecture(
            name,
            partial(build, aux),
            *counts,
            input_shape=(3, 299, 299),
            paper="https://arxiv.org/abs/1512.00567",
            reference="tv:inception_v3",
            aliases=("inception_v3_aux",) if aux else (),
            rename=None if aux else lambda key: None if key.startswith("AuxLogits.") else key,
        )
    )
