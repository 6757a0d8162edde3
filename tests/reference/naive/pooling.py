"""Loops of pooling: windows, whole maps, cells, and regions of images."""

from __future__ import annotations

import math

import numpy as np

from .loops import grid, out_size


def _pool_count(size, kernel, stride, pads, dilation, ceil):
    if dilation * (kernel - 1) + 1 > size + sum(pads):
        return int(ceil)  # one window that hangs over
    count = out_size(size, kernel, stride, pads, dilation)
    if ceil:
        covered = (count - 1) * stride + dilation * (kernel - 1) + 1
        count += covered < size + sum(pads)
        count -= (count - 1) * stride - pads[0] >= size
    return count


def pool2d(spec, x):
    sizes = [
        _pool_count(*axis, spec.ceil_mode)
        for axis in zip(x.shape[2:], spec.kernel, spec.stride, spec.padding, spec.dilation)
    ]
    y = np.zeros((*x.shape[:2], *sizes))
    where = np.zeros(y.shape, np.int64)
    (sh, sw), (dh, dw), (pads_h, pads_w) = spec.stride, spec.dilation, spec.padding
    for n, c, p, q in grid(y.shape):
        values, counted = [], 0
        for r, s in grid(spec.kernel):
            h, w = p * sh - pads_h[0] + r * dh, q * sw - pads_w[0] + s * dw
            if 0 <= h < x.shape[2] and 0 <= w < x.shape[3]:
                values.append((float(x[n, c, h, w]), h * x.shape[3] + w))
            counted += h < x.shape[2] + pads_h[1] and w < x.shape[3] + pads_w[1]
        if spec.kind == "max":
            best = max(v for v, _ in values)
            y[n, c, p, q], where[n, c, p, q] = next((v, i) for v, i in values if v == best)
        else:
            total = sum(v for v, _ in values)
            by = counted if spec.count_include_pad else len(values)
            y[n, c, p, q] = total if spec.kind == "sum" else total / by
    return (y, where) if spec.return_indices else (y,)


def global_pool2d(spec, x):
    y = np.zeros((*x.shape[:2], 1, 1))
    for n, c, _, _ in grid(y.shape):
        values = [float(v) for v in x[n, c].ravel()]
        y[n, c] = max(values) if spec.kind == "max" else sum(values) / len(values)
    return (y,)


def adaptive_avg_pool2d(spec, x):
    (height, width), (p_size, q_size) = x.shape[2:], spec.output_size
    y = np.zeros((*x.shape[:2], p_size, q_size))
    for n, c, p, q in grid(y.shape):
        rows = range(math.floor(p * height / p_size), math.ceil((p + 1) * height / p_size))
        columns = range(math.floor(q * width / q_size), math.ceil((q + 1) * width / q_size))
        values = [float(x[n, c, h, w]) for h in rows for w in columns]
        y[n, c, p, q] = sum(values) / len(values)
    return (y,)


def roi_max_pool(spec, x, rois):
    f32 = np.float32

    def pixel(corner):
        at = f32(corner) * f32(spec.spatial_scale)
        whole = math.floor(abs(at)) if abs(at) < 2**40 else 2**40
        return (whole + (abs(at) - f32(whole) >= 0.5 and whole < 2**40)) * (-1 if at < 0 else 1)

    (_, channels, height, width), (p_size, q_size) = x.shape, spec.output_size
    y = np.zeros((len(rois), channels, p_size, q_size))
    with np.errstate(over="ignore"):
        for r, c, p, q in grid(y.shape):
            image, x1, y1, x2, y2 = rois[r]
            left, top = pixel(x1), pixel(y1)
            cell_h = f32(max(pixel(y2) - top + 1, 1)) / f32(p_size)
            cell_w = f32(max(pixel(x2) - left + 1, 1)) / f32(q_size)
            first_h, end_h = math.floor(f32(p) * cell_h), math.ceil(f32(p + 1) * cell_h)
            first_w, end_w = math.floor(f32(q) * cell_w), math.ceil(f32(q + 1) * cell_w)
            values = [
                float(x[int(image), c, h, w])
                for h in range(height)
                for w in range(width)
                if first_h <= h - top < end_h and first_w <= w - left < end_w
            ]
            y[r, c, p, q] = max(values, default=0.0)
    return (y,)
