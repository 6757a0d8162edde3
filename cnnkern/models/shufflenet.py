"""ShuffleNet v2: half the channels pass by, the other half is convolved, then the channels are shuffled.

Paper: Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
https://arxiv.org/abs/1807.11164; torchvision's names.
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

# name: (channels of stages 2, 3, 4 and of conv5, parameters, running statistics, MACs)
TABLE = {
    "shufflenet_v2_x0_5": ((48, 96, 192, 1024), 1_366_792, 7_952, 40_476_448),
    "shufflenet_v2_x1_0": ((116, 232, 464, 1024), 2_278_604, 16_180, 144_907_992),
    "shufflenet_v2_x1_5": ((176, 352, 704, 1024), 3_503_624, 23_440, 295_759_392),
    "shufflenet_v2_x2_0": ((244, 488, 976, 2048), 7_393_996, 33_716, 583_253_464),
}
BLOCKS = (4, 8, 4)


def build(widths: tuple[int, ...], g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = conv_norm(g, x, "conv1", 0, 24, 3, stride=2, relu=True)
    x = g.max_pool(x, 3, 2, 1, name="maxpool")
    for stage, (blocks, channels) in enumerate(zip(BLOCKS, widths), 2):
        for block in range(blocks):
            with g.scope(f"stage{stage}.{block}"):
                x = unit(g, x, channels, downsample=block == 0)
    x = conv_norm(g, x, "conv5", 0, widths[-1], 1, relu=True)
    if not include_top:
        return x
    x = g.flatten(g.global_avg_pool(x, "globalpool"), name="flatten")
    return g.linear(x, "fc", num_classes)


def unit(g: GraphBuilder, x: str, channels: int, downsample: bool) -> str:
    """A unit of figure 3 (c), or (d) where it downsamples; the shuffle mixes the two halves."""
    half, stride = channels // 2, 2 if downsample else 1
    if downsample:
        a, b = x, x
        a = conv_norm(g, a, "branch1", 0, g.channels(a), 3, stride, depthwise=True)
        a = conv_norm(g, a, "branch1", 2, half, 1, relu=True)
    else:
        a, b = g.slice(x, 0, half), g.slice(x, half, channels)
    b = conv_norm(g, b, "branch2", 0, half, 1, relu=True)
    b = conv_norm(g, b, "branch2", 3, half, 3, stride, depthwise=True)
    b = conv_norm(g, b, "branch2", 5, half, 1, relu=True)
    return g.channel_shuffle(g.concat((a, b)), 2)


def conv_norm(
    g: GraphBuilder,
    x: str,
    branch: str,
    index: int,
    channels: int,
    kernel: int,
    stride: int = 1,
    depthwise: bool = False,
    relu: bool = False,
) -> str:
    """The layers `index`, `index + 1` and, with `relu`, `index + 2` of a sequential branch."""
    with g.scope(branch):
        groups = channels if depthwise else 1
        x = g.conv(x, str(index), channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        x = g.batch_norm(x, str(index + 1))
        return g.relu(x, str(index + 2)) if relu else x


for name, (widths, params, bn_buffers, macs) in TABLE.items():
    register(
        Architecture(
            name,
            partial(build, widths),
            params,
            macs,
            bn_buffers,
            paper="https://arxiv.org/abs/1807.11164",
            reference=f"tv:{name}",
        )
    )
