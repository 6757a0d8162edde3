"""What to make of a network's scores and features: best classes, errors, several crops or networks, neighbours.

A model here is a `cnnkern.Model`, or any callable from float32 (N, C, H, W) to scores (N, classes) with `.name` and
`.input_shape` (C, H, W). Where auxiliary heads make it return a tuple, the first member counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

SCALES = (224, 256, 384, 480, 640)  # He et al. 2015, section 3.4, https://arxiv.org/abs/1512.03385
BLOCK_BYTES = 1 << 26  # what `nearest` takes for one block of distances or differences


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


def topk_error(scores: ArrayLike, labels: ArrayLike, k: int = 5) -> float:
    """The share of rows whose label is not among the k best classes, as ImageNet counts: top-1 and top-5 error.

    Args:
        scores: (N, num_classes), logits or probabilities; equal scores keep the order of their classes.
        labels: (N,), whole numbers 0 to num_classes - 1.
        k: how many guesses a row has, 1 to num_classes.
    Returns:
        A number from 0 to 1.
    Raises:
        ValueError: shapes, labels or k that do not fit, or no rows.
    Example:
        >>> evaluate.topk_error([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], [1, 2], k=1)
        0.5
    """
    rows, classes = _scores_and_labels(scores, labels)
    return float(1 - (topk(rows, k).indices == classes[:, np.newaxis]).any(axis=1).mean())


def hinge_loss(scores: ArrayLike, labels: ArrayLike) -> float:
    """The multi-class hinge (SVM) loss: the mean over rows of sum over j != y of max(0, s_j - s_y + 1).

    Weston and Watkins 1999; the "multiclass SVM loss" of Stanford's CS231n.

    Args:
        scores: (N, num_classes), logits.
        labels: (N,), whole numbers 0 to num_classes - 1.
    Returns:
        The loss, computed in float64; 0 where every label wins by at least 1.
    Raises:
        ValueError: shapes or labels that do not fit, or no rows.
    Example:
        >>> round(evaluate.hinge_loss([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]], [0, 1, 2]), 2)
        5.27
    """
    rows, classes = _scores_and_labels(scores, labels)
    rows = rows.astype(np.float64)
    margins = np.maximum(rows - np.take_along_axis(rows, classes[:, np.newaxis], axis=1) + 1, 0)
    np.put_along_axis(margins, classes[:, np.newaxis], 0, axis=1)
    return float(margins.sum(axis=1).mean())


def probabilities(model: Any, scores: Any, logits: bool | None = None) -> Any:
    """Softmax of the scores (N, classes), unless the network ends in a softmax or sigmoid already.

    Args:
        model: where the scores come from; it is not run.
        scores: (N, classes), NumPy's or a GPU's.
        logits: whether a softmax is to be applied; None asks the last layer of `model.graph`, and takes the scores of
            what has no graph for logits.
    Returns:
        (N, classes), of the scores' kind and dtype.
    Raises:
        ValueError: scores of another rank.
    Example:
        >>> m = cnnkern.models.create("lenet5-digits")
        >>> evaluate.probabilities(m, m(np.zeros((1, 1, 32, 32), np.float32))).shape
        (1, 10)
    """
    if getattr(scores, "ndim", None) != 2:
        shape = getattr(scores, "shape", type(scores).__name__)
        raise ValueError(f"scores: an array (N, classes) is accepted, got {shape} from {getattr(model, 'name', model)}")
    if not (_ends_in_logits(model) if logits is None else logits):
        return scores
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(scores.dtype)


# --- several networks, several crops


def ensemble(models: Sequence[Callable], x: Any, logits: bool | None = None) -> Any:
    """What several networks say together: the mean of their probabilities.

    Args:
        models: at least one, all with the same number of classes.
        x: float32 (N, C, H, W) for all of them; or a list or tuple with an array for each, where they take pictures of
            different sizes or by different recipes.
        logits: as for `probabilities`, for all of them.
    Returns:
        float32 (N, classes), y = mean over the members of softmax(scores).
    Raises:
        ValueError: no member, another number of inputs than members, or members whose shapes (N, classes) differ.
    Example:
        >>> photo, pair = images.photograph(), [models.create("resnet18"), models.create("inception_v3")]
        >>> evaluate.ensemble(pair, [images.prepare(photo, m.name, m.input_shape) for m in pair]).shape
        (1, 1000)
    """
    models = list(models)
    if not models:
        raise ValueError("models: at least one is accepted, got none")
    inputs = list(x) if isinstance(x, (list, tuple)) else [x] * len(models)
    if len(inputs) != len(models):
        raise ValueError(f"x: one array, or {len(models)}, one per member, are accepted, got {len(inputs)}")
    shares = [_probabilities_of(model, own, logits) for model, own in zip(models, inputs)]
    if len({share.shape for share in shares}) > 1:
        kinds = ", ".join(f"{_name(model)} {share.shape}" for model, share in zip(models, shares))
        raise ValueError(f"models: members must agree on (N, classes), got {kinds}")
    return (sum(share.astype(np.float64) for share in shares) / len(shares)).astype(shares[0].dtype)


class MultiCrop(NamedTuple):
    """What a network makes of many crops of one picture: `probabilities` (classes,), the mean over all crops, and
    `crops` (scales, crops, classes), the probabilities of each, in the order of `images.crops`."""

    probabilities: np.ndarray
    crops: np.ndarray


def multi_crop(
    model: Callable,
    image: Any,
    scales: Sequence[int] = SCALES,
    crops: int = 10,
    *,
    batch_size: int = 10,
    logits: bool | None = None,
) -> MultiCrop:
    """Classify a picture by many crops of it at several scales, and take the mean of the probabilities.

    For each scale the picture's shorter side is resized to it, its proportions kept; the corners, the centre and their
    mirror images are cut out in the network's input size and normalised by its recipe (`images.recipe`).

    Args:
        model: takes pictures of 1 or 3 channels.
        image: a PIL image, the path of one, or uint8 (H, W, 3).
        scales: lengths of the shorter side in pixels, each at least the network's input size. The default is that of
            the paper for networks of 224; one of 299 takes, for example, (299, 342, 384, 480, 640).
        crops: per scale, 1: centre; 5: corners and centre; 10: and their mirror images.
        batch_size: how many crops the network gets at once, at most.
        logits: as for `probabilities`.
    Returns:
        A `MultiCrop`, float32.
    Raises:
        TypeError: `image` is something else. ValueError: a bad image, scale, number of crops or batch size, or a
            network that takes no pictures or has no classes.
    Example:
        >>> m = cnnkern.models.create("squeezenet1_1")
        >>> found = evaluate.multi_crop(m, images.photograph(), scales=(256, 384))
        >>> found.probabilities.shape, found.crops.shape
        ((1000,), (2, 10, 1000))
    Krizhevsky et al. 2012, https://papers.nips.cc/paper/4824; He et al. 2015, https://arxiv.org/abs/1512.03385.
    """
    from . import images  # needs Pillow, which importing cnnkern does not

    scales = _checked_scales(model, scales)
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"batch_size: a whole number of at least 1 is accepted, got {batch_size!r}")
    picture = images.as_image(image)
    pixels = np.concatenate([images.crops(picture, model.name, model.input_shape, scale, crops) for scale in scales])
    recipe = images.recipe(model.name, pixels.shape[-1])
    shares = None
    for start, stop in _even_batches(len(pixels), batch_size):
        part = _probabilities_of(model, images.normalise(pixels[start:stop], recipe), logits)
        if shares is None:
            shares = np.empty((len(pixels), part.shape[1]), np.float32)
        shares[start:stop] = part
    return MultiCrop(shares.mean(axis=0, dtype=np.float64).astype(np.float32), shares.reshape(len(scales), crops, -1))


# --- neighbours


class Neighbours(NamedTuple):
    """The nearest rows of each query, nearest first: `indices` int64 and `distances` float64, both (queries, k)."""

    indices: np.ndarray
    distances: np.ndarray


def nearest(features: ArrayLike, queries: ArrayLike, k: int = 1) -> Neighbours:
    """The k nearest neighbours of each query in feature space, by brute force: d = sqrt(sum (f - q)**2).

    Exact: a matrix product finds all candidates within its own rounding error, and their distances are then summed
    from differences in float64. Equal distances are in order of their indices. Memory stays bounded (`BLOCK_BYTES`).

    Args:
        features: (n, d), what is searched; axes behind the second are flattened.
        queries: (m, d).
        k: 1 to n.
    Returns:
        (indices, distances), both (m, k).
    Raises:
        ValueError: shapes that do not fit, k out of range, or values that are not finite (or so large that their
            squares are not).
    Example:
        >>> evaluate.nearest([[0.0, 0.0], [3.0, 4.0]], [[3.0, 3.0]], k=2).indices.tolist()
        [[1, 0]]
    """
    f, q = _matrix("features", features), _matrix("queries", queries)
    if f.shape[1] != q.shape[1]:
        raise ValueError(f"queries: rows of {f.shape[1]} values, as the features have, are accepted, got {q.shape[1]}")
    if not 1 <= k <= len(f):
        raise ValueError(f"k: 1 to {len(f)}, the number of features, is accepted, got {k}")
    squares = [_squares("features", f), _squares("queries", q)]
    found = Neighbours(np.zeros((len(q), k), np.int64), np.full((len(q), k), np.inf))
    # A block of features is held in float64, and so are its differences from a query, and its products with 64.
    block = max(1, BLOCK_BYTES // (8 * (3 * max(1, f.shape[1]) + 64)))
    for start in range(0, len(f), block):
        part, part_squares = f[start : start + block].astype(np.float64), squares[0][start : start + block]
        for first in range(0, len(q), 64):
            rows = q[first : first + 64].astype(np.float64)
            limits = _limits(part_squares, squares[1][first : first + 64], rows, part, k)
            for i, (row, near) in enumerate(zip(rows, limits), first):
                distances = np.sqrt(np.square(part[near] - row).sum(axis=1))
                _merge(found.indices[i], found.distances[i], start + near, distances)
    return found


def _limits(f_squares, q_squares, rows, part, k: int) -> Iterator[np.ndarray]:
    """For each query the indices within `part` that may be among its k nearest, rounding errors allowed for."""
    approximate = f_squares + q_squares[:, np.newaxis] - 2 * (rows @ part.T)
    # Each of three sums of d products is within d * epsilon of its sum of magnitudes; (|f| + |q|)**2 bounds those.
    epsilon = 2 * (part.shape[1] + 8) * np.finfo(np.float64).eps
    slack = epsilon * (np.sqrt(f_squares.max()) + np.sqrt(q_squares)) ** 2
    kth = np.partition(approximate, min(k, part.shape[0]) - 1, axis=1)[:, min(k, part.shape[0]) - 1]
    for row, limit in zip(approximate, kth + 2 * slack):
        yield np.flatnonzero(row <= limit)


def _merge(indices: np.ndarray, distances: np.ndarray, more: np.ndarray, more_distances: np.ndarray) -> None:
    """The nearest of both stay, in order; what is there has the lower indices, and a stable sort keeps it in front."""
    together = np.concatenate([distances, more_distances])
    order = np.argsort(together, kind="stable")[: len(distances)]
    indices[:], distances[:] = np.concatenate([indices, more])[order], together[order]


# --- checks


def _name(model: Any) -> str:
    return getattr(model, "name", type(model).__name__)


def _ends_in_logits(model: Any) -> bool:
    graph = getattr(model, "graph", None)
    if graph is None:
        return True
    last = graph.producer()[graph.outputs[0]].spec
    return last.op != "softmax" and getattr(last, "kind", None) != "sigmoid"


def _probabilities_of(model: Callable, x: Any, logits: bool | None) -> Any:
    scores = model(x)
    return probabilities(model, scores[0] if isinstance(scores, tuple) else scores, logits)


def _scores_and_labels(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    rows, classes = np.asarray(scores), np.asarray(labels)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"scores: an array (N, classes) with at least one row is accepted, got {rows.shape}")
    if classes.shape != rows.shape[:1] or classes.dtype.kind not in "iu":
        wanted = f"({len(rows)},) of whole numbers"
        raise ValueError(f"labels: an array {wanted} is accepted, got {classes.shape} of {classes.dtype}")
    if not ((classes >= 0) & (classes < rows.shape[1])).all():
        found = f"{classes.min()} to {classes.max()}"
        raise ValueError(f"labels: 0 to {rows.shape[1] - 1}, the classes, are accepted, got {found}")
    return rows, classes.astype(np.int64)


def _checked_scales(model: Any, scales: Sequence[int]) -> tuple[int, ...]:
    """Whole numbers that the network's input fits into; the error says which would do."""
    scales = tuple(scales)
    if not scales or not all(isinstance(scale, (int, np.integer)) and scale > 0 for scale in scales):
        raise ValueError(f"scales: at least one positive number of pixels is accepted, got {scales}")
    size = max(model.input_shape[-2:])
    small = [int(scale) for scale in scales if scale < size]
    if small:
        fitting = dict.fromkeys([size, round(size / 0.875), *(scale for scale in scales if scale >= size)])
        raise ValueError(
            f"scales: {', '.join(map(str, small))} would be smaller than {model.name}'s input of {size} pixels; "
            f"{size} and more are accepted, such as {tuple(sorted(int(scale) for scale in fitting))}"
        )
    return tuple(int(scale) for scale in scales)


def _even_batches(count: int, largest: int) -> Iterator[tuple[int, int]]:
    """Ranges of one size, so that the network is compiled once; the last may overlap the one before it."""
    number = -(-count // largest)
    size = -(-count // number)
    for i in range(number):
        start = min(i * size, count - size)
        yield start, start + size


def _matrix(argument: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim < 2 or array.dtype.kind not in "fiu" or 0 in array.shape[1:]:
        raise ValueError(f"{argument}: numbers (n, d) are accepted, got {array.shape} of {array.dtype}")
    return array.reshape(len(array), int(np.prod(array.shape[1:])))


def _squares(argument: str, rows: np.ndarray) -> np.ndarray:
    """The squared length of each row, in float64, without a copy of them all."""
    parts = (rows[i : i + 1024].astype(np.float64) for i in range(0, len(rows), 1024))
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.concatenate([np.zeros(0), *(np.einsum("nd,nd->n", part, part) for part in parts)])
    if not (squares < np.finfo(np.float64).max / 8).all():  # NaN is not, either
        raise ValueError(f"{argument}: finite values whose squares are finite too are accepted, got others")
    return squares
