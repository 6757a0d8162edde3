"""Flatten in the order the activations lie in, and permute the linear layer's columns once instead."""

from __future__ import annotations

from ...ops import FlattenSpec, LinearSpec
from ..ir import Graph, Node
from .rewrite import Reads, add_param, prune


def flatten_to_hwc(graph: Graph, weights: dict) -> tuple[Graph, dict]:
    """Turn flatten(CHW) that only linear layers read into flatten(HWC), permuting their weight columns to match.

    Column c * H * W + h * W + w of the weight becomes column (h * W + w) * C + c. With H * W == 1 both orders are the
    same and nothing changes. So an NHWC backend flattens without a transpose.
    """
    reads = Reads(graph)
    result, permuted_weights = graph.copy(), dict(weights)
    replaced: dict[str, Node] = {}
    for node in graph.nodes:
        linears = _only_linears(node, reads, weights)
        for linear in linears:
            name = _permute_columns(linear.inputs[1], graph.shape(node.inputs[0]), result, permuted_weights)
            replaced[linear.name] = linear.with_(inputs=(linear.inputs[0], name, *linear.inputs[2:]))
        if linears:
            replaced[node.name] = node.with_(spec=FlattenSpec(order="HWC"))
    result.nodes = [replaced.get(node.name, node) for node in graph.nodes]
    return prune(result, permuted_weights)


def _only_linears(node: Node, reads: Reads, weights: dict) -> list[Node]:
    """The linear layers behind a flatten worth turning; none if anything else reads it too."""
    if not isinstance(node.spec, FlattenSpec) or node.spec.order != "CHW" or node.outputs[0] in reads.graph.outputs:
        return []
    shape = reads.graph.shape(node.inputs[0])
    if len(shape) != 4 or shape[2] * shape[3] == 1:
        return []
    readers = reads.consumers[node.outputs[0]]
    good = all(
        isinstance(r.spec, LinearSpec) and r.inputs.count(node.outputs[0]) == 1
        and r.inputs[0] == node.outputs[0] and r.inputs[1] in weights
        for r in readers
    )  # fmt: skip
    return readers if good else []


def _permute_columns(weight: str, shape: tuple, graph: Graph, weights: dict) -> str:
    rows = weights[weight]
    turned = rows.reshape(-1, *shape[1:]).transpose(0, 2, 3, 1).reshape(rows.shape)
    return add_param(graph, weights, f"{weight}+hwc", turned, graph.params[weight].kind)
