"""An activation right after a layer is computed while the layer's output is still in registers."""

from __future__ import annotations

from dataclasses import fields, replace

from ...ops import ActivationSpec
from ..ir import Graph, Node
from .rewrite import Reads, prune


def fuse_activation(graph: Graph, weights: dict) -> tuple[Graph, dict]:
    """Move an activation into the node that alone feeds it, where that node's Spec has an unused `activation`.

    Serves conv2d (after its residual, as the formula says), linear, batch_norm, add, mul and whatever Spec gains the
    field. The node keeps its name and yields the activation's value.
    """
    reads = Reads(graph)
    fused: dict[str, Node] = {}
    gone = set()
    for node in graph.nodes:
        source = reads.producer.get(node.inputs[0]) if isinstance(node.spec, ActivationSpec) else None
        if source is not None and _takes_activation(source) and reads.feeds_only(node.inputs[0], node):
            spec = replace(source.spec, activation=node.spec.kind, activation_param=node.spec.param)
            fused[source.name] = source.with_(spec=spec, outputs=node.outputs)
            gone.add(node.name)
    result = graph.copy()
    result.nodes = [fused.get(node.name, node) for node in graph.nodes if node.name not in gone]
    return prune(result, weights)


def _takes_activation(node: Node) -> bool:
    names = {field.name for field in fields(node.spec)}
    return {"activation", "activation_param"} <= names and node.spec.activation is None and len(node.outputs) == 1
