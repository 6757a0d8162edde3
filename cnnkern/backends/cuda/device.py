"""The Runtime of a GPU, through CuPy: memory, copies, kernels, graphs. CuPy is imported when a GPU is first asked for.

No hardware has run this file yet; what it asks of CuPy 14 is what CuPy's documentation says.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import importlib.util
import math
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np

from ...errors import DeviceMemoryError, UnsupportedError
from . import cache, compiler
from .launch import Kernel
from .runtime import Function

_INSTALL = "pip install 'cnnkern[cuda]'"
_CUPY_WHEELS = ("cupy-cuda13x", "cupy-cuda12x", "cupy")


class DeviceMemory:
    """Memory of CuPy's pool, back in it with the last reference.

    The pool hands it out again in the order of the stream that was current when it was allocated: whoever used it on
    another stream waits for that one before letting go.
    """

    def __init__(self, pointer: Any, size_bytes: int):
        self._pointer = pointer
        self.address: int = pointer.ptr
        self.size_bytes = size_bytes


class CupyRuntime:
    """One GPU. The `Runtime` protocol (runtime.py) says what each method does.

    Args:
        device: its number; None: the one that is CuPy's current device when it is first needed.
    """

    def __init__(self, device: int | None = None):
        self._device = device
        self._reason: str | None = None
        self._functions: dict[Kernel, Function] = {}
        self._lock = threading.Lock()

    # --- what it is

    def available(self) -> str:
        if self._reason is None:  # asked at every call; no driver comes or goes while a process lives
            self._reason = _why_not(self._device)
        return self._reason

    @cached_property
    def device(self) -> int:
        return self._cupy.cuda.runtime.getDevice() if self._device is None else self._device

    @cached_property
    def target(self) -> str:
        return compiler.target_for(self._properties["major"], self._properties["minor"])

    @cached_property
    def multiprocessors(self) -> int:
        return self._properties["multiProcessorCount"]

    @cached_property
    def shared_limit_bytes(self) -> int:
        return self._properties["sharedMemPerBlockOptin"]

    @cached_property
    def name(self) -> str:
        return self._properties["name"].decode()

    @property
    def memory_bytes(self) -> tuple[int, int]:
        """(free, total). What CuPy's pool holds unused is free too."""
        with self._here:
            free, total = self._cupy.cuda.runtime.memGetInfo()
            return free + self._cupy.get_default_memory_pool().free_bytes(), total

    def describe(self) -> dict[str, Any]:
        free, total = self.memory_bytes
        return {
            "device": self.device,
            "name": self.name,
            "target": self.target,
            "compute_capability": f"{self._properties['major']}.{self._properties['minor']}",
            "multiprocessors": self.multiprocessors,
            "shared_limit_bytes": self.shared_limit_bytes,
            "free_bytes": free,
            "total_bytes": total,
            **_versions(self._cupy),
        }

    # --- memory

    def allocate(self, size_bytes: int, what: str) -> DeviceMemory:
        with self._here:
            try:
                return DeviceMemory(self._cupy.cuda.alloc(max(size_bytes, 1)), size_bytes)
            except MemoryError:
                raise self._too_little(size_bytes, what) from None

    def _too_little(self, size_bytes: int, what: str) -> DeviceMemoryError:
        free, total = self.memory_bytes
        there = f"GPU {self.device} ({self.name}) has {_size(free)} free of {_size(total)}"
        return DeviceMemoryError(f"{what} needs {_size(size_bytes)} of GPU memory; {there}")

    def write(self, address: int, array: Any) -> None:
        cuda = self._cupy.cuda
        with self._here:
            if self.on_device(array):
                array = self._cupy.ascontiguousarray(array)
                self._copy(address, array.data.ptr, array.nbytes, cuda.runtime.memcpyDeviceToDevice)
            else:
                array = np.ascontiguousarray(array)
                self._copy(address, array.ctypes.data, array.nbytes, cuda.runtime.memcpyHostToDevice)
                cuda.get_current_stream().synchronize()  # pinned memory is read later: it may change after this only

    def copy(self, to: int, source: int, size_bytes: int) -> None:
        with self._here:
            self._copy(to, source, size_bytes, self._cupy.cuda.runtime.memcpyDeviceToDevice)

    def read(self, address: int, array: np.ndarray) -> None:
        if not array.flags.c_contiguous:
            raise ValueError(f"read: an array of strides {array.strides} is not C-contiguous")
        cuda = self._cupy.cuda
        with self._here:
            self._copy(array.ctypes.data, address, array.nbytes, cuda.runtime.memcpyDeviceToHost)
            cuda.get_current_stream().synchronize()

    def _copy(self, to: int, source: int, size_bytes: int, kind: int) -> None:
        if size_bytes:
            stream = self._cupy.cuda.get_current_stream()
            self._cupy.cuda.runtime.memcpyAsync(to, source, size_bytes, kind, stream.ptr)

    # --- arrays

    def on_device(self, array: Any) -> bool:
        """Raises ValueError for an array of another GPU: nothing is moved behind anyone's back."""
        if "cupy" not in sys.modules or not isinstance(array, self._cupy.ndarray):
            return False
        if array.device.id != self.device:
            raise ValueError(f"an array of GPU {array.device.id} was given to GPU {self.device}: move it there first")
        return True

    def address(self, array: Any) -> int:
        return array.data.ptr

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        with self._here:
            try:
                return self._cupy.empty(shape, dtype)
            except MemoryError:
                size_bytes = math.prod(shape) * np.dtype(dtype).itemsize
                raise self._too_little(size_bytes, f"an array of shape {shape}") from None

    # --- kernels

    def function(self, kernel: Kernel) -> Function:
        with self._lock:
            if kernel not in self._functions:
                self._functions[kernel] = self._load(kernel)
            return self._functions[kernel]

    def compile(self, kernels: list[Kernel]) -> None:
        cache.compile_all(kernels, self.target)

    def _load(self, kernel: Kernel) -> Function:
        compiled = cache.load(kernel, self.target)
        here, cuda = self._here, self._cupy.cuda
        with here:
            module = cuda.function.Module()
            module.load(compiled.cubin)
            function = module.get_function(compiled.lowered_name)  # keeps its module loaded
            # Above 48 KB a block must ask. What is asked for here costs nothing: a launch says how much it takes.
            cuda.driver.funcSetAttribute(
                function.ptr,
                cuda.driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                self.shared_limit_bytes - compiled.shared_bytes,
            )

        def launch(grid, block, args, *, shared_mem: int = 0) -> None:
            with here:
                function(grid, block, args, shared_mem)

        return launch

    # --- time and order

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """`run` has its functions and its memory: while it is recorded nothing is loaded, allocated or waited for."""
        cuda = self._cupy.cuda
        collecting = gc.isenabled()
        gc.disable()  # a collection might free device memory, which a capture forbids
        try:
            with self._here:
                stream = cuda.Stream(non_blocking=True)
                with stream:
                    stream.begin_capture(cuda.runtime.streamCaptureModeRelaxed)
                    try:
                        run()
                    except BaseException:
                        with suppress(Exception):  # the capture may be broken already; what broke it is what counts
                            stream.end_capture()
                        raise
                    graph = stream.end_capture()
                graph.upload(stream)
                stream.synchronize()
        finally:
            if collecting:
                gc.enable()

        def replay() -> None:
            with self._here:  # `self` keeps the functions, and so their modules, as long as the graph is there
                graph.launch()

        return replay

    def mark(self, used: Any = None) -> Any:
        with self._here:
            event = used or self._cupy.cuda.Event(disable_timing=True)
            event.record()
            return event

    def wait(self, mark: Any) -> None:
        if mark is not None:
            mark.synchronize()

    def follow(self, mark: Any) -> None:
        if mark is not None:
            with self._here:
                self._cupy.cuda.get_current_stream().wait_event(mark)

    def time(self, run: Callable[[], None]) -> float:
        cuda = self._cupy.cuda
        with self._here:
            start, stop = cuda.Event(), cuda.Event()
            start.record()
            run()
            stop.record()
            stop.synchronize()
            return cuda.get_elapsed_time(start, stop)

    def synchronize(self) -> None:
        with self._here:
            self._cupy.cuda.runtime.deviceSynchronize()

    # --- CuPy

    @cached_property
    def _cupy(self) -> Any:
        return importlib.import_module("cupy")

    @cached_property
    def _here(self) -> Any:
        return self._cupy.cuda.Device(self.device)

    @cached_property
    def _properties(self) -> dict[str, Any]:
        return self._cupy.cuda.runtime.getDeviceProperties(self.device)


