"""1x1 convolution, linear layers and every other matrix product: tiles over lines of pixels, read where they lie, or
where a prologue packed them, each once."""

from __future__ import annotations

from ....ops.base import Counts
from .conv_call import Conv, fetching
from .geometry import pieces
from .tiles import conv_tiles, panels


def lines(conv: Conv) -> tuple[int, int]:
    """(how many, their length): the whole batch in one where its pixels lie at one stride or are one to an image, else
    output rows."""
    if (conv.flat and conv.stride_h == conv.stride_w == 1) or conv.p == conv.q == 1:
        return 1, conv.n * conv.p * conv.q
    return conv.n * conv.p, conv.q


def tiles(conv: Conv, isa: str, width: int) -> Counts:
    count, length = lines(conv)
    total = Counts()
    for panel in panels(isa, conv.breadth, conv.ob, conv.px, conv.groups // conv.merge):
        # Lines are cut as the widest tile would have them, then as the panel's own is.
        cut = [(size, n * times) for cell, n in pieces(length, conv.px) for size, times in pieces(cell, panel.px)]
        total += conv_tiles(isa, width, panel, cut, count, count * conv.depth, conv.epilogue)
    return total


def packing(conv: Conv, width: int) -> Counts:
    return Counts() if conv.prologue is None else fetching(conv, conv.n * conv.p * conv.q, width)


def executed(conv: Conv, isa: str, width: int) -> Counts:
    return packing(conv, width) + tiles(conv, isa, width)
