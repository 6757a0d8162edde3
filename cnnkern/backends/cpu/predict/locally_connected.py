"""Convolution with untied weights: a product per output position, whose pixels are the batch's images."""

from __future__ import annotations

from ....ops.base import Counts
from ..calls import NativeCall
from .geometry import BLOCK, ceil_div, inside, pieces
from .tiles import CONV_TILES, Epilogue, Panel, conv_tiles, panels


def cut(call: NativeCall, isa: str) -> tuple[Panel, ...]:
    """The panels of one position: of the width that keeps most sums in flight, the wider of two that keep as many."""
    n, _, _, k = call.tensors["y"].sizes
    widths = [ob for ob in CONV_TILES[isa] if ob <= ceil_div(k, BLOCK)]
    best = max(widths, key=lambda ob: (min(CONV_TILES[isa][ob], n) * ob, ob))
    return panels(isa, k, best, n)


def taps(call: NativeCall) -> int:
    """Pairs of a position and a tap inside the image."""
    x, y, o = call.tensors["x"].sizes, call.tensors["y"].sizes, call.options
    rows, columns = (inside(y[1 + i], x[1 + i], o["kernel"][i], o["stride"][i], 1, o["pad"][2 * i]) for i in (0, 1))
    return rows * columns


def executed(call: NativeCall, isa: str, width: int) -> Counts:
    n, p, q, _ = call.tensors["y"].sizes
    steps = taps(call) * call.tensors["x"].sizes[3]
    epilogue = Epilogue(bias=call.arrays["bias"] is not None, act=call.options.get("act", ""))
    total = Counts()
    for panel in cut(call, isa) if n else ():
        total += conv_tiles(isa, width, panel, pieces(n, panel.px), p * q, steps, epilogue)
    return total
