"""A batch norm right before a 1x1 convolution is applied while the convolution reads its input."""

from __future__ import annotations

from dataclasses import replace

from ...ops import BatchNormSpec, Conv2dSpec
from ...ops.conv import NO_PADDING, PROLOGUES
from ..ir import Graph, Node
from .fold_batch_norm import affine
from .rewrite import Reads, add_param, operands, prune


def fuse_prologue(graph: Graph, weights: dict) -> tuple[Graph, dict]:
    """Move a batch_norm, with the ReLU or ReLU6 it may have taken, into the 1x1 conv2d that alone reads it.

    For DenseNet's and pre-activation networks' norms, which follow a concat or a sum and fold into nothing before them;
    to run after the passes that fold and fuse backwards. The convolution's scale and shift are computed in float64 and
    rounded once. Larger filters are left alone: Winograd's transform reads its input where it lies, and is worth more.
    """
    reads = Reads(graph)
    result, new_weights = graph.copy(), dict(weights)
    fused: dict[str, Node] = {}
    gone = set()
    for node in graph.nodes:
        norm = reads.producer.get(node.inputs[0]) if _takes_prologue(node, graph) else None
        if norm is not None and _is_prologue(norm, weights) and reads.feeds_only(node.inputs[0], node):
            fused[node.name] = _join(norm, node, result, new_weights)
            gone.add(norm.name)
    result.nodes = [fused.get(node.name, node) for node in graph.nodes if node.name not in gone]
    return prune(result, new_weights)


def _takes_prologue(node: Node, graph: Graph) -> bool:
    spec = node.spec
    if not isinstance(spec, Conv2dSpec) or any(node.inputs[4:]):
        return False
    one_by_one = graph.shape(node.inputs[1])[2:] == (1, 1) and spec.padding == NO_PADDING and spec.groups == 1
    return one_by_one and spec.algo in ("auto", "pointwise", "direct", "im2col")


def _is_prologue(node: Node, weights: dict) -> bool:
    computed, _ = operands(node.inputs[1:], weights)
    return isinstance(node.spec, BatchNormSpec) and node.spec.activation in (None, *PROLOGUES) and not computed


def _join(norm: Node, conv: Node, graph: Graph, weights: dict) -> Node:
    dtype = weights[norm.inputs[1]].dtype
    kinds = zip(("scale", "shift"), affine(norm, weights), ("bn_weight", "bn_bias"))
    vectors = [add_param(graph, weights, f"{norm.name}.{name}", v.astype(dtype), kind) for name, v, kind in kinds]
    _, weight, bias, residual = (*conv.inputs, "", "")[:4]
    spec = replace(conv.spec, prologue=norm.spec.activation)
    return conv.with_(spec=spec, inputs=(norm.inputs[0], weight, bias, residual, *vectors))
