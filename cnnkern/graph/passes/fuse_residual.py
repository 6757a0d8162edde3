"""A residual sum is one more term of the convolution that ends the branch."""

from __future__ import annotations

from dataclasses import replace

from ...ops import AddSpec, Conv2dSpec
from ..ir import Graph, Node
from .rewrite import Reads, prune


def fuse_residual(graph: Graph, weights: dict) -> tuple[Graph, dict]:
    """Turn add(conv2d(x), other), activated or not, into conv2d(x, residual=other) with the add's activation.

    The convolution must have no activation and no residual of its own and feed the add alone; both terms have the shape
    of the sum. It keeps its name, yields the add's value and runs where the add ran, so `other` is there whatever
    computes it. Of two convolutions the later one takes the other's output: it would run right there anyway.
    """
    reads = Reads(graph)
    position = {node.name: i for i, node in enumerate(graph.nodes)}
    taken: dict[str, Node] = {}  # add -> the convolution in its place
    moved = set()
    for node in graph.nodes:
        if not isinstance(node.spec, AddSpec):
            continue
        candidates = [(position[conv.name], i, conv) for i, conv in _convolutions(node, reads)]
        if candidates:
            _, i, conv = max(candidates, key=lambda c: c[:2])
            taken[node.name] = _join(conv, node, other=node.inputs[1 - i])
            moved.add(conv.name)
    result = graph.copy()
    result.nodes = [taken.get(node.name, node) for node in graph.nodes if node.name not in moved]
    return prune(result, weights)


def _convolutions(add: Node, reads: Reads) -> list[tuple[int, Node]]:
    """The terms of `add` that are convolutions able to take the other term, by position."""
    shape, found = reads.graph.shape(add.outputs[0]), []
    if any(name not in reads.graph.values or reads.graph.shape(name) != shape for name in add.inputs):
        return found
    for i, name in enumerate(add.inputs):
        conv = reads.producer.get(name)
        if conv is None or not isinstance(conv.spec, Conv2dSpec) or conv.spec.activation is not None:
            continue
        if not any(conv.inputs[3:4]) and reads.feeds_only(name, add):
            found.append((i, conv))
    return found


def _join(conv: Node, add: Node, other: str) -> Node:
    spec = replace(conv.spec, activation=add.spec.activation, activation_param=add.spec.activation_param)
    x, weight, bias = (*conv.inputs, "")[:3]
    return conv.with_(spec=spec, inputs=(x, weight, bias, other, *conv.inputs[4:]), outputs=add.outputs)
