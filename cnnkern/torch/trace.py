"""A PyTorch function as a graph of ATen operations for one set of shapes, and what in it is known beforehand."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx


class Untraceable(Exception):
    """The whole graph stays in PyTorch; the text says why."""


@dataclass
class Trace:
    """Functional ATen operations, in order.

    Attributes:
        inputs: placeholder -> the position of its argument.
        weights: node -> its tensor, for arguments and attributes that hold still from call to call.
        constants: node -> tensor (or several), for these and everything that follows from them alone.
        labels: node -> the name of a weight in its module.
        nodes: the operations that are left to be done at each call.
        outputs: nodes and plain values, in order.
    """

    module: fx.GraphModule
    inputs: dict[fx.Node, int] = field(default_factory=dict)
    weights: dict[fx.Node, torch.Tensor] = field(default_factory=dict)
    constants: dict[fx.Node, Any] = field(default_factory=dict)
    labels: dict[fx.Node, str] = field(default_factory=dict)
    nodes: list[fx.Node] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)


def trace(function: Callable, arguments: Sequence[Any], frozen: Sequence[bool], names: Sequence[str]) -> Trace:
    """Follow `function` with fake tensors of the arguments' shapes.

    Args:
        frozen: which arguments are weights.
        names: of the arguments; a weight's is its name in the module.
    Raises:
        Untraceable: it changes its arguments, draws random numbers, or cannot be followed.
    """
    try:
        with _compiling(), torch.inference_mode(False), torch.no_grad():  # inference mode writes more of it out
            flat = torch.func.functionalize(function, remove="mutations")
            module = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)
    except Exception as error:  # whatever PyTorch finds: it then runs the function itself
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Untraceable(f"PyTorch could not trace it ({type(error).__name__}: {first})") from error
    for node in module.graph.nodes:
        _refuse(node)
    module.graph.eliminate_dead_code()
    found = Trace(module)
    with torch.no_grad():
        for node in module.graph.nodes:
            _sort(found, node, arguments, frozen, names)
    return found


@contextmanager
def _compiling() -> Iterator[None]:
    """While FX traces, TorchDynamo refuses calls from all threads, unless what traces says that it compiles."""
    before = getattr(torch.compiler, "_is_compiling_flag", False)
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before


def _refuse(node: fx.Node) -> None:
    """What may not be cut into pieces."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return
    op = node.target._schema.name
    batch_norm = "batch_norm" in op and True in node.args[5:6]
    if batch_norm and node.args[3] is not None and len(node.args) == 8:
        raise Untraceable("batch norm is in training mode: call .eval()")
    if torch.Tag.nondeterministic_seeded in node.target.tags and not _sure(op, node):
        dropout = "dropout is in training mode: call .eval()"
        raise Untraceable(dropout if "dropout" in op or "bernoulli" in op else f"{op} draws random numbers")
    if op == "aten::as_strided_" and node.args[0].op == "call_function":
        return  # PyTorch corrects the strides of what it has just computed
    if node.target._schema.is_mutable and op != "aten::native_batch_norm":
        raise Untraceable(f"it changes a tensor that its caller keeps ({node.target})")


def _sure(op: str, node: fx.Node) -> bool:
    """Whether an operation that may draw random numbers draws none here."""
    if op == "aten::native_dropout":
        return not node.args[2]
    return op.startswith("aten::_scaled_dot_product") and not any(node.args[3:4])


def _sort(found: Trace, node: fx.Node, arguments, frozen, names) -> None:
    if node.op == "placeholder":
        position = len(found.inputs)
        found.inputs[node] = position
        if frozen[position]:
            found.constants[node] = arguments[position]
            found.labels[node] = names[position]
            if node.users:  # a count of batches, which only training reads, may change
                found.weights[node] = arguments[position]
        elif not isinstance(arguments[position], torch.Tensor):
            found.constants[node] = arguments[position]
    elif node.op == "get_attr":
        found.weights[node] = found.constants[node] = operator.attrgetter(node.target)(found.module)
        found.labels[node] = node.target
    elif node.op == "output":
        found.outputs = list(node.args[0]) if isinstance(node.args[0], (tuple, list)) else [node.args[0]]
    elif all(arg in found.constants for arg in node.all_input_nodes):
        known = fx.map_arg((node.args, node.kwargs), found.constants.__getitem__)
        found.constants[node] = node.target(*known[0], **known[1])
    else:
        found.nodes.append(node)
