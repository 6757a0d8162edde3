"""Functions of one array: activations, elementary functions, types."""

from __future__ import annotations

import math

import numpy as np

from ...ops import ActivationSpec, AddSpec, BinarySpec, ForeignSpec, MulSpec, UnarySpec
from . import converter
from .common import dims, extra_outputs, known, name_of, scalar, scaled

LARGEST = float(np.finfo(np.float32).max)
SIXTH = float(np.float32(1 / 6))

# ONNX's name -> the activation or function that needs no parameter.
PLAIN = {
    "Relu": ActivationSpec("relu"),
    "Sigmoid": ActivationSpec("sigmoid"),
    "Tanh": ActivationSpec("tanh"),
    "HardSwish": ActivationSpec("hardswish"),
    "Softplus": UnarySpec("softplus"),
    "Softsign": UnarySpec("softsign"),
    "Mish": UnarySpec("mish"),
    "Exp": UnarySpec("exp"),
    "Log": UnarySpec("log"),
    "Sqrt": UnarySpec("sqrt"),
    "Reciprocal": UnarySpec("reciprocal"),
    "Neg": UnarySpec("neg"),
    "Abs": UnarySpec("abs"),
    "Floor": UnarySpec("floor"),
    "Ceil": UnarySpec("ceil"),
    "Round": UnarySpec("round"),
    "Erf": UnarySpec("erf"),
    "Sign": UnarySpec("sign"),
}


@converter(*PLAIN)
def plain(b, n):
    return [b.emit(PLAIN[n.op], [b.value(n.inputs[0])])]


def unary(b, n, *parameters):
    return [b.emit(UnarySpec(*parameters), [b.value(n.inputs[0])])]


@converter("LeakyRelu")
def leaky_relu(b, n):
    return [b.emit(ActivationSpec("leaky_relu", n.attr("alpha", 0.01)), [b.value(n.inputs[0])])]


@converter("Elu")
def elu(b, n):
    return unary(b, n, "elu", n.attr("alpha", 1.0))


@converter("Selu")
def selu(b, n):
    return unary(b, n, "selu", n.attr("alpha", 1.67326319217681884765625), n.attr("gamma", 1.05070102214813232421875))


@converter("Celu")
def celu(b, n):
    alpha = n.attr("alpha", 1.0)
    if alpha == 0:
        raise b.Decline("alpha is 0: x / alpha")
    return unary(b, n, "celu", alpha)


@converter("ThresholdedRelu")
def thresholded_relu(b, n):
    return unary(b, n, "thresholded_relu", n.attr("alpha", 1.0))


@converter("HardSigmoid")
def hard_sigmoid(b, n):
    alpha, beta = n.attr("alpha", 0.2), n.attr("beta", 0.5)
    if abs(alpha - SIXTH) < 1e-7 and beta == 0.5:
        return [b.emit(ActivationSpec("hardsigmoid"), [b.value(n.inputs[0])])]
    return unary(b, n, "hardsigmoid", alpha, beta)


@converter("Gelu")
def gelu(b, n):
    form = n.attr("approximate", "none")
    if form not in ("none", "tanh"):
        raise ValueError(f"approximate must be 'none' or 'tanh', got {form!r}")
    spec = ActivationSpec("gelu") if form == "none" else UnarySpec("gelu_tanh")
    return [b.emit(spec, [b.value(n.inputs[0])])]


def swished(b, x: str, alpha: float, hint: str = "") -> str:
    return b.emit(ActivationSpec("silu") if alpha == 1 else UnarySpec("swish", alpha), [x], hint)


@converter("Swish")
def swish(b, n):
    return [swished(b, b.value(n.inputs[0]), n.attr("alpha", 1.0))]


@converter("SwiGLU")
def swiglu(b, n):
    """Swish(A) B."""
    gate = swished(b, b.value(n.inputs[0]), n.attr("alpha", 1.0), "gate")
    return [b.emit(MulSpec(), [gate, b.value(n.inputs[1])])]


