"""What each node becomes: launches, the kernel's name, the decision and why.

A lowering returns None for a node it has no form for; the backend then puts a reference step in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ... import ops
from ...graph.ir import Node
from ...ops.base import product
from . import conv, eltwise, im2col, moves, norm, pool, softmax
from .lowering import Lowered, Lowering

LOWERINGS: dict[type[ops.Spec], Callable[..., Lowered | None]] = {
    ops.ReorderSpec: moves.reorder,
    ops.ConcatSpec: moves.concat,
    ops.SliceSpec: moves.slice_,
    ops.TransposeSpec: moves.transpose,
    ops.ReshapeSpec: moves.reshape,
    ops.FlattenSpec: moves.reshape,
    ops.ChannelShuffleSpec: moves.channel_shuffle,
    ops.PadSpec: moves.pad,
    ops.ActivationSpec: eltwise.activation,
    ops.AddSpec: eltwise.binary,
    ops.MulSpec: eltwise.binary,
    **pool.LOWERINGS,
    **norm.LOWERINGS,
    **softmax.LOWERINGS,
    **im2col.LOWERINGS,
    **conv.LOWERINGS,
}


PREFIXES = {"float": "f32_", "f16": "f16_", "bf16": "bf16_", "tf32": "tf32_"}  # of kernels' names, for people


def lower(low: Lowering, node: Node, decision: Mapping[str, Any] | None = None) -> Lowered | None:
    """The launches of a node; none where it has no output to compute; None: the reference has to do it."""
    function = LOWERINGS.get(type(node.spec))
    if function is None:
        return None
    low.workspace.clear()
    if not any(product(low.graph.shape(name)) for name in node.outputs):
        return Lowered([], node.spec.op)
    lowered = function(low, node, decision) if function in conv.DECIDED else function(low, node)
    if lowered is not None and not lowered.kernel.startswith(tuple(PREFIXES.values())):
        lowered.kernel = PREFIXES[low.ctype] + lowered.kernel
    return lowered
