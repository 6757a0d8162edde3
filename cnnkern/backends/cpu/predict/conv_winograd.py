"""Winograd convolution F(m x m, r x r): blocks of tiles are transformed, multiplied at each of (m + r - 1)^2 positions,
and transformed back."""

from __future__ import annotations

from ....ops.base import Counts
from .conv_call import Conv
from .geometry import ceil_div, overlap, pieces, shares
from .tiles import Epilogue, conv_tiles, panels, row_act

# One dimension of a transform, per lane: of the inputs of a tile's side, and from as many products to m outputs.
FORWARD = {4: Counts(add=4), 6: Counts(fma=12)}
BACK = {(4, 2): Counts(add=4), (6, 2): Counts(fma=2, add=6), (6, 4): Counts(fma=4, mul=2, add=6)}


def side(conv: Conv) -> int:
    """Inputs along one side of a tile."""
    return conv.m + conv.r - 1


def forward_one(conv: Conv) -> Counts:
    return FORWARD[side(conv)]


def back_one(conv: Conv) -> Counts:
    return BACK[side(conv), conv.m]


def grid(conv: Conv) -> tuple[int, int]:
    """Tiles of m x m outputs: (down, across) an image."""
    return ceil_div(conv.p, conv.m), ceil_div(conv.q, conv.m)


def tiles(conv: Conv) -> int:
    down, across = grid(conv)
    return conv.n * down * across


def inputs(conv: Conv) -> int:
    """Pixels of the image that its tiles read."""
    down, across = grid(conv)
    size = side(conv)
    rows = sum(overlap(i * conv.m - conv.pad_t, i * conv.m - conv.pad_t + size, conv.h) for i in range(down))
    columns = sum(overlap(i * conv.m - conv.pad_l, i * conv.m - conv.pad_l + size, conv.w) for i in range(across))
    return rows * columns


def forward(conv: Conv, width: int) -> Counts:
    """Every input tile: all columns and as many rows transformed; zeros stand for padding."""
    size = side(conv)
    lanes = ceil_div(conv.c, width) * width
    written = 4 * size * size * conv.c * tiles(conv)
    moved = Counts(bytes_read=4 * conv.n * inputs(conv) * conv.c, bytes_written=written)
    return forward_one(conv) * (2 * size * lanes * tiles(conv)) + moved


def products(conv: Conv, isa: str, width: int) -> Counts:
    """A matrix product per position and block of tiles."""
    total, count, positions = Counts(), tiles(conv), side(conv) ** 2
    for size, blocks in shares(count, ceil_div(count, conv.tile_block)):
        for panel in panels(isa, conv.k, conv.ob, conv.px):
            cut = pieces(size, panel.px)
            total += conv_tiles(isa, width, panel, cut, 1, conv.c, Epilogue()) * (blocks * positions)
    return total


def back(conv: Conv, width: int) -> Counts:
    """All columns are transformed back, and then those rows and pixels that the output has; the epilogue follows."""
    down, across = grid(conv)
    size, e = side(conv), conv.epilogue
    lanes = ceil_div(conv.k, width) * width
    transforms = tiles(conv) * size + conv.n * across * conv.p
    pixels = conv.n * conv.p * conv.q
    stored = 4 * conv.k * pixels
    read = 4 * size * size * conv.k * tiles(conv) + 4 * lanes * tiles(conv) * e.bias + stored * e.residual
    own = Counts(
        add=pixels * lanes * (e.bias + e.residual),
        max=2 * pixels * lanes * e.clamp,
        bytes_read=read,
        bytes_written=stored,
    )
    return back_one(conv) * (transforms * lanes) + own + row_act(e.post, width, conv.k, pixels)


def executed(conv: Conv, isa: str, width: int) -> Counts:
    return forward(conv, width) + products(conv, isa, width) + back(conv, width)
