"""Kernels of what looks at planes or rows by themselves: pooling, normalisation, softmax, element-wise operations."""

from __future__ import annotations

import math

import numpy as np

from .arithmetic import INFINITY, ZERO, activate, exp, total
from .compiled import helper, kernel
from .tiles import claim

SPAN = 4096  # floats of one unit where every element stands for itself


@helper
def spans_of(size):
    """How many units so many elements are."""
    return (size + SPAN - 1) // SPAN


@helper
def _larger(a, b):
    """The larger; NaN is larger than anything."""
    return a if a > b or a != a else b


# --- pooling


@kernel("xixy")
def pool(counter, units, x, sizes, divisors, y):
    """Each plane's windows: first the taps of a column are joined into one row, then columns. Positions outside hold
    -inf, or 0 for sums; `divisors` (P Q) for averages."""
    h, w, rows, columns, r_size, s_size, sh, sw, dh, dw, top, left, reach, largest = sizes
    plane = claim(counter)
    while plane < units:
        joined = np.empty(reach, np.float32)
        nothing = -INFINITY if largest else ZERO
        for p in range(rows):
            joined[:] = nothing
            for r in range(r_size):
                row = p * sh + r * dh - top
                if 0 <= row < h:
                    count = min(w, reach - left)
                    _join(joined[left : left + count], x[(plane * h + row) * w :], 1, largest)
            out = y[(plane * rows + p) * columns : (plane * rows + p + 1) * columns]
            out[:] = nothing
            for s in range(s_size):
                _join(out, joined[s * dw :], sw, largest)
            if divisors.size:
                by = divisors[p * columns : (p + 1) * columns]
                for q in range(columns):
                    out[q] /= by[q]
        plane = claim(counter)


@helper
def _join(y, x, step, largest):
    """Every step-th of x into y."""
    if largest and step == 1:
        for i in range(y.size):
            y[i] = _larger(y[i], x[i])
    elif largest and step == 2:
        for i in range(y.size):
            y[i] = _larger(y[i], x[2 * i])
    elif largest:
        for i in range(y.size):
            y[i] = _larger(y[i], x[step * i])
    else:
        for i in range(y.size):
            y[i] += x[step * i]


@kernel("xiyj")
def pool_with_indices(counter, units, x, sizes, y, indices):
    """The first largest of each window, and where in its plane it is."""
    h, w, rows, columns, r_size, s_size, sh, sw, dh, dw, top, left, _, _ = sizes
    plane = claim(counter)
    while plane < units:
        for p in range(rows):
            for q in range(columns):
                best, place = -INFINITY, -1
                for r in range(r_size):
                    row = p * sh + r * dh - top
                    for s in range(s_size if 0 <= row < h else 0):
                        column = q * sw + s * dw - left
                        if 0 <= column < w:
                            v = x[(plane * h + row) * w + column]
                            if place < 0 or v > best or (v != v and best == best):
                                best, place = v, row * w + column
                at = (plane * rows + p) * columns + q
                y[at], indices[at] = best, place
        plane = claim(counter)


@kernel("xiiiny")
def pool_windows(counter, units, x, sizes, row_bounds, column_bounds, largest, y):
    """Windows from bounds[2 i] to bounds[2 i + 1] - 1: adaptive and global pooling."""
    h, w = sizes
    rows, columns = row_bounds.size // 2, column_bounds.size // 2
    plane = claim(counter)
    while plane < units:
        for p in range(rows):
            for q in range(columns):
                first, last = column_bounds[2 * q], column_bounds[2 * q + 1]
                made = -INFINITY if largest else ZERO
                for row in range(row_bounds[2 * p], row_bounds[2 * p + 1]):
                    at = (plane * h + row) * w + first
                    if largest:
                        for i in range(at, at + last - first):
                            made = _larger(made, x[i])
                    else:
                        made += total(x, at, last - first)
                if not largest:
                    made /= np.float32((row_bounds[2 * p + 1] - row_bounds[2 * p]) * (last - first))
                y[(plane * rows + p) * columns + q] = made
        plane = claim(counter)


