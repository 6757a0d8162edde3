"""What dropout in training means for the weights at test time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .ir import Graph, Node

VIEWS = ("flatten", "reshape")  # the same values in another shape


def scale_weights(graph: Graph, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights that read dropped values, times the share that training kept: halved where it dropped one half.

    The rule of Hinton et al. (https://arxiv.org/abs/1207.0580, 2012) and AlexNet, for weights trained with plain
    dropout: behind one hidden layer of a softmax classifier it is the geometric mean of all the thinned networks.
    Later weights are trained with inverted dropout, which divides in training, and want no change.

    Raises:
        ValueError: the network drops nothing, or drops what is not read by a convolution or linear layer.
    """
    if not graph.dropped:
        raise ValueError(f"dropout: {graph.name} drops nothing in training")
    scaled = dict(weights)
    for value, rate in graph.dropped.items():
        for node in _readers(graph, value):
            if node.spec.op not in ("conv2d", "linear"):
                raise ValueError(f"dropout: {node.name} of {graph.name} reads dropped values and has no weights")
            weight = node.inputs[1]
            scaled[weight] = scaled[weight] * np.float32(1 - rate)
    return scaled


def _readers(graph: Graph, value: str) -> list[Node]:
    found = []
    for node in graph.consumers()[value]:
        found += _readers(graph, node.outputs[0]) if node.spec.op in VIEWS else [node]
    return found
