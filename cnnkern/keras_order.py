"""The order in which Keras has the layers of a network, for files that name none.

Keras sorts layers by how many layers lie between them and the output at most, the farthest first, and those that are
equally far by when a walk back from the output meets them. keras_* networks consist of Keras's layers, so that their
graphs tell the order; the tests compare it with Keras's own.
"""

from __future__ import annotations

import numpy as np

from .errors import ModelError
from .graph.ir import Graph, Node
from .keras_weights import Layer

# Inputs of a concat of ours that are a concat in Keras, and so one layer farther from the output.
INNER_CONCATS = {("keras_inception_v3", "mixed9"): (1, 2, 3, 4), ("keras_inception_v3", "mixed10"): (1, 2, 3, 4)}
KINDS = {"batch_norm": "batch_normalization", "linear": "dense", "conv2d": "conv2d"}
Slot = dict[str, str]  # a layer's leaf -> the param of the graph


def by_order(graph: Graph, layers: list[Layer]) -> dict[str, np.ndarray]:
    """The arrays of a file that names no layer by the graph's params: each type's layers in Keras's order.

    Args:
        layers: of one type in their order; the order of types does not matter.
    Raises:
        ModelError: the network is not one of Keras's, or has more or fewer layers of a type, or of other shapes.
    """
    slots = keras_slots(graph)
    tensors: dict[str, np.ndarray] = {}
    for kind in dict.fromkeys(layer.kind for layer in layers):
        stored, wanted = [layer for layer in layers if layer.kind == kind], slots.get(kind, [])
        if len({layer.within for layer in stored}) > 1:
            raise ModelError(f"{UNNAMED}, and more than one model in it has layers of the type {kind}; {ADVICE}")
        if len(stored) != len(wanted):
            raise ModelError(f"{UNNAMED}, and has {len(stored)} {kind}, {graph.name} has {len(wanted)}; {ADVICE}")
        for layer, slot in zip(stored, wanted):
            theirs = {leaf: array.shape for leaf, array in layer.weights.items()}
            ours = {leaf: graph.params[name].shape for leaf, name in slot.items() if name in graph.params}
            if theirs.keys() != slot.keys() or any(theirs[leaf] != shape for leaf, shape in ours.items()):
                raise ModelError(f"{UNNAMED}; {layer.path} has {theirs}, there {graph.name} has {ours}; {ADVICE}")
            tensors |= {slot[leaf]: array for leaf, array in layer.weights.items()}
    return tensors


UNNAMED = "it names no layer"
ADVICE = "save it as .keras or .h5, which name layers, or with Keras 3.6 or newer"


def keras_slots(graph: Graph) -> dict[str, list[Slot]]:
    """Type of layer -> its layers in Keras's order, the top included where the graph was built without."""
    from .models.registry import ARCHITECTURES

    architecture = ARCHITECTURES.get(graph.name)
    if architecture is None or not architecture.reference.startswith("keras"):
        raise ModelError(f"{UNNAMED}, and {graph.name} is none of Keras's networks; {ADVICE}")
    whole = architecture.graph(input_shape=tuple(graph.shape(graph.inputs[0])[1:]))
    producer, readers = whole.producer(), whole.consumers()
    slots: dict[str, list[Slot]] = {}
    for node in keras_order(whole):
        kind, slot = KINDS.get(node.spec.op), _slot(node)
        if kind == "conv2d":
            before, (after, *_) = producer.get(node.inputs[0]), (*readers[node.outputs[0]], None)
            if _depthwise(node):
                if after is not None and after.spec.op == "conv2d":
                    continue  # of a SeparableConv2D, which stands where its other convolution does
                kind = "depthwise_conv2d"
            elif before is not None and _depthwise(before):
                kind, parts = "separable_conv2d", {"depthwise": _slot(before), "pointwise": slot}
                slot = {f"{part}.{leaf}": name for part, inner in parts.items() for leaf, name in inner.items()}
        if kind:
            slots.setdefault(kind, []).append(slot)
    return slots


def _depthwise(node: Node) -> bool:
    return node.spec.op == "conv2d" and node.spec.groups > 1


def _slot(node: Node) -> Slot:
    return {name.rpartition(".")[2]: name for name in node.inputs[1:] if name}


def keras_order(graph: Graph) -> list[Node]:
    """The nodes in the order in which Keras would have them."""
    producer = graph.producer()
    distance = dict.fromkeys((node.name for node in graph.nodes), 0)
    for node in reversed(graph.nodes):
        inner = INNER_CONCATS.get((graph.name, node.name), ())
        for i, value in enumerate(node.inputs):
            if value in producer:
                before = producer[value].name
                distance[before] = max(distance[before], distance[node.name] + 1 + (i in inner))
    met: dict[str, int] = {}
    pending = list(reversed(graph.outputs))
    while pending:
        node = producer.get(pending.pop())
        if node is not None and node.name not in met:
            met[node.name] = len(met)
            pending += reversed([value for value in node.inputs if value in producer])
    return sorted((node for node in graph.nodes if node.name in met), key=lambda n: (-distance[n.name], met[n.name]))
