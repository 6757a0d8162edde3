"""Expand, depthwise, project: the wide tensor between them need not be written out."""

from __future__ import annotations

from ...ops import Conv2dSpec, FusedBlockSpec
from ...ops.base import product
from ..ir import Graph, Node
from .rewrite import Reads, prune

# Both 1x1 convolutions' weights are read anew for every row, so they must stay in a core's L2 (1 MiB on AMD's Zen 4, 2
# on newer Intel servers) beside the rows themselves. Below so many wide pixels a row is too short to pay for that.
WEIGHT_BYTES = 512 * 1024
LEAST_WIDTH = 14


def fuse_blocks(graph: Graph, weights: dict) -> tuple[Graph, dict]:
    """Turn conv2d 1x1 -> depthwise conv2d -> conv2d 1x1 into one fused_block, where its weights fit L2.

    Without a project that can follow (a squeeze-and-excitation gate is in between) the first two are fused. Each tensor
    between must have no other reader; strides, dilation and padding of the 1x1 convolutions are trivial. The node keeps
    the last convolution's name and yields its value.
    """
    reads = Reads(graph)
    fused: dict[str, Node] = {}
    gone: set[str] = set()
    for node in graph.nodes:
        expand = reads.producer.get(node.inputs[0]) if _is_depthwise(graph, node) else None
        if expand is None or not _is_pointwise(graph, expand) or any(expand.inputs[3:]):
            continue
        if not reads.feeds_only(node.inputs[0], node) or expand.name in fused:  # it projects for the block before
            continue
        last = _project(graph, reads, node)
        block = _block(expand, node, last)
        if _pays(graph, block):
            fused[(last or node).name] = block
            gone.update({expand.name, node.name} - {block.name})
    result = graph.copy()
    result.nodes = [fused.get(node.name, node) for node in graph.nodes if node.name not in gone]
    return prune(result, weights)


def _project(graph: Graph, reads: Reads, depthwise: Node) -> Node | None:
    readers = reads.consumers.get(depthwise.outputs[0], [])
    if len(readers) != 1 or any(depthwise.inputs[3:]) or not reads.feeds_only(depthwise.outputs[0], readers[0]):
        return None
    (node,) = readers
    return node if _is_pointwise(graph, node) and node.inputs[0] == depthwise.outputs[0] else None


def _plain(node: Node) -> bool:
    if not isinstance(node.spec, Conv2dSpec) or any(node.inputs[4:]):
        return False
    return node.spec.algo == "auto" and node.spec.activation_param is None


def _is_pointwise(graph: Graph, node: Node) -> bool:
    spec = node.spec
    return (
        _plain(node)
        and graph.shape(node.inputs[1])[2:] == (1, 1)
        and (spec.stride, spec.groups, spec.padding) == ((1, 1), 1, ((0, 0), (0, 0)))
    )


def _is_depthwise(graph: Graph, node: Node) -> bool:
    spec = node.spec
    if not _plain(node) or spec.dilation != (1, 1):
        return False
    channels, (outputs, _, *kernel) = graph.shape(node.inputs[0])[1], graph.shape(node.inputs[1])
    fits = all(s <= k and max(pads) < k for s, k, pads in zip(spec.stride, kernel, spec.padding))
    return spec.groups == channels == outputs and fits


def _block(expand: Node, depthwise: Node, project: Node | None) -> Node:
    last = project or depthwise
    spec = FusedBlockSpec(
        depthwise.spec.stride,
        depthwise.spec.padding,
        expand.spec.activation,
        depthwise.spec.activation,
        project.spec.activation if project else None,
    )
    stages = [(*stage.inputs, "", "")[1:3] for stage in (expand, depthwise, project) if stage]
    flat = [name for pair in stages for name in pair]
    residual = (*last.inputs, "", "", "")[3]
    inputs = [expand.inputs[0], *flat, *[""] * (6 - len(flat)), residual]
    while not inputs[-1]:
        inputs.pop()
    return last.with_(spec=spec, inputs=tuple(inputs), outputs=last.outputs)


def _pays(graph: Graph, block: Node) -> bool:
    held = sum(4 * product(graph.shape(name)) for name in block.inputs[1:7] if name)
    return held <= WEIGHT_BYTES and graph.shape(block.inputs[0])[3] >= LEAST_WIDTH
