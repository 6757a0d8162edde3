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
    result.nodes = [_absorb(node, reads) for node in graph.nodes]
    needed = {name for node in result.nodes for name in node.inputs} | set(graph.outputs)
    result.nodes = [n for n in result.nodes if not _is_zero_pad(n) or n.outputs[0] in needed]
    return prune(result, weights)


def _absorb(node: Node, reads: Reads) -> Node:
    while isinstance(node.spec, Conv2dSpec) and _is_zero_pad(reads.producer.get(node.inputs[0])):
        pad = reads.producer[node.inputs[0]]
        padding = tuple((a + c, b + d) for (a, b), (c, d) in zip(node.spec.padding, pad.spec.padding))
        node = node.with_(spec=replace(node.spec, padding=padding), inputs=(pad.inputs[0], *node.inputs[1:]))
    return node


def _is_zero_pad(node: Node | None) -> bool:
    return node is not None and isinstance(node.spec, PadSpec) and node.spec.value == 0
