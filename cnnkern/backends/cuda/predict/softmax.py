"""Softmax: operations on elements, and what the threads that share a row exchange."""

from __future__ import annotations

from ....ops.base import Counts
from ..launch import Launch
from .instance import ITEM_BYTES, arguments

WARP = 32


def row(length: int, log: int, again: bool) -> Counts:
    """A maximum, an exponential and its sum, and the last step per element; `again`: x - max and exp(x - max) are
    computed anew where they are needed last."""
    first = Counts(max=1, add=2, special=1)
    last = Counts(add=1) if log else Counts(mul=1)
    repeated = Counts() if not again else Counts(add=1) if log else Counts(add=1, special=1)
    return (first + last + repeated) * length


def exchange(steps: int, values: int) -> Counts:
    """For the maximum and for the sum; and the reciprocal or logarithm that every thread makes of it."""
    return Counts(max=steps, add=steps, special=1) * values


def neighbours(launch: Launch, again: bool) -> Counts:
    ctype, vector = arguments(launch)
    a, threads = launch.args, launch.kernel.block[0]
    share = a["threads"]
    steps = min(share, WARP).bit_length() - 1 + max(0, share // WARP - 1)
    elements = a["rows"] * a["length"] * vector
    size = ITEM_BYTES[ctype] * elements
    moved = Counts(bytes_read=size * (3 if again else 1), bytes_written=size)
    return row(elements, a["log"], again) + exchange(steps, launch.grid[0] * threads) + moved


def softmax_short(launch: Launch) -> Counts:
    return neighbours(launch, False)


def softmax_long(launch: Launch) -> Counts:
    return neighbours(launch, True)


def softmax_columns(launch: Launch) -> Counts:
    ctype, vector = arguments(launch)
    a, threads = launch.args, launch.kernel.block[0]
    elements = a["rows"] * a["length"] * vector
    size = ITEM_BYTES[ctype] * elements
    exchanged = exchange(a["threads"] - 1, launch.grid[0] * threads * vector)
    return row(elements, a["log"], True) + exchanged + Counts(bytes_read=3 * size, bytes_written=size)


TEMPLATES = {"softmax_short": softmax_short, "softmax_long": softmax_long, "softmax_columns": softmax_columns}
