"""Values that a node says outright, or that follow from a shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import ModelError
from . import branches
from .node import Node


def measured(node: Node, shape: tuple[int, ...]) -> np.ndarray:
    """The values of Shape and Size on a value of known shape."""
    if node.op == "Size":
        return np.array(int(np.prod(shape, dtype=np.int64)), np.int64)
    rank = len(shape)
    start, end = node.attr("start", 0), node.attr("end", rank)
    start, end = (min(max(at + rank if at < 0 else at, 0), rank) for at in (start, end))
    return np.array(shape[start : max(start, end)], np.int64)


def constant(node: Node) -> np.ndarray:
    """The value of a Constant node."""
    readers: dict[str, Callable[[], np.ndarray]] = {
        "value": lambda: node.attr("value"),
        "sparse_value": lambda: branches.sparse(node),
        "value_float": lambda: np.array(node.attr("value_float"), np.float32),
        "value_floats": lambda: np.array(node.attr("value_floats"), np.float32),
        "value_int": lambda: np.array(node.attr("value_int"), np.int64),
        "value_ints": lambda: np.array(node.attr("value_ints"), np.int64),
        "value_string": lambda: np.array(node.attr("value_string"), object),
        "value_strings": lambda: np.array(node.attr("value_strings"), object),
    }
    given = [name for name in node.attributes if name in readers]
    if len(given) != 1:
        raise ModelError(f"{node.where()}: a Constant has one of {', '.join(readers)}, this one {len(given)}")
    return readers[given[0]]()
