"""VGG: stacks of 3x3 convolutions between 2x2 max pools, then three dense layers.

Paper: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
https://arxiv.org/abs/1409.1556; configurations D and E of its table 1.
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register, renamed_layers

# name: (3x3 convolutions before each of the five pools, parameters, MACs)
TABLE = {
    "vgg16": ((2, 2, 3, 3, 3), 138_357_544, 15_470_264_320),
    "vgg19": ((2, 2, 4, 4, 4), 143_667_240, 19_632_062_464),
}
CHANNELS = (64, 128, 256, 512, 512)
TIMM_LAYERS = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}


def build(convs: tuple[int, ...], g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    index = 0  # torchvision numbers the layers of `features` in order, the ReLUs and pools included
    for channels, count in zip(CHANNELS, convs):
        for _ in range(count):
            x = g.relu(g.conv(x, f"features.{index}", channels, 3, padding=1), f"features.{index + 1}")
            index += 2
        x = g.max_pool(x, 2, name=f"features.{index}")
        index += 1
    if not include_top:
        return x
    x = g.flatten(g.adaptive_avg_pool(x, 7, "avgpool"), name="flatten")
    x = g.dropout(g.relu(g.linear(x, "classifier.0", 4096), "classifier.1"))
    x = g.dropout(g.relu(g.linear(x, "classifier.3", 4096), "classifier.4"))
    return g.linear(x, "classifier.6", num_classes)


for name, (convs, params, macs) in TABLE.items():
    register(
        Architecture(
            name,
            partial(build, convs),
            params,
            macs,
            paper="https://arxiv.org/abs/1409.1556",
            reference=f"tv:{name}",
            rename=renamed_layers(TIMM_LAYERS),
        )
    )
