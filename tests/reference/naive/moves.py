"""Loops of what moves values and computes none: concat, slices, shapes, padding. And of resampling along an axis."""

from __future__ import annotations

import math

import numpy as np

from .loops import grid


def concat(spec, *arrays):
    axis = spec.axis % arrays[0].ndim
    shape = list(arrays[0].shape)
    shape[axis] = sum(a.shape[axis] for a in arrays)
    y = np.zeros(shape)
    begin = 0
    for a in arrays:
        for at in grid(a.shape):
            y[(*at[:axis], at[axis] + begin, *at[axis + 1 :])] = a[at]
        begin += a.shape[axis]
    return (y,)


def channel_shuffle(spec, x):
    y = np.zeros(x.shape)
    per_group = x.shape[1] // spec.groups
    for n, c, h, w in grid(x.shape):
        y[n, c % per_group * spec.groups + c // per_group, h, w] = x[n, c, h, w]
    return (y,)


def pad(spec, x):
    (top, bottom), (left, right) = spec.padding
    y = np.full((*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right), spec.value)
    for n, c, h, w in grid(x.shape):
        y[n, c, h + top, w + left] = x[n, c, h, w]
    return (y,)


def flatten(spec, x):
    y = np.zeros((x.shape[0], math.prod(x.shape[1:])))
    order = [0, 2, 3, 1] if spec.order == "HWC" else range(x.ndim)
    columns = [0] * x.shape[0]
    for at in grid([x.shape[axis] for axis in order]):
        n = at[0]
        y[n, columns[n]] = x[tuple(at[list(order).index(axis)] for axis in range(x.ndim))]
        columns[n] += 1
    return (y,)


def slice(spec, x):
    indices = range(x.shape[spec.axis])[spec.start : spec.stop if spec.stop != 0 else None]
    y = [np.take(x, i, axis=spec.axis) for i in indices]
    return (np.stack(y, axis=spec.axis).astype(np.float64),)


def reorder(spec, x):
    return (x.astype(np.float64),)


def reshape(spec, x):
    flat = [float(v) for v in x.ravel()]
    shape = [x.shape[i] if v == 0 else v for i, v in enumerate(spec.shape)]
    if -1 in shape:
        copied = [i for i, v in enumerate(spec.shape) if v == 0]
        rest = math.prod(size for i, size in enumerate(x.shape) if i not in copied)
        shape[shape.index(-1)] = rest // math.prod(v for v in spec.shape if v > 0)
    return (np.array(flat).reshape(shape),)


def transpose(spec, x):
    y = np.zeros([x.shape[axis] for axis in spec.axes])
    for at in grid(x.shape):
        y[tuple(at[axis] for axis in spec.axes)] = x[at]
    return (y,)


def stride(spec, x):
    axis = spec.axis % x.ndim
    y = np.zeros((*x.shape[:axis], spec.count, *x.shape[axis + 1 :]))
    for at in grid(y.shape):
        y[at] = x[(*at[:axis], spec.start + at[axis] * spec.step, *at[axis + 1 :])]
    return (y,)


def _mirrored(i, size):
    while not 0 <= i < size:
        i = -i if i < 0 else 2 * (size - 1) - i
    return i


def pad_nd(spec, x):
    y = np.full([size + before + after for size, (before, after) in zip(x.shape, spec.pads)], spec.value)
    for at in grid(y.shape):
        inside = [i - before for i, (before, _) in zip(at, spec.pads)]
        if spec.mode == "edge":
            inside = [min(max(i, 0), size - 1) for i, size in zip(inside, x.shape)]
        elif spec.mode == "wrap":
            inside = [i % size for i, size in zip(inside, x.shape)]
        elif spec.mode == "reflect":
            inside = [_mirrored(i, size) for i, size in zip(inside, x.shape)]
        if all(0 <= i < size for i, size in zip(inside, x.shape)):
            y[at] = x[tuple(inside)]
    return (y,)


def expand(spec, x):
    rank = max(len(spec.shape), x.ndim)
    own, wanted = (1,) * (rank - x.ndim) + x.shape, (1,) * (rank - len(spec.shape)) + spec.shape
    y = np.zeros([b if a == 1 else a for a, b in zip(own, wanted)])
    for at in grid(y.shape):
        y[at] = x[tuple(0 if size == 1 else i for i, size in zip(at, own))[rank - x.ndim :]]
    return (y,)


def tile(spec, x):
    y = np.zeros([size * times for size, times in zip(x.shape, spec.repeats)])
    for at in grid(y.shape):
        y[at] = x[tuple(i % size for i, size in zip(at, x.shape))]
    return (y,)


def depth_to_space(spec, x):
    n_size, c_size, height, width = x.shape
    b, depth = spec.block, x.shape[1] // spec.block**2
    y = np.zeros((n_size, depth, height * b, width * b))
    for n, c, p, q in grid(y.shape):
        step = p % b * b + q % b
        y[n, c, p, q] = x[n, step * depth + c if spec.mode == "DCR" else c * b * b + step, p // b, q // b]
    return (y,)


def space_to_depth(spec, x):
    n_size, c_size, height, width = x.shape
    b = spec.block
    y = np.zeros((n_size, c_size * b * b, height // b, width // b))
    for n, c, h, w in grid(x.shape):
        y[n, (h % b * b + w % b) * c_size + c, h // b, w // b] = x[n, c, h, w]
    return (y,)


def resample(spec, x):
    axis = spec.axis % x.ndim
    y = np.zeros((*x.shape[:axis], len(spec.index), *x.shape[axis + 1 :]))
    for at in grid(y.shape):
        i = at[axis]
        seen = [float(x[(*at[:axis], j, *at[axis + 1 :])]) for j in spec.index[i]]
        y[at] = seen[0] if spec.weight is None else sum(w * v for w, v in zip(spec.weight[i], seen))
    return (y,)
