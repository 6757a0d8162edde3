"""The convolutional network of the Keras courses that tells cats from dogs.

Source: F. Chollet, "Deep Learning with Python" (2017), section 5.2. The layers carry the names its `model.summary()`
prints. Dense weights expect their input in Keras's order H, W, C, so the network flattens in that order.
"""

from __future__ import annotations

from ..graph.builder import GraphBuilder
from .registry import Architecture, register


def build(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    for i, channels in enumerate((32, 64, 128, 128), 1):
        x = g.relu(g.conv(x, f"conv2d_{i}", channels, 3))
        x = g.max_pool(x, 2, name=f"max_pooling2d_{i}")
    if not include_top:
        return x
    x = g.relu(g.linear(g.flatten(x, "HWC", "flatten_1"), "dense_1", 512))
    return g.activation(g.linear(x, "dense_2", num_classes), "sigmoid")


register(
    Architecture(
        "keras_cats_dogs",
        build,
        params=3_453_121,
        macs=236_095_488,
        input_shape=(3, 150, 150),
        num_classes=1,
        paper="https://www.manning.com/books/deep-learning-with-python",
        reference="keras",
    )
)
