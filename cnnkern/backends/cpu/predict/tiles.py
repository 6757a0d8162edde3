"""The register tiles of each instruction set, and what they execute. Kept beside kernels.def, not read from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ....ops.base import Counts
from .geometry import BLOCK, ceil_div

# Blocks of 16 channels in a tile -> its longest form, in pixels.
CONV_TILES = {
    "avx512": {1: 14, 2: 14, 3: 7, 4: 7},
    "avx2": {1: 6, 2: 2, 4: 1},
    "vec128": {1: 2, 2: 1},
}
DEPTHWISE_TILES = {"avx512": 8, "avx2": 6, "vec128": 2}  # pixels
GROUPED_TILES = {"avx512": 14, "avx2": 10, "vec128": 6}
REGISTERS = {"avx512": 32, "avx2": 16, "vec128": 16}

# What a lane of each activation's vector form executes.
ACTIVATIONS = {
    "relu": Counts(max=1),
    "relu6": Counts(max=2),
    "clip": Counts(max=2),
    "leaky_relu": Counts(mul=1, max=1),
    "hardsigmoid": Counts(mul=1, add=1, max=2),
    "hardswish": Counts(mul=2, add=1, max=2),
    "sigmoid": Counts(fma=8, mul=2, add=2, max=3, special=1),
    "silu": Counts(fma=8, mul=2, add=3, max=2, special=1),
    "tanh": Counts(fma=13, mul=5, add=3, max=3, special=1),
    "gelu": Counts(fma=17, mul=8, add=6, max=2, special=1),
}
CLAMPS = ("relu", "relu6", "clip")  # done by a tile before it stores: a max and a min, whatever the limits


class Epilogue(NamedTuple):
    """What follows a sum: a bias, a residual, an activation's name or ""."""

    bias: bool = False
    residual: bool = False
    act: str = ""

    @property
    def clamp(self) -> bool:
        return self.act in CLAMPS

    @property
    def post(self) -> str:
        """The activation that takes a pass of its own over what was stored."""
        return "" if self.clamp else self.act


class Panel(NamedTuple):
    """`count` panels of weights of `ob` blocks, `valid` of whose channels exist, met by tiles of up to `px` pixels."""

    ob: int
    valid: int
    px: int
    count: int

    @property
    def lanes(self) -> int:
        return self.ob * BLOCK


@lru_cache(maxsize=1024)
def panels(isa: str, channels: int, ob: int, px: int, groups: int = 1) -> tuple[Panel, ...]:
    """The panels of `groups` groups of `channels` output channels: as wide as `ob` and what is left of them allow."""
    table, found, left = CONV_TILES[isa], Counter(), channels
    while left > 0:
        width = max(w for w in table if w <= min(ob, ceil_div(left, BLOCK)))
        valid = min(width * BLOCK, left)
        found[width, valid] += groups
        left -= valid
    return tuple(Panel(w, valid, min(px, table[w]), count) for (w, valid), count in found.items())


def row_act(act: str, width: int, channels: int, pixels: int) -> Counts:
    """An activation over runs of `channels` floats, one per pixel, from memory to memory."""
    if not act:
        return Counts()
    moved = 4 * channels * pixels
    lanes = ceil_div(channels, width) * width * pixels
    return ACTIVATIONS[act] * lanes + Counts(bytes_read=moved, bytes_written=moved)


def scaling(width: int, pixels: int, channels: int, clamp: bool = False) -> Counts:
    """x * scale + shift, both read for every pixel, and a clamp."""
    lanes, floats = pixels * ceil_div(channels, width) * width, pixels * channels
    return Counts(fma=lanes, max=2 * lanes * clamp, bytes_read=12 * floats, bytes_written=4 * floats)


def conv_tiles(
    isa: str, width: int, panel: Panel, cut: Iterable[tuple[int, int]], lines: int, steps: int, epilogue: Epilogue
) -> Counts:
    """One panel over `lines` lines of output pixels.

    Args:
        cut: the tiles of one line, (pixels, how many).
        steps: reduction steps of a tile, summed over the lines.
    A step loads the panel's vectors, broadcasts an input per pixel and multiplies. Where sums, weights and an input do
    not fit the registers (AVX-512's 7 x 64), the last weight vector is read by each pixel instead.
    """
    vectors, lanes = panel.lanes // width, panel.lanes
    pixels = per_step = tiles = 0
    for size, count in cut:
        spilt = REGISTERS[isa] == 32 and vectors > 1 and size * vectors + vectors + 1 > 32
        loads = vectors - 1 + size if spilt else vectors
        per_step += 4 * count * (width * loads + size)
        pixels += size * count
        tiles += count
    read = steps * per_step + lines * (4 * lanes * tiles * epilogue.bias + 4 * panel.valid * pixels * epilogue.residual)
    own = Counts(
        fma=steps * pixels * lanes,
        add=lines * pixels * lanes * epilogue.residual,
        max=2 * lines * pixels * lanes * epilogue.clamp,
        bytes_read=read,
        bytes_written=4 * lines * pixels * panel.valid,
    )
    return (own + row_act(epilogue.post, width, panel.valid, lines * pixels)) * panel.count
