"""ATen's element-wise operations in cnnkern's."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..ops import (
    ActivationSpec,
    AddSpec,
    BinarySpec,
    LocalResponseNormSpec,
    MulSpec,
    PadNdSpec,
    Pool2dSpec,
    ReshapeSpec,
    SliceSpec,
    UnarySpec,
)
from .aten import lowers
from .emitter import Emitter
from .errors import Decline

ACTIVATIONS = ("relu", "relu6", "sigmoid", "tanh", "silu", "hardswish", "hardsigmoid")
UNARIES = {
    "neg": "neg", "abs": "abs", "sign": "sign", "sgn": "sign", "floor": "floor", "ceil": "ceil", "round": "round",
    "sqrt": "sqrt", "reciprocal": "reciprocal", "exp": "exp", "log": "log", "erf": "erf", "mish": "mish",
}  # fmt: skip


def number(value: Any) -> float | None:
    """A Python number as a float; None for what is none."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def unary(e: Emitter, x: str, kind: str, *parameters: float) -> str:
    return e.emit(UnarySpec(kind, *map(float, parameters)), x)


@lowers(*ACTIVATIONS)
def activation(e: Emitter, node, self):
    return e.emit(ActivationSpec(node.target._schema.name.split("::")[1]), e.value(self))


@lowers(*UNARIES)
def plain(e: Emitter, node, self):
    return unary(e, e.value(self), UNARIES[node.target._schema.name.split("::")[1]])


@lowers("leaky_relu")
def leaky_relu(e: Emitter, node, self, negative_slope=0.01):
    return e.emit(ActivationSpec("leaky_relu", float(negative_slope)), e.value(self))


@lowers("hardtanh", "clamp", "clip")
def clamp(e: Emitter, node, self, min=None, max=None, min_val=None, max_val=None):
    hard = "hardtanh" in str(node.target)
    low, high = min if min_val is None else min_val, max if max_val is None else max_val
    low, high = -1.0 if hard and low is None else low, 1.0 if hard and high is None else high
    x = e.value(self)
    if any(bound is not None and number(bound) is None for bound in (low, high)):  # bounds that are tensors
        for kind, bound in (("max", low), ("min", high)):
            x = x if bound is None else e.emit(BinarySpec(kind), x, e.value(bound))
        return x
    low, high = -math.inf if low is None else float(low), math.inf if high is None else float(high)
    if (low, high) == (0.0, 6.0):
        return e.emit(ActivationSpec("relu6"), x)
    if (low, high) == (0.0, math.inf):
        return e.emit(ActivationSpec("relu"), x)
    return unary(e, x, "clip", low, high)


@lowers("clamp_min")
def clamp_min(e: Emitter, node, self, min):
    return clamp(e, node, self, min, None)


@lowers("clamp_max")
def clamp_max(e: Emitter, node, self, max):
    return clamp(e, node, self, None, max)


@lowers("elu")
def elu(e: Emitter, node, self, alpha=1.0, scale=1.0, input_scale=1.0):
    x = e.value(self)
    if (scale, input_scale) == (1, 1):
        return unary(e, x, "elu", alpha)
    if input_scale == 1:
        return unary(e, x, "selu", alpha, scale)
    if scale != 1 or not math.isclose(alpha * input_scale, 1.0):
        raise Decline(f"elu with alpha {alpha}, scale {scale}, input_scale {input_scale}")
    return unary(e, x, "celu", alpha)


@lowers("celu")
def celu(e: Emitter, node, self, alpha=1.0):
    return unary(e, e.value(self), "celu", alpha)


