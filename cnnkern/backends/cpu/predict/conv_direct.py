"""Direct convolution: bands of output rows, whose input is first packed into padded rows."""

from __future__ import annotations

from collections.abc import Iterator

from ....ops.base import Counts
from .conv_call import Conv, fetching
from .geometry import ceil_div, inside, overlap, pieces
from .tiles import conv_tiles, panels


def bands(conv: Conv) -> Iterator[tuple[int, int]]:
    """(first, end) of the input rows that each band of one image needs, those in the padding included."""
    cuts = ceil_div(conv.p, conv.band_rows)
    for i in range(cuts):
        first, last = conv.p * i // cuts, conv.p * (i + 1) // cuts - 1
        yield first * conv.stride_h - conv.pad_t, last * conv.stride_h - conv.pad_t + (conv.r - 1) * conv.dil_h + 1


def packed_columns(conv: Conv) -> tuple[int, int]:
    """(all, those copied from the image) of a packed row."""
    total = (conv.q - 1) * conv.stride_w + (conv.s - 1) * conv.dil_w + 1
    return total, overlap(-conv.pad_l, total - conv.pad_l, conv.w)


def packing(conv: Conv, rows: int, width: int) -> Counts:
    """Packing that many input rows: every pixel's channels, and zeros, gaps between pixels included, beside them."""
    total, copied = packed_columns(conv)
    zeros = Counts(bytes_written=4 * (total - copied) * max(conv.c, conv.scratch_px))
    return (fetching(conv, copied, width) + zeros) * rows


def executed(conv: Conv, isa: str, width: int) -> Counts:
    rows = conv.n * sum(overlap(first, end, conv.h) for first, end in bands(conv))
    return packing(conv, rows, width) + tiles(conv, isa, width)


def tiles(conv: Conv, isa: str, width: int) -> Counts:
    """Over output rows and panels. A filter row above or below the image is skipped; the columns beside it are
    multiplied, as zeros."""
    total = Counts()
    steps = conv.n * inside(*conv.rows) * conv.s * conv.depth
    for panel in panels(isa, conv.breadth, conv.ob, conv.px, conv.groups // conv.merge):
        cut = pieces(conv.q, panel.px)
        total += conv_tiles(isa, width, panel, cut, conv.n * conv.p, steps, conv.epilogue)
    return total
