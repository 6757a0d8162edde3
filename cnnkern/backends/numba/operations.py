"""Every operation as a function of (spec, *arrays): NCHW-shaped float32 arrays of any strides in, fresh ones out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...ops.base import Spec, product
from .. import reference
from . import conv, planes, products
from .arithmetic import CODES
from .compiled import NONE
from .conv import New, flat, fresh

Array = np.ndarray
OPS: dict[str, Callable[..., tuple[Array, ...]]] = {}
# What only moves data: NumPy's own moves, in the reference's words, on float32 here.
MOVES = ("im2col", "concat", "channel_shuffle", "pad", "flatten", "slice", "reshape", "transpose", "reorder")


def op(function: Callable) -> Callable:
    """Registers a function under its name: (spec, new, *arrays) -> an output or several, made by new(shape)."""

    def run(spec, new, *arrays):
        result = function(spec, new, *arrays)
        return result if isinstance(result, tuple) else (result,)

    OPS[function.__name__] = run
    return function


def run(spec: Spec, arrays: Sequence[Array | None], new: New = fresh) -> tuple[Array, ...]:
    """The operation's outputs, each made by `new` (but for indices); KeyError where there is no kernel."""
    return OPS[spec.op](spec, new, *arrays)


def _move(spec, new, *arrays):
    (made,) = reference.OPS[spec.op](spec, *arrays)
    y = new(made.shape)
    y[...] = made
    return (y,)


OPS.update(dict.fromkeys(MOVES, _move))


# --- products


@op
def conv2d(spec, new, x, weight, bias=None, residual=None, scale=None, shift=None):
    return conv.prepare(spec, x.shape, weight)(new, x, bias, residual, scale, shift)


@op
def fused_block(spec, new, x, *others):
    """One convolution after the other."""
    *before, (last, *given) = spec.stages(x, *others)
    for stage, *own in before:
        x = conv2d(stage, fresh, x, *own)
    return conv2d(last, new, x, *given)


@op
def locally_connected2d(spec, new, x, weight, bias=None):
    y = new(spec.infer(x.shape, weight.shape)[0])
    conv.locally_connected(spec, y, x, weight, bias)
    return y


@op
def linear(spec, new, x, weight, bias=None):
    y = new((len(x), len(weight)))
    conv.linear(y, x, weight, bias, spec.activation, spec.activation_param)
    return y


# --- pooling


@op
def pool2d(spec, new, x):
    shape, *indices = spec.infer(x.shape)
    y, found = new(shape), [np.empty(shape, np.int64) for _ in indices]
    if y.size:
        (p, q), (r, s), (sh, sw), (dh, dw) = shape[2:], spec.kernel, spec.stride, spec.dilation
        top, left = spec.padding[0][0], spec.padding[1][0]
        reach = max((q - 1) * sw + (s - 1) * dw + 1, left + 1)
        sizes = [*x.shape[2:], p, q, r, s, sh, sw, dh, dw, top, left, reach, spec.kind == "max"]
        each, sizes = product(shape[:2]), np.array(sizes, np.int64)
        if found:
            planes.pool_with_indices(each, flat(x), sizes, y.reshape(-1), found[0].reshape(-1))
        else:
            planes.pool(each, flat(x), sizes, _divisors(spec, x.shape, (p, q)), y.reshape(-1))
    return (y, *found)


def _divisors(spec, x, out_hw) -> Array:
    """How many taps each window averages; none but for averages."""
    if spec.kind != "avg":
        return NONE
    counts = []
    for axis in range(2):
        before, after = spec.padding[axis] if spec.count_include_pad else (0, 0)
        first = np.arange(out_hw[axis]) * spec.stride[axis] - spec.padding[axis][0]
        taps = first[:, None] + np.arange(spec.kernel[axis]) * spec.dilation[axis]
        counts.append(((taps >= -before) & (taps < x[2 + axis] + after)).sum(axis=1))
    return np.outer(*counts).astype(np.float32).reshape(-1)


@op
def global_pool2d(spec, new, x):
    (h, w) = x.shape[2:]
    return _windows(new, x, [(0, h)], [(0, w)], spec.kind == "max")


@op
def adaptive_avg_pool2d(spec, new, x):
    return _windows(new, x, *(spec.windows(size, count) for size, count in zip(x.shape[2:], spec.output_size)), False)


