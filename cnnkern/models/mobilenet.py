"""MobileNet v1 and v2: depthwise separable convolutions, then inverted residuals with linear bottlenecks.

Papers: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
https://arxiv.org/abs/1704.04861; Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
https://arxiv.org/abs/1801.04381. v1 carries timm's names (symmetric padding), v2 torchvision's.
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder
from .layers import conv_norm_act
from .registry import Architecture, register, renamed_layers

# v1: (channels, blocks) per stage; every stage but the first halves the map in its first block
V1_STAGES = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))
# v2: (expansion, channels, blocks, stride of the first), table 2 of the paper
V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# v2, name: (width multiplier, parameters, running statistics, MACs)
V2_TABLE = {
    "mobilenetv2_035": (0.35, 1_677_128, 14_080, 59_285_808),
    "mobilenetv2_050": (0.5, 1_968_680, 18_544, 97_131_840),
    "mobilenetv2_075": (0.75, 2_636_424, 26_640, 209_069_792),
    "mobilenet_v2": (1.0, 3_504_872, 34_112, 300_774_272),
    "mobilenetv2_140": (1.4, 6_108_776, 47_936, 582_195_824),
}


def build_v1(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = g.conv(x, "conv_stem", 32, 3, stride=2, padding=1, bias=False)
    x = g.activation(g.batch_norm(x, "bn1"), "relu6", "act1")
    for stage, (channels, blocks) in enumerate(V1_STAGES):
        for block in range(blocks):
            with g.scope(f"blocks.{stage}.{block}"):
                stride, c = (2 if stage and block == 0 else 1), g.channels(x)
                x = g.conv(x, "conv_dw", c, 3, stride, padding=1, groups=c, bias=False)
                x = g.activation(g.batch_norm(x, "bn1"), "relu6", "act1")
                x = g.conv(x, "conv_pw", channels, 1, bias=False)
                x = g.activation(g.batch_norm(x, "bn2"), "relu6", "act2")
    if not include_top:
        return x
    x = g.flatten(g.global_avg_pool(x, "global_pool"), name="flatten")
    return g.linear(x, "classifier", num_classes)


def build_v2(width: float, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = conv_norm_act(g, x, "features.0", divisible(32 * width), 3, 2, act="relu6")
    index = 1
    for expansion, channels, blocks, stride in V2_STAGES:
        for block in range(blocks):
            x = inverted_residual(
                g, x, f"features.{index}", expansion, divisible(channels * width), 1 if block else stride
            )
            index += 1
    x = conv_norm_act(g, x, f"features.{index}", max(1280, divisible(1280 * width)), 1, act="relu6")
    if not include_top:
        return x
    x = g.dropout(g.flatten(g.global_avg_pool(x, "avgpool"), name="flatten"), 0.2)
    return g.linear(x, "classifier.1", num_classes)


def divisible(channels: float, by: int = 8) -> int:
    """A scaled number of channels, rounded to a multiple of `by`, never down by more than a tenth."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


def inverted_residual(g: GraphBuilder, x: str, name: str, expansion: int, channels: int, stride: int) -> str:
    """1x1 to `expansion` times the channels, 3x3 depthwise, linear 1x1; plus the input where the shape allows."""
    hidden, y, index = expansion * g.channels(x), x, 0
    with g.scope(name):
        if expansion != 1:
            y, index = conv_norm_act(g, y, "conv.0", hidden, 1, act="relu6"), 1
        y = conv_norm_act(g, y, f"conv.{index}", hidden, 3, stride, groups=hidden, act="relu6")
        y = g.conv(y, f"conv.{index + 1}", channels, 1, bias=False)
        y = g.batch_norm(y, f"conv.{index + 2}")
        return g.add(x, y, "add") if stride == 1 and g.channels(x) == channels else y


def timm_layers() -> dict[str, str]:
    """timm's layer names of MobileNetV2 -> torchvision's."""
    table = {"conv_stem": "features.0.0", "bn1": "features.0.1", "classifier": "classifier.1"}
    index = 1
    for stage, (expansion, _, blocks, _) in enumerate(V2_STAGES):
        names = ("conv_dw", "bn1", "conv_pw", "bn2")
        if expansion != 1:
            names = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
        ours = [f"{i}.{j}" for i in range(len(names) // 2 - 1) for j in range(2)]  # pairs, then a bare conv and norm
        ours += [str(len(names) // 2 - 1), str(len(names) // 2)]
        for block in range(blocks):
            table |= {f"blocks.{stage}.{block}.{n}": f"features.{index}.conv.{o}" for n, o in zip(names, ours)}
            index += 1
    return table | {"conv_head": f"features.{index}.0", "bn2": f"features.{index}.1"}


register(
    Architecture(
        "mobilenet_v1_100",
        build_v1,
        params=4_231_976,
        macs=568_740_352,
        bn_buffers=21_888,
        paper="https://arxiv.org/abs/1704.04861",
        reference="timm:mobilenetv1_100",
        aliases=("mobilenetv1_100",),
    )
)
for name, (width, params, bn_buffers, macs) in V2_TABLE.items():
    register(
        Architecture(
            name,
            partial(build_v2, width),
            params,
            macs,
            bn_buffers,
            paper="https://arxiv.org/abs/1801.04381",
            reference="tv:mobilenet_v2" if width == 1 else f"timm:{name}",
            aliases=("mobilenetv2_100",) if width == 1 else (),
            rename=renamed_layers(timm_layers()),
        )
    )
