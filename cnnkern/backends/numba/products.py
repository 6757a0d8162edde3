"""Kernels of what multiplies: packing, convolution, linear and locally connected layers.

A convolution is one sum of rows: output row p of a filter is the sum over taps (c, r, s) of weight times a row of x. If
the image lies padded, and for strides apart by phase (every stride-th row and column together), the row that a tap sees
begins a fixed offset from that of the output, for all rows at once: with rows `wide` floats apart in both,

    y[k, p wide + q] = sum over t of w[k, t] x[offsets[t] + p wide + q]

so an image is one long row, of which the last wide - Q floats of each row are computed and dropped.
"""

from __future__ import annotations

import numpy as np

from .arithmetic import SIX, ZERO, activate, fill
from .compiled import helper, kernel
from .tiles import ROWS, WIDTH, claim, dots_each, dots_four, dots_one, tiles

DEPTH = 512  # taps summed at once: their weights (16 KiB) stay in the first cache, and long sums are sums of sums
SEGMENT = 2048  # likewise of linear layers
OUTPUTS = 16  # of a linear layer, per unit

_big1, _big2, _big3 = (tiles[ROWS, v] for v in (1, 2, 3))
_four1, _four2, _four3 = (tiles[4, v] for v in (1, 2, 3))
_one1, _one2, _one3 = (tiles[1, v] for v in (1, 2, 3))


@kernel("xxxiiiy")
def pack(counter, units, x, scale, shift, row_phases, column_phases, sizes, y):
    """Every plane of x as `_pack_plane` lays it, one after the other."""
    floats = row_phases.size * column_phases.size * sizes[8] * sizes[9]
    plane = claim(counter)
    while plane < units:
        _pack_plane(x, plane, scale, shift, row_phases, column_phases, sizes, y, plane * floats, False)
        plane = claim(counter)