@kernel("xiiy")
def pool_regions(counter, units, x, sizes, bounds, y):
    """The largest of each cell of each region, 0 where it is empty. Of each region, bounds holds its image and the
    first row of each row of cells and the one behind its last, then the columns likewise."""
    channels, h, w, rows, columns = sizes
    unit = claim(counter)
    while unit < units:
        region, channel = divmod(unit, channels)
        here = region * (1 + 2 * rows + 2 * columns)
        plane = (bounds[here] * channels + channel) * h
        for p in range(rows):
            top, bottom = bounds[here + 1 + 2 * p], bounds[here + 2 + 2 * p]
            for q in range(columns):
                first, last = bounds[here + 1 + 2 * rows + 2 * q], bounds[here + 2 + 2 * rows + 2 * q]
                made = -INFINITY if top < bottom and first < last else ZERO
                for row in range(top, bottom):
                    for i in range((plane + row) * w + first, (plane + row) * w + last):
                        made = _larger(made, x[i])
                y[(unit * rows + p) * columns + q] = made
        unit = claim(counter)


# --- normalisation


@kernel("xnnnnfffy")
def normalise_responses(counter, units, x, channels, size, before, after, factor, k, beta, y):
    """y = x / (k + factor sum of the squares of the channels around)^beta; a unit is SPAN positions of an image."""
    spans = spans_of(size)
    unit = claim(counter)
    while unit < units:
        image, span = divmod(unit, spans)
        first = span * SPAN
        count = min(SPAN, size - first)
        base = np.empty(count, np.float32)
        for c in range(channels):
            for i in range(count):
                base[i] = ZERO
            for j in range(max(0, c - before), min(channels, c + after + 1)):
                other = x[(image * channels + j) * size + first :]
                for i in range(count):
                    base[i] += other[i] * other[i]
            at = (image * channels + c) * size + first
            out, given = y[at : at + count], x[at : at + count]
            for i in range(count):
                base[i] = k + factor * base[i]
            if beta == np.float32(0.75):
                for i in range(count):
                    out[i] = given[i] / (math.sqrt(base[i]) * math.sqrt(math.sqrt(base[i])))
            elif beta == np.float32(0.5):
                for i in range(count):
                    out[i] = given[i] / math.sqrt(base[i])
            else:
                for i in range(count):
                    out[i] = given[i] / np.float32(np.float64(base[i]) ** np.float64(beta))
        unit = claim(counter)


@kernel("xnnny")
def softmax(counter, units, x, size, inner, log, y):
    """Along the middle axis of (outer, size, inner); a unit is one vector."""
    unit = claim(counter)
    while unit < units:
        at = unit // inner * size * inner + unit % inner
        largest, weight = -INFINITY, 0.0
        for i in range(at, at + size * inner, inner):
            largest = _larger(largest, x[i])
        for i in range(at, at + size * inner, inner):
            y[i] = exp(x[i] - largest)
            weight += np.float64(y[i])
        if log:
            for i in range(at, at + size * inner, inner):
                y[i] = (x[i] - largest) - np.float32(math.log(weight))
        else:
            for i in range(at, at + size * inner, inner):
                y[i] = y[i] / np.float32(weight)
        unit = claim(counter)


# --- element-wise


@kernel("nfy")
def activate_all(counter, units, kind, slope, y):
    """y = act(y)."""
    unit = claim(counter)
    while unit < units:
        activate(y, unit * SPAN, min(SPAN, y.size - unit * SPAN), kind, slope)
        unit = claim(counter)


@kernel("xxnnnnnnfy")
def combine(counter, units, a, b, rows, a_row, b_row, b_one, product, kind, slope, y):
    """Row by row y = act(a + b), or a b: rows of a and b lie a_row and b_row floats apart (0: the same for all), and of
    b there may be one number for a row (b_one)."""
    size = y.size // rows
    spans = spans_of(size)
    unit = claim(counter)
    while unit < units:
        row, span = divmod(unit, spans)
        first = span * SPAN
        count = min(SPAN, size - first)
        at = row * size + first
        out, mine, other = y[at : at + count], a[row * a_row + first :], b[row * b_row + (0 if b_one else first) :]
        if b_one:
            v = other[0]
            for i in range(count):
                out[i] = mine[i] * v if product else mine[i] + v
        else:
            for i in range(count):
                out[i] = mine[i] * other[i] if product else mine[i] + other[i]
        activate(y, at, count, kind, slope)
        unit = claim(counter)
