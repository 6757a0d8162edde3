"""What to make of a network's scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class TopK(NamedTuple):
    """The best classes of each row, best first: `indices` int64 and `values` in the scores' dtype, both (..., k)."""

    indices: np.ndarray
    values: np.ndarray


def topk(scores: ArrayLike, k: int = 5) -> TopK:
    """The k largest scores along the last axis, in descending order.

    Equal scores keep the order of their classes. NaN counts as larger than any number, as in torch.topk, so that a
    broken row is seen rather than skipped.

    Args:
        scores: (..., num_classes), logits or probabilities.
        k: how many, 1 to num_classes.
    Returns:
        (indices, values), both (..., k): values[..., i] = scores[..., indices[..., i]].
    Raises:
        ValueError: `scores` has no axis, or k is out of range.
    Example:
        >>> from cnnkern import evaluate
        >>> indices, values = evaluate.topk([[0.1, 0.7, 0.2]], 2)
        >>> indices.tolist(), values.tolist()
        ([[1, 2]], [[0.7, 0.2]])
    """
    array = np.asarray(scores)
    if array.ndim == 0:
        raise ValueError("scores: an array (..., num_classes) is accepted, got a single number")
    classes = array.shape[-1]
    if not 1 <= k <= classes:
        raise ValueError(f"k: 1 to {classes}, the number of classes, is accepted, got {k}")
    # Sorting the reversed row upwards and reading it backwards keeps ties in order, without negating (unsigned, NaN).
    ascending = np.argsort(array[..., ::-1], axis=-1, kind="stable")
    indices = classes - 1 - ascending[..., ::-1][..., :k]
    return TopK(indices, np.take_along_axis(array, indices, axis=-1))
