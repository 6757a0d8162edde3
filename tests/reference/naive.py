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
    return _pairs(a, b, lambda u, v: act(spec.activation, spec.activation_param, combine(u, v)))


def _pairs(a, b, combine):
    shape = np.broadcast_shapes(a.shape, b.shape)
    y = np.zeros(shape)

    def element(v, at):
        at = at[len(at) - v.ndim :]
        return float(v[tuple(0 if size == 1 else i for i, size in zip(at, v.shape))])

    for at in _grid(shape):
        y[at] = combine(element(a, at), element(b, at))
    return (y,)


def add(spec, a, b):
    return _binary(spec, a, b, lambda u, v: u + v)


def mul(spec, a, b):
    return _binary(spec, a, b, lambda u, v: u * v)


def _function(spec, v: float) -> float:
    kind, a, b = spec.kind, spec.alpha, spec.beta
    plain = {
        "neg": lambda: -v,
        "abs": lambda: v if v > 0 else -v,
        "sign": lambda: float((v > 0) - (v < 0)),
        "floor": lambda: float(math.floor(v)),
        "ceil": lambda: float(math.ceil(v)),
        "round": lambda: float(round(v)),
        "sqrt": lambda: math.sqrt(v),
        "reciprocal": lambda: 1 / v,
        "exp": lambda: math.exp(v),
        "log": lambda: math.log(v),
        "erf": lambda: 1 - math.erfc(v) if v > 0 else math.erfc(-v) - 1,
        "affine": lambda: a * v + b,
        "clip": lambda: a if v < a else b if v > b else v,
        "hardsigmoid": lambda: min(1.0, max(0.0, a * v + b)),
        "elu": lambda: v if v > 0 else a * (math.exp(v) - 1),
        "selu": lambda: b * v if v > 0 else b * a * (math.exp(v) - 1),
        "celu": lambda: v if v > 0 else a * (math.exp(v / a) - 1),
        "thresholded_relu": lambda: v if v > a else 0.0,
        "softplus": lambda: math.log(1 + math.exp(v)),
        "softsign": lambda: v / (1 + abs(v)),
        "mish": lambda: v * math.tanh(math.log(1 + math.exp(v))),
        "gelu_tanh": lambda: 0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v * v * v))),
        "swish": lambda: v / (1 + math.exp(-a * v)),
    }
    return plain[kind]()


def unary(spec, x):
    y = np.zeros(x.shape)
    for at in _grid(x.shape):
        y[at] = _function(spec, float(x[at]))
    return (y,)


def binary(spec, a, b):
    combine = {
        "sub": lambda u, v: u - v,
        "div": lambda u, v: u / v,
        "pow": lambda u, v: u**v,
        "min": lambda u, v: u if u < v else v,
        "max": lambda u, v: u if u > v else v,
        "prelu": lambda u, v: u if u > 0 else u * v,
    }
    return _pairs(a, b, combine[spec.kind])


def reduce(spec, x):
    over = [axis % x.ndim for axis in spec.axes]
    groups = {}
    for at in _grid([1 if axis in over else size for axis, size in enumerate(x.shape)]):
        groups[at] = []
    for at in _grid(x.shape):
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


def matmul(spec, a, b):
    rows, columns = a.reshape(1, -1) if a.ndim == 1 else a, b.reshape(-1, 1) if b.ndim == 1 else b
    lead = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    rows, columns = (np.broadcast_to(v, (*lead, *v.shape[-2:])) for v in (rows, columns))
    y = np.zeros((*lead, rows.shape[-2], columns.shape[-1]))
    for at in _grid(y.shape):
        (*where, i, j) = at
        for k in range(a.shape[-1]):
            y[at] += float(rows[(*where, i, k)]) * float(columns[(*where, k, j)])
    y = y[..., 0] if b.ndim == 1 else y
    return ((y[..., 0] if b.ndim == 1 else y[..., 0, :]) if a.ndim == 1 else y,)


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
    y = np.zeros((x.shape[0], math.prod(x.shape[1:])))
    order = [0, 2, 3, 1] if spec.order == "HWC" else range(x.ndim)
    columns = [0] * x.shape[0]
    for at in _grid([x.shape[axis] for axis in order]):
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
    for at in _grid(x.shape):
        y[tuple(at[axis] for axis in spec.axes)] = x[at]
    return (y,)


