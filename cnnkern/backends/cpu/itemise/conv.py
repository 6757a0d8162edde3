"""Convolutions and linear layers."""

from __future__ import annotations

from functools import lru_cache

from ....backends.base import Step
from ....ops.base import Counts
from ....ops.eltwise import ACTIVATIONS as FORMULAS
from ..predict import conv_depthwise, conv_direct, conv_im2col, conv_pointwise
from ..predict import conv_winograd as winograd
from ..predict.conv import ALGORITHMS
from ..predict.conv_call import Conv, read
from ..predict.geometry import BLOCK, ceil_div, inside, overlap, round_up
from ..predict.tiles import ACTIVATIONS as LEAVES
from ..predict.tiles import Epilogue, panels
from .items import (
    FOLDED,
    FUNCTIONS,
    HALOS,
    LANES,
    MERGED,
    OVERHANG,
    PACKING,
    PASSES,
    SAVING,
    SKIPPED,
    TRAFFIC,
    TRANSFORMS,
    UNREAD,
    Items,
)

CLAMP = Counts(max=2)
BY_BLOCK = ("depthwise", "grouped")  # 16 channels at a time, without panels, and without the taps beside the image


def items(step: Step, isa: str, width: int) -> Items:
    """Of one `add_conv` call, against Conv2dSpec's or LinearSpec's theory."""
    (call,) = step.native
    return of(read(call), isa, width)


@lru_cache(maxsize=4096)
def of(conv: Conv, isa: str, width: int) -> Items:
    found = Items()
    if conv.algo == "winograd":
        _winograd(found, conv, isa, width)
        lanes = after = round_up(conv.k, width)
    else:
        _products(found, conv, isa)
        _fetching(found, conv, isa, width)
        _prologue(found, conv, width)
        lanes, after = stored_lanes(conv, isa), post_lanes(conv, isa, width)
    epilogue(found, conv, lanes, after)
    return found


def pixels(conv: Conv) -> int:
    return conv.n * conv.p * conv.q


def stored_lanes(conv: Conv, isa: str) -> int:
    """Lanes that a pixel's output channels take."""
    if conv.algo in BY_BLOCK:
        return round_up(conv.k, BLOCK)
    return sum(p.lanes * p.count for p in _panels(conv, isa))


def post_lanes(conv: Conv, isa: str, width: int) -> int:
    """The same in an activation's own pass, which goes panel by panel."""
    if conv.algo in BY_BLOCK:
        return conv.k // BLOCK * BLOCK + round_up(conv.k % BLOCK, width)
    return sum(round_up(p.valid, width) * p.count for p in _panels(conv, isa))


