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
    arrays: Mapping[str, np.ndarray | None] = field(default_factory=dict)  # weights: packed by the call

    def add_to(self, program) -> None:
        getattr(program, self.method)(**self.tensors, **self.options, **self.arrays)

    def described(self) -> NativeCall:
        """The call without its weights."""
        return replace(self, arrays={})
