"""SqueezeNet: fire modules, which squeeze to few channels and expand by 1x1 and 3x3 side by side.

Paper: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
https://arxiv.org/abs/1602.07360; version 1.1 from https://github.com/forresti/SqueezeNet. torchvision's names.
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

FIRE = {16: 64, 32: 128, 48: 192, 64: 256}  # squeeze channels -> channels of each expand convolution
# the list `features`: (channels, kernel) of the stem, then fire modules by their squeeze channels and max pools "M"
SQUEEZENET1_0 = ((96, 7), "M", 16, 16, 32, "M", 32, 48, 48, 64, "M", 64)
SQUEEZENET1_1 = ((64, 3), "M", 16, 16, "M", 32, 32, "M", 48, 48, 64, 64)
TABLE = {
    "squeezenet1_0": (SQUEEZENET1_0, 1_248_424, 818_924_576),
    "squeezenet1_1": (SQUEEZENET1_1, 1_235_496, 349_151_936),
}


def build(features: tuple, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    (channels, kernel), *rest = features
    x = g.relu(g.conv(x, "features.0", channels, kernel, stride=2), "features.1")
    for index, row in enumerate(rest, 2):
        if row == "M":
            x = g.max_pool(x, 3, 2, name=f"features.{index}", ceil_mode=True)
        else:
            x = fire(g, x, f"features.{index}", row, FIRE[row])
    if not include_top:
        return x
    x = g.dropout(x, 0.5)
    x = g.relu(g.conv(x, "classifier.1", num_classes, 1), "classifier.2")
    return g.flatten(g.global_avg_pool(x, "classifier.3"), name="flatten")


def fire(g: GraphBuilder, x: str, name: str, squeeze: int, expand: int) -> str:
    with g.scope(name):
        x = g.relu(g.conv(x, "squeeze", squeeze, 1), "squeeze_activation")
        a = g.relu(g.conv(x, "expand1x1", expand, 1), "expand1x1_activation")
        b = g.relu(g.conv(x, "expand3x3", expand, 3, padding=1), "expand3x3_activation")
        return g.concat((a, b))


for name, (features, params, macs) in TABLE.items():
    register(
        Architecture(
            name,
            partial(build, features),
            params,
            macs,
            paper="https://arxiv.org/abs/1602.07360",
            reference=f"tv:{name}",
        )
    )
