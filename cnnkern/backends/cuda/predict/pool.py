"""Pooling: the taps inside the image, or whole windows where a thread loads them all at once."""

from __future__ import annotations

from ....ops import RoiMaxPoolSpec
from ....ops.base import Counts
from ..launch import Launch
from .instance import ITEM_BYTES, arguments, ceil_div, inside

THREADS = 256


def joins(launch: Launch, count: int) -> Counts:
    return Counts(max=count) if launch.args["maximum"] else Counts(add=count)


def taps(args, axis: int) -> int:
    """Over all outputs along an axis, the taps inside the image."""
    out, size = (args["p"], args["h"]) if axis == 0 else (args["q"], args["w"])
    return inside(out, size, *(args[of][axis] for of in ("window", "stride", "dilation", "pad")))


def pool(launch: Launch) -> Counts:
    ctype, vector = arguments(launch)
    a, size = launch.args, ITEM_BYTES[ctype]
    vectors = a["n"] * a["p"] * a["q"] * a["c"]
    seen = a["n"] * a["c"] * vector * taps(a, 0) * taps(a, 1)
    scaling = Counts(mul=vector, special=1) * (vectors if a["divide"] else 0)
    return joins(launch, seen) + scaling + Counts(bytes_read=size * seen, bytes_written=size * vectors * vector)


def pool_strip(launch: Launch) -> Counts:
    """A strip of outputs joins every row that it sees once, and then for each output as many rows as a window has."""
    ctype, vector, _, window, stride = arguments(launch)
    a, size = launch.args, ITEM_BYTES[ctype]
    lines = a["n"] * a["q"] * a["c"]
    rows, rows_inside = 0, 0
    for first in range(0, a["p"], a["strip"]):
        outputs = min(a["strip"], a["p"] - first)
        top, count = first * stride - a["pad"][0], window + (outputs - 1) * stride
        rows += count
        rows_inside += max(0, min(top + count, a["h"]) - max(top, 0))
    seen = a["n"] * a["c"] * vector * rows_inside * taps(a, 1)
    own = joins(launch, (window - 1) * vector * lines * (rows + a["p"]))
    scaling = Counts(mul=vector, special=1) * (lines * a["p"] if a["divide"] else 0)
    return own + scaling + Counts(bytes_read=size * seen, bytes_written=size * lines * a["p"] * vector)


def max_pool_indexed(launch: Launch) -> Counts:
    ctype, vector = arguments(launch)
    a, size = launch.args, ITEM_BYTES[ctype]
    outputs = a["n"] * a["p"] * a["q"] * a["c"] * vector
    seen = a["n"] * a["c"] * vector * taps(a, 0) * taps(a, 1)
    return Counts(max=seen, bytes_read=size * seen, bytes_written=(size + 8) * outputs)


def adaptive_avg_pool(launch: Launch) -> Counts:
    ctype, vector = arguments(launch)
    a, size = launch.args, ITEM_BYTES[ctype]
    vectors = a["n"] * a["p"] * a["q"] * a["c"]
    seen = a["n"] * a["c"] * vector
    for outputs, length in ((a["p"], a["h"]), (a["q"], a["w"])):
        seen *= sum(ceil_div((o + 1) * length, outputs) - o * length // outputs for o in range(outputs))
    scaling = Counts(mul=vector, special=1) * vectors
    return scaling + Counts(add=seen, bytes_read=size * seen, bytes_written=size * vectors * vector)


def roi_max_pool(launch: Launch) -> Counts | None:
    """Every thread finds its cell's four edges from its region's five numbers; None where these are not known."""
    ctype, vector = arguments(launch)
    a, size = launch.args, ITEM_BYTES[ctype]
    if not hasattr(a["rois"], "tolist"):
        return None
    spec, taps = RoiMaxPoolSpec((a["p"], a["q"]), a["scale"]), 0
    for _, *corners in a["rois"].tolist():
        rows, columns = spec.cells(corners, (a["h"], a["w"]))
        taps += sum(end - first for first, end in rows) * sum(end - first for first, end in columns)
    threads, seen = a["regions"] * a["p"] * a["q"] * a["c"], taps * a["c"] * vector
    edges = Counts(mul=8, special=2, bytes_read=5 * 4) * threads
    return edges + Counts(max=seen, bytes_read=size * seen, bytes_written=size * threads * vector)


def global_pool(launch: Launch) -> Counts:
    """Every pixel is joined to what a thread has; then a block's threads are, and those beyond the last column too."""
    x, y, vector = arguments(launch)
    a, (across, chunks, _) = launch.args, launch.grid
    seen, results = a["columns"] * a["pixels"] * vector, a["columns"] * chunks * vector
    tree = across * chunks * (THREADS - THREADS // a["walkers"]) * vector
    return joins(launch, seen + tree) + Counts(
        mul=results if a["scaled"] else 0, bytes_read=ITEM_BYTES[x] * seen, bytes_written=ITEM_BYTES[y] * results
    )


TEMPLATES = {
    "pool": pool,
    "pool_strip": pool_strip,
    "max_pool_indexed": max_pool_indexed,
    "adaptive_avg_pool": adaptive_avg_pool,
    "roi_max_pool": roi_max_pool,
    "global_pool": global_pool,
}
