"""A node of an ONNX graph, as converters read it."""

from __future__ import annotations

from typing import Any

from ..errors import ModelError

GRAPH = 5  # onnx.AttributeProto.GRAPH


class Node:
    """A node as converters read it.

    Attributes:
        op, domain: its type and where that is defined ("" is ai.onnx).
        name: the node's, or its type and number where it has none ("Conv_12").
        inputs, outputs: names of values, "" where an optional one is absent.
        reads: the names of the values it needs: its inputs, and what its branches take from around it.
        opset: the version of the domain that the model imports.
        memo: what is made of the node once, for all shapes.
    """

    __slots__ = ("_attributes", "_read", "domain", "inputs", "memo", "name", "op", "opset", "outputs", "proto", "reads")

    def __init__(self, proto: Any, name: str, opset: int):
        self.proto, self.name, self.opset = proto, name, opset
        self.op, self.domain = proto.op_type, proto.domain if proto.domain != "ai.onnx" else ""
        self.inputs, self.outputs = tuple(proto.input), tuple(proto.output)
        self._attributes = {attribute.name: attribute for attribute in proto.attribute}
        self._read: dict[str, Any] = {}
        self.memo: dict[Any, Any] = {}
        graphs = [attribute.g for attribute in proto.attribute if attribute.type == GRAPH]
        inner = [name for graph in graphs for name in captured(graph)]
        self.reads = tuple(dict.fromkeys(name for name in (*self.inputs, *inner) if name))

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute as int, float, str, list or np.ndarray (a tensor); `default` where the node does not say."""
        if name not in self._attributes:
            return default
        if name not in self._read:
            self._read[name] = _python_value(self._attributes[name], self)
        return self._read[name]

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of the attributes that the node has."""
        return tuple(self._attributes)

    def where(self) -> str:
        """How messages call it."""
        return f"node {self.name!r} ({self.op})"


def _python_value(attribute: Any, node: Node) -> Any:
    import onnx

    kinds, kind = onnx.AttributeProto, attribute.type
    if kind == kinds.TENSOR:
        from .reader import tensor

        return tensor(attribute.t, f"{node.where()}, attribute {attribute.name!r}")
    try:
        value = onnx.helper.get_attribute_value(attribute)
    except ValueError as error:
        raise ModelError(f"{node.where()}: attribute {attribute.name!r}: {error}") from None
    if kind == kinds.STRING:
        return value.decode("utf-8", "replace")
    if kind == kinds.STRINGS:
        return [each.decode("utf-8", "replace") for each in value]
    return list(value) if kind in (kinds.INTS, kinds.FLOATS) else value


def captured(graph: Any) -> list[str]:
    """The names that a branch reads and does not make."""
    own = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {tensor.values.name for tensor in graph.sparse_initializer}
    own |= {name for proto in graph.node for name in proto.output}
    read = [name for proto in graph.node for name in proto.input if name] + [info.name for info in graph.output]
    for proto in graph.node:
        for attribute in proto.attribute:
            if attribute.type == GRAPH:
                read += captured(attribute.g)
    return [name for name in dict.fromkeys(read) if name not in own]
