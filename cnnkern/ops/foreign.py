"""An operation that cnnkern does not have and another library computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .base import Counts, Shape, Spec


@dataclass(frozen=True, eq=False)
class ForeignSpec(Spec):
    """A step that a function from elsewhere computes, for fixed shapes, on arrays of any type: slow, never broken.

    Args:
        kind: what people call it ("NonMaxSuppression").
        shapes: of its outputs.
        dtypes: of its outputs, NumPy's names.
        run: the inputs' arrays (None where absent) -> the outputs'. It must not change its inputs.
    Theory: nothing is known of its operations; none are counted.
    """

    kind: str
    shapes: tuple[Shape, ...]
    dtypes: tuple[str, ...]
    run: Callable = field(repr=False)
    op = "foreign"
    inputs = ("arrays",)

    def infer(self, *shapes):
        return self.shapes

    def theory(self, *shapes):
        return Counts()
