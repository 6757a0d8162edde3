"""What every operation is made of: a `Spec` (attributes only) and `Counts` (operations and bytes).

A Spec knows shapes, theory and nothing else: no arrays (but those whose values it is asked to check), no backend, no
environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Counts:
    """Operations and bytes, as a vector; addition and subtraction are element-wise.

    `fma` is one multiply-accumulate (1 MAC = 2 FLOPs; said here and nowhere else), `max` any comparison (max, min,
    clamp side), `special` any division, square root, exponential and their kin.
    """

    fma: int = 0
    mul: int = 0
    add: int = 0
    max: int = 0
    special: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(self.astuple(), other.astuple())))

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(a - b for a, b in zip(self.astuple(), other.astuple())))

    def __mul__(self, times: int) -> Counts:
        return Counts(*(a * times for a in self.astuple()))

    __rmul__ = __mul__

    def astuple(self) -> tuple[int, ...]:
        return tuple(getattr(self, f.name) for f in fields(self))

    @property
    def flops(self) -> int:
        """Floating-point operations: two per fma, one per anything else."""
        return 2 * self.fma + self.mul + self.add + self.max + self.special

    @property
    def bytes(self) -> int:
        return self.bytes_read + self.bytes_written


@dataclass(frozen=True)
class Spec:
    """One operation's attributes. Subclasses are frozen dataclasses, hashable, in NCHW terms whatever the layout.

    Inputs are positional, as in the graph; an absent optional input is None (as a shape) or "" (as a value's name).
    """

    op: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]] = ("x",)  # the names of the positional inputs, for error messages
    by_value: ClassVar[tuple[int, ...]] = ()  # inputs whose values, and not their shapes alone, decide what is done

    def infer(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Output shapes from input shapes; ValueError names the argument, what was received and what is accepted."""
        raise NotImplementedError

    def check_values(self, shapes: Sequence[Shape | None], values: Mapping[int, Any]) -> None:
        """ValueError where the values of `by_value` inputs (arrays in host memory, by position) cannot be."""

    def theory(self, *shapes: Shape | None) -> Counts:
        """Theoretical counts: the textbook formula on the given shapes, padded taps counted; bytes are each input
        read once and each output written once, float32. What hangs on values is left out."""
        raise NotImplementedError

    def reduction(self, *shapes: Shape | None) -> int:
        """The length K of the longest sum behind one output: what tolerances are made of. 1 for element-wise."""
        return 1


def product(values) -> int:
    out = 1
    for v in values:
        out *= int(v)
    return out


def io_bytes(inputs, outputs, itemsize: int = 4) -> dict[str, int]:
    """The byte counts of reading each input once and writing each output once."""
    return {
        "bytes_read": itemsize * sum(product(s) for s in inputs if s is not None),
        "bytes_written": itemsize * sum(product(s) for s in outputs),
    }
