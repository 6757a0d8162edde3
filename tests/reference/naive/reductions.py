"""Loops of what takes whole axes together: linear layers, matrix products, reductions."""

from __future__ import annotations

import math

import numpy as np

from .elementwise import act
from .loops import grid


def linear(spec, x, weight, bias):
    y = np.zeros((x.shape[0], weight.shape[0]))
    for n, o in grid(y.shape):
        v = sum(float(a) * float(b) for a, b in zip(x[n], weight[o])) + (0.0 if bias is None else float(bias[o]))
        y[n, o] = act(spec.activation, spec.activation_param, v)
    return (y,)


def matmul(spec, a, b):
    rows, columns = a.reshape(1, -1) if a.ndim == 1 else a, b.reshape(-1, 1) if b.ndim == 1 else b
    lead = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    rows, columns = (np.broadcast_to(v, (*lead, *v.shape[-2:])) for v in (rows, columns))
    y = np.zeros((*lead, rows.shape[-2], columns.shape[-1]))
    for at in grid(y.shape):
        (*where, i, j) = at
        for k in range(a.shape[-1]):
            y[at] += float(rows[(*where, i, k)]) * float(columns[(*where, k, j)])
    y = y[..., 0] if b.ndim == 1 else y
    return ((y[..., 0] if b.ndim == 1 else y[..., 0, :]) if a.ndim == 1 else y,)


def reduce(spec, x):
    over = [axis % x.ndim for axis in spec.axes]
    groups = {}
    for at in grid([1 if axis in over else size for axis, size in enumerate(x.shape)]):
        groups[at] = []
    for at in grid(x.shape):
        groups[tuple(0 if axis in over else i for axis, i in enumerate(at))].append(float(x[at]))
    infinite = math.inf
    value = {
        "sum": sum,
        "mean": lambda v: sum(v) / len(v) if v else math.nan,
        "max": lambda v: max(v, default=-infinite),
        "min": lambda v: min(v, default=infinite),
        "prod": math.prod,
        "l1": lambda v: sum(map(abs, v)),
        "l2": lambda v: math.sqrt(sum(u * u for u in v)),
        "sum_square": lambda v: sum(u * u for u in v),
        "log_sum": lambda v: math.log(sum(v)) if v else -infinite,
        "log_sum_exp": lambda v: math.log(sum(map(math.exp, v))) if v else -infinite,
    }[spec.kind]
    y = np.zeros([1 if axis in over else size for axis, size in enumerate(x.shape)])
    for at, values in groups.items():
        y[at] = value(values)
    return (y if spec.keepdims else y.reshape([size for axis, size in enumerate(x.shape) if axis not in over]),)