def _windows(new, x, rows, columns, largest: bool):
    y = new((*x.shape[:2], len(rows), len(columns)))
    if y.size:
        rows, columns = (np.array(bounds, np.int64).reshape(-1) for bounds in (rows, columns))
        sizes = np.array(x.shape[2:])
        planes.pool_windows(product(x.shape[:2]), flat(x), sizes, rows, columns, int(largest), y.reshape(-1))
    return y


@op
def roi_max_pool(spec, new, x, rois):
    (shape,) = spec.infer(x.shape, rois.shape)
    y = new(shape)
    if y.size:
        bounds = []
        for image, *corners in rois.tolist():
            rows, columns = spec.cells(corners, x.shape[2:])
            bounds += [int(image), *(bound for cell in (*rows, *columns) for bound in cell)]
        sizes = np.array([*x.shape[1:], *spec.output_size])
        planes.pool_regions(len(rois) * x.shape[1], flat(x), sizes, np.array(bounds, np.int64), y.reshape(-1))
    return y


# --- normalisation


@op
def batch_norm(spec, new, x, mean, var, weight=None, bias=None):
    scale, shift = scale_and_shift(spec, mean, var, weight, bias)
    y = new(x.shape)
    if y.size:
        slope = np.float32(spec.activation_param or 0.0)
        planes_of_x, size = product(x.shape[:2]), product(x.shape[2:])
        given = flat(x), scale, shift
        products.scale_planes(planes_of_x, *given, size, CODES[spec.activation], slope, y.reshape(-1))
    return y


def scale_and_shift(spec, mean, var, weight, bias) -> tuple[Array, Array]:
    """y = x scale + shift, both computed in float64."""
    scale = 1.0 / np.sqrt(var.astype(np.float64) + spec.eps)
    scale = scale if weight is None else scale * weight
    shift = (0.0 if bias is None else bias) - mean * scale
    return scale.astype(np.float32), shift.astype(np.float32)


@op
def local_response_norm(spec, new, x):
    y = new(x.shape)
    if y.size:
        around = spec.size // 2, (spec.size - 1) // 2
        powers = (np.float32(v) for v in (spec.factor, spec.k, spec.beta))
        size = product(x.shape[2:])
        units = len(x) * conv.spans_of(size)
        planes.normalise_responses(units, flat(x), x.shape[1], size, *around, *powers, y.reshape(-1))
    return y


@op
def softmax(spec, new, x):
    y = new(x.shape)
    if y.size:
        axis = spec.axis % x.ndim
        size, inner = x.shape[axis], product(x.shape[axis + 1 :])
        planes.softmax(y.size // size, flat(x), size, inner, int(spec.log), y.reshape(-1))
    return y


# --- element-wise


@op
def activation(spec, new, x):
    y = new(x.shape)
    y[...] = x
    conv.activate_all(y, spec.kind, spec.param)
    return y


@op
def add(spec, new, a, b):
    return _combine(spec, new, a, b, np.add)


@op
def mul(spec, new, a, b):
    return _combine(spec, new, a, b, np.multiply)


def _combine(spec, new, a, b, ufunc):
    (shape,) = spec.infer(a.shape, b.shape)
    y = new(shape)
    if not y.size:
        return y
    kind, slope = CODES[spec.activation], np.float32(spec.activation_param or 0.0)
    if a.shape != shape:  # both commute
        a, b = b, a
    rows = _rows(shape, b.shape) if a.shape == shape else None
    if rows is None:  # both broadcast, or in the middle: NumPy's loops, float32 as they are
        ufunc(a, b, out=y)
        conv.activate_all(y, spec.activation, spec.activation_param)
        return y
    count, b_row, one = rows
    units = count * conv.spans_of(y.size // count)
    which = int(ufunc is np.multiply)
    planes.combine(units, flat(a), flat(b), count, y.size // count, b_row, one, which, kind, slope, y.reshape(-1))
    return y


def _rows(shape, b) -> tuple[int, int, int] | None:
    """(rows, floats from one row of b to the next, whether b has one number for each): of `b` broadcast to `shape`;
    None where it does not fit: b has no ones, ones in front, or ones behind."""
    b = (1,) * (len(shape) - len(b)) + b
    if b == shape:
        return 1, 0, 0
    split = next((i for i in range(len(shape) + 1) if b == shape[:i] + (1,) * (len(shape) - i)), None)
    if split is not None:
        return product(shape[:split]), 1, 1
    split = next((i for i in range(len(shape) + 1) if b == (1,) * i + shape[i:]), None)
    return None if split is None else (product(shape[:split]), 0, 0)