@converter("Shrink")
def shrink(b, n):
    """x + bias below -lambd, x - bias above lambd, 0 between: with t = x where |x| > lambd, else 0, it is
    t - bias sign(t)."""
    x, lambd, bias = b.value(n.inputs[0]), n.attr("lambd", 0.5), n.attr("bias", 0.0)
    if lambd < 0:
        raise b.Decline(f"lambd {lambd} is negative")
    above = b.emit(UnarySpec("thresholded_relu", lambd), [x], "above")
    below = b.emit(UnarySpec("thresholded_relu", lambd), [b.emit(UnarySpec("neg"), [x], "neg")], "below")
    kept = b.emit(BinarySpec("sub"), [above, below], "kept")
    if bias == 0:
        return [kept]
    shift = b.emit(UnarySpec("affine", -bias, 0.0), [b.emit(UnarySpec("sign"), [kept], "sign")], "shift")
    return [b.emit(AddSpec(), [kept, shift])]


# --- Clip


def clipped(b, x: str, low: float, high: float, hint: str = "") -> str:
    """min(max(x, low), high); the largest float32 is no bound."""
    low = -math.inf if low <= -LARGEST else low
    high = math.inf if high >= LARGEST else high
    if low == -math.inf and high == math.inf:
        return x
    if low == 0 and high in (6.0, math.inf):
        return b.emit(ActivationSpec("relu6" if high == 6 else "relu"), [x], hint)
    return b.emit(UnarySpec("clip", low, high), [x], hint)


@converter("Clip")
def clip_6(b, n):
    return [clipped(b, b.value(n.inputs[0]), n.attr("min", -LARGEST), n.attr("max", LARGEST))]


@converter("Clip", since=11)
def clip_11(b, n):
    """Bounds that only running tells are a maximum and a minimum of two arrays."""
    x, names = b.value(n.inputs[0]), (name_of(n, 1), name_of(n, 2))
    low, high = (scalar(b, name) if name else bound for name, bound in zip(names, (-math.inf, math.inf)))
    if None not in (low, high) and not (math.isnan(low) or math.isnan(high)):
        return [clipped(b, x, low, high)]
    for name, kind in zip(names, ("max", "min")):
        if name:
            bound = b.value(name)
            if math.prod(dims(b, bound)) != 1 or len(dims(b, bound)) > len(dims(b, x)):
                raise ValueError(f"the bounds must be scalars, {name!r} has shape {dims(b, bound)}")
            x = b.emit(BinarySpec(kind), [x, bound], kind)
    return [x]


# --- what changes nothing


@converter("Identity")
def identity(b, n):
    return [b.value(n.inputs[0])]


@converter("Dropout")
def dropout(b, n):
    """The identity, unless training is asked for. Its mask is true; before opset 12, as onnxruntime has it, false."""
    training = known(b, n, 2)
    if training is not None and bool(training.any()):
        ratio = scalar(b, name_of(n, 1)) if name_of(n, 1) else 0.5
        if ratio != 0:
            raise b.Decline("training_mode is on")
    x = b.value(n.inputs[0])
    if not extra_outputs(n):
        return [x]
    shape = dims(b, x)
    if n.opset < 10:  # the mask is of x's type
        return [x, b.param(np.zeros(shape, np.float32), "mask")]
    mask = ForeignSpec("Constant", (shape,), ("bool",), lambda: [np.full(shape, n.opset >= 12)])
    return [x, b.emit(mask, [], "mask")]


INSIDE = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}  # TensorProto.DataType: float32 in the graph


@converter("Cast")
def cast(b, n):
    """Between floating types: the values are float32 inside, whatever the model says."""
    if not b.is_float(n.inputs[0]) or n.attr("to") not in INSIDE:
        raise b.Decline(f"from {b.dtype(n.inputs[0])} to element type {n.attr('to')}")
    return [b.value(n.inputs[0])]


@converter("CastLike")
def cast_like(b, n):
    if not (b.is_float(n.inputs[0]) and b.is_float(n.inputs[1])):
        raise b.Decline(f"from {b.dtype(n.inputs[0])} to {b.dtype(n.inputs[1])}")
    return [b.value(n.inputs[0])]


__all__ = ["clipped", "scaled", "swished"]
