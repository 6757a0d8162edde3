"""Resampling along an axis: sums of rows where an axis beside it lies densely, else of elements picked one by one."""

from __future__ import annotations

from ....ops.base import Counts, product
from ..calls import NativeCall
from .geometry import round_up

AT_ONCE = 4  # vectors that a weight is read for


def executed(call: NativeCall, isa: str, width: int) -> Counts:
    y, axis = call.tensors["y"], call.options["axis"]
    outputs, total = y.sizes[axis], product(y.sizes)
    if not total:
        return Counts()
    if call.arrays["weight"] is None:
        return Counts(bytes_read=4 * total, bytes_written=4 * total)
    taps, length = call.arrays["index"].shape[1], row(call)
    if not length:
        picked = Counts(fma=round_up(outputs, width) * taps, bytes_read=8 * taps * outputs, bytes_written=4 * outputs)
        return picked * (total // outputs)
    whole, rest = divmod(length // width, AT_ONCE)
    weights = whole + rest + (length % width > 0)
    summed = Counts(fma=round_up(length, width), bytes_read=4 * (length + weights)) * taps
    return (summed + Counts(bytes_written=4 * length)) * (total // length)


def row(call: NativeCall) -> int:
    """Elements that lie side by side in x and y; 0 where none but those of the axis itself do."""
    x, y, own = call.tensors["x"], call.tensors["y"], call.options["axis"]
    length, others = 1, [i for i in range(len(y.sizes)) if i != own and y.sizes[i] > 1]
    while nexts := [i for i in others if x.strides[i] == y.strides[i] == length]:
        length *= y.sizes[nexts[0]]
        others.remove(nexts[0])
    return length if length > 1 else 0
