"""Normalisation: batch, local response, local contrast."""

from __future__ import annotations

from ... import ops
from ...graph.ir import Node
from ...ops.base import product
from .activations import act_args
from .eltwise import rows
from .launch import Kernel, Launch
from .lowering import THREADS, Lowered, Lowering, line
from .moves import copy
from .tensors import LOAD_BYTES, WIDEST, Tensor, vectors

BATCH_NORM_ARGS = (
    "x:p y:p mean:p var:p weight:p bias:p rows:i c:i repeat:i walkers:i x_stride:i y_stride:i eps:f act:i param:f"
)
LRN_ARGS = "x:p y:p rows:i c:i x_stride:i y_stride:i before:i after:i factor:f beta:f k:f"
ROW_MEAN_ARGS = "x:p centre:p y:p rows:i c:i x_stride:i lanes:i scale:f"
BLUR_ARGS = "x:p y:p count:i length:i step:i half:i steepness:f root:i"
CONTRAST_ARGS = "x:p y:p mean:p deviation:p least:p rows:i c:i pixels:i x_stride:i y_stride:i eps:f"
BESIDE = 2  # neighbours on both sides in lrn_vector: a window of 5, as every published network has
MOST_ROWS = 16  # of a thread of batch_norm
WARP = 32
MOST_HALF = 12000  # of a window of blur: its weights lie in 48 KB of shared memory
# Threads that keep a multiprocessor's memory busy; not measured yet.
BUSY = 1024


def batch_norm_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("norm.cu", f"batch_norm<{ctype}, {vector}>", BATCH_NORM_ARGS, THREADS)


def lrn_kernel(ctype: str, vector: int) -> Kernel:
    name = f"lrn<{ctype}>" if vector == 1 else f"lrn_vector<{ctype}, {vector}, {BESIDE}>"
    return Kernel("norm.cu", name, LRN_ARGS, THREADS)


def row_mean_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("norm.cu", f"row_mean<{ctype}, {vector}>", ROW_MEAN_ARGS, THREADS)


def blur_kernel() -> Kernel:
    return Kernel("norm.cu", "blur", BLUR_ARGS, THREADS)


def contrast_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("norm.cu", f"contrast<{ctype}, {vector}>", CONTRAST_ARGS, THREADS)


def kernels() -> list[Kernel]:
    found = [blur_kernel()]
    for ctype, widest in WIDEST.items():
        found += [make(ctype, v) for make in (batch_norm_kernel, lrn_kernel) for v in vectors(ctype)]
        found += [make(ctype, v) for make in (row_mean_kernel, contrast_kernel) for v in (1, widest)]
    return found


# --- by given statistics


def batch_norm(low: Lowering, node: Node) -> Lowered:
    """Images and matrices by rows of channels; other ranks, which lie densely, by rows of all but the batch."""
    spec, x, y = node.spec, low.tensor(node.inputs[0]), low.output(node)
    launches: list[Launch] = []
    statistics = {
        name: _floats(low, node.inputs[i], launches) if i < len(node.inputs) and node.inputs[i] else None
        for i, name in enumerate(spec.inputs)
        if i
    }
    repeat = 1
    if x.rank in (2, 4):
        (count, columns, x_stride), (_, _, y_stride) = rows(x), rows(y)
        vector = x.vector(y)
        while any(p is not None and p.offset_bytes % min(LOAD_BYTES, 4 * vector) for p in statistics.values()):
            vector //= 2
    else:
        count, (_, *others) = x.sizes[0], x.sizes
        columns, repeat, vector = product(others), product(others[1:]), 1
        x_stride, y_stride = x.strides[0], y.strides[0]
    across = columns // vector
    walkers = _walkers(low, count, across)
    args = {
        "x": x.pointer, "y": y.pointer, **statistics, "rows": count, "c": across, "repeat": repeat, "walkers": walkers,
        "x_stride": x_stride, "y_stride": y_stride, "eps": spec.eps, **act_args(spec.activation, spec.activation_param),
    }  # fmt: skip
    launches.append(line(batch_norm_kernel(x.ctype, vector), across * walkers, args))
    return Lowered(launches, "batch_norm")


def _floats(low: Lowering, name: str, launches: list[Launch]):
    """Where a vector's floats lie; of another type, it is converted first."""
    t = low.tensor(name)
    if t.ctype != "float":
        made = low.scratch(t.sizes, "float")
        launches += copy(t, made)
        t = made
    return t.pointer


