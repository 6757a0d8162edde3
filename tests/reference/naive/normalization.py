"""Loops of normalization: by given statistics, over neighbouring channels or pixels, softmax."""

from __future__ import annotations

import itertools
import math

import numpy as np

from .elementwise import act
from .loops import grid


def batch_norm(spec, x, mean, var, weight, bias):
    y = np.zeros(x.shape)
    for at in grid(x.shape):
        c = at[1]
        v = (float(x[at]) - float(mean[c])) / math.sqrt(float(var[c]) + spec.eps)
        v = v * (1.0 if weight is None else float(weight[c])) + (0.0 if bias is None else float(bias[c]))
        y[at] = act(spec.activation, spec.activation_param, v)
    return (y,)


def local_response_norm(spec, x):
    y = np.zeros(x.shape)
    alpha = spec.alpha if spec.alpha_is_sum else spec.alpha / spec.size
    for n, c, h, w in grid(x.shape):
        window = range(max(0, c - spec.size // 2), min(x.shape[1], c + (spec.size - 1) // 2 + 1))
        total = sum(float(x[n, j, h, w]) ** 2 for j in window)
        y[n, c, h, w] = float(x[n, c, h, w]) / (spec.k + alpha * total) ** spec.beta
    return (y,)


def local_contrast_norm(spec, x):
    half, sigma = spec.size // 2, spec.size / 4
    n_size, c_size, height, width = x.shape

    def weighted_mean(values, n, h, w):
        total = weights = 0.0
        for r, s in itertools.product(range(-half, half + 1), repeat=2):
            if 0 <= h + r < height and 0 <= w + s < width:
                g = math.exp(-(r * r + s * s) / (2 * sigma * sigma))
                for c in range(c_size):
                    total += g * float(values[n, c, h + r, w + s])
                    weights += g
        return total / weights

    v, y = np.zeros(x.shape), np.zeros(x.shape)
    for n, c, h, w in grid(x.shape):
        v[n, c, h, w] = float(x[n, c, h, w]) - weighted_mean(x, n, h, w)
    for n in range(n_size):
        deviation = {(h, w): math.sqrt(weighted_mean(v * v, n, h, w)) for h, w in grid((height, width))}
        typical = sum(deviation.values()) / len(deviation)
        for c, h, w in grid(x.shape[1:]):
            y[n, c, h, w] = v[n, c, h, w] / max(deviation[h, w], typical, spec.eps)
    return (y,)


def softmax(spec, x):
    y = np.zeros(x.shape)
    rows, out = np.moveaxis(x, spec.axis, -1), np.moveaxis(y, spec.axis, -1)
    for at in grid(rows.shape[:-1]):
        row = [float(v) for v in rows[at]]
        total = sum(math.exp(v) for v in row)
        out[at] = [math.log(math.exp(v) / total) if spec.log else math.exp(v) / total for v in row]
    return (y,)
