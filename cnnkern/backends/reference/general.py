"""Operations on arrays of any rank, and transposed convolution."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .registry import Array, op


@op
def conv_transpose2d(spec, x, weight, bias=None):
    """Tap by tap: what each input pixel adds to the output, uncut; then the padding is cut off."""
    ((n, k, p, q),) = spec.infer(x.shape, weight.shape)
    (top, bottom), (left, right) = spec.padding
    (sh, sw), (dh, dw), g = spec.stride, spec.dilation, spec.groups
    c, k_group, r_size, s_size = weight.shape
    h, w = x.shape[2:]
    y = np.zeros((n, g, k_group, p + top + bottom, q + left + right))
    images = x.reshape(n, g, c // g, h, w)
    filters = weight.reshape(g, c // g, k_group, r_size, s_size)
    for r in range(r_size):
        for s in range(s_size):
            rows, columns = slice(r * dh, r * dh + (h - 1) * sh + 1, sh), slice(s * dw, s * dw + (w - 1) * sw + 1, sw)
            y[..., rows, columns] += np.einsum("ngchw,gck->ngkhw", images, filters[..., r, s])
    y = y.reshape(n, k, *y.shape[3:])[:, :, top : top + p, left : left + q]
    return y if bias is None else y + bias[:, None, None]


def _erf(x: Array) -> Array:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), np.float64)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _gelu_tanh(x: Array) -> Array:
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


UNARY: dict[str, Callable[..., Array]] = {
    "neg": lambda x: -x,
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sqrt": np.sqrt,
    "reciprocal": lambda x: 1 / x,
    "exp": np.exp,
    "log": np.log,
    "erf": _erf,
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
    "hardsigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
    "elu": lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    "selu": lambda x, alpha, beta: beta * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    "celu": lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
    "thresholded_relu": lambda x, alpha: np.where(np.isnan(x) | (x > alpha), x, 0.0),
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "gelu_tanh": _gelu_tanh,
    "swish": lambda x, alpha: x / (1 + np.exp(-alpha * x)),
}


@op
def unary(spec, x):
    return UNARY[spec.kind](x, *(value for value in (spec.alpha, spec.beta) if value is not None))


BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "sub": np.subtract,
    "div": np.divide,
    "pow": np.power,
    "min": np.minimum,
    "max": np.maximum,
    "prelu": lambda a, b: np.where(a > 0, a, a * b),
}


@op
def binary(spec, a, b):
    return BINARY[spec.kind](a, b)


def _log_sum_exp(x: Array, **over) -> Array:
    largest = x.max(axis=over["axis"], keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    total = np.log(np.exp(x - shift).sum(axis=over["axis"], keepdims=True)) + shift
    return total if over["keepdims"] else total.squeeze(over["axis"])


REDUCTIONS: dict[str, Callable[..., Array]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": lambda x, **over: x.max(initial=-np.inf, **over),
    "min": lambda x, **over: x.min(initial=np.inf, **over),
    "prod": np.prod,
    "l1": lambda x, **over: np.abs(x).sum(**over),
    "l2": lambda x, **over: np.sqrt((x * x).sum(**over)),
    "sum_square": lambda x, **over: (x * x).sum(**over),
    "log_sum": lambda x, **over: np.log(x.sum(**over)),
    "log_sum_exp": _log_sum_exp,
}


@op
def reduce(spec, x):
    return np.asarray(REDUCTIONS[spec.kind](x, axis=spec.over(x.ndim), keepdims=spec.keepdims), np.float64)


@op
def matmul(spec, a, b):
    return np.asarray(np.matmul(a, b), np.float64)


@op
def resample(spec, x):
    x = np.moveaxis(x, spec.axis, -1)
    seen = x[..., np.array(spec.index, int).reshape(-1, spec.taps)]  # (.., outputs, taps)
    y = seen[..., 0] if spec.weight is None else (seen * np.array(spec.weight).reshape(-1, spec.taps)).sum(-1)
    return np.moveaxis(y, -1, spec.axis)


# --- moves


@op
def stride(spec, x):
    return np.take(x, [spec.start + i * spec.step for i in range(spec.count)], axis=spec.axis)


@op
def pad_nd(spec, x):
    return np.pad(x, spec.pads, spec.mode, **({"constant_values": spec.value} if spec.mode == "constant" else {}))


@op
def expand(spec, x):
    return np.broadcast_to(x, spec.infer(x.shape)[0])


@op
def tile(spec, x):
    return np.tile(x, spec.repeats)


@op
def depth_to_space(spec, x):
    (n, c, h, w), b = x.shape, spec.block
    if spec.mode == "DCR":
        y = x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        y = x.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return y.reshape(spec.infer(x.shape)[0])


@op
def space_to_depth(spec, x):
    (n, c, h, w), b = x.shape, spec.block
    return x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4).reshape(spec.infer(x.shape)[0])
