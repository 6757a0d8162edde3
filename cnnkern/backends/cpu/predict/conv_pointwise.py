"""1x1 convolution, linear layers and every other matrix product: tiles over lines of pixels, read where they lie."""

from __future__ import annotations

from ....ops.base import Counts
from .conv_call import Conv
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
        cut = pieces(length, panel.px)
        total += conv_tiles(isa, width, panel, cut, count, count * conv.depth, conv.epilogue)
    return total


executed = tiles
