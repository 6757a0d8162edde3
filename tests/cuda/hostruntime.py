"""The CUDA backend on the host shim: plans, launches and packing as on a GPU, kernels run from their own sources.

`HostArray` stands for what users hold on a device: NumPy cannot read it, and it has what the backend asks of CuPy's.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import host
import numpy as np

from cnnkern.backends.cuda import CudaBackend
from cnnkern.backends.cuda.launch import Kernel
from cnnkern.backends.cuda.manifest import kernels
from cnnkern.ops.base import Counts

ALIGN_BYTES = 256


class HostMemory:
    """Memory that the shim knows; NaN until it is written."""

    def __init__(self, size_bytes: int):
        self._array = np.full(size_bytes + ALIGN_BYTES, 0xFF, np.uint8)
        start = self._array.ctypes.data
        self.address = start + -start % ALIGN_BYTES
        self.size_bytes = size_bytes
        host.register_memory(self.address, size_bytes)

    def __del__(self):
        host.unregister_memory(self.address)


class HostArray:
    """An array of the host device: shape, dtype, strides, and nothing NumPy can read by accident."""

    __array_ufunc__ = None
    __cuda_array_interface__ = property(lambda self: self._view.__array_interface__)

    def __init__(self, array: np.ndarray, memory: HostMemory):
        self._view, self._memory = array, memory

    shape = property(lambda self: self._view.shape)
    ndim = property(lambda self: self._view.ndim)
    dtype = property(lambda self: self._view.dtype)
    flags = property(lambda self: self._view.flags)
    strides = property(lambda self: self._view.strides)
    size = property(lambda self: self._view.size)

    def transpose(self, *axes) -> HostArray:
        return HostArray(self._view.transpose(*axes), self._memory)

    def reshape(self, *shape) -> HostArray:
        return HostArray(self._view.reshape(*shape), self._memory)

    def get(self) -> np.ndarray:
        """To the host, as CuPy's."""
        return self._view.copy()

    def __setitem__(self, key, value) -> None:
        self._view[key] = value._view if isinstance(value, HostArray) else value

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion of a device array to NumPy")


@functools.cache
def module(source: str) -> host.HostModule:
    """All instances of a source that the manifest names, compiled once."""
    return host.HostModule(source, [kernel.name for kernel in kernels() if kernel.source == source])


def build_all() -> None:
    """Compile every module that is not there yet, a thread per processor."""
    sources = sorted({kernel.source for kernel in kernels()})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(module, sources))


class HostRuntime:
    """A `cnnkern.backends.cuda.runtime.Runtime` on the host shim.

    Args:
        order: of each block's threads (host.ORDERS); None: one launch after the other takes the next.
    """

    def __init__(self, target: str = "sm_90a", multiprocessors: int = 4, order: int | None = None):
        self.target, self.multiprocessors, self.order = target, multiprocessors, order
        self._orders = itertools.cycle(host.ORDERS)
        self.shared_limit_bytes = 227 << 10
        self.recorded = 0
        self._used: set[str] = set()

    def available(self) -> str:
        return ""

    def allocate(self, size_bytes: int, what: str) -> HostMemory:
        return HostMemory(size_bytes)

    def function(self, kernel: Kernel) -> Callable[..., None]:
        self._used.add(kernel.source)
        made = self.module(kernel.source)
        function = made.get_function(kernel.name)

        def launch(grid, block, args, *, shared_mem=0):
            made.order = next(self._orders) if self.order is None else self.order
            function(grid, block, args, shared_mem=shared_mem)

        return launch

    def module(self, source: str) -> host.HostModule:
        """What a source's kernels are run from."""
        return module(source)

    def compile(self, kernels: list[Kernel]) -> None:
        pass

    def write(self, address: int, array: Any) -> None:
        array = array._view if isinstance(array, HostArray) else array
        dense = np.ascontiguousarray(array)
        if dense.nbytes:
            ctypes.memmove(address, dense.ctypes.data, dense.nbytes)

    def copy(self, to: int, source: int, size_bytes: int) -> None:
        ctypes.memmove(to, source, size_bytes)

    def read(self, address: int, array: np.ndarray) -> None:
        if array.nbytes:
            ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def on_device(self, array: Any) -> bool:
        return isinstance(array, HostArray)

    def address(self, array: HostArray) -> int:
        return array._view.ctypes.data

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> HostArray:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        memory = HostMemory(max(size, 1))
        buffer = (ctypes.c_char * max(size, 1)).from_address(memory.address)
        view = np.frombuffer(buffer, dtype, count=size // np.dtype(dtype).itemsize).reshape(shape)
        return HostArray(view, memory)

    def array(self, values: np.ndarray) -> HostArray:
        """A device array of these values."""
        made = self.empty(values.shape, values.dtype)
        made[...] = values
        return made

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1
        return run

    def mark(self, used: Any = None) -> None:
        pass

    def wait(self, mark: Any) -> None:
        pass

    def follow(self, mark: Any) -> None:
        pass

    def time(self, run: Callable[[], None]) -> float:
        start = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - start)

    def counting(self, run: Callable[[], None]) -> Counts:
        """What the kernels that `run` launches execute."""
        for source in self._used:
            self.module(source).reset()
        run()
        return sum((self.module(source).counts() for source in self._used), Counts())

    def synchronize(self) -> None:
        pass


def host_backend(order: int | None = None, **options: Any) -> CudaBackend:
    backend = CudaBackend(HostRuntime(order=order, **options))
    backend.name = "cuda-host"
    return backend
