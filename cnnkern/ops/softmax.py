"""Softmax and its logarithm."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Counts, Spec, io_bytes, product
from .checks import as_bool, as_int, check_axis, check_shape


@dataclass(frozen=True)
class SoftmaxSpec(Spec):
    """y = exp(x - max) / sum(exp(x - max)) along `axis` (any rank), or with log: (x - max) - log(sum(exp(x - max))).

    Theory, per row of L: L - 1 max, L add (x - max), L special (exp), L - 1 add, one special and L mul (reciprocal), or
    with log one special and L add.
    """

    axis: int = -1
    log: bool = False
    op = "softmax"

    def __post_init__(self):
        object.__setattr__(self, "axis", as_int("axis", self.axis))
        as_bool("log", self.log)

    def infer(self, x):
        x = check_shape(self.op, "x", x)
        check_axis(self.op, self.axis, len(x))
        return (x,)

    def theory(self, x):
        length = self.reduction(x)
        rows = product(x) // length
        last = Counts(add=length) if self.log else Counts(mul=length)
        row = Counts(max=length - 1, add=2 * length - 1, special=length + 1) + last
        return row * rows + Counts(**io_bytes([x], [x]))

    def reduction(self, x):
        """K = L."""
        return max(1, x[check_axis(self.op, self.axis, len(x))])
