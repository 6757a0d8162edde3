"""Copies: bytes alone."""

from __future__ import annotations

from ....ops.base import Counts, product
from ..launch import Launch
from .instance import ITEM_BYTES, arguments


def copy(launch: Launch) -> Counts:
    x, y, vector = arguments(launch)
    *others, last = launch.args["sizes"]
    lines = product(others)
    return Counts(
        bytes_read=lines * launch.args["valid"] * vector * ITEM_BYTES[x],
        bytes_written=lines * last * vector * ITEM_BYTES[y],
    )


def transpose(launch: Launch) -> Counts:
    x, y = arguments(launch)
    a, matrices = launch.args, launch.grid[2]
    return Counts(
        bytes_read=matrices * a["rows"] * a["columns"] * ITEM_BYTES[x],
        bytes_written=matrices * a["width"] * a["columns"] * ITEM_BYTES[y],
    )


def pad(launch: Launch) -> Counts:
    ctype, vector = arguments(launch)
    a = launch.args
    pixel = a["c"] * vector * ITEM_BYTES[ctype]
    return Counts(
        bytes_read=a["n"] * a["x_h"] * a["x_w"] * pixel, bytes_written=a["n"] * a["h"] * a["w"] * pixel
    )  # padding is never negative: all of x is inside


TEMPLATES = {"copy": copy, "transpose": transpose, "pad": pad}
