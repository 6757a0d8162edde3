"""Every operation again, as loops over Python floats: nothing shared with the oracle but the Spec's attributes."""

from __future__ import annotations

import itertools
import math

import numpy as np


def _grid(shape):
    return itertools.product(*map(range, shape))


def _pixel(x, n, c, h, w) -> float:
    inside = 0 <= h < x.shape[2] and 0 <= w < x.shape[3]
    return float(x[n, c, h, w]) if inside else 0.0


def _out_size(size, kernel, stride, pads, dilation):
    count = 0
    while count * stride + dilation * (kernel - 1) < size + sum(pads):
        count += 1
    return count


def act(kind, param, v: float) -> float:
    if kind == "relu":
        return v if v > 0 else 0.0
    if kind == "relu6":
        return min(max(v, 0.0), 6.0)
    if kind == "leaky_relu":
        return v if v > 0 else param * v
    if kind == "sigmoid":
        return 1 / (1 + math.exp(-v))
    if kind == "tanh":
        return math.tanh(v)
    if kind == "silu":
        return v / (1 + math.exp(-v))
    if kind == "hardsigmoid":
        return min(max((v + 3) / 6, 0.0), 1.0)
    if kind == "hardswish":
        return v * min(max((v + 3) / 6, 0.0), 1.0)
    if kind == "gelu":
        return 0.5 * v * math.erfc(-v / math.sqrt(2))
    assert kind is None
    return v


def conv2d(spec, x, weight, bias, residual, scale=None, shift=None):
    if scale is not None:
        x = x.astype(np.float64)
        for at in _grid(x.shape):
            x[at] = act(spec.prologue, None, x[at] * float(scale[at[1]]) + float(shift[at[1]]))
    (sh, sw), (top, _), (left, _), (dh, dw) = spec.stride, *spec.padding, spec.dilation
    k_total, c_group, r_size, s_size = weight.shape
    p_size = _out_size(x.shape[2], r_size, sh, spec.padding[0], dh)
    q_size = _out_size(x.shape[3], s_size, sw, spec.padding[1], dw)
    y = np.zeros((x.shape[0], k_total, p_size, q_size))
    for n, k, p, q in _grid(y.shape):
        first = k // (k_total // spec.groups) * c_group
        v = 0.0 if bias is None else float(bias[k])
        v += 0.0 if residual is None else float(residual[n, k, p, q])
        for c, r, s in _grid((c_group, r_size, s_size)):
            v += float(weight[k, c, r, s]) * _pixel(x, n, first + c, p * sh - top + r * dh, q * sw - left + s * dw)
        y[n, k, p, q] = act(spec.activation, spec.activation_param, v)
    return (y,)


def fused_block(spec, x, expand_w, expand_b, depthwise_w, depthwise_b, project_w, project_b, residual):
    stages = [(expand_w, expand_b), (depthwise_w, depthwise_b)] + [(project_w, project_b)] * (project_w is not None)
    for i, (stage, *_) in enumerate(spec.stages(x, expand_w, None, depthwise_w, None, project_w)):
        (x,) = conv2d(stage, x, *stages[i], residual if i == len(stages) - 1 else None)
    return (x,)


def locally_connected2d(spec, x, weight, bias):
    (sh, sw), (top, _), (left, _) = spec.stride, *spec.padding
    p_size, q_size, k_size, *taps = weight.shape
    y = np.zeros((x.shape[0], k_size, p_size, q_size))
    for n, k, p, q in _grid(y.shape):
        v = 0.0 if bias is None else float(bias[k] if bias.ndim == 1 else bias[k, p, q])
        for c, r, s in _grid(taps):
            v += float(weight[p, q, k, c, r, s]) * _pixel(x, n, c, p * sh - top + r, q * sw - left + s)
        y[n, k, p, q] = v
    return (y,)


def im2col(spec, x):
    (kr, ks), (sh, sw), (top, _), (left, _), (dh, dw) = spec.kernel, spec.stride, *spec.padding, spec.dilation
    p_size = _out_size(x.shape[2], kr, sh, spec.padding[0], dh)
    q_size = _out_size(x.shape[3], ks, sw, spec.padding[1], dw)
    y = np.zeros((x.shape[0], x.shape[1] * kr * ks, p_size * q_size))
    for n, c, r, s, p, q in _grid((x.shape[0], x.shape[1], kr, ks, p_size, q_size)):
        value = _pixel(x, n, c, p * sh - top + r * dh, q * sw - left + s * dw)
        y[n, (c * kr + r) * ks + s, p * q_size + q] = value
    return (y,)


def linear(spec, x, weight, bias):
    y = np.zeros((x.shape[0], weight.shape[0]))
    for n, o in _grid(y.shape):
        v = sum(float(a) * float(b) for a, b in zip(x[n], weight[o])) + (0.0 if bias is None else float(bias[o]))
        y[n, o] = act(spec.activation, spec.activation_param, v)
    return (y,)


