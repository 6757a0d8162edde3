"""Convolution through the Fourier transform: an eager operation on NumPy's, for whoever asks for algo="fft".

The convolution theorem: the transform of a convolution is the product of the transforms (Mathieu et al., "Fast Training
of Convolutional Networks through FFTs", 2013). With X and W the transforms of the padded image and of the filter, both
filled up with zeros to one size L, sum_c X_c conj(W_kc) is that of their cross-correlation. Circular products wrap
around; with L at least the padded image they wrap into positions that are no outputs. Transforms are float64.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from .. import config
from ..errors import UnsupportedError
from ..ops.base import Counts, Shape
from ..ops.conv import Conv2dSpec
from . import reference
from .trace import print_step

BLOCK_BYTES = 64 << 20  # of transformed filters at a time


def call(spec: Conv2dSpec, arrays: Sequence[np.ndarray | None], out=None, precision: str = "float32"):
    """One convolution, as `Backend.call`.

    Raises:
        UnsupportedError: under precision "strict", which excludes it. ValueError: a NaN or an infinity, which would
            spread over every output.
    """
    if precision == "strict":
        raise UnsupportedError("algo 'fft' is excluded by precision 'strict'; 'direct' serves any convolution")
    shapes = [None if a is None else a.shape for a in arrays]
    (shape,) = spec.infer(*shapes)
    x, weight, bias, residual, scale, shift = (*arrays, *(None,) * (6 - len(arrays)))
    for name, array in (("x", x), ("weight", weight)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: finite values are accepted by algo 'fft', which would spread others everywhere")
    start = time.perf_counter()
    if scale is not None:
        x = reference.activate(spec.prologue, None, x * scale[:, None, None].astype(np.float64) + shift[:, None, None])
    y = _correlate(spec, x, weight, shape)
    for term in (None if bias is None else bias[:, None, None], residual):
        if term is not None:
            y += term
    with np.errstate(all="ignore"):
        y = reference.activate(spec.activation, spec.activation_param, y).astype(np.float32)
    if config.get("verbose"):
        note = f"about {model(spec, *shapes[:2]).flops:,} FLOP by the model of its transforms, not counted"
        print_step("cpu", "numpy_conv_fft", spec, shapes, time.perf_counter() - start, note)
    if out is None:
        return (np.ascontiguousarray(y),)
    out[...] = y
    return (out,)


def model(spec: Conv2dSpec, x: Shape, weight: Shape) -> Counts:
    """What it should cost, from the textbook: a real transform of L = Lh Lw values takes 5/2 L log2 L operations, half
    of them taken as additions, a complex multiply-accumulate takes four. A model: no run is counted.

    Example:
        >>> from cnnkern import ops
        >>> model(ops.Conv2dSpec(), (1, 1, 8, 8), (1, 1, 3, 3)).flops
        3200
    """
    (n, k, *_), sizes = spec.infer(x, weight)[0], _sizes(spec, x)
    values = math.prod(sizes)
    transforms = n * x[1] + k * weight[1] + n * k
    operations = round(transforms * 2.5 * values * math.log2(values)) if values > 1 else 0
    products = n * k * weight[1] * sizes[0] * (sizes[1] // 2 + 1)
    return Counts(fma=4 * products, mul=operations // 2, add=operations - operations // 2)


def _correlate(spec: Conv2dSpec, x: np.ndarray, weight: np.ndarray, shape: Shape) -> np.ndarray:
    """The bare convolution in float64, (N, K, P, Q)."""
    (n, k, p, q), groups, (_, depth, *kernel) = shape, spec.groups, weight.shape
    y = np.empty(shape)
    if y.size == 0:
        return y
    sizes, (dh, dw), (sh, sw) = _sizes(spec, x.shape), spec.dilation, spec.stride
    seen = np.fft.rfft2(np.pad(x.astype(np.float64), ((0, 0), (0, 0), *spec.padding)), sizes)
    seen = seen.reshape(n, groups, depth, -1).transpose(3, 1, 0, 2)  # frequency, group, image, channel
    each = max(1, BLOCK_BYTES // (depth * groups * 16 * len(seen)))
    per_group = k // groups
    filters = weight.reshape(groups, per_group, depth, *kernel)
    for first in range(0, per_group, each):
        some = filters[:, first : first + each]
        spread = np.zeros((*some.shape[:3], (kernel[0] - 1) * dh + 1, (kernel[1] - 1) * dw + 1))
        spread[..., ::dh, ::dw] = some
        made = np.conj(np.fft.rfft2(spread, sizes)).reshape(*some.shape[:3], -1).transpose(3, 0, 2, 1)
        product = (seen @ made).transpose(2, 1, 3, 0).reshape(n, groups, some.shape[1], sizes[0], -1)
        back = np.fft.irfft2(product, sizes)[..., : (p - 1) * sh + 1 : sh, : (q - 1) * sw + 1 : sw]
        y.reshape(n, groups, per_group, p, q)[:, :, first : first + each] = back
    return y


def _sizes(spec: Conv2dSpec, x: Shape) -> tuple[int, int]:
    """The padded image's, or a little more where that has fewer large prime factors."""
    h, w = (size + sum(pads) for size, pads in zip(x[2:], spec.padding))
    return _smooth(h), _smooth(w)


def _smooth(size: int) -> int:
    """The next product of 2, 3 and 5: transforms of others are slow."""
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0 and rest:
                rest //= factor
        if rest <= 1:
            return max(size, 1)
        size += 1