@lowers("selu")
def selu(e: Emitter, node, self):
    return unary(e, e.value(self), "selu", 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


@lowers("gelu")
def gelu(e: Emitter, node, self, approximate="none"):
    x = e.value(self)
    return e.emit(ActivationSpec("gelu"), x) if approximate == "none" else unary(e, x, "gelu_tanh")


@lowers("softplus")
def softplus(e: Emitter, node, self, beta=1.0, threshold=20.0):
    if beta * threshold < 0 or threshold < 15:  # above it PyTorch gives x itself, which from 15 on is the same float32
        raise Decline(f"softplus with threshold {threshold}")
    x = e.value(self)
    if beta == 1:
        return unary(e, x, "softplus")
    return unary(e, unary(e, unary(e, x, "affine", beta, 0.0), "softplus"), "affine", 1 / beta, 0.0)


@lowers("threshold")
def threshold(e: Emitter, node, self, threshold, value):
    if value != 0:
        raise Decline(f"threshold that puts {value} in place; 0 is lowered")
    return unary(e, e.value(self), "thresholded_relu", threshold)


@lowers("glu")
def glu(e: Emitter, node, self, dim=-1):
    x = e.value(self)
    axis = dim % e.rank(x)
    half = e.shape(x)[axis] // 2
    first, second = (e.emit(SliceSpec(axis, at, at + half), x) for at in (0, half))
    return e.emit(MulSpec(), first, e.emit(ActivationSpec("sigmoid"), second))


@lowers("rsqrt")
def rsqrt(e: Emitter, node, self):
    return unary(e, unary(e, e.value(self), "sqrt"), "reciprocal")


@lowers("square")
def square(e: Emitter, node, self):
    x = e.value(self)
    return e.emit(MulSpec(), x, x)


# --- of two


@lowers("add")
def add(e: Emitter, node, self, other, alpha=1):
    if alpha != 1:
        other = other * alpha if number(other) is not None else _scaled(e, other, alpha)
    return _sum(e, self, other)


@lowers("sub")
def sub(e: Emitter, node, self, other, alpha=1):
    if number(other) is not None:
        return unary(e, e.value(self), "affine", 1.0, -other * alpha)
    other = other if alpha == 1 else _scaled(e, other, alpha)
    return e.emit(BinarySpec("sub"), _name(e, self), _name(e, other))


@lowers("rsub")
def rsub(e: Emitter, node, self, other, alpha=1):
    if number(other) is not None:
        return unary(e, e.value(self), "affine", -alpha, other)
    return e.emit(BinarySpec("sub"), e.value(other), _scaled(e, self, alpha) if alpha != 1 else e.value(self))


@lowers("mul")
def mul(e: Emitter, node, self, other):
    if number(self) is not None:
        self, other = other, self
    if number(other) is None:
        return e.emit(MulSpec(), e.value(self), e.value(other))
    return unary(e, e.value(self), "affine", other, 0.0)


@lowers("div.Tensor", "div.Scalar", "true_divide")
def div(e: Emitter, node, self, other):
    found = local_response_norm(e, self, other)
    if found is not None:
        return found
    if number(other) is not None and math.frexp(other)[0] in (0.5, -0.5):  # a power of two: the reciprocal is exact
        return unary(e, e.value(self), "affine", 1 / other, 0.0)
    return e.emit(BinarySpec("div"), _name(e, self, node), _name(e, other, node))


@lowers("maximum")
def maximum(e: Emitter, node, self, other):
    return e.emit(BinarySpec("max"), e.value(self), e.value(other))


@lowers("minimum")
def minimum(e: Emitter, node, self, other):
    return e.emit(BinarySpec("min"), e.value(self), e.value(other))


@lowers("pow")
def pow_(e: Emitter, node, self, exponent):
    known = number(exponent)
    if known == 2:
        return square(e, node, self)
    if known == 1:
        return e.value(self)
    if known == 0.5:
        return unary(e, e.value(self), "sqrt")
    if known == -1:
        return unary(e, e.value(self), "reciprocal")
    return e.emit(BinarySpec("pow"), _name(e, self, node), _name(e, exponent, node))


def _scalar(e: Emitter, node, value: float) -> str:
    return e.param(torch.tensor([float(value)]), f"{node.name}.constant", "constant")


def _name(e: Emitter, argument, node=None) -> str:
    if number(argument) is not None and node is not None:
        return _scalar(e, node, argument)
    return e.value(argument)


def _scaled(e: Emitter, argument, factor) -> str:
    return unary(e, e.value(argument), "affine", factor, 0.0)


def _sum(e: Emitter, a, b) -> str:
    if isinstance(a, (int, float)):
        a, b = b, a
    if number(b) is not None:
        return unary(e, e.value(a), "affine", 1.0, b)
    return e.emit(AddSpec(), a if isinstance(a, str) else e.value(a), b if isinstance(b, str) else e.value(b))


# --- what PyTorch writes out and cnnkern has as one


def local_response_norm(e: Emitter, x, divisor) -> str | None:
    """x / (k + alpha mean of x^2 over a window of channels)^beta, from the steps of `torch.nn.functional`.

    They are x x, turned to shape, padded with zeros along the channels, averaged, turned back, alpha, + k, ^ beta;
    found here by walking back over what they became.
    """
    if number(x) is not None or number(divisor) is not None or e.is_constant(x) or e.is_constant(divisor):
        return None
    back = _Back(e, e.value(divisor))
    power = back.step(BinarySpec, "pow")
    if power is None or power.inputs[1] not in e.weights or e.weights[power.inputs[1]].size != 1:
        return None
    shifted = back.step(UnarySpec, "affine")
    scaled = back.step(UnarySpec, "affine") if shifted is not None and shifted.spec.alpha == 1 else None
    if scaled is None or scaled.spec.beta != 0:
        return None
    back.skip(ReshapeSpec)
    pool = back.step(Pool2dSpec, "avg")
    back.skip(ReshapeSpec)
    pad = back.step(PadNdSpec)
    back.skip(ReshapeSpec)
    product, image = back.step(MulSpec), e.value(x)
    if None in (pool, pad, product) or product.inputs != (image, image) or e.rank(image) != 4:
        return None
    size = pool.spec.kernel[0]
    wide = [before_after for before_after in pad.spec.pads if any(before_after)]
    if wide not in ([(size // 2, (size - 1) // 2)], []) or pool.spec.kernel[1] != 1 or pad.spec.value != 0:
        return None
    beta = float(e.weights[power.inputs[1]].reshape(()))
    return e.emit(LocalResponseNormSpec(size, scaled.spec.alpha, beta, shifted.spec.beta), image)


class _Back:
    """Walks from a value to what it was made of."""

    def __init__(self, e: Emitter, value: str):
        self._e, self._value = e, value

    def step(self, kind: type, which: str | None = None):
        """The node here, if it is of that kind; on to its first input. Else None, and so from then on."""
        node = self._e.producer.get(self._value)
        good = node is not None and isinstance(node.spec, kind)
        good = good and (which is None or getattr(node.spec, "kind", None) == which)
        self._value = node.inputs[0] if good else ""
        return node if good else None

    def skip(self, kind: type) -> None:
        node = self._e.producer.get(self._value)
        while node is not None and isinstance(node.spec, kind):
            self._value = node.inputs[0]
            node = self._e.producer.get(self._value)
