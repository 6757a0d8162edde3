"""Reductions over any axes, and products of stacks of matrices."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Counts, Spec, io_bytes, product
from .checks import as_bool, as_choice, as_int, check_axis, check_shape, check_size
from .eltwise import broadcast

# Operations per element that is reduced, per output on top, and per output instead of one element's (the first starts
# the sum).
REDUCTIONS: dict[str, tuple[Counts, Counts]] = {
    "sum": (Counts(add=1), Counts(add=-1)),
    "mean": (Counts(add=1), Counts(add=-1, mul=1)),
    "max": (Counts(max=1), Counts(max=-1)),
    "min": (Counts(max=1), Counts(max=-1)),
    "prod": (Counts(mul=1), Counts(mul=-1)),
    "l1": (Counts(max=1, add=1), Counts(add=-1)),
    "l2": (Counts(fma=1), Counts(special=1)),
    "sum_square": (Counts(fma=1), Counts()),
    "log_sum": (Counts(add=1), Counts(add=-1, special=1)),
    "log_sum_exp": (Counts(max=1, add=2, special=1), Counts(max=-1, special=1)),  # with the maximum taken out
}


@dataclass(frozen=True)
class ReduceSpec(Spec):
    """One value for each group of elements that differ along `axes` alone: sum, mean, max, min (a NaN wins), prod, l1
    (sum |x|), l2 (sqrt(sum x^2)), sum_square, log_sum (ln sum x), log_sum_exp (ln sum e^x).

    x of any rank -> without those axes, or with size 1 there (`keepdims`). No axes: no group has more than one element.
    An empty group gives the operation's neutral element (0, 1, -inf, inf), its mean NaN.
    Theory: REDUCTIONS.
    """

    kind: str
    axes: tuple[int, ...]
    keepdims: bool = True
    op = "reduce"

    def __post_init__(self):
        as_choice("kind", self.kind, REDUCTIONS)
        object.__setattr__(self, "axes", tuple(as_int(f"axes[{i}]", v) for i, v in enumerate(self.axes)))
        as_bool("keepdims", self.keepdims)

    def over(self, rank: int) -> tuple[int, ...]:
        """The axes counted from the front, in order."""
        axes = sorted(check_axis(self.op, axis, rank) for axis in self.axes)
        if len(set(axes)) < len(axes):
            raise ValueError(f"reduce: axes must differ, got {self.axes} for rank {rank}")
        return tuple(axes)

    def infer(self, x):
        x = check_shape(self.op, "x", x, minimum=0)
        over = self.over(len(x))
        if any(isinstance(x[axis], str) for axis in over):
            raise ValueError(f"reduce: axis 0 is symbolic in shape {x}")
        if self.keepdims:
            return (tuple(1 if axis in over else size for axis, size in enumerate(x)),)
        return (tuple(size for axis, size in enumerate(x) if axis not in over),)

    def theory(self, x):
        (out,) = self.infer(x)
        each, once = REDUCTIONS[self.kind]
        work = each * product(x) + once * product(out) if product(x) else Counts()
        return work + Counts(**io_bytes([x], [out]))

    def reduction(self, x):
        """K = the elements of a group; 1 for a maximum or minimum, which round nothing."""
        return 1 if self.kind in ("max", "min") else max(1, product(x[axis] for axis in self.over(len(x))))


@dataclass(frozen=True)
class MatMulSpec(Spec):
    """y = a b, as NumPy's matmul: a (..., m, k), b (..., k, n) -> (..., m, n), the leading dimensions broadcast; a
    vector a is a row, a vector b a column, and that dimension goes again. Theory: m n k fma a product."""

    op = "matmul"
    inputs = ("a", "b")

    def infer(self, a, b):
        a, b = check_shape(self.op, "a", a, minimum=0), check_shape(self.op, "b", b, minimum=0)
        if not a or not b:
            raise ValueError(f"matmul: a and b must have rank 1 or more, got shapes {a} and {b}")
        rows, columns = (1, *a)[-2:], (*b, 1)[-2:] if len(b) == 1 else b[-2:]
        if rows[1] != columns[0]:
            raise ValueError(
                f"matmul: a of shape {a} and b of shape {b} do not multiply: {rows[1]} against {columns[0]}"
            )
        ends = (*rows[:1] * (len(a) > 1), *columns[1:] * (len(b) > 1))
        out = (*broadcast(self.op, a[:-2], b[:-2]), *ends)
        check_size(self.op, "the output", out)
        return (out,)

    def theory(self, a, b):
        (out,) = self.infer(a, b)
        return Counts(fma=product(out) * a[-1]) + Counts(**io_bytes([a, b], [out]))

    def reduction(self, a, b):
        """K = k."""
        return max(1, a[-1])
