"""Copies of any strides: 4 bytes read and 4 written an element, however it goes."""

from __future__ import annotations

from ....ops.base import Counts, product
from ..buffers import Nd
from ..calls import NativeCall
from .geometry import inside


def copy(call: NativeCall, isa: str, width: int) -> Counts:
    moved = 4 * product(call.tensors["y"].sizes)
    return Counts(bytes_read=moved, bytes_written=moved)


def parts(call: NativeCall, isa: str, width: int) -> Counts:
    """Copies and fills of any number of parts."""
    copied, filled = (sum(product(y.sizes) for y in written(call, kind)) for kind in ("copies", "fills"))
    return Counts(bytes_read=4 * copied, bytes_written=4 * (copied + filled))


def written(call: NativeCall, kind: str) -> list[Nd]:
    """What the "copies" or the "fills" of a call write."""
    return [part[1] if kind == "copies" else part[0] for part in call.options[kind]]


def pad(call: NativeCall, isa: str, width: int) -> Counts:
    read, written = (4 * product(call.tensors[name].sizes) for name in "xy")
    return Counts(bytes_read=read, bytes_written=written)


def im2col(call: NativeCall, isa: str, width: int) -> Counts:
    """Taps outside the image are written, as zeros, and not read."""
    x, y, o = call.tensors["x"].sizes, call.tensors["y"].sizes, call.options
    taps = 1
    for i in (0, 1):
        taps *= inside(y[1 + i], x[1 + i], o["kernel"][i], o["stride"][i], o["dilation"][i], o["pad"][2 * i])
    return Counts(bytes_read=4 * x[0] * x[3] * taps, bytes_written=4 * product(y))
