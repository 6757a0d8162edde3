"""VGG as keras.applications has it, and the network of the Keras courses that looks at cats and dogs through VGG16.

Papers: Simonyan and Zisserman, https://arxiv.org/abs/1409.1556; F. Chollet, "Deep Learning with Python" (2017), section
5.3. Keras's names of layers. Unlike torchvision's, the dense layers expect their input in the order H, W, C, nothing
brings another map to 7x7 first, and the classifier ends in a softmax.
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

# name: (convolutions of each block, parameters, MACs)
TABLE = {
    "keras_vgg16": ((2, 2, 3, 3, 3), 138_357_544, 15_470_264_320),
    "keras_vgg19": ((2, 2, 4, 4, 4), 143_667_240, 19_632_062_464),
}


def build(convs: tuple[int, ...], g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = blocks(g, x, convs)
    if not include_top:
        return x
    x = g.flatten(x, "HWC", "flatten")
    x = g.relu(g.linear(x, "fc1", 4096))
    x = g.relu(g.linear(x, "fc2", 4096))
    return g.softmax(g.linear(x, "predictions", num_classes), "softmax")


def blocks(g: GraphBuilder, x: str, convs: tuple[int, ...]) -> str:
    for block, (channels, count) in enumerate(zip((64, 128, 256, 512, 512), convs), 1):
        for i in range(1, count + 1):
            x = g.relu(g.conv(x, f"block{block}_conv{i}", channels, 3, padding=1))
        x = g.max_pool(x, 2, name=f"block{block}_pool")
    return x


def build_transfer(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = blocks(g, x, TABLE["keras_vgg16"][0])
    if not include_top:
        return x
    x = g.relu(g.linear(g.flatten(x, "HWC", "flatten_1"), "dense_1", 256))
    return g.activation(g.linear(x, "dense_2", num_classes), "sigmoid")


for name, (convs, params, macs) in TABLE.items():
    reference, network = f"keras:{name.removeprefix('keras_').upper()}", partial(build, convs)
    register(Architecture(name, network, params, macs, paper="https://arxiv.org/abs/1409.1556", reference=reference))
register(
    Architecture(
        "vgg16_transfer_150",
        build_transfer,
        params=16_812_353,
        macs=6_617_588_736,
        input_shape=(3, 150, 150),
        num_classes=1,
        paper="https://www.manning.com/books/deep-learning-with-python",
        reference="keras",
    )
)
