"""The table of the oracle's operations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
OPS: dict[str, Callable[..., tuple[Array, ...]]] = {}


def op(function: Callable) -> Callable:
    """Registers a function under its name (without a final _): (spec, *float64 arrays) -> an array or several."""

    def run(spec, *arrays):
        result = function(spec, *arrays)
        return result if isinstance(result, tuple) else (result,)

    OPS[function.__name__.rstrip("_")] = run
    return function