def cuda_info() -> dict[str, Any]:
    """What the backend has to work with. Never raises.

    Returns:
        {"available", "reason": why not, else "", "devices": a `describe` of each GPU, "driver", "runtime": as CUDA
        versions, "cupy", "nvrtc": versions, each None where it is not there, "cache_folder", "cached_kernels",
        "cached_bytes"}.
    """
    reason = CupyRuntime().available()
    found = {"driver": None, "runtime": None, "cupy": _cupy_version(), "nvrtc": _nvrtc_version()}
    devices = []
    if not reason:
        cupy = importlib.import_module("cupy")
        with suppress(Exception):
            found |= _versions(cupy)
            every = map(CupyRuntime, range(cupy.cuda.runtime.getDeviceCount()))
            devices = [runtime.describe() for runtime in every if not runtime.available()]
    kernels, size_bytes = cache.contents()
    kept = {"cache_folder": str(cache.folder()), "cached_kernels": kernels, "cached_bytes": size_bytes}
    return {"available": not reason, "reason": reason, "devices": devices, **found, **kept}


def _why_not(device: int | None) -> str:
    """An empty string, or one sentence that says what is missing."""
    if importlib.util.find_spec("cupy") is None:
        return f"CuPy is not installed ({_INSTALL})"
    try:
        cupy = importlib.import_module("cupy")
        driver = cupy.cuda.runtime.driverGetVersion()
        if not driver:
            return "there is no NVIDIA driver"
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # an ImportError, or what CUDA has to say: all of them mean no
        said = next((line for line in str(error).splitlines() if line.strip(" =")), type(error).__name__)
        return f"CuPy finds no usable GPU: {said}"
    if count == 0:
        return "there is no NVIDIA GPU"
    if device is not None and not 0 <= device < count:
        return f"there is no GPU {device}; there {'is GPU 0 alone' if count == 1 else f'are GPUs 0 to {count - 1}'}"
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice() if device is None else device)
    try:
        compiler.target_for(properties["major"], properties["minor"])
        nvrtc = compiler.version()
    except UnsupportedError as error:
        return f"{properties['name'].decode()}: {error}"
    if int(nvrtc.split(".")[0]) > driver // 1000:
        return f"the driver is for CUDA {_dotted(driver)} and does not load what NVRTC {nvrtc} compiles: update either"
    return ""


def _versions(cupy: Any) -> dict[str, str | None]:
    cuda = cupy.cuda.runtime
    return {
        "driver": _dotted(cuda.driverGetVersion()),
        "runtime": _dotted(cuda.runtimeGetVersion()),
        "cupy": cupy.__version__,
        "nvrtc": _nvrtc_version(),
    }


def _cupy_version() -> str | None:
    """Without importing it."""
    for wheel in _CUPY_WHEELS:
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(wheel)
    return None


def _nvrtc_version() -> str | None:
    try:
        return compiler.version()
    except (UnsupportedError, OSError):
        return None


def _dotted(version: int) -> str:
    """13000 -> "13.0"."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _size(size_bytes: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} bytes"
