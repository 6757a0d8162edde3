"""The branch of an If whose condition is known: its nodes, to stand where the If stood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

from ..errors import ModelError
from . import reader
from .check import checked_branch
from .node import GRAPH, Node


def taken(
    node: Node, condition: bool, opsets: Mapping[str, int], read: Callable[[Any, str], np.ndarray]
) -> tuple[list[Node], dict[str, np.ndarray]]:
    """The nodes and initialisers of the branch that `condition` takes, under names of their own, and nodes that give
    its outputs the names of the If's."""
    graph = node.attr("then_branch" if condition else "else_branch")
    if graph is None or len(graph.output) != len(node.outputs):
        raise ModelError(f"{node.where()}: its branches must give its {len(node.outputs)} outputs")
    tensors = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
    own = {tensor.name for tensor in tensors} | {name for proto in graph.node for name in proto.output if name}
    names = {name: f"{node.outputs[0]}/{'then' if condition else 'else'}/{name}" for name in own}
    known = own | set(node.reads)
    nodes = []
    for inner in checked_branch(node, graph, dict(opsets), known):
        proto = onnx.NodeProto()
        proto.CopyFrom(inner.proto)
        _rename(proto, names)
        nodes.append(Node(proto, f"{node.name}/{inner.name}", inner.opset))
    for output, info in zip(node.outputs, graph.output):
        if output:
            proto = onnx.helper.make_node("Identity", [names.get(info.name, info.name)], [output])
            nodes.append(Node(proto, f"{node.name}/{info.name}", opsets[""]))
    where = f"{node.where()}, initialiser"
    constants = {names[tensor.name]: read(tensor, f"{where} {tensor.name!r}") for tensor in graph.initializer}
    for proto in graph.sparse_initializer:
        constants[names[proto.values.name]] = reader.dense(proto, f"{where} {proto.values.name!r}")
    return nodes, constants


def _rename(proto: Any, names: Mapping[str, str]) -> None:
    """Give a node's inputs and outputs their new names, within its own branches as well."""
    for field in (proto.input, proto.output):
        field[:] = [names.get(name, name) for name in field]
    for attribute in proto.attribute:
        if attribute.type != GRAPH:
            continue
        inner = attribute.g
        made = {name for each in inner.node for name in each.output} | {tensor.name for tensor in inner.initializer}
        outer = {old: new for old, new in names.items() if old not in made}
        for each in inner.node:
            _rename(each, outer)
        for info in inner.output:
            info.name = outer.get(info.name, info.name)


def sparse(node: Node) -> np.ndarray:
    """The sparse value of a Constant, with its zeros."""
    return reader.dense(node.attr("sparse_value"), node.where())
