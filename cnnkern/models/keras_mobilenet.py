"""MobileNet v1 and v2 as keras.applications has them: TensorFlow's padding, epsilon 1e-3, a softmax at the end.

Papers: Howard et al., https://arxiv.org/abs/1704.04861; Sandler et al., https://arxiv.org/abs/1801.04381. Keras's names
of layers; the number behind a name is the width in hundredths, 100 where there is none.
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder
from .mobilenet import V1_STAGES, V2_STAGES, divisible
from .registry import Architecture, register

EPS = 1e-3
# name: (width multiplier, parameters, running statistics, MACs)
V1 = {
    "keras_mobilenet_025": (0.25, 470_072, 5_472, 41_030_272),
    "keras_mobilenet_050": (0.5, 1_331_592, 10_944, 149_497_088),
    "keras_mobilenet_075": (0.75, 2_585_560, 16_416, 325_400_448),
    "keras_mobilenet": (1.0, 4_231_976, 21_888, 568_740_352),
}
V2 = {
    "keras_mobilenet_v2_035": (0.35, 1_677_128, 14_080, 59_285_808),
    "keras_mobilenet_v2_050": (0.5, 1_968_680, 18_544, 97_131_840),
    "keras_mobilenet_v2_075": (0.75, 2_636_424, 26_640, 209_069_792),
    "keras_mobilenet_v2": (1.0, 3_504_872, 34_112, 300_774_272),
    "keras_mobilenet_v2_130": (1.3, 5_386_792, 44_256, 509_374_560),
    "keras_mobilenet_v2_140": (1.4, 6_108_776, 47_936, 582_195_824),
}


def build_v1(width: float, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = conv(g, x, "conv1", int(32 * width), 3, 2, norm="conv1_bn")
    index = 1
    for stage, (channels, blocks) in enumerate(V1_STAGES):
        for block in range(blocks):
            c, strided = g.channels(x), stage > 0 and block == 0
            padding = ((0, 1), (0, 1)) if strided else 1  # whatever the size
            name = f"conv_dw_{index}"
            x = conv(g, x, name, c, 3, 2 if strided else 1, padding, c, norm=f"{name}_bn")
            x = conv(g, x, f"conv_pw_{index}", int(channels * width), 1, norm=f"conv_pw_{index}_bn")
            index += 1
    if not include_top:
        return x
    x = g.conv(g.dropout(g.global_avg_pool(x, "global_average_pooling2d"), 0.001), "conv_preds", num_classes, 1)
    return g.softmax(g.flatten(x, name="reshape_2"), "predictions")


def build_v2(width: float, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = conv(g, x, "Conv1", divisible(32 * width), 3, 2, norm="bn_Conv1")
    index = 0
    for expansion, channels, blocks, stride in V2_STAGES:
        for block in range(blocks):
            with g.scope(f"block_{index}" if index else "expanded_conv", "_"):
                x = inverted_residual(g, x, expansion, divisible(channels * width), 1 if block else stride)
            index += 1
    x = conv(g, x, "Conv_1", max(1280, divisible(1280 * width)), 1, norm="Conv_1_bn")
    if not include_top:
        return x
    x = g.flatten(g.global_avg_pool(x, "global_average_pooling2d"), name="flatten")
    return g.softmax(g.linear(x, "predictions", num_classes), "softmax")


def inverted_residual(g: GraphBuilder, x: str, expansion: int, channels: int, stride: int) -> str:
    c, y = g.channels(x), x
    if expansion != 1:
        y = conv(g, y, "expand", expansion * c, 1, norm="expand_BN")
    y = conv(g, y, "depthwise", expansion * c, 3, stride, groups=expansion * c, norm="depthwise_BN")
    y = g.batch_norm(g.conv(y, "project", channels, 1, bias=False), "project_BN", EPS)
    return g.add(x, y, "add") if stride == 1 and c == channels else y


def conv(
    g: GraphBuilder,
    x: str,
    name: str,
    channels: int,
    kernel: int,
    stride: int = 1,
    padding="same",
    groups: int = 1,
    norm: str = "",
) -> str:
    """Convolution without bias, the batch norm `norm`, ReLU6."""
    x = g.conv(x, name, channels, kernel, stride, padding, groups=groups, bias=False)
    return g.activation(g.batch_norm(x, norm, EPS), "relu6", f"{name}_relu")


for build, table, number, theirs in (
    (build_v1, V1, "1704.04861", "MobileNet"),
    (build_v2, V2, "1801.04381", "MobileNetV2"),
):
    for name, (width, params, bn_buffers, macs) in table.items():
        register(
            Architecture(
                name,
                partial(build, width),
                params,
                macs,
                bn_buffers,
                paper=f"https://arxiv.org/abs/{number}",
                reference=f"keras:{theirs}" + (f"(alpha={width})" if width != 1 else ""),
            )
        )