def _walkers(low: Lowering, count: int, across: int) -> int:
    """Threads for a column: each has as many rows as leave the device enough threads."""
    each = MOST_ROWS
    while each > 1 and across * -(-count // each) < BUSY * low.multiprocessors:
        each //= 2
    return -(-count // each)


# --- across channels


def local_response_norm(low: Lowering, node: Node) -> Lowered:
    spec, x, y = node.spec, low.tensor(node.inputs[0]), low.output(node)
    before, after = spec.size // 2, (spec.size - 1) // 2
    vector = x.vector(y) if before == after == BESIDE else 1
    (count, columns, x_stride), (_, _, y_stride) = rows(x), rows(y)
    args = {
        "x": x.pointer, "y": y.pointer, "rows": count, "c": columns // vector, "x_stride": x_stride,
        "y_stride": y_stride, "before": min(before, columns), "after": min(after, columns), "factor": spec.factor,
        "beta": spec.beta, "k": spec.k,
    }  # fmt: skip
    return Lowered([line(lrn_kernel(x.ctype, vector), count * columns // vector, args)], "lrn")


# --- local contrast


def local_contrast_norm(low: Lowering, node: Node) -> Lowered | None:
    """Planes of means over the channels, blurred along both axes, for the mean and then for the deviation. None where
    the window is larger than anybody needs."""
    spec, x, y = node.spec, low.tensor(node.inputs[0]), low.output(node)
    n, c, h, w = x.sizes
    if min(spec.size // 2, max(h, w) - 1) > MOST_HALF:
        return None
    (count, _, x_stride), (_, _, y_stride) = rows(x), rows(y)
    plane, between, mean = (low.scratch((n, h, w), "float") for _ in range(3))
    by_row, least = low.scratch((n * h,), "float"), low.scratch((n,), "float")

    def blurred(to: Tensor, root: bool) -> list[Launch]:
        return [_blur(spec, plane, between, 2, False), _blur(spec, between, to, 1, root)]

    launches = [_row_mean(x, (count, c, x_stride), None, plane), *blurred(mean, False)]
    launches += [_row_mean(x, (count, c, x_stride), mean, plane), *blurred(plane, True)]
    launches += [_row_mean(plane, (n * h, w, w), None, by_row), _row_mean(by_row, (n, h, h), None, least)]
    vector = _one_or_widest(x.ctype, x.vector(y))
    args = {
        "x": x.pointer, "y": y.pointer, "mean": mean.pointer, "deviation": plane.pointer, "least": least.pointer,
        "rows": count, "c": c // vector, "pixels": h * w, "x_stride": x_stride, "y_stride": y_stride, "eps": spec.eps,
    }  # fmt: skip
    launches.append(line(contrast_kernel(x.ctype, vector), count * c // vector, args))
    return Lowered(launches, "contrast")


def _one_or_widest(ctype: str, vector: int) -> int:
    return vector if vector == WIDEST[ctype] else 1


def _row_mean(x: Tensor, of: tuple[int, int, int], centre: Tensor | None, y: Tensor) -> Launch:
    """`of`: rows, values of a row, elements from row to row."""
    count, length, stride = of
    matrix = Tensor(x.pointer, (count, length), (stride, 1), x.ctype)
    vector = _one_or_widest(x.ctype, matrix.vector())
    across, lanes = length // vector, 1
    while lanes < min(WARP, across):
        lanes *= 2
    args = {
        "x": x.pointer, "centre": None if centre is None else centre.pointer, "y": y.pointer, "rows": count,
        "c": across, "x_stride": stride, "lanes": lanes, "scale": 1 / length,
    }  # fmt: skip
    return line(row_mean_kernel(x.ctype, vector), count * lanes, args)


def _blur(spec: ops.LocalContrastNormSpec, x: Tensor, y: Tensor, axis: int, root: bool) -> Launch:
    """Along one axis of planes (N, H, W). The weights are a Gaussian's up to a factor, which the mean is free of."""
    length = x.sizes[axis]
    half = min(spec.size // 2, length - 1)
    args = {
        "x": x.pointer, "y": y.pointer, "count": product(x.sizes), "length": length, "step": x.strides[axis],
        "half": half, "steepness": 0.5 / (spec.size / 4) ** 2, "root": int(root),
    }  # fmt: skip
    launch = line(blur_kernel(), product(x.sizes), args)
    return Launch(launch.kernel, launch.grid, args, shared_bytes=4 * (half + 1))


LOWERINGS = {
    ops.BatchNormSpec: batch_norm,
    ops.LocalResponseNormSpec: local_response_norm,
    ops.LocalContrastNormSpec: local_contrast_norm,
}
