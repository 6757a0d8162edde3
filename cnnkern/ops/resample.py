"""Resampling along an axis: interpolation of any kind, and gathering, with indices known beforehand."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Counts, Spec, io_bytes, product
from .checks import as_float, as_int, check_axis, check_shape, check_size


@dataclass(frozen=True)
class ResampleSpec(Spec):
    """y[.., i, ..] = sum_t weight[i][t] x[.., index[i][t], ..] along `axis`; any rank.

    Nearest, linear, cubic and antialiased resizing are tables of these, an axis at a time; without weights it gathers:
    y[.., i, ..] = x[.., index[i][0], ..].

    Args:
        index: for each output, what it reads, counted from the front; the same number for all.
        weight: likewise; None where each reads one element as it is.
    Theory: per output as many fma as it reads elements (none without weights).
    """

    axis: int
    index: tuple[tuple[int, ...], ...]
    weight: tuple[tuple[float, ...], ...] | None = None
    op = "resample"

    def __post_init__(self):
        fix = object.__setattr__
        fix(self, "axis", as_int("axis", self.axis))
        fix(self, "index", tuple(tuple(as_int("index", v, 0) for v in row) for row in self.index))
        lengths = [len(row) for row in self.index]
        if self.weight is not None:
            fix(self, "weight", tuple(tuple(as_float("weight", v) for v in row) for row in self.weight))
            if lengths != [len(row) for row in self.weight]:
                raise ValueError("resample: weight must have the form of index")
        if any(length != lengths[0] or length < 1 for length in lengths) or (self.weight is None and lengths[:1] > [1]):
            raise ValueError("resample: every output must read the same number of elements, one without weights")

    @property
    def taps(self) -> int:
        """Elements behind one output."""
        return len(self.index[0]) if self.index else 1

    def infer(self, x):
        x = check_shape(self.op, "x", x, minimum=0)
        axis = check_axis(self.op, self.axis, len(x))
        if isinstance(x[axis], str):
            raise ValueError(f"resample: axis {axis} is symbolic in shape {x}")
        largest = max((max(row) for row in self.index), default=-1)
        if largest >= x[axis]:
            raise ValueError(f"resample: index {largest} leaves axis {axis} of size {x[axis]}")
        out = (*x[:axis], len(self.index), *x[axis + 1 :])
        check_size(self.op, "the output", out)
        return (out,)

    def theory(self, x):
        (out,) = self.infer(x)
        fma = 0 if self.weight is None else product(out) * self.taps
        return Counts(fma=fma) + Counts(**io_bytes([x], [out]))

    def reduction(self, x):
        """K = the elements behind one output."""
        return self.taps
