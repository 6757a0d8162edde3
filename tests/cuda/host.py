"""The kernels' own sources on a CPU: g++ compiles them against the shim in `shim/`, ctypes calls them.

    module = HostModule("eltwise.cu", ["activation<float, 4>"])
    module.get_function("activation<float, 4>")((blocks,), (256,), (args,))
    module.counts()

What the shim finds (a barrier that some thread never reaches, an access outside the memory that was registered) is a
RuntimeError. What it cannot find, such as an overrun of a local array, AddressSanitizer and UBSan do: `run_sanitized`.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

import cnnkern
from cnnkern.ops.base import Counts

SHIM = Path(__file__).resolve().parent / "shim"
ORDERS = (0, 1, 2, 3)  # of a block's threads: ascending, descending, and two that are drawn anew in each round
ORDER = 0  # of modules that have none of their own

Function = Callable[..., None]  # (grid, block, args, *, shared_mem=0), as CuPy's RawKernel

_FLAGS = ["-std=c++17", "-g", "-shared", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno"]
_FLAGS += ["-fno-strict-aliasing", "-Wall", "-Wno-unknown-pragmas", "-DCNNKERN_HOST"]
_PLAIN_FLAGS = ["-O2", "-Werror=frame-larger-than=16384"]  # a fiber's stack is 64 KB
_SANITIZE_FLAGS = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def kernels_folder() -> Path:
    """The checkout's kernels, else those of the installed package."""
    checkout = SHIM.parents[2] / "kernels"
    return checkout if checkout.is_dir() else Path(cnnkern.__file__).parent / "kernels"


# --- memory that kernels may touch


class _Region(ctypes.Structure):
    _fields_ = [("begin", ctypes.c_uint64), ("end", ctypes.c_uint64)]


_registries: list[dict[int, int]] = [{}]  # address -> size; the last one is in force
_packed_regions = (_Region * 0)()


def register_memory(address: int, size_bytes: int) -> None:
    """Lets kernels touch [address, address + size_bytes). As long as anything is registered, all else is forbidden.

    Raises:
        ValueError: it is empty, or a part of it is registered already.
    """
    if size_bytes < 1:
        raise ValueError(f"{size_bytes} bytes at {address:#x}")
    for other in sorted(_registries[-1]):  # not the dictionary itself: see _pack_regions
        other_bytes = _registries[-1].get(other, 0)
        if address < other + other_bytes and other < address + size_bytes:
            raise ValueError(f"{size_bytes} bytes at {address:#x} meet the {other_bytes} registered at {other:#x}")
    _registries[-1][address] = size_bytes
    _pack_regions()


def unregister_memory(address: int) -> None:
    """Takes back what was registered at this address."""
    registry = next(registry for registry in reversed(_registries) if address in registry)
    del registry[address]
    _pack_regions()


@contextmanager
def apart() -> Iterator[None]:
    """Inside, nothing counts as registered but what is registered inside."""
    _registries.append({})
    _pack_regions()
    try:
        yield
    finally:
        _registries.pop()
        _pack_regions()


def _pack_regions() -> None:
    """What is registered, for the next launch. On the way the garbage collector may take registrations back."""
    global _packed_regions
    registry, addresses = _registries[-1], None
    while addresses != sorted(registry):
        addresses = sorted(registry)
        regions = [_Region(address, address + registry.get(address, 0)) for address in addresses]
        _packed_regions = (_Region * len(regions))(*regions)


# --- building


def compiler() -> str | None:
    """The C++ compiler: $CXX, else g++. None if there is none."""
    return shutil.which(os.environ.get("CXX") or "g++")


def sanitized() -> bool:
    """Whether this process builds and loads sanitized modules: it is a child of `run_sanitized`."""
    return os.environ.get("CNNKERN_HOST_SANITIZE") == "1"


@cache
def _machine(cxx: str) -> tuple[str, tuple[str, ...]]:
    """The compiler's version, and a flag where this CPU has a multiply-add: in software it is twenty times slower."""
    version = subprocess.run([cxx, "--version"], capture_output=True, text=True, check=True).stdout
    ask = [cxx, "-march=native", "-dM", "-E", "-x", "c++", os.devnull]
    macros = subprocess.run(ask, capture_output=True, text=True).stdout
    return version, ("-mfma",) if "__FMA__" in macros else ()


def _included(path: Path, folders: Sequence[Path], seen: dict[Path, str]) -> dict[Path, str]:
    """The text of a source and of all that it includes by a quoted name."""
    if path not in seen:
        seen[path] = path.read_text()
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', seen[path], re.MULTILINE):
            found = [f / name for f in (path.parent, *folders) if (f / name).exists()]
            _included(found[0], folders, seen) if found else None
    return seen


