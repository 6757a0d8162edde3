"""Network in Network: 1x1 convolutions as small dense networks at each pixel, and global average pooling as classifier.

Paper: Lin, Chen and Yan, "Network In Network", https://arxiv.org/abs/1312.4400. `nin_cifar10` is the authors' released
network (the second pool averages), `nin_imagenet` that of the Caffe model zoo; layer names are theirs.
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

# Convolutions (name, channels, kernel, stride, padding), pools (name, kind), dropout; one more scores the classes
CIFAR10 = (
    ("conv1", 192, 5, 1, 2),
    ("cccp1", 160, 1),
    ("cccp2", 96, 1),
    ("pool1", "max"),
    ("drop",),
    ("conv2", 192, 5, 1, 2),
    ("cccp3", 192, 1),
    ("cccp4", 192, 1),
    ("pool2", "avg"),
    ("drop",),
    ("conv3", 192, 3, 1, 1),
    ("cccp5", 192, 1),
)
IMAGENET = (
    ("conv1", 96, 11, 4, 0),
    ("cccp1", 96, 1),
    ("cccp2", 96, 1),
    ("pool1", "max"),
    ("conv2", 256, 5, 1, 2),
    ("cccp3", 256, 1),
    ("cccp4", 256, 1),
    ("pool2", "max"),
    ("conv3", 384, 3, 1, 1),
    ("cccp5", 384, 1),
    ("cccp6", 384, 1),
    ("pool3", "max"),
    ("drop",),
    ("conv4-1024", 1024, 3, 1, 1),
    ("cccp7-1024", 1024, 1),
)


def build(
    layers: tuple[tuple, ...], classifier: str, g: GraphBuilder, x: str, num_classes: int, include_top: bool
) -> str:
    for name, *row in layers:
        if name.startswith("pool"):
            pool = g.max_pool if row[0] == "max" else g.avg_pool
            x = pool(x, 3, 2, name=name, ceil_mode=True)
        elif name == "drop":
            x = g.dropout(x, 0.5)
        else:
            x = g.relu(g.conv(x, name, *row))
    if not include_top:
        return x
    x = g.relu(g.conv(x, classifier, num_classes, 1))
    x = g.flatten(g.global_avg_pool(x, f"pool{1 + sum(name.startswith('pool') for name, *_ in layers)}"))
    return g.softmax(x, "prob")


PAPER = "https://arxiv.org/abs/1312.4400"
register(
    Architecture(
        "nin_cifar10",
        partial(build, CIFAR10, "cccp6"),
        params=966_986,
        macs=222_486_528,
        input_shape=(3, 32, 32),
        num_classes=10,
        paper=PAPER,
    )
)
register(Architecture("nin_imagenet", partial(build, IMAGENET, "cccp8-1024"), 7_595_176, 1_100_188_800, paper=PAPER))
