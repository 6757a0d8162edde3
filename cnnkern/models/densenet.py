"""DenseNet-BC: each layer reads the concatenation of all layers before it in its block.

Paper: Huang et al., "Densely Connected Convolutional Networks", https://arxiv.org/abs/1608.06993; torchvision's names.
"""

from __future__ import annotations

import re
from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

# name: (growth rate, layers per block, stem channels, parameters, running statistics, MACs)
TABLE = {
    "densenet121": (32, (6, 12, 24, 16), 64, 7_978_856, 83_648, 2_834_161_664),
}
OLD_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def build(net: tuple, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    growth, blocks, stem = net
    with g.scope("features"):
        x = g.conv(x, "conv0", stem, 7, stride=2, padding=3, bias=False)
        x = g.relu(g.batch_norm(x, "norm0"), "relu0")
        x = g.max_pool(x, 3, 2, 1, name="pool0")
        for block, layers in enumerate(blocks, 1):
            with g.scope(f"denseblock{block}"):
                for layer in range(1, layers + 1):
                    # grown pairwise rather than from the whole list, so that one buffer can hold the whole chain
                    x = g.concat((x, dense_layer(g, x, f"denselayer{layer}", growth)), f"concat{layer}")
            if block < len(blocks):
                x = transition(g, x, f"transition{block}")
        x = g.batch_norm(x, "norm5")
    x = g.relu(x)
    if not include_top:
        return x
    x = g.flatten(g.global_avg_pool(x, "avgpool"), name="flatten")
    return g.linear(x, "classifier", num_classes)


def dense_layer(g: GraphBuilder, x: str, name: str, growth: int) -> str:
    with g.scope(name):
        x = g.relu(g.batch_norm(x, "norm1"), "relu1")
        x = g.conv(x, "conv1", 4 * growth, 1, bias=False)
        x = g.relu(g.batch_norm(x, "norm2"), "relu2")
        return g.conv(x, "conv2", growth, 3, padding=1, bias=False)


def transition(g: GraphBuilder, x: str, name: str) -> str:
    with g.scope(name):
        half = g.channels(x) // 2
        x = g.relu(g.batch_norm(x, "norm"), "relu")
        return g.avg_pool(g.conv(x, "conv", half, 1, bias=False), 2, name="pool")


def rename(key: str) -> str:
    """Published torchvision checkpoints still write "norm.1" for "norm1"."""
    return OLD_KEY.sub(r"\1\2.", key)


for name, (growth, blocks, stem, params, bn_buffers, macs) in TABLE.items():
    register(
        Architecture(
            name,
            partial(build, (growth, blocks, stem)),
            params,
            macs,
            bn_buffers,
            paper="https://arxiv.org/abs/1608.06993",
            reference=f"tv:{name}",
            rename=rename,
        )
    )
