"""What a caller brings, held against what the model declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..backends import is_device_array
from .reader import Port


def checker(port: Port) -> Callable[[Mapping[str, Any]], Any]:
    """A function that takes a port's array out of the feeds, of the declared dtype, rank and fixed sizes.

    Raises: ValueError where it is missing or has another shape, TypeError for another dtype.
    """
    name = port.name
    if not port.is_tensor:
        return lambda feeds: _present(feeds, name)
    dtype = np.dtype(port.dtype)
    rank = None if port.shape is None else len(port.shape)
    fixed = [(i, dim) for i, dim in enumerate(port.shape or ()) if isinstance(dim, int)]

    def check(feeds: Mapping[str, Any]) -> Any:
        array = _present(feeds, name)
        if type(array) is not np.ndarray:
            array = as_array(port, array)
        if array.dtype != dtype:
            array = _cast(port, array)
        shape = array.shape
        if rank is not None and (len(shape) != rank or any(shape[i] != dim for i, dim in fixed)):
            raise ValueError(f"input {name!r}: the shape {shape_text(port)} is accepted, got {tuple(shape)}")
        return array

    return check


def _present(feeds: Mapping[str, Any], name: str) -> Any:
    try:
        return feeds[name]
    except KeyError:
        given = ", ".join(map(repr, feeds)) or "nothing"
        raise ValueError(f"input {name!r} is missing; got {given}") from None


def as_array(port: Port, value: Any) -> Any:
    """A GPU's array as it is; numbers, lists and the like as an array of the declared dtype."""
    if is_device_array(value):
        return value
    if isinstance(value, np.ma.MaskedArray) or value is None:
        raise TypeError(f"input {port.name!r}: a NumPy array of {port.dtype} is accepted, got {type(value).__name__}")
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__"):
        return np.asarray(value)
    try:
        array = np.asarray(value)
        wanted = np.dtype(port.dtype)
        if array.dtype.kind in "fiub" and wanted.kind in "fiub" and np.can_cast(array.dtype, wanted, "same_kind"):
            return array.astype(wanted)
        return array
    except (ValueError, TypeError, OverflowError) as error:
        raise TypeError(f"input {port.name!r}: an array of {port.dtype} is accepted, got {value!r}") from error


def _cast(port: Port, array: Any) -> Any:
    if port.dtype == "object" and array.dtype.kind in "US":
        return array.astype(object)
    if array.dtype.newbyteorder("=") == np.dtype(port.dtype):  # the other byte order
        return array.astype(port.dtype)
    raise TypeError(f"input {port.name!r}: dtype {port.dtype} is accepted, got {array.dtype}")


def check_shape(port: Port, shape: Sequence[int]) -> tuple[int, ...]:
    """A shape that the port allows. Raises: ValueError."""
    shape = tuple(shape)
    fits = port.shape is None or (
        len(shape) == len(port.shape) and all(not isinstance(d, int) or d == s for d, s in zip(port.shape, shape))
    )
    if not fits:
        raise ValueError(f"input {port.name!r}: the shape {shape_text(port)} is accepted, got {shape}")
    return shape


def shape_text(port: Port) -> str:
    """(N, 3, ?, ?) as messages write it."""
    dims = ["?" if dim is None else str(dim) for dim in port.shape or ()]
    return f"({', '.join(dims)}{',' if len(dims) == 1 else ''})"
