"""Loops of convolutions, of what is fused from them, and of their windows as columns."""

from __future__ import annotations

import numpy as np

from .elementwise import act
from .loops import grid, out_size, pixel


def conv2d(spec, x, weight, bias, residual, scale=None, shift=None):
    if scale is not None:
        x = x.astype(np.float64)
        for at in grid(x.shape):
            x[at] = act(spec.prologue, None, x[at] * float(scale[at[1]]) + float(shift[at[1]]))
    (sh, sw), (top, _), (left, _), (dh, dw) = spec.stride, *spec.padding, spec.dilation
    k_total, c_group, r_size, s_size = weight.shape
    p_size = out_size(x.shape[2], r_size, sh, spec.padding[0], dh)
    q_size = out_size(x.shape[3], s_size, sw, spec.padding[1], dw)
    y = np.zeros((x.shape[0], k_total, p_size, q_size))
    for n, k, p, q in grid(y.shape):
        first = k // (k_total // spec.groups) * c_group
        v = 0.0 if bias is None else float(bias[k])
        v += 0.0 if residual is None else float(residual[n, k, p, q])
        for c, r, s in grid((c_group, r_size, s_size)):
            v += float(weight[k, c, r, s]) * pixel(x, n, first + c, p * sh - top + r * dh, q * sw - left + s * dw)
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
    for n, k, p, q in grid(y.shape):
        v = 0.0 if bias is None else float(bias[k] if bias.ndim == 1 else bias[k, p, q])
        for c, r, s in grid(taps):
            v += float(weight[p, q, k, c, r, s]) * pixel(x, n, c, p * sh - top + r, q * sw - left + s)
        y[n, k, p, q] = v
    return (y,)


def im2col(spec, x):
    (kr, ks), (sh, sw), (top, _), (left, _), (dh, dw) = spec.kernel, spec.stride, *spec.padding, spec.dilation
    p_size = out_size(x.shape[2], kr, sh, spec.padding[0], dh)
    q_size = out_size(x.shape[3], ks, sw, spec.padding[1], dw)
    y = np.zeros((x.shape[0], x.shape[1] * kr * ks, p_size * q_size))
    for n, c, r, s, p, q in grid((x.shape[0], x.shape[1], kr, ks, p_size, q_size)):
        value = pixel(x, n, c, p * sh - top + r * dh, q * sw - left + s * dw)
        y[n, (c * kr + r) * ks + s, p * q_size + q] = value
    return (y,)


def conv_transpose2d(spec, x, weight, bias):
    (sh, sw), (top, bottom), (left, right), (dh, dw) = spec.stride, *spec.padding, spec.dilation
    c_size, k_group, r_size, s_size = weight.shape
    p_size = (x.shape[2] - 1) * sh + dh * (r_size - 1) + 1 - top - bottom + spec.extra[0]
    q_size = (x.shape[3] - 1) * sw + dw * (s_size - 1) + 1 - left - right + spec.extra[1]
    y = np.zeros((x.shape[0], k_group * spec.groups, p_size, q_size))
    if bias is not None:
        for at in grid(y.shape):
            y[at] = bias[at[1]]
    for n, c, h, w in grid(x.shape):
        for k, r, s in grid((k_group, r_size, s_size)):
            p, q = h * sh - top + r * dh, w * sw - left + s * dw
            if 0 <= p < p_size and 0 <= q < q_size:
                y[n, c // (c_size // spec.groups) * k_group + k, p, q] += float(weight[c, k, r, s]) * float(
                    x[n, c, h, w]
                )
    return (y,)
