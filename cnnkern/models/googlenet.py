"""GoogLeNet (Inception v1), twice: the 2014 network, and torchvision's batch-normalised relative.

Paper: Szegedy et al., "Going Deeper with Convolutions", https://arxiv.org/abs/1409.4842. `googlenet_2014` is the
paper's network in the form of Caffe's bvlc_googlenet, with its layer names, without the auxiliary heads. `googlenet` is
torchvision's: batch norm (eps 1e-3) instead of LRN, 3x3 in the "5x5" branch, a 2x2 fourth pool.
"""

from __future__ import annotations

from ..graph.builder import GraphBuilder
from .layers import conv_norm_act
from .registry import Architecture, register

# module: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection (table 1 of the paper); "M" a max pool
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "pool3": "M",
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "pool4": "M",
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
EPS = 1e-3


def build_2014(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = conv_relu(g, x, "conv1/7x7_s2", 64, 7, 2)
    x = g.max_pool(x, 3, 2, name="pool1/3x3_s2", ceil_mode=True)
    x = g.lrn(x, 5, name="pool1/norm1")
    x = conv_relu(g, x, "conv2/3x3_reduce", 64, 1)
    x = conv_relu(g, x, "conv2/3x3", 192, 3)
    x = g.lrn(x, 5, name="conv2/norm2")
    x = g.max_pool(x, 3, 2, name="pool2/3x3_s2", ceil_mode=True)
    for module, widths in MODULES.items():
        if widths == "M":
            x = g.max_pool(x, 3, 2, name=f"{module}/3x3_s2", ceil_mode=True)
        else:
            with g.scope(f"inception_{module}", "/"):
                x = inception_2014(g, x, widths)
    if not include_top:
        return x
    x = g.dropout(g.flatten(g.global_avg_pool(x, "pool5"), name="flatten"))
    return g.linear(x, "loss3/classifier", num_classes)


def conv_relu(g: GraphBuilder, x: str, name: str, channels: int, kernel: int, stride: int = 1) -> str:
    x = g.conv(x, name, channels, kernel, stride, padding=kernel // 2)
    return g.relu(x, f"{name}_relu")


def inception_2014(g: GraphBuilder, x: str, widths: tuple[int, ...]) -> str:
    n1x1, n3x3_reduce, n3x3, n5x5_reduce, n5x5, pool_proj = widths
    a = conv_relu(g, x, "1x1", n1x1, 1)
    b = conv_relu(g, conv_relu(g, x, "3x3_reduce", n3x3_reduce, 1), "3x3", n3x3, 3)
    c = conv_relu(g, conv_relu(g, x, "5x5_reduce", n5x5_reduce, 1), "5x5", n5x5, 5)
    d = conv_relu(g, g.max_pool(x, 3, 1, 1, name="pool"), "pool_proj", pool_proj, 1)
    return g.concat((a, b, c, d), "output")


def build(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = basic_conv(g, x, "conv1", 64, 7, 2)
    x = g.max_pool(x, 3, 2, name="maxpool1", ceil_mode=True)
    x = basic_conv(g, x, "conv2", 64, 1)
    x = basic_conv(g, x, "conv3", 192, 3)
    x = g.max_pool(x, 3, 2, name="maxpool2", ceil_mode=True)
    for module, widths in MODULES.items():
        if widths == "M":
            x = g.max_pool(x, 3 if module == "pool3" else 2, 2, name=f"max{module}", ceil_mode=True)
        else:
            with g.scope(f"inception{module}"):
                x = inception(g, x, widths)
    if not include_top:
        return x
    x = g.dropout(g.flatten(g.global_avg_pool(x, "avgpool"), name="flatten"))
    return g.linear(x, "fc", num_classes)


def basic_conv(g: GraphBuilder, x: str, name: str, channels: int, kernel: int, stride: int = 1) -> str:
    return conv_norm_act(g, x, name, channels, kernel, stride, eps=EPS, names=("conv", "bn", "relu"))


def inception(g: GraphBuilder, x: str, widths: tuple[int, ...]) -> str:
    n1x1, n3x3_reduce, n3x3, n5x5_reduce, n5x5, pool_proj = widths
    a = basic_conv(g, x, "branch1", n1x1, 1)
    b = basic_conv(g, basic_conv(g, x, "branch2.0", n3x3_reduce, 1), "branch2.1", n3x3, 3)
    # 3x3 where the paper has 5x5: https://github.com/pytorch/vision/issues/906
    c = basic_conv(g, basic_conv(g, x, "branch3.0", n5x5_reduce, 1), "branch3.1", n5x5, 3)
    d = basic_conv(g, g.max_pool(x, 3, 1, 1, name="branch4.0", ceil_mode=True), "branch4.1", pool_proj, 1)
    return g.concat((a, b, c, d), "concat")


register(
    Architecture(
        "googlenet_2014",
        build_2014,
        params=6_998_552,
        macs=1_582_671_872,
        paper="https://arxiv.org/abs/1409.4842",
        aliases=("bvlc_googlenet",),
    )
)
register(
    Architecture(
        "googlenet",
        build,
        params=6_624_904,
        macs=1_498_376_192,
        bn_buffers=14_560,
        paper="https://arxiv.org/abs/1409.4842",
        reference="tv:googlenet",
        rename=lambda key: None if key.startswith(("aux1.", "aux2.")) else key,
    )
)
