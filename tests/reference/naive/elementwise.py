"""Loops of functions of one element, or of two from shapes that broadcast."""

from __future__ import annotations

import math

import numpy as np

from .loops import grid


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


def activation(spec, x):
    y = np.zeros(x.shape)
    for at in grid(x.shape):
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

    for at in grid(shape):
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
    for at in grid(x.shape):
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
