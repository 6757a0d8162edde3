"""How ONNX's operations become cnnkern's Specs: one function per operation, found by its name in CONVERTERS.

A converter takes the Lowerer `b` and the node `n` (cnnkern/onnx/lowering.py), emits Specs, and returns the graph's
names for `n.outputs` ("" or None for optional outputs that nobody asked for). It is asked only where every runtime
input of the node is of a floating type, and its outputs are. What it cannot express it declines
(`raise b.Decline(reason)`): the node then runs on the onnx package's reference evaluator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..lowering import Lowerer, Node

    Converter = Callable[[Lowerer, Node], Sequence[str | None]]

CONVERTERS: dict[str, list[tuple[int, Converter]]] = {}  # op type -> (first opset, function), newest first


def converter(*op_types: str, since: int = 1) -> Callable[[Converter], Converter]:
    """Register a function for these op types from the opset `since` on, until a newer one takes over.

    Example:
        >>> @converter("Relu")
        ... def relu(b, n):
        ...     return [b.emit(ActivationSpec("relu"), [b.value(n.inputs[0])])]
    """

    def register(function: Converter) -> Converter:
        for op_type in op_types:
            rows = CONVERTERS.setdefault(op_type, [])
            if any(first == since for first, _ in rows):
                raise ValueError(f"converter: {op_type} since opset {since} exists already")
            rows.append((since, function))
            rows.sort(key=lambda row: -row[0])
        return function

    return register


def find(op_type: str, opset: int) -> Converter | None:
    """The converter of an op type at an opset; None where there is none."""
    return next((function for since, function in CONVERTERS.get(op_type, ()) if since <= opset), None)


from . import activation, conv, conv_transpose, eltwise, linear, norm, pad, pool, reduce, resize, shape  # noqa: E402, F401
