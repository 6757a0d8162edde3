"""Depthwise convolution, and that of groups of 2, 4 or 8 channels: blocks of 16 channels, tiles along the rows.

Taps beside the image are left out. A group of G channels is G passes over the taps.
"""

from __future__ import annotations

from ....ops.base import Counts
from .conv_call import Conv
from .geometry import BLOCK, ceil_div, inside, overlap
from .tiles import DEPTHWISE_TILES, GROUPED_TILES, row_act


def keeps_inputs(conv: Conv) -> bool:
    """Whether a tile loads each input once for all outputs it feeds: 3x3 and 5x5 at stride 1 and 2 have a form of their
    own; among groups, filters 3 wide."""
    if conv.algo == "grouped":
        return conv.s == 3 and conv.stride_w in (1, 2) and conv.dil_w == 1
    square = conv.r == conv.s and conv.stride_h == conv.stride_w and conv.dil_h == conv.dil_w == 1
    return square and conv.s in (3, 5) and conv.stride_w in (1, 2) and conv.k == conv.c


def inputs(conv: Conv, tiles: int) -> int:
    """Inputs that the tiles of one row load for one row of taps."""
    if not keeps_inputs(conv):
        return inside(*conv.columns)
    ends = [conv.q * i // tiles for i in range(tiles + 1)]
    windows = [(first * conv.stride_w - conv.pad_l, (end - 1) * conv.stride_w - conv.pad_l + conv.s)
               for first, end in zip(ends, ends[1:])]  # fmt: skip
    return sum(overlap(first, end, conv.w) for first, end in windows)


def widening(conv: Conv) -> Counts:
    """With several outputs per input channel, each channel is first repeated for them."""
    moved = 4 * conv.n * conv.h * conv.w * conv.k if conv.k > conv.c else 0
    return Counts(bytes_read=moved, bytes_written=moved)


def executed(conv: Conv, isa: str, width: int) -> Counts:
    return widening(conv) + tiles(conv, isa, width)


def tiles(conv: Conv, isa: str, width: int) -> Counts:
    e, blocks = conv.epilogue, ceil_div(conv.k, BLOCK)
    row = ceil_div(conv.q, (GROUPED_TILES if conv.algo == "grouped" else DEPTHWISE_TILES)[isa])  # tiles of a row
    live, pixels, lanes = inside(*conv.rows), conv.p * conv.q, blocks * BLOCK
    stored = 4 * pixels * conv.k
    taps = 4 * live * (lanes * row * conv.s + conv.k * inputs(conv, row))  # weights, inputs
    image = Counts(
        fma=live * inside(*conv.columns) * lanes * conv.depth,
        add=pixels * lanes * e.residual,
        max=2 * pixels * lanes * e.clamp,
        bytes_read=conv.depth * taps + 4 * lanes * conv.p * row * e.bias + stored * e.residual,
        bytes_written=stored,
    )
    for channels, count in ((BLOCK, conv.k // BLOCK), (conv.k % BLOCK, 1)):
        image += row_act(e.post, width, channels, pixels) * count
    return image * conv.n
