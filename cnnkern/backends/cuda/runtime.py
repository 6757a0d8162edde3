"""What the CUDA backend asks of a device: memory, copies, kernels, graphs.

Three things do it: `device.CupyRuntime` on a GPU, `null.NullRuntime` where plans are made and nothing runs, and the
tests' host runtime, which runs the kernels' own sources on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .launch import Kernel

Function = Callable[..., None]  # (grid, block, args, *, shared_mem=0), as CuPy's RawKernel


class Memory(Protocol):
    """Device memory, freed with the last reference to it."""

    address: int
    size_bytes: int


class Runtime(Protocol):
    """A device. All work goes in order to the calling thread's current stream."""

    target: str  # what kernels are compiled for: "sm_90a"
    multiprocessors: int
    shared_limit_bytes: int  # of a block, when asked for

    def available(self) -> str:
        """An empty string when usable, else one sentence that says why not."""

    def allocate(self, size_bytes: int, what: str) -> Memory:
        """Memory aligned to 256 bytes. Raises MemoryError that names `what`, its size and the free memory."""

    def function(self, kernel: Kernel) -> Function:
        """The compiled kernel, from the cache where it is there."""

    def compile(self, kernels: list[Kernel]) -> None:
        """Make all of them ready, with progress on a terminal."""

    def write(self, address: int, array: Any) -> None:
        """An array (NumPy, or of the device) into memory, in its C order."""

    def copy(self, to: int, source: int, size_bytes: int) -> None:
        """Bytes from device memory to device memory."""

    def read(self, address: int, array: np.ndarray) -> None:
        """Memory into a C-contiguous NumPy array; waits for it."""

    def on_device(self, array: Any) -> bool:
        """Whether it is an array of this device, taken and returned without leaving it."""

    def address(self, array: Any) -> int:
        """Of a device array's first element."""

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        """A fresh C-contiguous device array of the kind users hold."""

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """What `run` launches, as a graph: a call replays it."""

    def mark(self, used: Any = None) -> Any:
        """Where the work of the current stream ends now; `used`: a mark that is not needed any more."""

    def wait(self, mark: Any) -> None:
        """Return when the work before a mark is done (None: at once)."""

    def follow(self, mark: Any) -> None:
        """What is asked for from now on happens behind a mark (None: behind nothing)."""

    def time(self, run: Callable[[], None]) -> float:
        """Milliseconds that the device spends on what `run` launches."""

    def synchronize(self) -> None:
        """Wait for all work."""
