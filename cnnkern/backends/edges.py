"""The border of a plan: which graph inputs are read as they come, which are turned into NHWC first, and how outputs
leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..graph.ir import Graph, Node
from ..ops import ConcatSpec, FlattenSpec, ReorderSpec, ReshapeSpec, SliceSpec

_LOOKERS = (ConcatSpec, FlattenSpec, ReshapeSpec, SliceSpec)  # their outputs may lie inside another buffer


def add_edges(
    graph: Graph,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    reads_nchw: Callable[[Node, Graph], bool] = lambda node, graph: False,
    converts: bool = False,
    writes_nchw: Callable[[Node], bool] = lambda node: False,
) -> Graph:
    """The graph with a reorder step where a graph input must become NHWC, and one behind each output that cannot be
    written where the caller wants it.

    Args:
        inputs, outputs: the layout ("NCHW" or "NHWC") of the caller's rank 4 arrays, by name.
        reads_nchw: whether a node takes its first input in any layout.
        writes_nchw: whether a node writes its output in any layout.
        converts: inside, values have another type than the caller's float32: every float edge is a step.
    """
    graph = graph.copy()
    for name in graph.inputs:
        planes = len(graph.shape(name)) == 4 and inputs.get(name, "NCHW") == "NCHW"
        if graph.values[name].dtype == "float32" and (planes or converts):
            _import(graph, name, reads_nchw)
    read = {name for node in graph.nodes for name in node.inputs}
    for name in graph.outputs:
        written = name not in read and name in graph.producer() and writes_nchw(graph.producer()[name])
        if not (written and not converts) and not _direct(graph, name, outputs.get(name, "NCHW"), converts):
            _export(graph, name)
    return graph


def _import(graph: Graph, name: str, reads_nchw: Callable[[Node, Graph], bool]) -> None:
    inner = _fresh(graph, f"{name}.nhwc")
    nodes, used = [], False
    for node in graph.nodes:
        if not (reads_nchw(node, graph) and name not in node.inputs[1:]):
            kept = node.spec.by_value  # numbers and no image: as the caller gave them
            turned = tuple(inner if i == name and at not in kept else i for at, i in enumerate(node.inputs))
            used = used or turned != node.inputs
            node = node.with_(inputs=turned)
        nodes.append(node)
    if used:
        graph.values[inner] = replace(graph.values[name], name=inner)
        graph.nodes = [Node(inner, ReorderSpec(), (name,), (inner,)), *nodes]


def _direct(graph: Graph, name: str, layout: str, converts: bool) -> bool:
    """Whether the step that computes an output can write it into the caller's array."""
    node = graph.producer().get(name)
    if node is None or isinstance(node.spec, _LOOKERS):
        return False
    if graph.values[name].dtype != "float32":
        return True  # indices and the like: as the caller wants them, whatever the rest is
    if converts:
        return isinstance(node.spec, ReorderSpec)
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
