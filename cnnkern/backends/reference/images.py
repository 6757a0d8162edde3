"""Operations on images (N, C, H, W), and what networks put beside them: linear layers, activations, softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from .registry import Array, op

# --- windows


def _pad(x: Array, padding, value: float = 0.0) -> Array:
    return np.pad(x, ((0, 0), (0, 0), *padding), constant_values=value)


def _taps(x: Array, kernel, stride, dilation, out_hw) -> Iterator[tuple[int, int, Array]]:
    """For each filter tap (r, s), row by row: what it sees of the padded input, (N, C, P, Q)."""
    (sh, sw), (dh, dw), (p, q) = stride, dilation, out_hw
    for r in range(kernel[0]):
        for s in range(kernel[1]):
            yield r, s, x[:, :, r * dh : r * dh + (p - 1) * sh + 1 : sh, s * dw : s * dw + (q - 1) * sw + 1 : sw]


# --- convolution and linear


@op
def conv2d(spec, x, weight, bias=None, residual=None, scale=None, shift=None):
    """Tap by tap: y += w[:, :, r, s] x(shifted by r, s), one small matrix product per image and group."""
    ((n, k, p, q),) = spec.infer(*(a if a is None else a.shape for a in (x, weight, None, None, scale, shift)))
    if scale is not None:
        x = activate(spec.prologue, None, x * scale[:, None, None] + shift[:, None, None])
    g, (_, c, *kernel) = spec.groups, weight.shape
    y = np.zeros((n, g, k // g, p * q))
    for r, s, seen in _taps(_pad(x, spec.padding), kernel, spec.stride, spec.dilation, (p, q)):
        y += weight[:, :, r, s].reshape(g, k // g, c) @ seen.reshape(n, g, c, p * q)
    y = y.reshape(n, k, p, q)
    if bias is not None:
        y += bias[:, None, None]
    if residual is not None:
        y += residual
    return activate(spec.activation, spec.activation_param, y)


@op
def fused_block(spec, x, *others):
    """One convolution after the other."""
    for stage, *given in spec.stages(x, *others):
        x = conv2d(stage, x, *given)
    return x


@op
def locally_connected2d(spec, x, weight, bias=None):
    """y[n,k,p,q] = sum over c, r, s of its own weight[p,q,k,c,r,s] and what the window at (p, q) sees."""
    p, q, k, c, *kernel = weight.shape
    y = np.zeros((x.shape[0], k, p, q))
    for r, s, seen in _taps(_pad(x, spec.padding), kernel, spec.stride, (1, 1), (p, q)):
        y += np.einsum("pqkc,ncpq->nkpq", weight[..., r, s], seen)
    if bias is not None:
        y += bias if bias.ndim == 3 else bias[:, None, None]
    return y


@op
def im2col(spec, x):
    p, q = spec.output_hw(x.shape)
    n, c = x.shape[:2]
    seen = [tap for _, _, tap in _taps(_pad(x, spec.padding), spec.kernel, spec.stride, spec.dilation, (p, q))]
    return np.stack(seen, axis=2).reshape(n, c * len(seen), p * q)


@op
def linear(spec, x, weight, bias=None):
    y = x @ weight.T
    return activate(spec.activation, spec.activation_param, y if bias is None else y + bias)


# --- pooling


@op
def pool2d(spec, x):
    """Over the taps of every window. ceil_mode's last window may hang over: the input is padded that far."""
    (_, _, p, q), *_ = spec.infer(x.shape)
    reach = [
        (count - 1) * stride + dilation * (kernel - 1) + 1
        for count, stride, dilation, kernel in zip((p, q), spec.stride, spec.dilation, spec.kernel)
    ]
    padded = [size + sum(pad) for size, pad in zip(x.shape[2:], spec.padding)]
    overhang = [(0, max(0, far - size)) for far, size in zip(reach, padded)]

    def taps(plane: Array, value: float, padding_value: float) -> list[Array]:
        plane = _pad(_pad(plane, spec.padding, padding_value), overhang, value)
        return [tap for _, _, tap in _taps(plane, spec.kernel, spec.stride, spec.dilation, (p, q))]

    if spec.kind == "max":
        return _max_pool(spec, x, taps)
    y = sum(taps(x, 0.0, 0.0))
    if spec.kind == "avg":
        y = y / sum(taps(np.ones((1, 1, *x.shape[2:])), 0.0, 1.0 if spec.count_include_pad else 0.0))
    return y


def _max_pool(spec, x, taps):
    """The first largest of each window; a NaN is larger than anything."""
    positions = np.arange(x.shape[2] * x.shape[3], dtype=np.float64).reshape(1, 1, *x.shape[2:])
    best, index = -np.inf, -1.0
    for seen, position in zip(taps(x, -np.inf, -np.inf), taps(positions, -1.0, -1.0)):
        inside = position >= 0
        better = inside & ((index < 0) | (seen > best) | (np.isnan(seen) & ~np.isnan(best)))
        best, index = np.where(better, seen, best), np.where(better, position, index)
    return (best, index.astype(np.int64)) if spec.return_indices else best


@op
def global_pool2d(spec, x):
    return (x.max if spec.kind == "max" else x.mean)(axis=(2, 3), keepdims=True)


