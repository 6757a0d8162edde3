"""DenseNet: each layer reads the concatenation of all layers before it in its block.

Paper: Huang et al., "Densely Connected Convolutional Networks", https://arxiv.org/abs/1608.06993; torchvision's names.
The networks for CIFAR have three blocks, and a stem of one 3x3 convolution; only the BC form has bottlenecks and
transitions that halve the width.
"""

from __future__ import annotations

import re
from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

# name: (growth rate, layers per block, stem channels, parameters, running statistics, MACs)
TABLE = {
    "densenet121": (32, (6, 12, 24, 16), 64, 7_978_856, 83_648, 2_834_161_664),
    "densenet161": (48, (6, 12, 36, 24), 96, 28_681_000, 219_936, 7_727_907_072),
    "densenet169": (32, (6, 12, 32, 32), 64, 14_149_480, 158_400, 3_359_843_328),
    "densenet201": (32, (6, 12, 48, 32), 64, 20_013_928, 229_056, 4_291_365_888),
    "densenet264": (32, (6, 12, 64, 48), 64, 33_337_704, 398_528, 5_751_653_376),
}
# name: (bottlenecks and compression, depth, growth rate, parameters, running statistics, MACs)
CIFAR = {
    "densenet_40_12_cifar10": (False, 40, 12, 1_019_722, 18_096, 264_812_928),
    "densenet_100_12_cifar10": (False, 100, 12, 6_979_642, 117_216, 1_769_516_448),
    "densenet_bc_100_12_cifar10": (True, 100, 12, 769_162, 23_988, 287_929_692),
    "densenet_bc_190_40_cifar10": (True, 190, 40, 25_624_430, 256_960, 9_301_945_740),
    "densenet_bc_250_24_cifar10": (True, 250, 24, 15_324_406, 257_976, 5_418_785_724),
}
OLD_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def build(net: tuple, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    growth, blocks, stem = net
    with g.scope("features"):
        x = g.conv(x, "conv0", stem, 7, stride=2, padding=3, bias=False)
        x = g.relu(g.batch_norm(x, "norm0"), "relu0")
        x = g.max_pool(x, 3, 2, 1, name="pool0")
        x = dense_blocks(g, x, growth, blocks, bottleneck=True)
    return head(g, x, num_classes, include_top)


def build_cifar(net: tuple, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    compact, depth, growth = net
    layers = (depth - 4) // 3 // (2 if compact else 1)
    with g.scope("features"):
        x = g.conv(x, "conv0", 2 * growth if compact else 16, 3, padding=1, bias=False)
        x = dense_blocks(g, x, growth, (layers,) * 3, bottleneck=compact)
    return head(g, x, num_classes, include_top)


def dense_blocks(g: GraphBuilder, x: str, growth: int, blocks: tuple[int, ...], bottleneck: bool) -> str:
    for block, layers in enumerate(blocks, 1):
        with g.scope(f"denseblock{block}"):
            for layer in range(1, layers + 1):
                # grown pairwise rather than from the whole list, so that one buffer can hold the whole chain
                x = g.concat((x, dense_layer(g, x, f"denselayer{layer}", growth, bottleneck)), f"concat{layer}")
        if block < len(blocks):
            x = transition(g, x, f"transition{block}", g.channels(x) // (2 if bottleneck else 1))
    return g.batch_norm(x, "norm5")


def head(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = g.relu(x)
    if not include_top:
        return x
    x = g.flatten(g.global_avg_pool(x, "avgpool"), name="flatten")
    return g.linear(x, "classifier", num_classes)


def dense_layer(g: GraphBuilder, x: str, name: str, growth: int, bottleneck: bool) -> str:
    with g.scope(name):
        x = g.relu(g.batch_norm(x, "norm1"), "relu1")
        if not bottleneck:
            return g.conv(x, "conv1", growth, 3, padding=1, bias=False)
        x = g.conv(x, "conv1", 4 * growth, 1, bias=False)
        x = g.relu(g.batch_norm(x, "norm2"), "relu2")
        return g.conv(x, "conv2", growth, 3, padding=1, bias=False)


def transition(g: GraphBuilder, x: str, name: str, channels: int) -> str:
    with g.scope(name):
        x = g.relu(g.batch_norm(x, "norm"), "relu")
        return g.avg_pool(g.conv(x, "conv", channels, 1, bias=False), 2, name="pool")


def rename(key: str) -> str:
    """Published torchvision checkpoints still write "norm.1" for "norm1"."""
    return OLD_KEY.sub(r"\1\2.", key)


# --- as keras.applications has them

KERAS_EPS = 1.001e-5
KERAS = ("densenet121", "densenet169", "densenet201")


def build_keras(net: tuple, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    """Keras's names and epsilon, and a softmax at the end."""
    growth, blocks, stem = net
    x = g.conv(x, "conv1_conv", stem, 7, stride=2, padding=3, bias=False)
    x = norm_relu(g, x, "conv1_bn", "conv1_relu")
    x = g.max_pool(x, 3, 2, 1, name="pool1")
    for stage, layers in enumerate(blocks, 2):
        for layer in range(1, layers + 1):
            with g.scope(f"conv{stage}_block{layer}", "_"):
                y = g.conv(norm_relu(g, x, "0_bn", "0_relu"), "1_conv", 4 * growth, 1, bias=False)
                y = g.conv(norm_relu(g, y, "1_bn", "1_relu"), "2_conv", growth, 3, padding=1, bias=False)
                x = g.concat((x, y), "concat")
        if stage - 1 < len(blocks):
            with g.scope(f"pool{stage}", "_"):
                x = g.conv(norm_relu(g, x, "bn", "relu"), "conv", g.channels(x) // 2, 1, bias=False)
                x = g.avg_pool(x, 2, name="pool")
    x = norm_relu(g, x, "bn", "relu")
    if not include_top:
        return x
    x = g.flatten(g.global_avg_pool(x, "avg_pool"), name="flatten")
    return g.softmax(g.linear(x, "predictions", num_classes), "softmax")


def norm_relu(g: GraphBuilder, x: str, norm: str, relu: str) -> str:
    return g.relu(g.batch_norm(x, norm, KERAS_EPS), relu)


for name, (growth, blocks, stem, params, bn_buffers, macs) in TABLE.items():
    register(
        Architecture(
            name,
            partial(build, (growth, blocks, stem)),
            params,
            macs,
            bn_buffers,
            paper="https://arxiv.org/abs/1608.06993",
            reference=f"tv:{name}" if name != "densenet264" else "tv:DenseNet(32, (6, 12, 64, 48), 64)",
            rename=rename,
        )
    )
for name in KERAS:
    growth, blocks, stem, params, bn_buffers, macs = TABLE[name]
    network, theirs = partial(build_keras, (growth, blocks, stem)), f"keras:DenseNet{name[8:]}"
    paper = "https://arxiv.org/abs/1608.06993"
    register(Architecture(f"keras_{name}", network, params, macs, bn_buffers, paper=paper, reference=theirs))
for name, (compact, depth, growth, params, bn_buffers, macs) in CIFAR.items():
    register(
        Architecture(
            name,
            partial(build_cifar, (compact, depth, growth)),
            params,
            macs,
            bn_buffers,
            input_shape=(3, 32, 32),
            num_classes=10,
            paper="https://arxiv.org/abs/1608.06993",
        )
    )
