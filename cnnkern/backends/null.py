"""The CUDA backend without a device: every plan, arena, launch and graph is made, and nothing runs.

What a GPU would be asked to do can so be looked at, checked and predicted anywhere. Results are zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cuda import compiler
from .cuda.backend import CudaBackend
from .cuda.launch import MAX_GRID, Kernel

MAX_THREADS = 1024  # of a block


@dataclass(frozen=True)
class NullMemory:
    address: int
    size_bytes: int


class NullRuntime:
    """A `cuda.runtime.Runtime` that checks what it is given, and remembers it.

    Args:
        target: the architecture that plans are made for.
        multiprocessors: of the device that is not there.
    Attributes:
        launched: (kernel, grid, block, struct, shared bytes) in order; `memory`: every allocation.
    """

    def __init__(self, target: str = "sm_90a", multiprocessors: int = 132):
        self.target, self.multiprocessors = target, multiprocessors
        self.shared_limit_bytes = compiler.shared_limit_bytes(target)
        self.launched: list[tuple[Kernel, tuple, tuple, np.ndarray, int]] = []
        self.memory: list[NullMemory] = []
        self.recorded = 0
        self._end = 1 << 32

    def available(self) -> str:
        return ""

    def allocate(self, size_bytes: int, what: str) -> NullMemory:
        made = NullMemory(self._end, size_bytes)
        self._end += -(-size_bytes // 256) * 256 + 256
        self.memory.append(made)
        return made

    def function(self, kernel: Kernel) -> Callable[..., None]:
        def launch(grid, block, args, *, shared_mem=0):
            threads = block[0] * block[1] * block[2]
            if not 1 <= threads <= MAX_THREADS or any(not 1 <= g <= most for g, most in zip(grid, MAX_GRID)):
                raise ValueError(f"{kernel.name}: {grid} blocks of {block} threads is no launch")
            if shared_mem > self.shared_limit_bytes:
                raise ValueError(f"{kernel.name}: {shared_mem} bytes of shared memory, {self.target} has "
                                 f"{self.shared_limit_bytes}")  # fmt: skip
            self.launched.append((kernel, grid, block, args[0], shared_mem))

        return launch

    def compile(self, kernels: list[Kernel]) -> None:
        for kernel in kernels:
            if not compiler.serves(self.target, kernel):
                raise ValueError(f"{kernel.name} was planned for {self.target}, which cannot run it")

    def write(self, address: int, array: Any) -> None:
        pass

    def copy(self, to: int, source: int, size_bytes: int) -> None:
        pass

    def read(self, address: int, array: np.ndarray) -> None:
        array[...] = 0

    def on_device(self, array: Any) -> bool:
        return False

    def address(self, array: Any) -> int:
        raise TypeError("there is no device, and no array on it")

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        raise TypeError("there is no device to make an array on")

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        run()
        self.recorded += 1
        return lambda: None

    def mark(self, used: Any = None) -> None:
        pass

    def wait(self, mark: Any) -> None:
        pass

    def follow(self, mark: Any) -> None:
        pass

    def time(self, run: Callable[[], None]) -> float:
        run()
        return 0.0

    def synchronize(self) -> None:
        pass


class NullBackend(CudaBackend):
    """CudaBackend on a NullRuntime."""

    name = "null"

    def __init__(self, target: str = "sm_90a"):
        super().__init__(NullRuntime(target))
