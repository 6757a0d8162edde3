"""What the passes share: the questions they ask of a graph and the two edits they make to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ..ir import Graph, Node, Param


class Reads:
    """Who reads what in one graph: asked by every fusion."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.producer = graph.producer()
        self.consumers = graph.consumers()

    def feeds_only(self, value: str, node: Node) -> bool:
        """Whether `node` reads `value` once, nobody else does, and it is no graph output."""
        readers = self.consumers.get(value, [])
        return len(readers) == 1 and readers[0] is node and value not in self.graph.outputs


def operands(names: Iterable[str], weights: Mapping) -> tuple[list[str], list[str]]:
    """A node's inputs, or some of them, as (values, constants); absent ones are neither."""
    given = [name for name in names if name]
    return [name for name in given if name not in weights], [name for name in given if name in weights]


def prune(graph: Graph, weights: Mapping) -> tuple[Graph, dict]:
    """Drop values and params that no node and no graph output names; changes the graph, copies the weights."""
    used = {*graph.inputs, *graph.outputs}
    for node in graph.nodes:
        used.update(node.inputs, node.outputs)
    dropped = {name for name in graph.params if name not in used}
    graph.values = {name: value for name, value in graph.values.items() if name in used}
    graph.params = {name: param for name, param in graph.params.items() if name in used}
    return graph, {name: array for name, array in weights.items() if name not in dropped}


def add_param(graph: Graph, weights: dict, name: str, array: np.ndarray, kind: str) -> str:
    """Add a derived param, C-contiguous, to a graph and weights that belong to the pass; returns its name.

    Derived params get names of their own ("conv1.weight+bn1"): one name never means two arrays.
    """
    while name in graph.params or name in graph.values:
        name += "+"
    graph.params[name] = Param(name, tuple(array.shape), kind, str(array.dtype))
    weights[name] = np.ascontiguousarray(array)
    return name