def build(source: Path, names: Sequence[str], *, sanitize: bool = False, flags: Sequence[str] = ()) -> Path:
    """A library with these kernels of a source, from the cache if it is there.

    Args:
        names: C++ name expressions, "pool<float, 4>".
        sanitize: with AddressSanitizer and UBSan.
        flags: for the compiler, behind all others.
    Raises:
        RuntimeError: what the compiler had to say.
    """
    cxx = compiler()
    if cxx is None:
        raise RuntimeError("no C++ compiler: set CXX")
    version, machine_flags = _machine(cxx)
    folders = [kernels_folder(), SHIM]
    text = f'#include "{source}"\n#include "launch.h"\n\n'
    text += "".join(
        f'[[maybe_unused]] const bool kernel_{i} = shim::add_kernel("{n}", {n});\n' for i, n in enumerate(names)
    )
    flags = [*_FLAGS, *(_SANITIZE_FLAGS if sanitize else _PLAIN_FLAGS), *machine_flags, *flags]
    inputs = [version, text, *flags, *_included(source, folders, {}).values()]
    inputs += [(SHIM / name).read_text() for name in sorted(os.listdir(SHIM))]
    key = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:32]
    folder = Path(tempfile.gettempdir()) / f"cnnkern-host-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{source.stem}-{key}.so"
    if library.exists():
        return library
    with tempfile.TemporaryDirectory(dir=folder) as work:
        main = Path(work) / "kernels.cpp"
        main.write_text(text)
        made = Path(work) / "kernels.so"
        command = [cxx, *flags, *(f"-I{f}" for f in folders), str(main), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{source.name} does not compile for the host:\n{done.stderr}")
        if done.stderr:
            warnings.warn(f"{source.name}:\n{done.stderr}", stacklevel=2)
        os.replace(made, library)  # others may build the same at the same time: whole or not there
    return library


# --- running


class _Launch(ctypes.Structure):
    """shim.h's Launch."""

    _fields_ = [
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared_bytes", ctypes.c_uint64),
        ("args", ctypes.c_void_p),
        ("args_bytes", ctypes.c_uint64),
        ("regions", ctypes.POINTER(_Region)),
        ("regions_count", ctypes.c_uint32),
        ("order", ctypes.c_uint32),
        ("counts", ctypes.c_uint64 * 7),
        ("message", ctypes.c_char * 1024),
    ]


class HostModule:
    """Kernels of one source file, on the CPU.

    Args:
        source: "pool.cu".
        names: C++ name expressions of the kernels, "pool<float, 4>".
        sanitize: with AddressSanitizer and UBSan; the default is what `sanitized()` says.
        folder: where the source lies; the default is the project's kernels.
        flags: for the compiler.
    """

    def __init__(
        self,
        source: str,
        names: Sequence[str],
        *,
        sanitize: bool | None = None,
        folder: Path | None = None,
        flags: Sequence[str] = (),
    ):
        self.names = list(names)
        self.order: int | None = None  # None: the module's ORDER
        path = (folder or kernels_folder()) / source
        self.library = build(path, self.names, sanitize=sanitized() if sanitize is None else sanitize, flags=flags)
        self._launch = ctypes.PyDLL(str(self.library)).cnnkern_launch  # holds the GIL: one launch at a time
        self.reset()

    def reset(self) -> None:
        """Forgets what was counted."""
        self._counted = Counts()

    def counts(self) -> Counts:
        """What all launches since the last reset have done; a launch that failed counts nothing."""
        return self._counted

    def get_function(self, name: str) -> Function:
        """A kernel, to be called as CuPy's RawKernel: (grid, block, args, *, shared_mem=0).

        `args` is a tuple of one: a NumPy array of one element, whose bytes are the kernel's argument.

        Raises (on the call):
            RuntimeError: the shim's message: what is wrong, the kernel, the block and the thread.
        """
        index = self.names.index(name)

        def function(grid, block, args, *, shared_mem: int = 0) -> None:
            self._run(index, grid, block, args, shared_mem)

        return function

    def _run(self, index: int, grid, block, args, shared_bytes: int) -> None:
        (packed,) = args
        packed = np.ascontiguousarray(packed)
        launch = _Launch(
            grid=(*grid, 1, 1)[:3],
            block=(*block, 1, 1)[:3],
            shared_bytes=shared_bytes,
            args=packed.ctypes.data,
            args_bytes=packed.nbytes,
            regions=_packed_regions,
            regions_count=len(_packed_regions),
            order=ORDER if self.order is None else self.order,
        )
        if self._launch(index, ctypes.byref(launch)):
            raise RuntimeError(launch.message.decode(errors="replace"))
        self._counted += Counts(*launch.counts)


def run_sanitized(argv: Sequence[str], **options) -> subprocess.CompletedProcess:
    """Runs `python *argv` in a child in which modules are sanitized; `options` go to subprocess.run.

    The sanitizers' libraries must be loaded before Python itself is. A finding ends the child with an error code and a
    report on stderr. Raises FileNotFoundError where the compiler has no AddressSanitizer.
    """
    libraries = [Path(_find_library(name)) for name in ("libasan.so", "libstdc++.so")]
    if not libraries[0].is_absolute():
        raise FileNotFoundError("the compiler has no libasan.so")
    env = {
        **os.environ,
        "CNNKERN_HOST_SANITIZE": "1",
        "LD_PRELOAD": ":".join(map(str, libraries)),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": os.pathsep.join([str(Path(cnnkern.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    return subprocess.run([sys.executable, *argv], env=env, **options)


def _find_library(name: str) -> str:
    """Its path, or the bare name where the compiler has none."""
    cxx = compiler() or "g++"
    return subprocess.run([cxx, f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
