"""im2col and a matrix product, an output row at a time."""

from __future__ import annotations

from ....ops.base import Counts
from .conv_call import Conv, fetching
from .geometry import inside, pieces
from .tiles import conv_tiles, panels


def gathering(conv: Conv, width: int) -> Counts:
    """The patches: every tap of every output is written, those inside the image are read."""
    read = inside(*conv.rows) * inside(*conv.columns)
    zeros = conv.p * conv.q * conv.r * conv.s - read
    patches = fetching(conv, read, width) + Counts(bytes_written=4 * zeros * conv.c)
    return patches * conv.n


def executed(conv: Conv, isa: str, width: int) -> Counts:
    return gathering(conv, width) + tiles(conv, isa, width)


def tiles(conv: Conv, isa: str, width: int) -> Counts:
    lines = conv.n * conv.p
    total = Counts()
    for panel in panels(isa, conv.breadth, conv.ob, conv.px, conv.groups // conv.merge):
        cut = pieces(conv.q, panel.px)
        steps = lines * conv.r * conv.s * conv.depth
        total += conv_tiles(isa, width, panel, cut, lines, steps, conv.epilogue)
    return total
