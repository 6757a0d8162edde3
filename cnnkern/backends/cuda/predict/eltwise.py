"""Activations, sums and products."""

from __future__ import annotations

from ....ops.base import Counts, product
from ..launch import Launch
from .instance import ACTIVATION, ITEM_BYTES, arguments


def activation(launch: Launch) -> Counts:
    ctype, vector = arguments(launch)
    elements = launch.args["rows"] * launch.args["c"] * vector
    moved = elements * ITEM_BYTES[ctype]
    return ACTIVATION[launch.args["act"]] * elements + Counts(bytes_read=moved, bytes_written=moved)


def binary(launch: Launch) -> Counts:
    ctype, vector, a, b = arguments(launch)
    vectors = product(launch.args["sizes"])
    own = Counts(mul=1) if launch.args["multiply"] else Counts(add=1)
    counts = (own + ACTIVATION[launch.args["act"]]) * (vectors * vector)
    size = ITEM_BYTES[ctype]
    return counts + Counts(bytes_read=vectors * (a + b) * size, bytes_written=vectors * vector * size)


def affine(launch: Launch) -> Counts:
    ctype, vector = arguments(launch)
    elements = launch.args["rows"] * launch.args["c"] * vector
    own = (Counts(fma=1) + ACTIVATION[launch.args["act"]]) * elements
    size = ITEM_BYTES[ctype]
    return own + Counts(bytes_read=elements * (size + 8), bytes_written=elements * size)


TEMPLATES = {"activation": activation, "binary": binary, "affine": affine}
