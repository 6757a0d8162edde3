"""Zero padding before a convolution is the convolution's own padding."""

from __future__ import annotations

from dataclasses import replace

from ...ops import Conv2dSpec, PadSpec
from ..ir import Graph, Node
from .rewrite import Reads, prune


def fold_pad(graph: Graph, weights: dict) -> tuple[Graph, dict]:
    """Add the padding of a zero `pad` to the conv2d nodes that read it; the pad goes when nobody else needs it."""
    reads = Reads(graph)
    result = graph.copy()
    result.nodes = _without_unread_pads([_absorb(node, reads) for node in graph.nodes], graph.outputs)
    return prune(result, weights)


def _absorb(node: Node, reads: Reads) -> Node:
    while _pads_zeros(node) and _is_zero_pad(reads.producer.get(node.inputs[0])):
        pad = reads.producer[node.inputs[0]]
        padding = tuple((a + c, b + d) for (a, b), (c, d) in zip(node.spec.padding, pad.spec.padding))
        node = node.with_(spec=replace(node.spec, padding=padding), inputs=(pad.inputs[0], *node.inputs[1:]))
    return node


def _without_unread_pads(nodes: list[Node], outputs: list[str]) -> list[Node]:
    needed, kept = set(outputs), []
    for node in reversed(nodes):  # backwards, so that a pad that only an unread pad reads goes too
        if node.outputs[0] in needed or not _is_zero_pad(node):
            kept.append(node)
            needed.update(node.inputs)
    return kept[::-1]


def _pads_zeros(node: Node) -> bool:
    """A prologue would scale and shift the zeros of a pad before it, but not those of the convolution."""
    return isinstance(node.spec, Conv2dSpec) and not any(node.inputs[4:])


def _is_zero_pad(node: Node | None) -> bool:
    return node is not None and isinstance(node.spec, PadSpec) and node.spec.value == 0
