"""What a CUDA step is made of, as data: `Kernel` (an instance of a template in kernels/), `Launch` (a kernel, a grid
and its arguments), `Pointer` (where an argument points, before any memory exists).

Nothing here needs a GPU: the same launches are planned, predicted, checked, run on the tests' host shim and captured
into a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np

from ...errors import UnsupportedError

MAX_GRID = (2**31 - 1, 65535, 65535)
_FIELDS = {"p": "<u8", "i": "<i4", "f": "<f4"}


class Pointer(NamedTuple):
    """A byte in a slot: "arena", "weights", "workspace", "param:NAME", "input:NAME", "output:NAME"."""

    slot: str
    offset_bytes: int = 0

    def __add__(self, offset_bytes: int) -> Pointer:
        return Pointer(self.slot, self.offset_bytes + offset_bytes)


@cache
def struct(fields: str) -> np.dtype:
    """The by-value argument of a kernel, as a C compiler lays it out.

    Args:
        fields: "x:p n:i scale:f strides:i5" in the order of the C struct: p a pointer, i an int, f a float; a number
            behind it makes an array.
    """
    names, formats = [], []
    for entry in fields.split():
        name, kind = entry.split(":")
        names.append(name)
        formats.append((_FIELDS[kind[0]], (int(kind[1:]),)) if kind[1:] else _FIELDS[kind])
    return np.dtype({"names": names, "formats": formats}, align=True)


@dataclass(frozen=True)
class Kernel:
    """One instance of a kernel template: what is compiled, and what a launch of it may be.

    `name` is a C++ name expression, `args` the fields of its one argument (see `struct`), `shared_bytes` its dynamic
    shared memory where that does not depend on the launch, `sm` the least target: 80 for tensor cores and asynchronous
    copies.
    """

    source: str  # "pool.cu"
    name: str  # "pool<float, 4>"
    args: str
    threads: int | tuple[int, int, int]
    shared_bytes: int = 0
    sm: int = 75
    arch: str = ""  # "a": only targets with architecture-specific features, sm_90a

    @property
    def block(self) -> tuple[int, int, int]:
        return self.threads if isinstance(self.threads, tuple) else (self.threads, 1, 1)

    @property
    def template(self) -> str:
        return self.name.partition("<")[0]

    @property
    def label(self) -> str:
        """For people: "f32_pool_v4" says less than the instance itself."""
        return self.name.replace(" ", "")


@dataclass(frozen=True)
class Launch:
    """One kernel launch, before any address is known. `args`: a value per field of the kernel's struct; a Pointer or
    None (a null pointer) for pointers."""

    kernel: Kernel
    grid: tuple[int, int, int]
    args: Mapping[str, Any] = field(default_factory=dict)
    shared_bytes: int | None = None  # None: the kernel's own

    def __post_init__(self):
        grid = (*self.grid, 1, 1)[:3]
        object.__setattr__(self, "grid", grid)
        if any(not 1 <= size <= most for size, most in zip(grid, MAX_GRID)):
            raise ValueError(f"{self.kernel.name}: a grid of {grid} blocks; 1 to {MAX_GRID} are accepted")
        dtype = struct(self.kernel.args)
        if set(self.args) != set(dtype.names):
            wrong = set(self.args) ^ set(dtype.names)
            raise TypeError(f"{self.kernel.name}: arguments missing or unknown: {', '.join(sorted(wrong))}")
        for name, value in self.args.items():
            numbers = value if isinstance(value, (tuple, list)) and not isinstance(value, Pointer) else (value,)
            if any(isinstance(number, int) and not -(2**31) <= number < 2**31 for number in numbers):
                raise UnsupportedError(f"{self.kernel.name}: {name} is too large for 32 bits: {value}")

    @property
    def shared(self) -> int:
        return self.kernel.shared_bytes if self.shared_bytes is None else self.shared_bytes

    def pointers(self) -> list[Pointer]:
        return [value for value in self.args.values() if isinstance(value, Pointer)]

    @cached_property
    def _template(self) -> tuple[np.ndarray, list[tuple[str, Pointer]]]:
        """The struct but for its pointers, and those."""
        packed = np.zeros(1, struct(self.kernel.args))
        pointers = []
        for name, value in self.args.items():
            if isinstance(value, Pointer):
                pointers.append((name, value))
            elif value is not None:
                packed[name] = value
        return packed, pointers

    def pack(self, address: Callable[[Pointer], int]) -> np.ndarray:
        """The struct, one element, with every pointer resolved."""
        template, pointers = self._template
        packed = template.copy()
        for name, pointer in pointers:
            packed[name] = address(pointer)
        return packed
