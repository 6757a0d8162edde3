"""Winograd convolution F(m x m, 3 x 3): blocks of tiles are transformed, multiplied at each of (m + 2)^2 positions, and
transformed back."""

from __future__ import annotations

from ....ops.base import Counts
from .conv_call import Conv
from .geometry import ceil_div, overlap, pieces, shares
from .tiles import Epilogue, conv_tiles, panels, row_act

# One dimension of a transform, per lane: of m + 2 inputs, and back to m outputs.
FORWARD = {2: Counts(add=4), 4: Counts(fma=12)}
BACK = {2: Counts(add=4), 4: Counts(fma=4, mul=2, add=6)}


def grid(conv: Conv) -> tuple[int, int]:
    """Tiles of m x m outputs: (down, across) an image."""
    return ceil_div(conv.p, conv.m), ceil_div(conv.q, conv.m)


def tiles(conv: Conv) -> int:
    down, across = grid(conv)
    return conv.n * down * across


def inputs(conv: Conv) -> int:
    """Pixels of the image that its tiles read."""
    down, across = grid(conv)
    side = conv.m + 2
    rows = sum(overlap(i * conv.m - conv.pad_t, i * conv.m - conv.pad_t + side, conv.h) for i in range(down))
    columns = sum(overlap(i * conv.m - conv.pad_l, i * conv.m - conv.pad_l + side, conv.w) for i in range(across))
    return rows * columns


def forward(conv: Conv, width: int) -> Counts:
    """Every input tile: (m + 2) columns and as many rows transformed; zeros stand for padding."""
    side = conv.m + 2
    lanes = ceil_div(conv.c, width) * width
    written = 4 * side * side * conv.c * tiles(conv)
    moved = Counts(bytes_read=4 * conv.n * inputs(conv) * conv.c, bytes_written=written)
    return FORWARD[conv.m] * (2 * side * lanes * tiles(conv)) + moved


def products(conv: Conv, isa: str, width: int) -> Counts:
    """A matrix product per position and block of tiles."""
    total, count, side = Counts(), tiles(conv), conv.m + 2
    for size, blocks in shares(count, ceil_div(count, conv.tile_block)):
        for panel in panels(isa, conv.k, conv.ob, conv.px):
            cut = pieces(size, panel.px)
            total += conv_tiles(isa, width, panel, cut, 1, conv.c, Epilogue()) * (blocks * side * side)
    return total


def back(conv: Conv, width: int) -> Counts:
    """All columns are transformed back, and then those rows and pixels that the output has; the epilogue follows."""
    down, across = grid(conv)
    side, e = conv.m + 2, conv.epilogue
    lanes = ceil_div(conv.k, width) * width
    transforms = tiles(conv) * side + conv.n * across * conv.p
    pixels = conv.n * conv.p * conv.q
    stored = 4 * conv.k * pixels
    read = 4 * side * side * conv.k * tiles(conv) + 4 * lanes * tiles(conv) * e.bias + stored * e.residual
    own = Counts(
        add=pixels * lanes * (e.bias + e.residual),
        max=2 * pixels * lanes * e.clamp,
        bytes_read=read,
        bytes_written=stored,
    )
    return BACK[conv.m] * (transforms * lanes) + own + row_act(e.post, width, conv.k, pixels)


def executed(conv: Conv, isa: str, width: int) -> Counts:
    return forward(conv, width) + products(conv, isa, width) + back(conv, width)
