"""NativeCall: one `Program.add_*` with its arguments, as data: built into a program, predicted, serialised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .buffers import Tensor


@dataclass(frozen=True)
class NativeCall:
    """`program.<method>(**tensors, **options, **arrays)`."""

    method: str
    tensors: Mapping[str, Tensor | None]
    options: Mapping[str, Any] = field(default_factory=dict)
    # Weights, packed by the call; for its prediction also what tensors hold that decide what is done.
    arrays: Mapping[str, np.ndarray | None] = field(default_factory=dict)
    images: int | None = None  # made for one image, and run once for each of so many; None: for the whole batch

    @property
    def times(self) -> int:
        """How often it runs."""
        return 1 if self.images is None else self.images

    def add_to(self, program) -> None:
        program.per_image(self.images is not None)
        getattr(program, self.method)(**self.tensors, **self.options, **self.arrays)

    def described(self) -> NativeCall:
        """The call with its weights' shapes, their memory given back."""
        zero = np.float32(0)
        shapes = {name: None if a is None else np.broadcast_to(zero, a.shape) for name, a in self.arrays.items()}
        return replace(self, arrays=shapes)
