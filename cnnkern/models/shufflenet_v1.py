"""ShuffleNet v1: grouped 1x1 convolutions, with the channels shuffled so that groups exchange what they know.

Paper: Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices",
https://arxiv.org/abs/1707.01083, table 1 at scale 1. The names are ours.
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder
from .layers import conv_norm_act
from .registry import Architecture, register

# groups: (channels of stage 2, parameters, running statistics, MACs)
TABLE = {
    1: (144, 1_531_936, 14_688, 143_078_976),
    2: (200, 1_733_848, 20_400, 140_836_512),
    3: (240, 1_865_728, 24_480, 137_460_672),
    4: (272, 1_968_344, 27_744, 134_339_776),
    8: (384, 2_434_768, 39_168, 138_365_952),
}
UNITS = (4, 8, 4)


def build(groups: int, width: int, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = conv_norm_act(g, x, "conv1", 24, 3, 2, names=("conv", "bn", "relu"))
    x = g.max_pool(x, 3, 2, 1, name="maxpool")
    for stage, units in enumerate(UNITS, 2):
        for i in range(units):
            with g.scope(f"stage{stage}.{i}"):
                # the very first convolution has too few channels to be grouped
                x = unit(g, x, width << (stage - 2), groups, 1 if (stage, i) == (2, 0) else groups, i == 0)
    if not include_top:
        return x
    x = g.flatten(g.global_avg_pool(x, "globalpool"), name="flatten")
    return g.linear(x, "fc", num_classes)


def unit(g: GraphBuilder, x: str, channels: int, groups: int, first: int, downsample: bool) -> str:
    """Figure 2 (b), or (c) where it downsamples: then the average of the input stands beside the branch."""
    stride, wanted = (2, channels - g.channels(x)) if downsample else (1, channels)
    inner = channels // 4
    y = conv_norm_act(g, x, "compress", inner, 1, groups=first, names=("conv", "bn", "relu"))
    if groups > 1:
        y = g.channel_shuffle(y, groups, "shuffle")
    y = conv_norm_act(g, y, "depthwise", inner, 3, stride, groups=inner, act=None, names=("conv", "bn", "relu"))
    y = conv_norm_act(g, y, "expand", wanted, 1, groups=groups, act=None, names=("conv", "bn", "relu"))
    if downsample:
        return g.relu(g.concat((g.avg_pool(x, 3, 2, 1, name="avgpool"), y), "concat"), "relu")
    return g.relu(g.add(x, y, "add"), "relu")


for groups, (width, params, bn_buffers, macs) in TABLE.items():
    register(
        Architecture(
            f"shufflenet_v1_g{groups}",
            partial(build, groups, width),
            params,
            macs,
            bn_buffers,
            paper="https://arxiv.org/abs/1707.01083",
        )
    )