def _panels(conv: Conv, isa: str):
    return panels(isa, conv.breadth, conv.ob, conv.px, conv.groups // conv.merge)


def taps(conv: Conv) -> int:
    """Pairs of an output pixel and a tap that are multiplied, of all images."""
    rows = inside(*conv.rows) if conv.algo in ("direct", *BY_BLOCK) else conv.p * conv.r
    columns = inside(*conv.columns) if conv.algo in BY_BLOCK else conv.q * conv.s
    return conv.n * rows * columns


def _products(found: Items, conv: Conv, isa: str) -> None:
    done, depth = taps(conv), conv.c // conv.groups
    found.book(SKIPPED, Counts(fma=(pixels(conv) * conv.r * conv.s - done) * conv.k * depth))
    found.book(MERGED, Counts(fma=-done * conv.k * depth * (conv.merge - 1)))
    found.book(LANES, Counts(fma=-done * conv.depth * (stored_lanes(conv, isa) - conv.k)))


def _fetching(found: Items, conv: Conv, isa: str, width: int) -> None:
    """Bytes: x, weights and bias once in theory; packed, and read by every tile, in truth."""
    if conv.algo == "direct":
        once = again = reached = 0
        for first, end in conv_direct.bands(conv):
            fetched = overlap(first, end, conv.h)
            new = overlap(max(first, reached), end, conv.h)
            once, again, reached = once + new, again + fetched - new, end
        found.book(PACKING, _moved(conv_direct.packing(conv, conv.n * once, width)))
        found.book(HALOS, _moved(conv_direct.packing(conv, conv.n * again, width)))
    elif conv.algo == "im2col":
        found.book(PACKING, _moved(conv_im2col.gathering(conv, width)))
    elif conv.algo == "pointwise":
        found.book(PACKING, _moved(conv_pointwise.packing(conv, width)))
    elif conv.algo in BY_BLOCK:
        found.book(PACKING, -1 * conv_depthwise.widening(conv))
    bare = conv._replace(epilogue=Epilogue(bias=conv.epilogue.bias))
    read = ALGORITHMS[conv.algo].tiles(bare, isa, width).bytes_read
    found.book(TRAFFIC, Counts(bytes_read=_image(conv) + _weights(conv) - read))


def _moved(counts: Counts) -> Counts:
    """The bytes, negative."""
    return Counts(bytes_read=-counts.bytes_read, bytes_written=-counts.bytes_written)


def _prologue(found: Items, conv: Conv, width: int) -> None:
    """The operations of scaling and clamping every pixel that is packed, as often as it is."""
    if conv.prologue is None:
        return
    done, run = fetched(conv), conv.depth if conv.algo == "im2col" else conv.c
    formula, leaf = Counts(fma=1), Counts(fma=1)
    if conv.prologue:
        formula, leaf = formula + FORMULAS[conv.prologue], leaf + CLAMP
    left = conv.n * conv.h * conv.w - done
    found.book(UNREAD if left > 0 else HALOS, formula * (left * conv.c))
    found.book(FUNCTIONS, (formula - leaf) * (done * conv.c))
    found.book(LANES, leaf * (-done * (round_up(run, width) - run) * (conv.c // run)))


def fetched(conv: Conv) -> int:
    """Pixels that are packed, of all images."""
    if conv.algo == "direct":
        rows = sum(overlap(first, end, conv.h) for first, end in conv_direct.bands(conv))
        return conv.n * rows * conv_direct.packed_columns(conv)[1]
    if conv.algo == "im2col":
        return conv.n * inside(*conv.rows) * inside(*conv.columns)
    return pixels(conv)


def _image(conv: Conv) -> int:
    """Bytes of x."""
    return 4 * conv.n * conv.c * conv.h * conv.w


def _weights(conv: Conv) -> int:
    """Bytes of the weights, the bias, scale and shift."""
    scaled = 0 if conv.prologue is None else 2 * conv.c
    return 4 * (conv.k * (conv.c // conv.groups * conv.r * conv.s + conv.epilogue.bias) + scaled)


def _winograd(found: Items, conv: Conv, isa: str, width: int) -> None:
    side, tiles, k, c, m = winograd.side(conv), winograd.tiles(conv), conv.k, conv.c, conv.m
    taps = conv.r * conv.s
    whole = tiles * m * m  # outputs of all tiles, those beyond the edge included
    found.book(OVERHANG, Counts(fma=(pixels(conv) - whole) * taps * c * k))
    found.book(SAVING, Counts(fma=(whole * taps - tiles * side * side) * c * k))
    found.book(LANES, Counts(fma=-tiles * side * side * c * (stored_lanes(conv, isa) - k)))

    forth = winograd.forward_one(conv) * (-2 * side * tiles)
    back = winograd.back_one(conv) * -(tiles * side + conv.n * ceil_div(conv.q, m) * conv.p)
    found.book(TRANSFORMS, forth * c + back * k)
    found.book(LANES, forth * (round_up(c, width) - c) + back * (round_up(k, width) - k))
    found.book(LANES, Counts(add=-pixels(conv) * (round_up(k, width) - k) * conv.epilogue.bias))

    moved = 4 * side * side * tiles  # of each position of each tile, per channel
    found.book(TRANSFORMS, Counts(bytes_read=-moved * k, bytes_written=-moved * (c + k)))
    found.book(HALOS, Counts(bytes_read=_image(conv) - 4 * conv.n * c * winograd.inputs(conv)))
    biases = 4 * tiles * round_up(k, width) * conv.epilogue.bias
    read = winograd.products(conv, isa, width).bytes_read + biases
    found.book(TRAFFIC, Counts(bytes_read=_weights(conv) - read))


def epilogue(found: Items, conv: Conv, lanes: int, after: int) -> None:
    """What follows the sums, on `lanes` lanes a pixel; an activation's own pass takes `after`."""
    e, n = conv.epilogue, pixels(conv)
    if conv.algo != "winograd":
        found.book(FOLDED, Counts(add=n * conv.k * e.bias))
    found.book(LANES, Counts(add=-n * (lanes - conv.k) * e.residual))
    if e.clamp:
        found.book(FUNCTIONS, (FORMULAS[e.act] - CLAMP) * (n * conv.k))
        found.book(LANES, CLAMP * (-n * (lanes - conv.k)))
    if e.post:
        found.book(FUNCTIONS, (FORMULAS[e.act] - LEAVES[e.act]) * (n * conv.k))
        found.book(LANES, LEAVES[e.act] * (-n * (after - conv.k)))
        again = -4 * n * conv.k
        found.book(PASSES, Counts(bytes_read=again, bytes_written=again))
