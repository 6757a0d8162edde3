"""Depthwise convolution, and that of groups of 2, 4 or 8 channels: blocks of 16 channels.

Where every tap of a column lies inside the image, tiles run along the row; the columns beside take their tiles
downwards, within bands of rows, with the taps that remain. A group of G channels is G passes over the taps.
"""

from __future__ import annotations

from typing import NamedTuple

from ....ops.base import Counts
from .conv_call import Conv
from .geometry import BLOCK, ceil_div, inside, overlap, pieces
from .tiles import DEPTHWISE_TILES, GROUPED_TILES, row_act


class Sums(NamedTuple):
    """Sums over the tiles of one block of channels of one image."""

    tiles: int  # a bias is read by each
    pixels: int
    weights: int  # vectors of 16 weights
    inputs: int  # pixels read
    products: int  # taps times pixels

    def __add__(self, other):
        return Sums(*(a + b for a, b in zip(self, other)))


def whole(outputs: int, size: int, taps: int, stride: int, dilation: int, pad: int) -> tuple[int, int]:
    """(first, end) of the outputs of an axis whose taps all lie inside the image."""
    first = max(0, ceil_div(pad, stride))
    last = (size - 1 - (taps - 1) * dilation + pad) // stride
    return min(first, outputs), min(max(first, last + 1), outputs)


def along(conv: Conv, longest: int, first: int, end: int) -> Sums:
    """Tiles of the columns from `first` to `end`, all taps of which are multiplied, a row at a time."""
    cut = pieces(end - first, longest)
    live, row = inside(*conv.rows), end - first
    count = sum(n for _, n in cut)
    if keeps_inputs(conv):  # one row of taps sits in registers, each input is read once for all outputs it feeds
        inputs = sum(n * ((size - 1) * conv.stride_w + conv.s) for size, n in cut)
    else:
        inputs = row * conv.s
    return Sums(conv.p * count, conv.p * row, live * conv.s * count, live * inputs, live * conv.s * row)


def keeps_inputs(conv: Conv) -> bool:
    """3x3 and 5x5 at stride 1 and 2 have a form of their own; among groups, filters 3 wide."""
    if conv.algo == "grouped":
        return conv.s == 3 and conv.stride_w in (1, 2) and conv.dil_w == 1
    square = conv.r == conv.s and conv.stride_h == conv.stride_w and conv.dil_h == conv.dil_w == 1
    return square and conv.s in (3, 5) and conv.stride_w in (1, 2) and conv.k == conv.c


def beside(conv: Conv, longest: int) -> Sums:
    """Tiles of the outer columns: runs of rows with all their taps, in bands, and the other rows one by one."""
    first, end = whole(*conv.columns)
    columns = conv.q - (end - first)
    taps = inside(*conv.columns) - (conv.q - columns) * conv.s  # of all outer columns together
    top, bottom = whole(*conv.rows)
    inner = bottom - top
    runs = sum(
        n
        for start in range(0, conv.p, conv.band_rows)
        for _, n in pieces(overlap(max(start, top), min(start + conv.band_rows, bottom), conv.p), longest)
    )
    live = inside(*conv.rows)
    weights = taps * (live - inner * conv.r + runs * conv.r)
    return Sums(columns * (conv.p - inner + runs), columns * conv.p, weights, taps * live, taps * live)


def widening(conv: Conv) -> Counts:
    """With several outputs per input channel, each channel is first repeated for them."""
    moved = 4 * conv.n * conv.h * conv.w * conv.k if conv.k > conv.c else 0
    return Counts(bytes_read=moved, bytes_written=moved)


def executed(conv: Conv, isa: str, width: int) -> Counts:
    return widening(conv) + tiles(conv, isa, width)


def tiles(conv: Conv, isa: str, width: int) -> Counts:
    longest = (GROUPED_TILES if conv.algo == "grouped" else DEPTHWISE_TILES)[isa]
    return _of(conv, along(conv, longest, *whole(*conv.columns)) + beside(conv, longest), width)


def whole_rows(conv: Conv, isa: str, width: int) -> Counts:
    """The same over rows that are padded at both ends: no column is beside the others."""
    return _of(conv, along(conv, DEPTHWISE_TILES[isa], 0, conv.q), width)


def _of(conv: Conv, t: Sums, width: int) -> Counts:
    """What those tiles of every block of every image execute."""
    e, blocks = conv.epilogue, ceil_div(conv.k, BLOCK)
    lanes = blocks * BLOCK
    stored = 4 * t.pixels * conv.k
    taps = 4 * (lanes * t.weights + conv.k * t.inputs)
    read = conv.depth * taps + 4 * lanes * t.tiles * e.bias + stored * e.residual
    image = Counts(
        fma=t.products * lanes * conv.depth,
        add=t.pixels * lanes * e.residual,
        max=2 * t.pixels * lanes * e.clamp,
        bytes_read=read,
        bytes_written=stored,
    )
    for channels, count in ((BLOCK, conv.k // BLOCK), (conv.k % BLOCK, 1)):
        image += row_act(e.post, width, channels, t.pixels) * count
    return image * conv.n