def stride(spec, x):
    axis = spec.axis % x.ndim
    y = np.zeros((*x.shape[:axis], spec.count, *x.shape[axis + 1 :]))
    for at in _grid(y.shape):
        y[at] = x[(*at[:axis], spec.start + at[axis] * spec.step, *at[axis + 1 :])]
    return (y,)


def _mirrored(i, size):
    while not 0 <= i < size:
        i = -i if i < 0 else 2 * (size - 1) - i
    return i


def pad_nd(spec, x):
    y = np.full([size + before + after for size, (before, after) in zip(x.shape, spec.pads)], spec.value)
    for at in _grid(y.shape):
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
    for at in _grid(y.shape):
        y[at] = x[tuple(0 if size == 1 else i for i, size in zip(at, own))[rank - x.ndim :]]
    return (y,)


def tile(spec, x):
    y = np.zeros([size * times for size, times in zip(x.shape, spec.repeats)])
    for at in _grid(y.shape):
        y[at] = x[tuple(i % size for i, size in zip(at, x.shape))]
    return (y,)


def depth_to_space(spec, x):
    n_size, c_size, height, width = x.shape
    b, depth = spec.block, x.shape[1] // spec.block**2
    y = np.zeros((n_size, depth, height * b, width * b))
    for n, c, p, q in _grid(y.shape):
        step = p % b * b + q % b
        y[n, c, p, q] = x[n, step * depth + c if spec.mode == "DCR" else c * b * b + step, p // b, q // b]
    return (y,)


def space_to_depth(spec, x):
    n_size, c_size, height, width = x.shape
    b = spec.block
    y = np.zeros((n_size, c_size * b * b, height // b, width // b))
    for n, c, h, w in _grid(x.shape):
        y[n, (h % b * b + w % b) * c_size + c, h // b, w // b] = x[n, c, h, w]
    return (y,)


def resample(spec, x):
    axis = spec.axis % x.ndim
    y = np.zeros((*x.shape[:axis], len(spec.index), *x.shape[axis + 1 :]))
    for at in _grid(y.shape):
        i = at[axis]
        seen = [float(x[(*at[:axis], j, *at[axis + 1 :])]) for j in spec.index[i]]
        y[at] = seen[0] if spec.weight is None else sum(w * v for w, v in zip(spec.weight[i], seen))
    return (y,)


def conv_transpose2d(spec, x, weight, bias):
    (sh, sw), (top, bottom), (left, right), (dh, dw) = spec.stride, *spec.padding, spec.dilation
    c_size, k_group, r_size, s_size = weight.shape
    p_size = (x.shape[2] - 1) * sh + dh * (r_size - 1) + 1 - top - bottom + spec.extra[0]
    q_size = (x.shape[3] - 1) * sw + dw * (s_size - 1) + 1 - left - right + spec.extra[1]
    y = np.zeros((x.shape[0], k_group * spec.groups, p_size, q_size))
    if bias is not None:
        for at in _grid(y.shape):
            y[at] = bias[at[1]]
    for n, c, h, w in _grid(x.shape):
        for k, r, s in _grid((k_group, r_size, s_size)):
            p, q = h * sh - top + r * dh, w * sw - left + s * dw
            if 0 <= p < p_size and 0 <= q < q_size:
                y[n, c // (c_size // spec.groups) * k_group + k, p, q] += float(weight[c, k, r, s]) * float(
                    x[n, c, h, w]
                )
    return (y,)
