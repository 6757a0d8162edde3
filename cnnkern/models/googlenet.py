"""GoogLeNet (Inception v1), twice: the 2014 network, and torchvision's batch-normalised relative; and its modules.

Paper: Szegedy et al., "Going Deeper with Convolutions", https://arxiv.org/abs/1409.4842. `googlenet_2014` is the
paper's network in the form of Caffe's bvlc_googlenet, with its layer names. `googlenet` is torchvision's: batch norm
(eps 1e-3) instead of LRN, 3x3 in the "5x5" branch, a 2x2 fourth pool. With the auxiliary heads of training,
`googlenet_2014_aux` and `googlenet+aux`, the outputs are three: the scores, those of the head behind module 4a, those
behind 4d; `googlenet_aux_head` is the first of these heads alone. `inception_naive` and `inception_bottleneck` are the
modules of the paper's figure 2 alone, at the widths that lectures compute with: 28x28 maps, no classifier.
"""

from __future__ import annotations

from functools import partial

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
AUXILIARY = {"4a": 1, "4d": 2}  # module: the number of the auxiliary head behind it


def build_2014(aux: bool, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str | list[str]:
    heads = []
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
            if aux and include_top and module in AUXILIARY:
                heads.append(auxiliary_2014(g, x, f"loss{AUXILIARY[module]}", num_classes))
    if not include_top:
        return x
    x = g.dropout(g.flatten(g.global_avg_pool(x, "pool5"), name="flatten"), 0.4)
    x = g.linear(x, "loss3/classifier", num_classes)
    return [x, *heads] if aux else x


def auxiliary_2014(g: GraphBuilder, x: str, name: str, num_classes: int) -> str:
    with g.scope(name, "/"):
        return auxiliary_head(g, x, num_classes, True)


def auxiliary_head(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = g.avg_pool(x, 5, 3, name="ave_pool", ceil_mode=True)
    x = g.relu(g.conv(x, "conv", 128, 1), "relu_conv")
    if not include_top:
        return x
    x = g.dropout(g.relu(g.linear(g.flatten(x), "fc", 1024), "relu_fc"), 0.7)
    return g.linear(x, "classifier", num_classes)


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


def build(aux: bool, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str | list[str]:
    heads = []
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
            if aux and include_top and module in AUXILIARY:
                heads.append(auxiliary(g, x, f"aux{AUXILIARY[module]}", num_classes))
    if not include_top:
        return x
    x = g.dropout(g.flatten(g.global_avg_pool(x, "avgpool"), name="flatten"), 0.2)
    x = g.linear(x, "fc", num_classes)
    return [x, *heads] if aux else x


def auxiliary(g: GraphBuilder, x: str, name: str, num_classes: int) -> str:
    with g.scope(name):
        x = basic_conv(g, g.adaptive_avg_pool(x, 4, "avgpool"), "conv", 128, 1)
        x = g.dropout(g.relu(g.linear(g.flatten(x), "fc1", 1024)), 0.7)
        return g.linear(x, "fc2", num_classes)


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


def build_module(widths: tuple[int, ...] | None, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    """Outputs of 128, 192 and 96 channels and the pool's; `widths` as in MODULES, None without the 1x1 reductions."""
    if num_classes:
        raise ValueError(f"num_classes: {g.graph.name} has no classifier")
    if widths:
        return inception_2014(g, x, widths)
    a, b, c = conv_relu(g, x, "1x1", 128, 1), conv_relu(g, x, "3x3", 192, 3), conv_relu(g, x, "5x5", 96, 5)
    return g.concat((a, b, c, g.max_pool(x, 3, 1, 1, name="pool")), "output")


PAPER = "https://arxiv.org/abs/1409.4842"
# name: (auxiliary heads, parameters, MACs)
for name, (aux, params, macs) in {
    "googlenet_2014": (False, 6_998_552, 1_582_671_872),
    "googlenet_2014_aux": (True, 13_378_280, 1_591_044_096),
}.items():
    aliases = () if aux else ("bvlc_googlenet",)
    register(Architecture(name, partial(build_2014, aux), params, macs, paper=PAPER, aliases=aliases))
register(
    Architecture(
        "googlenet",
        partial(build, False),
        params=6_624_904,
        macs=1_498_376_192,
        bn_buffers=14_560,
        paper=PAPER,
        reference="tv:googlenet",
        rename=lambda key: None if key.startswith(("aux1.", "aux2.")) else key,
    )
)
register(
    Architecture(
        "googlenet+aux",
        partial(build, True),
        params=13_004_888,
        macs=1_506_748_416,
        bn_buffers=15_072,
        paper=PAPER,
        reference="tv:googlenet",
        aliases=("googlenet_aux",),
    )
)
register(
    Architecture("googlenet_aux_head", auxiliary_head, 3_188_840, 4_169_728, input_shape=(512, 14, 14), paper=PAPER)
)
# name: (widths, parameters, MACs)
for name, (widths, params, macs) in {
    "inception_naive": (None, 1_089_952, 854_196_224),
    "inception_bottleneck": ((128, 64, 192, 64, 96, 64), 346_720, 271_351_808),
}.items():
    build_one = partial(build_module, widths)
    register(Architecture(name, build_one, params, macs, input_shape=(256, 28, 28), num_classes=0, paper=PAPER))
