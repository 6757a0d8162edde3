"""Drop what does nothing: nodes nobody reads, and nodes whose output is their input."""

from __future__ import annotations

from ...ops import (
    ChannelShuffleSpec,
    ConcatSpec,
    DepthToSpaceSpec,
    ExpandSpec,
    PadNdSpec,
    PadSpec,
    ResampleSpec,
    ReshapeSpec,
    SliceSpec,
    SpaceToDepthSpec,
    StrideSpec,
    TileSpec,
    TransposeSpec,
)
from ..ir import Graph, Node
from .rewrite import prune


def dead_code(graph: Graph, weights: dict) -> tuple[Graph, dict]:
    """Remove no-op nodes (their readers read their input instead) and nodes whose outputs reach no graph output.

    A no-op whose output is a graph output stays: outputs keep their names.
    """
    renamed: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        node = node.with_(inputs=tuple(renamed.get(name, name) for name in node.inputs))
        if _is_no_op(graph, node) and node.outputs[0] not in graph.outputs:
            renamed[node.outputs[0]] = node.inputs[0]
        else:
            nodes.append(node)
    result = graph.copy()
    result.nodes = _reached(nodes, graph.outputs)
    return prune(result, weights)


def _is_no_op(graph: Graph, node: Node) -> bool:
    spec = node.spec
    if isinstance(spec, (ReshapeSpec, SliceSpec, ExpandSpec)):
        return graph.shape(node.inputs[0]) == graph.shape(node.outputs[0])
    if isinstance(spec, TransposeSpec):
        axes = spec.axes or tuple(reversed(range(len(graph.shape(node.inputs[0])))))
        return tuple(axes) == tuple(range(len(axes)))
    if isinstance(spec, ConcatSpec):
        return len(node.inputs) == 1
    if isinstance(spec, ChannelShuffleSpec):
        return spec.groups in (1, graph.shape(node.inputs[0])[1])
    if isinstance(spec, PadSpec):
        return not any(side for pair in spec.padding for side in pair)
    if isinstance(spec, PadNdSpec):
        return not any(side for pair in spec.pads for side in pair)
    if isinstance(spec, TileSpec):
        return all(times == 1 for times in spec.repeats)
    if isinstance(spec, (DepthToSpaceSpec, SpaceToDepthSpec)):
        return spec.block == 1
    if isinstance(spec, StrideSpec):
        return spec.step == 1 and graph.shape(node.inputs[0]) == graph.shape(node.outputs[0])
    if isinstance(spec, ResampleSpec):
        itself = tuple((i,) for i in range(graph.shape(node.inputs[0])[spec.axis]))
        return spec.weight is None and spec.index == itself
    return False


def _reached(nodes: list[Node], outputs: list[str]) -> list[Node]:
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    return kept[::-1]
