"""Reductions, softmax and its kin, running sums."""

from __future__ import annotations

import numpy as np

from ...ops import AddSpec, BinarySpec, FlattenSpec, MulSpec, PadNdSpec, ReduceSpec, SoftmaxSpec, UnarySpec
from ...ops.base import product
from . import converter
from .activation import LARGEST
from .common import axes_in, axis_in, dims, ints, reshaped, scaled, taken
from .pool import whole_maps

KINDS = {
    "ReduceSum": "sum",
    "ReduceMean": "mean",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceL1": "l1",
    "ReduceL2": "l2",
    "ReduceSumSquare": "sum_square",
    "ReduceLogSum": "log_sum",
    "ReduceLogSumExp": "log_sum_exp",
}


@converter(*KINDS)
def reduction(b, n):
    """No axes are all of them, unless noop_with_empty_axes says that they are none: what is done to each element then
    stays (ReduceSumSquare squares)."""
    x, kind, keep = b.value(n.inputs[0]), KINDS[n.op], bool(n.attr("keepdims", 1))
    shape = dims(b, x)
    axes = ints(b, n, 1, "axes")
    if not axes:
        axes = [] if n.attr("noop_with_empty_axes", 0) else list(range(len(shape)))
    axes = axes_in(axes, len(shape))
    if kind in ("mean", "max") and sorted(axes) == [2, 3] and len(shape) == 4 and product(shape[1:]):
        y = whole_maps(b, x, kind, "" if keep else "pool")
        return [y if keep else b.emit(FlattenSpec(), [y])]
    if not axes and kind in ("sum", "mean", "max", "min", "prod"):
        return [x]
    return [b.emit(ReduceSpec(kind, tuple(sorted(axes)), keep), [x])]


# --- Softmax, LogSoftmax, Hardmax


def rowwise(b, n, x: str, function) -> str:
    """A function of (array, axis) along `axis`; before opset 13 along all dimensions from it on, as one."""
    shape = dims(b, x)
    old = n.opset < 13
    axis = n.attr("axis", 1 if old else -1)
    if old and axis == len(shape):
        raise b.Decline("rows of no dimension")
    axis = axis_in(axis, len(shape), scalar_too=True)
    if not shape:
        return reshaped(b, function(reshaped(b, x, (1,), "row"), 0), ())
    if not product(shape):
        raise b.Decline(f"an empty array {shape}")
    if not old or product(shape[axis:]) == shape[axis]:
        return function(x, axis)
    flat = reshaped(b, x, (product(shape[:axis]), product(shape[axis:])), "rows")
    return reshaped(b, function(flat, 1), shape)


@converter("Softmax", "LogSoftmax")
def softmax(b, n):
    def along(x, axis):
        return b.emit(SoftmaxSpec(axis, log=n.op == "LogSoftmax"), [x], "softmax")

    return [rowwise(b, n, b.value(n.inputs[0]), along)]


@converter("Hardmax")
def hardmax(b, n):
    """1 at the first maximum of each row: of what equals it, the one with the largest number, counted down from L."""

    def equals_largest(x, axis, hint):
        largest = b.emit(ReduceSpec("max", (axis,)), [x], f"{hint}_max")
        below = b.emit(BinarySpec("sub"), [x, largest], f"{hint}_below")
        return b.emit(UnarySpec("affine", 1.0, 1.0), [b.emit(UnarySpec("sign"), [below], f"{hint}_sign")], hint)

    def along(x, axis):
        shape = dims(b, x)
        if shape[axis] > 2**24:
            raise b.Decline(f"rows of {shape[axis]}")  # float32 cannot count them
        finite = b.emit(UnarySpec("clip", -LARGEST, LARGEST), [x], "finite")
        numbers = np.arange(shape[axis], 0, -1, dtype=np.float32)
        column = b.param(numbers.reshape(-1, *(1,) * (len(shape) - 1 - axis)), "numbers")
        ranked = b.emit(MulSpec(), [equals_largest(finite, axis, "largest"), column], "ranked")
        return equals_largest(ranked, axis, "first")

    return [rowwise(b, n, b.value(n.inputs[0]), along)]


# --- running sums and products


@converter("CumSum", "CumProd")
def cumulative(b, n):
    """Partial results of 1, 2, 4, ... elements: each adds the one so many places before it."""
    x = b.value(n.inputs[0])
    shape = dims(b, x)
    given = ints(b, n, 1)
    if given is None or len(given) != 1:
        raise ValueError(f"axis must be one number, got {given}")
    axis, neutral = axis_in(given[0], len(shape)), 0.0 if n.op == "CumSum" else 1.0
    size, spec = shape[axis], AddSpec() if n.op == "CumSum" else MulSpec()
    if not product(shape):
        return [x]

    def shifted(x: str, places: int, hint: str) -> str:
        pads = tuple((places, 0) if i == axis else (0, 0) for i in range(len(shape)))
        return b.emit(PadNdSpec(pads, value=neutral), [taken(b, x, axis, 0, 1, size - places, f"{hint}_kept")], hint)

    def turned(x: str, hint: str) -> str:
        return taken(b, x, axis, size - 1, -1, size, hint) if n.attr("reverse", 0) else x

    y = turned(x, "turned")
    if n.attr("exclusive", 0):
        if size == 1:
            return [scaled(b, x, 0.0, neutral)]
        y = shifted(y, 1, "exclusive")
    places = 1
    while places < size:
        y = b.emit(spec, [y, shifted(y, places, f"shift{places}")], f"step{places}")
        places *= 2
    return [turned(y, "back")]
