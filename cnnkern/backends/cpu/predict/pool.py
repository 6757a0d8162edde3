"""Pooling: windows clipped at the border of the image, combined channel by channel."""

from __future__ import annotations

from ....ops import RoiMaxPoolSpec
from ....ops.base import Counts
from ..buffers import Tensor
from ..calls import NativeCall
from .geometry import ceil_div, round_up

LARGE_MAP = 128  # pixels
JOINS = {"max": "max", "avg": "add", "sum": "add"}


def windows(outputs: int, size: int, taps: int, stride: int, dilation: int, pad: int) -> list[int]:
    """Per output of an axis, the taps that lie inside the image."""
    return [sum(0 <= o * stride - pad + t * dilation < size for t in range(taps)) for o in range(outputs)]


def grids(outputs: int, size: int) -> list[int]:
    """The same for `outputs` windows that tile the axis, overlapping where they must."""
    return [ceil_div((o + 1) * size, outputs) - o * size // outputs for o in range(outputs)]


def axes(call: NativeCall) -> tuple[list[int], list[int]]:
    """Taps per output row and per output column."""
    x, y, o = call.tensors["x"].sizes, call.tensors["y"].sizes, call.options
    if call.method != "add_pool":
        return grids(y[1], x[1]), grids(y[2], x[2])
    return tuple(
        windows(y[1 + i], x[1 + i], o["kernel"][i], o["stride"][i], o["dilation"][i], o["pad"][2 * i]) for i in (0, 1)
    )


def row_results(call: NativeCall) -> Counts:
    """A global pool of a large map keeps the results of its rows in between."""
    n, h, w, c = call.tensors["x"].sizes
    moved = 4 * n * h * c if call.method == "add_global_pool" and h * w >= LARGE_MAP else 0
    return Counts(bytes_read=moved, bytes_written=moved)


def executed(call: NativeCall, isa: str, width: int) -> Counts:
    return row_results(call) + pooled(call.tensors["y"], call.options.get("kind", "avg"), *axes(call), width)


def regions(call: NativeCall, isa: str, width: int) -> Counts | None:
    """A window for each cell of each region; None where it is not known where those lie."""
    rois, (_, h, w, _), (_, p, q, c) = call.arrays.get("rois"), call.tensors["x"].sizes, call.tensors["y"].sizes
    if rois is None:
        return None
    spec, total = RoiMaxPoolSpec((p, q), call.options["scale"]), Counts()
    each = call.tensors["y"]._replace(sizes=(1, p, q, c))
    for _, *corners in rois.tolist():
        rows, columns = ([end - first for first, end in axis] for axis in spec.cells(corners, (h, w)))
        total += pooled(each, "max", rows, columns, width)
    return total


def pooled(y: Tensor, kind: str, rows: list[int], columns: list[int], width: int) -> Counts:
    """A window of T taps takes T - 1 combinations, and an average a multiplication; without taps it is only filled."""
    n, p, q, c = y.sizes
    taps = n * sum(rows) * sum(columns)
    filled = n * sum(map(bool, rows)) * sum(map(bool, columns))
    lanes = round_up(c, width)
    joins = Counts(**{JOINS[kind]: (taps - filled) * lanes})
    return joins + Counts(
        mul=filled * lanes if kind == "avg" else 0, bytes_read=4 * taps * c, bytes_written=4 * n * p * q * c
    )