@op
def adaptive_avg_pool2d(spec, x):
    rows, columns = (spec.windows(size, count) for size, count in zip(x.shape[2:], spec.output_size))
    y = [[x[:, :, top:bottom, left:right].mean(axis=(2, 3)) for left, right in columns] for top, bottom in rows]
    return np.moveaxis(np.array(y), (0, 1), (2, 3))


@op
def roi_max_pool(spec, x, rois):
    y = np.zeros(spec.infer(x.shape, rois.shape)[0])
    for r, (image, *corners) in enumerate(rois.tolist()):
        rows, columns = spec.cells(corners, x.shape[2:])
        for (p, (top, bottom)), (q, (left, right)) in product(enumerate(rows), enumerate(columns)):
            if top < bottom and left < right:
                y[r, :, p, q] = x[int(image), :, top:bottom, left:right].max(axis=(1, 2))
    return y


# --- normalisation


@op
def batch_norm(spec, x, mean, var, weight=None, bias=None):
    along = (slice(None), *[None] * (x.ndim - 2))  # a vector over the channels, axis 1
    y = (x - mean[along]) / np.sqrt(var[along] + spec.eps)
    if weight is not None:
        y = y * weight[along]
    return activate(spec.activation, spec.activation_param, y if bias is None else y + bias[along])


@op
def local_response_norm(spec, x):
    before, after = spec.size // 2, (spec.size - 1) // 2
    squares = np.pad(x * x, ((0, 0), (before, after), (0, 0), (0, 0)))
    total = sum(squares[:, j : j + x.shape[1]] for j in range(spec.size))
    return x / (spec.k + spec.factor * total) ** spec.beta


@op
def local_contrast_norm(spec, x):
    v, scale = contrast(spec, x)
    return v / scale


def contrast(spec, x: Array) -> tuple[Array, Array]:
    """(v, its divisor): x less its local mean, (N, C, H, W); max(sigma, mean sigma, eps), (N, 1, H, W)."""
    v = x - _local_mean(spec, x)
    sigma = np.sqrt(_local_mean(spec, v * v))
    return v, np.maximum(np.maximum(sigma, sigma.mean(axis=(2, 3), keepdims=True)), spec.eps)


def _local_mean(spec, x: Array) -> Array:
    """The Gaussian-weighted mean over all maps and the part of the window inside the image: (N, 1, H, W)."""
    half, g = spec.size // 2, spec.window()

    def blur(plane: Array) -> Array:
        plane = _pad(plane, ((half, half), (half, half)))
        hw = (plane.shape[2] - 2 * half, plane.shape[3] - 2 * half)
        return sum(g[r] * g[s] * seen for r, s, seen in _taps(plane, (spec.size,) * 2, (1, 1), (1, 1), hw))

    return blur(x.mean(axis=1, keepdims=True)) / blur(np.ones((1, 1, *x.shape[2:])))


# --- element-wise


def _erfc(x: Array) -> Array:
    return np.asarray(np.frompyfunc(math.erfc, 1, 1)(x), np.float64)


ACTIVATIONS: dict[str, Callable[[Array, float | None], Array]] = {
    "relu": lambda x, _: np.maximum(x, 0),
    "relu6": lambda x, _: np.clip(x, 0, 6),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "sigmoid": lambda x, _: 1 / (1 + np.exp(-x)),
    "tanh": lambda x, _: np.tanh(x),
    "silu": lambda x, _: x / (1 + np.exp(-x)),
    "hardswish": lambda x, _: x * np.clip(x / 6 + 0.5, 0, 1),
    "hardsigmoid": lambda x, _: np.clip(x / 6 + 0.5, 0, 1),
    "gelu": lambda x, _: x / 2 * _erfc(-x / math.sqrt(2)),
}


def activate(kind: str | None, param: float | None, x: Array) -> Array:
    return x if kind is None else ACTIVATIONS[kind](x, param)


@op
def activation(spec, x):
    return activate(spec.kind, spec.param, x)


@op
def add(spec, a, b):
    return activate(spec.activation, spec.activation_param, a + b)


@op
def mul(spec, a, b):
    return activate(spec.activation, spec.activation_param, a * b)


@op
def softmax(spec, x):
    if not x.size:
        return x
    shifted = x - x.max(axis=spec.axis, keepdims=True)
    total = np.exp(shifted).sum(axis=spec.axis, keepdims=True)
    return shifted - np.log(total) if spec.log else np.exp(shifted) / total


# --- shapes


@op
def concat(spec, *arrays):
    return np.concatenate(arrays, axis=spec.axis)


@op
def channel_shuffle(spec, x):
    n, c, h, w = x.shape
    return x.reshape(n, spec.groups, c // spec.groups, h, w).swapaxes(1, 2).reshape(x.shape)


@op
def pad(spec, x):
    return _pad(x, spec.padding, spec.value)


@op
def flatten(spec, x):
    (out,) = spec.infer(x.shape)
    return (x.transpose(0, 2, 3, 1) if spec.order == "HWC" else x).reshape(out)


@op
def slice_(spec, x):
    axis, start, stop = spec.bounds(x.shape)
    return np.take(x, range(start, stop), axis=axis)


@op
def reshape(spec, x):
    return x.reshape(spec.infer(x.shape)[0])


@op
def transpose(spec, x):
    return x.transpose(spec.axes)


@op
def reorder(spec, x):
    return x
