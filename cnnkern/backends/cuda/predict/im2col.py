"""Patches: bytes alone, padding not read."""

from __future__ import annotations

from ....ops.base import Counts
from ..launch import Launch
from .instance import ITEM_BYTES, arguments, inside


def seen(args, r: int, s: int) -> int:
    """Taps of all positions of an image that lie inside it."""
    down, across = (
        inside(out, size, taps, args["stride"][i], args["dilation"][i], args["pad"][i])
        for i, (out, size, taps) in enumerate(((args["p"], args["h"], r), (args["q"], args["w"], s)))
    )
    return down * across


def patches(launch: Launch) -> Counts:
    ctype, vector = arguments(launch)
    a, size = launch.args, ITEM_BYTES[ctype] * vector
    images = a["rows"] // (a["p"] * a["q"])
    read = images * a["c"] * seen(a, a["taps"] // a["s"], a["s"])
    return Counts(bytes_read=size * read, bytes_written=size * a["rows"] * a["columns"])


def unfold(launch: Launch) -> Counts:
    (ctype,) = arguments(launch)
    a, size = launch.args, ITEM_BYTES[ctype]
    channels = a["n"] * a["c"]
    written = channels * a["r"] * a["s"] * a["p"] * a["q"]
    return Counts(bytes_read=size * channels * seen(a, a["r"], a["s"]), bytes_written=size * written)


TEMPLATES = {"patches": patches, "unfold": unfold}