@helper
def _pack_plane(x, plane, scale, shift, row_phases, column_phases, sizes, y, at, blank):
    """A plane (h, w) -> y[at:] (phases, phases, rows, wide): element (a, b) of phase (i, j) is pixel (a sh + i - top,
    b sw + j - left), 0 outside; with `scale` the pixel times its channel's, plus shift, clamped (1: relu, 2: relu6).
    `blank`: the zeros are there already."""
    channels, h, w, sh, sw, top, left = sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], sizes[7]
    rows, wide, clamp = sizes[8], sizes[9], sizes[10]
    for i in row_phases:
        for j in column_phases:
            first = min(max(0, (left - j + sw - 1) // sw), wide)
            last = max(first, min(wide, (w + left - j + sw - 1) // sw))
            for a in range(rows):
                row = a * sh + i - top
                inside = 0 <= row < h and first < last
                if not blank:
                    fill(y, at, first if inside else wide, ZERO)
                    fill(y, at + last, wide - last, ZERO)
                if inside:
                    _copy(y, at + first, last - first, x, (plane * h + row) * w + first * sw + j - left, sw)
                    if scale.size:
                        _scale(y, at + first, last - first, scale[plane % channels], shift[plane % channels], clamp)
                at += wide


@helper
def _copy(y, at, count, x, x_at, step):
    i, j = np.uint64(at), np.uint64(x_at)
    if step == 1:
        for b in range(np.uint64(count)):
            y[i + b] = x[j + b]
    elif step == 2:
        for b in range(np.uint64(count)):
            y[i + b] = x[j + np.uint64(2) * b]
    else:
        for b in range(np.uint64(count)):
            y[i + b] = x[j + np.uint64(step) * b]


@helper
def _scale(y, at, count, factor, term, clamp):
    i = np.uint64(at)
    for b in range(np.uint64(count)):
        v = y[i + b] * factor + term
        y[i + b] = ZERO if clamp and v < ZERO else (SIX if clamp == 2 and v > SIX else v)


# --- convolution


@kernel("xxxiiiyxixxify")
def convolve(
    counter, units, x, scale, shift, row_phases, column_phases, packing, seen, w, offsets, bias, residual, sizes, slope,
    y,
):  # fmt: skip
    """y (N, groups, k_group, rows, columns) as the module's text says, w being (groups, panels, taps, panel); a unit is
    an image's group's rows (a chunk of them) of some panels of filters. The image lies packed in `seen`; where groups
    have one channel each, and so none is read twice, a unit packs that of x for itself."""
    groups, chunks, panels, some, parts, alone = sizes[0], sizes[7], sizes[9], sizes[10], sizes[11], sizes[15]
    longest = (min(sizes[6], sizes[3]) * sizes[5] + WIDTH - 1) // WIDTH * WIDTH
    sums = np.empty(sizes[8] * longest, np.float32)
    source = np.zeros(sizes[13] + WIDTH, np.float32) if alone else seen
    unit = claim(counter)
    while unit < units:
        rest, part = divmod(unit, 1 if alone else parts)
        rest, which = divmod(rest, 1 if alone else chunks)
        image, group = divmod(rest, groups)
        first, last = (0, panels) if alone else (part * some, min(panels, (part + 1) * some))
        if alone:
            _pack_plane(x, unit, scale, shift, row_phases, column_phases, packing, source, 0, True)
        x_at = 0 if alone else image * sizes[12] + group * sizes[13]
        for chunk in range(which, chunks if alone else which + 1):
            _convolve_rows(
                image, group, chunk, first, last, source, x_at, sums, w, offsets, bias, residual, sizes, slope, y
            )  # fmt: skip
        unit = claim(counter)


@helper
def _convolve_rows(
    image, group, which, first, last, seen, x_at, sums, w, offsets, bias, residual, sizes, slope, y
):  # fmt: skip
    """Chunk `which` of a group's rows, of the panels from `first` to the one before `last`."""
    groups, k_group, taps, rows, columns, wide = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    chunk, panel, panels, kind = sizes[6], sizes[8], sizes[9], sizes[14]
    top = which * chunk
    mine = min(chunk, rows - top)
    vectors = ((mine - 1) * wide + columns + WIDTH - 1) // WIDTH
    for p in range(first, last):
        w_at = (group * panels + p) * taps * panel
        for t in range(0, taps, DEPTH):
            _sweep(
                panel, sums, w, w_at + t * panel, seen, x_at + top * wide, offsets, t, min(DEPTH, taps - t), t > 0,
                vectors,
            )  # fmt: skip
        for i in range(min(panel, k_group - p * panel)):
            k = group * k_group + p * panel + i
            at = ((image * groups * k_group + k) * rows + top) * columns
            term = bias[k] if bias.size else ZERO
            if wide == columns:
                _finish(y, at, sums, i * vectors * WIDTH, mine * columns, term, residual)
            else:
                for row in range(mine):
                    _finish(y, at + row * columns, sums, i * vectors * WIDTH + row * wide, columns, term, residual)
            activate(y, at, mine * columns, kind, slope)


@helper
def _sweep(panel, sums, w, w_at, x, x_at, offsets, t, count, more, vectors):
    """The sums of one panel over all of its vectors, as evenly as they go into tiles."""
    row, j = vectors * WIDTH, 0
    while vectors:
        take = 2 if vectors == 4 else min(vectors, 3)
        if panel == ROWS:
            if take == 3:
                _big3(sums, j, row, w, w_at, x, x_at + j, offsets, t, count, more)
            elif take == 2:
                _big2(sums, j, row, w, w_at, x, x_at + j, offsets, t, count, more)
            else:
                _big1(sums, j, row, w, w_at, x, x_at + j, offsets, t, count, more)
        elif panel == 4:
            if take == 3:
                _four3(sums, j, row, w, w_at, x, x_at + j, offsets, t, count, more)
            elif take == 2:
                _four2(sums, j, row, w, w_at, x, x_at + j, offsets, t, count, more)
            else:
                _four1(sums, j, row, w, w_at, x, x_at + j, offsets, t, count, more)
        elif take == 3:
            _one3(sums, j, row, w, w_at, x, x_at + j, offsets, t, count, more)
        elif take == 2:
            _one2(sums, j, row, w, w_at, x, x_at + j, offsets, t, count, more)
        else:
            _one1(sums, j, row, w, w_at, x, x_at + j, offsets, t, count, more)
        vectors -= take
        j += take * WIDTH


@helper
def _finish(y, at, sums, s_at, count, term, residual):
    i, j = np.uint64(at), np.uint64(s_at)
    if residual.size:
        for q in range(np.uint64(count)):
            y[i + q] = sums[j + q] + term + residual[i + q]
    else:
        for q in range(np.uint64(count)):
            y[i + q] = sums[j + q] + term


# --- linear


@kernel("xxxnnnnfy")
def multiply(counter, units, x, w, bias, images, depth, outputs, kind, slope, y):
    """y (images, outputs) = act(x (images, depth) w (outputs, depth)^T + bias)."""
    unit = claim(counter)
    while unit < units:
        first = unit * OUTPUTS
        count = min(OUTPUTS, outputs - first)
        _multiply_rows(y, first, outputs, w, first * depth, count, x, images, depth)
        for n in range(images):
            at = n * outputs + first
            if bias.size:
                for i in range(count):
                    y[at + i] += bias[first + i]
            activate(y, at, count, kind, slope)
        unit = claim(counter)


@helper
def _multiply_rows(y, y_at, y_row, w, w_at, rows, x, images, depth):
    """y[y_at + n y_row + i] = the product of row i of w, from w_at on, and row n of x."""
    for t in range(0, depth, SEGMENT):
        whole = min(SEGMENT, depth - t) // WIDTH * WIDTH
        n = 0
        while n < images:
            four = images - n >= 4
            i = 0
            while i < rows:
                at, w_here, x_here = y_at + n * y_row + i, w_at + i * depth + t, n * depth + t
                if rows - i < 4:
                    for m in range(n, n + 4 if four else n + 1):
                        x_here, at = m * depth + t, y_at + m * y_row + i
                        dots_one(y, at, y_row, w, w_here, depth, x, x_here, depth, whole, t > 0)
                    i += 1
                elif four:
                    dots_four(y, at, y_row, w, w_here, depth, x, x_here, depth, whole, t > 0)
                    i += 4
                else:
                    dots_each(y, at, y_row, w, w_here, depth, x, x_here, depth, whole, t > 0)
                    i += 4
            n += 4 if four else 1
    left = depth // WIDTH * WIDTH  # SEGMENT is a multiple of WIDTH
    for n in range(images):
        for i in range(rows if left < depth else 0):
            made = ZERO
            for t in range(left, depth):
                made += w[w_at + i * depth + t] * x[n * depth + t]
            y[y_at + n * y_row + i] += made


@kernel("xxxiy")
def connect_locally(counter, units, x, w, bias, sizes, y):
    """y (N, K, P, Q) from weights of its own for each position, (P, Q, K, C, R, S), and an image that lies padded. The
    bias has K or K P Q elements, or none."""
    images, channels, h, wide, outputs, r_size, s_size, sh, sw, p_size, q_size = sizes
    depth, places = channels * r_size * s_size, p_size * q_size
    place = claim(counter)
    while place < units:
        p, q = divmod(place, q_size)
        seen, made = np.empty(images * depth, np.float32), np.empty(images * outputs, np.float32)
        at = 0
        for plane in range(images * channels):
            for r in range(r_size):
                source = (plane * h + p * sh + r) * wide + q * sw
                for s in range(s_size):
                    seen[at] = x[source + s]
                    at += 1
        _multiply_rows(made, 0, outputs, w, place * outputs * depth, outputs, seen, images, depth)
        for n in range(images):
            for k in range(outputs):
                term = ZERO if not bias.size else bias[k] if bias.size == outputs else bias[k * places + place]
                y[(n * outputs + k) * places + place] = made[n * outputs + k] + term
        place = claim(counter)


@kernel("xxxnnfy")
def scale_planes(counter, units, x, scale, shift, size, kind, slope, y):
    """y (planes, size) = act(x scale[c] + shift[c]), the channel c going round with the planes: batch norm."""
    plane = claim(counter)
    while plane < units:
        factor, term = scale[plane % scale.size], shift[plane % scale.size]
        i = np.uint64(plane * size)
        for j in range(np.uint64(size)):
            y[i + j] = x[i + j] * factor + term
        activate(y, plane * size, size, kind, slope)
        plane = claim(counter)
