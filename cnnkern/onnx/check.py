"""What must hold of a model's nodes before any of them is looked at closely: known operations, names that are made
once and before they are read, no control flow that hangs on values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import onnx
from onnx import checker

from ..errors import ModelError
from .node import Node

GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
IR_VERSION = 10  # of the nodes that are checked alone; the file's own does not matter to them


def checked_nodes(
    graph: Any, opsets: dict[str, int], defined: Collection[str], outputs: Sequence[str], outer: Collection[str] = ()
) -> list[Node]:
    """The nodes in an order in which they can run, those that no output needs left out.

    Args:
        defined: names of the graph's inputs and initialisers. outer: those around it, for the branch of an If.
    Raises:
        ModelError: naming the node and what is wrong with it.
    """
    nodes = [
        Node(proto, proto.name or f"{proto.op_type}_{i}", _version(proto, opsets)) for i, proto in enumerate(graph.node)
    ]
    context = _context(opsets)
    made_by: dict[str, Node] = {}
    for node in nodes:
        for name in node.outputs:
            if name and (name in made_by or name in defined):
                other = made_by[name].where() if name in made_by else "an input or initialiser"
                raise ModelError(f"{node.where()}: its output {name!r} is already made by {other}")
            if name:
                made_by[name] = node
    known = {*defined, *outer, *made_by}
    for node in nodes:
        _check_operation(node, opsets, context, known)
        for name in node.reads:
            if name not in known:
                raise ModelError(f"{node.where()}: its input {name!r} is made by no node, input or initialiser")
    for name in outputs:
        if name not in known:
            raise ModelError(f"graph output {name!r} is made by no node, input or initialiser")
    return _needed(_in_order(nodes, made_by), outputs)


def _version(proto: Any, opsets: dict[str, int]) -> int:
    return opsets.get("" if proto.domain == "ai.onnx" else proto.domain, 0)


def _context(opsets: dict[str, int]) -> Any:
    context = checker.C.CheckerContext()
    context.ir_version, context.opset_imports = IR_VERSION, dict(opsets)
    return context


def _check_operation(node: Node, opsets: dict[str, int], context: Any, known: Collection[str]) -> None:
    """ModelError for an operation that ONNX does not have, attributes it does not take, and control flow."""
    domain = node.domain or "ai.onnx"
    if node.domain not in opsets:
        raise ModelError(f"{node.where()}: the model imports no opset of its domain {domain!r}")
    try:
        schema = onnx.defs.get_schema(node.op, node.opset, node.domain)
    except onnx.defs.SchemaError:
        raise ModelError(
            f"{node.where()}: {domain} has no operation {node.op!r} at opset {node.opset}, as far as onnx "
            f"{onnx.__version__} knows"
        ) from None
    if schema.deprecated:
        raise ModelError(f"{node.where()}: {node.op} is deprecated since opset {schema.since_version}")
    branches = [attribute for attribute in node.proto.attribute if attribute.type in GRAPHS]
    if branches and node.op != "If":
        raise ModelError(f"{node.where()}: control flow and operations with a graph of their own are not supported")
    if node.op == "If" and not node.domain:
        given = sorted((attribute.name, attribute.type) for attribute in node.proto.attribute)
        if given != [("else_branch", GRAPHS[0]), ("then_branch", GRAPHS[0])] or len(node.inputs) != 1:
            raise ModelError(f"{node.where()}: an If has one input and the graphs then_branch and else_branch")
    if branches:
        for attribute in branches:
            checked_branch(node, attribute.g, opsets, known)
        return
    try:
        checker.check_node(node.proto, context)
    except checker.ValidationError as error:
        raise ModelError(f"{node.where()}: {str(error).splitlines()[0]}") from error


def checked_branch(node: Node, graph: Any, opsets: dict[str, int], known: Collection[str]) -> list[Node]:
    """The nodes of one branch of an If, whose names may come from around it."""
    if graph.input:
        raise ModelError(f"{node.where()}: the branch of an If has no inputs, this one has {graph.input[0].name!r}")
    own = {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
    return checked_nodes(graph, opsets, own, [info.name for info in graph.output], known)


def _in_order(nodes: list[Node], made_by: dict[str, Node]) -> list[Node]:
    """The nodes so that each comes after those it reads from, else as they stand in the file."""
    waits = {id(node): {id(made_by[name]) for name in node.reads if name in made_by} for node in nodes}
    if _sorted_already(nodes, waits):
        return nodes
    readers: dict[int, list[Node]] = {id(node): [] for node in nodes}
    for node in nodes:
        for source in waits[id(node)]:
            readers[source].append(node)
    ready = [node for node in nodes if not waits[id(node)]]
    ordered: list[Node] = []
    while len(ordered) < len(ready):
        node = ready[len(ordered)]
        ordered.append(node)
        for reader in readers[id(node)]:
            waits[id(reader)].discard(id(node))
            if not waits[id(reader)]:
                ready.append(reader)
    if len(ordered) < len(nodes):
        done = {id(node) for node in ordered}
        stuck = next(node for node in nodes if id(node) not in done)
        raise ModelError(f"{stuck.where()} waits for its own output: the nodes form a cycle")
    return ordered


def _sorted_already(nodes: list[Node], waits: dict[int, set[int]]) -> bool:
    met: set[int] = set()
    for node in nodes:
        if not waits[id(node)] <= met:
            return False
        met.add(id(node))
    return True


def _needed(nodes: list[Node], outputs: Iterable[str]) -> list[Node]:
    """The nodes that an output needs."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            kept.append(node)
            wanted.update(node.reads)
    return kept[::-1]


def function_calls(proto: Any) -> int:
    """How many nodes stand there once the model's own functions are put where they are called.

    Raises: ModelError where a function calls itself.
    """
    functions = {(function.domain, function.name): function for function in proto.functions}
    sizes: dict[tuple[str, str], int] = {}
    open_: set[tuple[str, str]] = set()

    def size(nodes: Iterable[Any]) -> int:
        return sum(one(node) for node in nodes)

    def one(node: Any) -> int:
        inner = sum(size(attribute.g.node) for attribute in node.attribute if attribute.type == GRAPHS[0])
        key = (node.domain, node.op_type)
        if key not in functions:
            return 1 + inner
        if key in open_:
            raise ModelError(f"the function {node.op_type!r} of {node.domain!r} calls itself")
        if key not in sizes:
            if len(open_) > 64:
                raise ModelError("its functions call each other more than 64 deep")
            open_.add(key)
            sizes[key] = size(functions[key].node)
            open_.discard(key)
        return inner + sizes[key]

    twice = [key for key, times in Counter((f.domain, f.name) for f in proto.functions).items() if times > 1]
    if twice:
        raise ModelError(f"the function {twice[0][1]!r} of {twice[0][0]!r} is defined twice")
    for function in proto.functions:
        size(function.node)
        if (function.domain, function.name) in functions:
            open_.add((function.domain, function.name))
            size(function.node)
            open_.discard((function.domain, function.name))
    return size(proto.graph.node)