def _pool_count(size, kernel, stride, pads, dilation, ceil):
    if dilation * (kernel - 1) + 1 > size + sum(pads):
        return int(ceil)  # one window that hangs over
    count = _out_size(size, kernel, stride, pads, dilation)
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
    for n, c, p, q in _grid(y.shape):
        values, counted = [], 0
        for r, s in _grid(spec.kernel):
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
    for n, c, _, _ in _grid(y.shape):
        values = [float(v) for v in x[n, c].ravel()]
        y[n, c] = max(values) if spec.kind == "max" else sum(values) / len(values)
    return (y,)


def adaptive_avg_pool2d(spec, x):
    (height, width), (p_size, q_size) = x.shape[2:], spec.output_size
    y = np.zeros((*x.shape[:2], p_size, q_size))
    for n, c, p, q in _grid(y.shape):
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
        for r, c, p, q in _grid(y.shape):
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


def batch_norm(spec, x, mean, var, weight, bias):
    y = np.zeros(x.shape)
    for at in _grid(x.shape):
        c = at[1]
        v = (float(x[at]) - float(mean[c])) / math.sqrt(float(var[c]) + spec.eps)
        v = v * (1.0 if weight is None else float(weight[c])) + (0.0 if bias is None else float(bias[c]))
        y[at] = act(spec.activation, spec.activation_param, v)
    return (y,)


def local_response_norm(spec, x):
    y = np.zeros(x.shape)
    alpha = spec.alpha if spec.alpha_is_sum else spec.alpha / spec.size
    for n, c, h, w in _grid(x.shape):
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
    for n, c, h, w in _grid(x.shape):
        v[n, c, h, w] = float(x[n, c, h, w]) - weighted_mean(x, n, h, w)
    for n in range(n_size):
        deviation = {(h, w): math.sqrt(weighted_mean(v * v, n, h, w)) for h, w in _grid((height, width))}
        typical = sum(deviation.values()) / len(deviation)
        for c, h, w in _grid(x.shape[1:]):
            y[n, c, h, w] = v[n, c, h, w] / max(deviation[h, w], typical, spec.eps)
    return (y,)


def activation(spec, x):
    y = np.zeros(x.shape)
    for at in _grid(x.shape):
        y[at] = act(spec.kind, spec.param, float(x[at]))
    return (y,)


def _binary(spec, a, b, combine):
    shape = np.broadcast_shapes(a.shape, b.shape)
    y = np.zeros(shape)

    def element(v, at):
        at = at[len(at) - v.ndim :]
        return float(v[tuple(0 if size == 1 else i for i, size in zip(at, v.shape))])

    for at in _grid(shape):
        y[at] = act(spec.activation, spec.activation_param, combine(element(a, at), element(b, at)))
    return (y,)


def add(spec, a, b):
    return _binary(spec, a, b, lambda u, v: u + v)


def mul(spec, a, b):
    return _binary(spec, a, b, lambda u, v: u * v)


def softmax(spec, x):
    y = np.zeros(x.shape)
    rows, out = np.moveaxis(x, spec.axis, -1), np.moveaxis(y, spec.axis, -1)
    for at in _grid(rows.shape[:-1]):
        row = [float(v) for v in rows[at]]
        total = sum(math.exp(v) for v in row)
        out[at] = [math.log(math.exp(v) / total) if spec.log else math.exp(v) / total for v in row]
    return (y,)


def concat(spec, *arrays):
    axis = spec.axis % arrays[0].ndim
    shape = list(arrays[0].shape)
    shape[axis] = sum(a.shape[axis] for a in arrays)
    y = np.zeros(shape)
    begin = 0
    for a in arrays:
        for at in _grid(a.shape):
            y[(*at[:axis], at[axis] + begin, *at[axis + 1 :])] = a[at]
        begin += a.shape[axis]
    return (y,)


def channel_shuffle(spec, x):
    y = np.zeros(x.shape)
    per_group = x.shape[1] // spec.groups
    for n, c, h, w in _grid(x.shape):
        y[n, c % per_group * spec.groups + c // per_group, h, w] = x[n, c, h, w]
    return (y,)


def pad(spec, x):
    (top, bottom), (left, right) = spec.padding
    y = np.full((*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right), spec.value)
    for n, c, h, w in _grid(x.shape):
        y[n, c, h + top, w + left] = x[n, c, h, w]
    return (y,)


def flatten(spec, x):
    n_size, c_size, height, width = x.shape
    y = np.zeros((n_size, c_size * height * width))
    for n, c, h, w in _grid(x.shape):
        y[n, (c * height + h) * width + w if spec.order == "CHW" else (h * width + w) * c_size + c] = x[n, c, h, w]
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
    for at in _grid(x.shape):
        y[tuple(at[axis] for axis in spec.axes)] = x[at]
    return (y,)
