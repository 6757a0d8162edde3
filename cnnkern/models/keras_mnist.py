"""The first convolutional network of the Keras courses: three 3x3 convolutions and two dense layers for MNIST.

Source: F. Chollet, "Deep Learning with Python" (2017), section 5.1. The layers carry the names its `model.summary()`
prints. Dense weights expect their input in Keras's order H, W, C, so the network flattens in that order.
"""

from __future__ import annotations

from ..graph.builder import GraphBuilder
from .registry import Architecture, register


def build(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = g.relu(g.conv(x, "conv2d_1", 32, 3))
    x = g.max_pool(x, 2, name="max_pooling2d_1")
    x = g.relu(g.conv(x, "conv2d_2", 64, 3))
    x = g.max_pool(x, 2, name="max_pooling2d_2")
    x = g.relu(g.conv(x, "conv2d_3", 64, 3))
    if not include_top:
        return x
    x = g.relu(g.linear(g.flatten(x, "HWC", "flatten_1"), "dense_1", 64))
    return g.softmax(g.linear(x, "dense_2", num_classes))


register(
    Architecture(
        "keras_mnist_convnet",
        build,
        params=93_322,
        macs=2_794_240,
        input_shape=(1, 28, 28),
        num_classes=10,
        paper="https://www.manning.com/books/deep-learning-with-python",
        reference="keras",
    )
)
