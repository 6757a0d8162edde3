"""ZFNet: AlexNet with a 7x7 first filter at stride 2, and a wider form of it.

Paper: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", https://arxiv.org/abs/1311.2901;
figure 3, and the larger maps 512, 1024, 512 of its section 5.1. The contrast normalisation behind the first two pools
is local response normalisation with AlexNet's constants.
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

# name: (channels of layers 3, 4, 5, parameters, MACs)
TABLE = {
    "zfnet": ((384, 384, 256), 62_357_608, 1_168_032_896),
    "zfnet_wide": ((512, 1024, 512), 107_627_624, 2_476_704_896),
}


def build(widths: tuple[int, ...], g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    rows = ((96, 7, 2, 1), (256, 5, 2, 0), *((channels, 3, 1, 1) for channels in widths))
    for i, row in enumerate(rows, 1):
        x = g.relu(g.conv(x, f"conv{i}", *row), f"relu{i}")
        if i in (1, 2, 5):
            x = g.max_pool(x, 3, 2, name=f"pool{i}", ceil_mode=True)
        if i < 3:
            # AlexNet's alpha multiplies the plain sum of squares: it is not divided by the window's size
            x = g.lrn(x, 5, alpha=1e-4, beta=0.75, k=2.0, alpha_is_sum=True, name=f"norm{i}")
    if not include_top:
        return x
    x = g.flatten(x)
    x = g.dropout(g.relu(g.linear(x, "fc6", 4096), "relu6"), 0.5)
    x = g.dropout(g.relu(g.linear(x, "fc7", 4096), "relu7"), 0.5)
    return g.softmax(g.linear(x, "fc8", num_classes), "prob")


for name, (widths, params, macs) in TABLE.items():
    register(Architecture(name, partial(build, widths), params, macs, paper="https://arxiv.org/abs/1311.2901"))
