"""Functions of two arrays and of many."""

from __future__ import annotations

import math

from ...ops import ActivationSpec, AddSpec, BinarySpec, MulSpec, UnarySpec
from . import converter
from .common import dims, scalar, scaled

TWO = {
    "Add": AddSpec(),
    "Mul": MulSpec(),
    "Sub": BinarySpec("sub"),
    "Div": BinarySpec("div"),
    "Pow": BinarySpec("pow"),
    "Min": BinarySpec("min"),
    "Max": BinarySpec("max"),
    "Sum": AddSpec(),
}


def operands(b, n) -> list[str]:
    """Both as the graph's names. Old opsets' `axis` and `broadcast` (before 7) never get here."""
    return [b.value(name) for name in n.inputs[:2]]


def factor(b, n, position: int) -> float | None:
    """The finite number at this input, where it is one that the other's shape swallows."""
    other = len(b.shape(n.inputs[1 - position]))
    value = scalar(b, n.inputs[position], other)
    return value if value is not None and math.isfinite(value) and b.const(n.inputs[1 - position]) is None else None


@converter("Add")
def add(b, n):
    for position in (0, 1):
        number = factor(b, n, position)
        if number is not None:
            return [scaled(b, b.value(n.inputs[1 - position]), 1.0, number, "")]
    return [b.emit(AddSpec(), operands(b, n))]


@converter("Sub")
def sub(b, n):
    left, right = factor(b, n, 0), factor(b, n, 1)
    if right is not None:
        return [scaled(b, b.value(n.inputs[0]), 1.0, -right, "")]
    if left is not None:
        return [b.emit(UnarySpec("affine", -1.0, left), [b.value(n.inputs[1])])]
    return [b.emit(BinarySpec("sub"), operands(b, n))]


@converter("Mul")
def mul(b, n):
    for position in (0, 1):
        number = factor(b, n, position)
        if number is not None:
            return [scaled(b, b.value(n.inputs[1 - position]), number, hint="")]
    return [b.emit(MulSpec(), operands(b, n))]


@converter("Div")
def div(b, n):
    """By a power of two it is a product, exactly; 1 / x has a function of its own."""
    left, right = factor(b, n, 0), factor(b, n, 1)
    if right is not None and abs(math.frexp(right)[0]) == 0.5 and 2.0**-120 < abs(right) < 2.0**120:
        return [scaled(b, b.value(n.inputs[0]), 1.0 / right, hint="")]
    if left == 1.0:
        return [b.emit(UnarySpec("reciprocal"), [b.value(n.inputs[1])])]
    return [b.emit(BinarySpec("div"), operands(b, n))]


@converter("Pow")
def power(b, n):
    """x^1, x^2, x^3, x^-1 and x^0.5 without a logarithm. (The root differs from the power for -inf and -0 alone.)"""
    exponent = factor(b, n, 1)
    if exponent not in (1.0, 2.0, 3.0, -1.0, 0.5):
        return [b.emit(BinarySpec("pow"), operands(b, n))]
    x = b.value(n.inputs[0])
    if exponent == 1:
        return [x]
    if exponent in (-1.0, 0.5):
        return [b.emit(UnarySpec("reciprocal" if exponent < 0 else "sqrt"), [x])]
    square = b.emit(MulSpec(), [x, x], "" if exponent == 2 else "square")
    return [square if exponent == 2 else b.emit(MulSpec(), [square, x])]


@converter("PRelu")
def prelu(b, n):
    x, slope = operands(b, n)
    if len(dims(b, slope)) > len(dims(b, x)):
        raise ValueError(f"slope of shape {dims(b, slope)} does not broadcast to x of shape {dims(b, x)}")
    number = factor(b, n, 1)
    if number is not None:
        return [b.emit(ActivationSpec("leaky_relu", number), [x])]
    spec = BinarySpec("prelu")
    if spec.infer(dims(b, x), dims(b, slope))[0] != dims(b, x):
        raise ValueError(f"slope of shape {dims(b, slope)} does not broadcast to x of shape {dims(b, x)}")
    return [b.emit(spec, [x, slope])]


def folded(b, n, spec) -> str:
    """One after the other, from the left."""
    if not n.inputs:
        raise ValueError(f"{n.op} needs at least one input, got none")
    found = b.value(n.inputs[0])
    for i, name in enumerate(n.inputs[1:], 2):
        found = b.emit(spec, [found, b.value(name)], "" if i == len(n.inputs) else f"first{i}")
    return found


@converter("Sum", "Max", "Min")
def variadic(b, n):
    return [folded(b, n, TWO[n.op])]


@converter("Mean")
def mean(b, n):
    return [scaled(b, folded(b, n, AddSpec()), 1.0 / len(n.inputs), hint="mean")]
