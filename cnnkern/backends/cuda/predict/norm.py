"""Normalisation: batch, local response, local contrast."""

from __future__ import annotations

from ....ops.base import Counts
from ..launch import Launch
from .instance import ACTIVATION, ITEM_BYTES, arguments, inside

THREADS = 256


def batch_norm(launch: Launch) -> Counts:
    """Every thread makes the factors of its channels; every element is centred and scaled."""
    ctype, vector = arguments(launch)
    a, size = launch.args, ITEM_BYTES[ctype]
    threads, elements = a["c"] * a["walkers"], a["rows"] * a["c"] * vector
    vectors = 2 + sum(a[name] is not None for name in ("weight", "bias"))
    factors = Counts(add=1, special=2, bytes_read=4 * vectors) * (threads * vector)
    shifted = Counts(add=1, fma=1) if a["bias"] is not None else Counts(add=1, mul=1)
    own = (shifted + ACTIVATION[a["act"]]) * elements
    return factors + own + Counts(bytes_read=size * elements, bytes_written=size * elements)


def respond(beta: float) -> Counts:
    """The base, its power and the division; 3/4 is two square roots and a product."""
    return Counts(fma=1, mul=1, special=3) if beta == 0.75 else Counts(fma=1, special=2)


def lrn(launch: Launch) -> Counts:
    """A channel's square is added where it stands in a window, and the channel itself is loaded once more."""
    (ctype,) = arguments(launch)
    a, size = launch.args, ITEM_BYTES[ctype]
    elements = a["rows"] * a["c"]
    taps = a["rows"] * inside(a["c"], a["c"], a["before"] + a["after"] + 1, 1, 1, a["before"])
    moved = Counts(fma=taps, bytes_read=size * (taps + elements), bytes_written=size * elements)
    return respond(a["beta"]) * elements + moved


def lrn_vector(launch: Launch) -> Counts:
    """A vector, and its neighbours where there are any; the squares behind them are made all the same."""
    ctype, vector, beside = arguments(launch)
    a, size = launch.args, ITEM_BYTES[ctype]
    threads = a["rows"] * a["c"]
    loads = a["rows"] * (3 * a["c"] - 2)
    own = respond(a["beta"]) + Counts(add=2 * beside)
    squares = Counts(mul=vector + 2 * beside) * threads
    moved = Counts(bytes_read=size * vector * loads, bytes_written=size * vector * threads)
    return own * (threads * vector) + squares + moved


def row_mean(launch: Launch) -> Counts:
    """All threads of all blocks take part in the exchange between those that share a row."""
    ctype, vector = arguments(launch)
    a, rows = launch.args, launch.args["rows"]
    elements = rows * a["c"] * vector
    away = a["centre"] is not None
    own = Counts(add=elements, fma=elements if away else 0)
    steps = a["lanes"].bit_length() - 1
    exchanged = Counts(add=launch.grid[0] * THREADS * steps)
    centres = 4 * rows * a["lanes"] if away else 0
    moved = Counts(bytes_read=ITEM_BYTES[ctype] * elements + centres, bytes_written=4 * rows)
    return own + exchanged + moved + Counts(mul=rows)


def blur(launch: Launch) -> Counts:
    """Every block makes the weights of half a window."""
    a = launch.args
    weights = Counts(mul=1, special=1) * (launch.grid[0] * (a["half"] + 1))
    taps = a["count"] // a["length"] * inside(a["length"], a["length"], 2 * a["half"] + 1, 1, 1, a["half"])
    own = Counts(special=1 + a["root"], bytes_written=4) * a["count"]
    return weights + own + Counts(fma=1, add=1, bytes_read=4) * taps


def contrast(launch: Launch) -> Counts:
    ctype, vector = arguments(launch)
    size, threads = ITEM_BYTES[ctype] * vector, launch.args["rows"] * launch.args["c"]
    thread = Counts(max=2, add=vector, special=vector, bytes_read=size + 12, bytes_written=size)
    return thread * threads


TEMPLATES = {
    "batch_norm": batch_norm,
    "lrn": lrn,
    "lrn_vector": lrn_vector,
    "row_mean": row_mean,
    "blur": blur,
    "contrast": contrast,
}
