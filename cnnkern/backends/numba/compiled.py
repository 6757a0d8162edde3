"""Kernels compiled when they are first called, and kept under CNNKERN_CACHE/numba.

A kernel is a function over *units* of work that do not overlap: whoever has time claims the next one, so that who
computes which never shows in the result. It has one signature, given in letters, and so is compiled once: what types
its arguments have is not for callers to decide.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import types

from ... import config
from .. import warn_once
from .team import run_on_team

FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}  # a fused multiply-add rounds less
TYPES = {
    "x": types.Array(types.float32, 1, "C", readonly=True),
    "y": types.Array(types.float32, 1, "C"),
    "i": types.Array(types.int64, 1, "C", readonly=True),
    "j": types.Array(types.int64, 1, "C"),
    "n": types.int64,
    "f": types.float32,
}
SOURCES = ("compiled.py", "tiles.py", "arithmetic.py", "products.py", "planes.py")
NONE = np.empty(0, np.float32)  # for an array that is absent
_compiling = threading.RLock()


class Kernel:
    """A function that is compiled at its first call.

    Args:
        function: of `counter`, `units` and what follows. It works on unit = claim(counter), and the next, and so on
            while these are less than `units`.
        arguments: a letter for each that follows: x a float array to read, y one to write, i and j likewise of int64, n
            an integer, f a float. Arrays are flat, dense and aligned.
    """

    def __init__(self, function: Callable, arguments: str):
        self._function = function
        self._signature = types.void(TYPES["j"], TYPES["n"], *(TYPES[letter] for letter in arguments))
        self._compiled: Callable | None = None

    def __call__(self, units: int, *arguments: Any) -> None:
        """Run so many units on as many threads as the settings say."""
        if units > 0:
            run = self._compiled or self._compile()
            run_on_team(run, (np.zeros(1, np.int64), units, *arguments), min(config.get_num_threads(), units))

    def _compile(self) -> Callable:
        with _compiling:
            if self._compiled is None:
                place = cache_folder()
                with _cached_at(place):
                    declare = numba.njit(self._signature, cache=place is not None, **FLAGS)
                    self._compiled = declare(self._function)
            return self._compiled


def kernel(arguments: str) -> Callable[[Callable], Kernel]:
    return lambda function: Kernel(function, arguments)


helper = numba.njit(**FLAGS)  # called by kernels, and compiled with them


def cache_folder() -> Path | None:
    """Where compiled kernels are kept: a folder for these sources (Numba itself tells processors apart). None where
    nothing can be written, which is said once."""
    place = config.cache_folder() / "numba" / _digest()
    try:
        place.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        warn_once(
            ("numba cache", str(place)),
            f"{place} cannot be written ({error.strerror or error}), so that kernels are compiled anew in each process;"
            " CNNKERN_CACHE names another folder",
        )
        return None
    return place


@lru_cache(maxsize=1)
def _digest() -> str:
    """Of every file that is compiled: Numba looks at the one that a kernel stands in, not at what it calls."""
    made = hashlib.sha256()
    for name in SOURCES:
        made.update(Path(__file__).with_name(name).read_bytes())
    return made.hexdigest()[:16]


@contextmanager
def _cached_at(place: Path | None):
    """Numba's setting counts while a function is declared; it is put back, for it is the whole process's."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = "" if place is None else str(place)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def _after_fork() -> None:
    global _compiling
    _compiling = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
