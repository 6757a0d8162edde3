"""What the loops are made of: the indices of a shape, a pixel or the zero around an image, how many windows fit."""

from __future__ import annotations

import itertools


def grid(shape):
    return itertools.product(*map(range, shape))


def pixel(x, n, c, h, w) -> float:
    inside = 0 <= h < x.shape[2] and 0 <= w < x.shape[3]
    return float(x[n, c, h, w]) if inside else 0.0


def out_size(size, kernel, stride, pads, dilation):
    count = 0
    while count * stride + dilation * (kernel - 1) < size + sum(pads):
        count += 1
    return count
