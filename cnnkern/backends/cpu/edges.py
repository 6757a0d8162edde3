"""The border of a plan: which graph inputs are read as they come, which are turned into NHWC first, and how outputs
leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...graph.ir import Graph, Node
from ...ops import ConcatSpec, Conv2dSpec, FlattenSpec, ReorderSpec, ReshapeSpec, SliceSpec
from .buffers import LANES

_LOOKERS = (ConcatSpec, FlattenSpec, ReshapeSpec, SliceSpec)  # their outputs may lie inside another buffer


def add_edges(graph: Graph, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Graph:
    """The graph with a reorder step where a graph input must become NHWC, and one behind each output that cannot be
    written where the caller wants it.

    Args:
        inputs, outputs: the layout ("NCHW" or "NHWC") of the caller's rank 4 arrays, by name.
    """
    graph = graph.copy()
    for name in graph.inputs:
        if len(graph.shape(name)) == 4 and inputs.get(name, "NCHW") == "NCHW":
            _import(graph, name)
    for name in graph.outputs:
        if not _direct(graph, name, outputs.get(name, "NCHW")):
            _export(graph, name)
    return graph


def reads_nchw(node: Node, graph: Graph) -> bool:
    """A stem: a dense convolution of few channels packs its input anyway, from any layout."""
    spec = node.spec
    few = isinstance(spec, Conv2dSpec) and spec.groups == 1 and graph.shape(node.inputs[0])[1] < LANES
    return few and not any(node.inputs[4:]) and spec.algo in ("auto", "direct", "im2col")


def _import(graph: Graph, name: str) -> None:
    inner = _fresh(graph, f"{name}.nhwc")
    nodes, used = [], False
    for node in graph.nodes:
        if name in node.inputs and not (reads_nchw(node, graph) and name not in node.inputs[1:]):
            node = node.with_(inputs=tuple(inner if i == name else i for i in node.inputs))
            used = True
        nodes.append(node)
    if used:
        graph.values[inner] = replace(graph.values[name], name=inner)
        graph.nodes = [Node(inner, ReorderSpec(), (name,), (inner,)), *nodes]


def _direct(graph: Graph, name: str, layout: str) -> bool:
    """Whether the step that computes an output can write it into the caller's array."""
    node = graph.producer().get(name)
    if node is None or isinstance(node.spec, _LOOKERS):
        return False
    return len(graph.shape(name)) != 4 or layout == "NHWC" or isinstance(node.spec, ReorderSpec)


def _export(graph: Graph, name: str) -> None:
    if name in graph.inputs:
        raise ValueError(f"graph: {name} is an input and an output at once")
    inner = _fresh(graph, f"{name}.nhwc")

    def renamed(names):
        return tuple(inner if n == name else n for n in names)

    graph.nodes = [n.with_(inputs=renamed(n.inputs), outputs=renamed(n.outputs)) for n in graph.nodes]
    graph.values[inner] = replace(graph.values[name], name=inner)
    graph.nodes.append(Node(_fresh(graph, f"{name}.out"), ReorderSpec(), (inner,), (name,)))


def _fresh(graph: Graph, name: str) -> str:
    taken = {*graph.values, *graph.params, *(node.name for node in graph.nodes)}
    while name in taken:
        name += "_"
    return name
