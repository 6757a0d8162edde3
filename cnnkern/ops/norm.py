"""Normalisation at inference: batch, local response, local contrast."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .base import Counts, Spec, io_bytes, product
from .checks import as_bool, as_float, as_int, check_image, check_same, check_shape
from .eltwise import activation_counts, activation_fields


def _as_positive(argument: str, value) -> float:
    number = as_float(argument, value)
    if number <= 0:
        raise ValueError(f"{argument} must be positive, got {number}")
    return number


@dataclass(frozen=True)
class BatchNormSpec(Spec):
    """y = act((x - mean) / sqrt(var + eps) * weight + bias), per channel (axis 1; rank >= 2), with the running
    statistics (Ioffe and Szegedy, 2015). x (N, C, ...), mean, var (C,), weight, bias (C,) or None -> the shape of x.

    Theory: scale and shift once per channel (add, 2 special, mul if weighted, fma), then one fma per element and the
    activation's.
    """

    eps: float = 1e-5
    activation: str | None = None
    activation_param: float | None = None
    op = "batch_norm"
    inputs = ("x", "mean", "var", "weight", "bias")

    def __post_init__(self):
        eps = as_float("eps", self.eps)
        if eps < 0:
            raise ValueError(f"eps must not be negative, got {eps}")
        object.__setattr__(self, "eps", eps)
        object.__setattr__(self, "activation_param", activation_fields(self.activation, self.activation_param)[1])

    def infer(self, x, mean, var, weight=None, bias=None):
        x = check_shape(self.op, "x", x)
        if len(x) < 2:
            raise ValueError(f"{self.op}: x must have rank 2 or more (N, C, ...), got shape {x}")
        for argument, shape in (("mean", mean), ("var", var)):
            if shape is None:
                raise TypeError(f"{self.op}: {argument} is required")
            check_same(self.op, argument, shape, (x[1],))
        check_same(self.op, "weight", weight, (x[1],))
        check_same(self.op, "bias", bias, (x[1],))
        return (x,)

    def theory(self, x, mean, var, weight=None, bias=None):
        per_channel = Counts(add=1, special=2, mul=int(weight is not None), fma=1)
        per_element = Counts(fma=product(x)) + activation_counts(self.activation, product(x))
        return per_channel * x[1] + per_element + Counts(**io_bytes([x, mean, var, weight, bias], [x]))


@dataclass(frozen=True)
class LocalResponseNormSpec(Spec):
    """Normalisation across channels (Krizhevsky et al., 2012): x (N, C, H, W) -> the same shape,
    y[c] = x[c] / (k + a sum_{j in window(c)} x[j]^2)^beta, the window being channels c - size//2 ... c + (size-1)//2
    inside [0, C); a = alpha / size (torch, Caffe, ONNX), or a = alpha with alpha_is_sum (the paper).

    k must be positive and alpha not negative, so that the base is positive whatever x is.
    Theory, per element: 2 mul (square, scaling), size - 1 add, one fma, one special (power); windows cut at the first
    and last channels counted whole.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    alpha_is_sum: bool = False
    op = "local_response_norm"

    def __post_init__(self):
        fix = object.__setattr__
        fix(self, "size", as_int("size", self.size, 1))
        fix(self, "alpha", as_float("alpha", self.alpha))
        fix(self, "beta", as_float("beta", self.beta))
        fix(self, "k", _as_positive("k", self.k))
        as_bool("alpha_is_sum", self.alpha_is_sum)
        if self.alpha < 0:
            raise ValueError(f"alpha must not be negative, got {self.alpha}")

    @property
    def factor(self) -> float:
        """What the sum of squares is multiplied by."""
        return self.alpha if self.alpha_is_sum else self.alpha / self.size

    def infer(self, x):
        return (check_image(self.op, x),)

    def theory(self, x):
        per_element = Counts(mul=2, add=self.size - 1, fma=1, special=1)
        return per_element * product(x) + Counts(**io_bytes([x], [x]))

    def reduction(self, x):
        """K = size."""
        return self.size


@dataclass(frozen=True)
class LocalContrastNormSpec(Spec):
    """Local mean 0, local deviation 1, across all maps (Jarrett et al., 2009): x (N, C, H, W) -> the same shape.

    v[c,h,w] = x[c,h,w] - m[h,w],  m[h,w] = sum_{j,r,s} g[r] g[s] x[j, h+r, w+s] / (C G[h,w])
    y[c,h,w] = v[c,h,w] / max(sigma[h,w], mean(sigma), eps),
                            sigma[h,w]^2 = sum_{j,r,s} g[r] g[s] v[j, h+r, w+s]^2 / (C G[h,w])
    with g = window(), r and s from -(size//2) to size//2 inside the image, G[h,w] the sum of the g[r] g[s] that lie
    inside (so a constant image gives 0 up to its edges), and mean(sigma) over one image's positions.

    Theory, per position: 2 C size^2 fma, C mul (squares), C + 1 add, 2 mul (1 / (C G)), 2 max, C + 1 special
    (divisions and the root); windows cut at the edges counted whole.
    """

    size: int = 7
    eps: float = 1e-5
    op = "local_contrast_norm"

    def __post_init__(self):
        object.__setattr__(self, "size", as_int("size", self.size, 1))
        object.__setattr__(self, "eps", _as_positive("eps", self.eps))
        if self.size % 2 == 0:
            raise ValueError(f"size must be odd, got {self.size}")

    def window(self) -> tuple[float, ...]:
        """The Gaussian along one axis, standard deviation size / 4, summing to 1."""
        half, sigma = self.size // 2, self.size / 4
        weights = [math.exp(-((i / sigma) ** 2) / 2) for i in range(-half, half + 1)]
        total = math.fsum(weights)
        return tuple(w / total for w in weights)

    def infer(self, x):
        return (check_image(self.op, x),)

    def theory(self, x):
        n, c, h, w = x
        per_position = Counts(fma=2 * c * self.size**2, mul=c + 2, add=c + 1, max=2, special=c + 1)
        return per_position * (n * h * w) + Counts(**io_bytes([x], [x]))

    def reduction(self, x):
        """K = C size^2."""
        return x[1] * self.size**2
