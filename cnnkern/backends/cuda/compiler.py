"""From a kernel's source to a cubin, through NVRTC; no GPU and no driver is asked.

CuPy's own compiler is not used: it always adds -ftz=true, its cache does not see an edited header, it knows no sm_90a,
and it asks for a device. NVRTC comes with the wheel `nvidia-cuda-nvrtc` (the extra cnnkern[cuda]) or with the system's
CUDA; importing this module loads nothing.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ...errors import CompileError, UnsupportedError
from .launch import Kernel

TARGETS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_100", "sm_120")
# A block's shared memory where the kernel asks for all it may have (CUDA programming guide, compute capabilities).
_SHARED_LIMIT_KB = {75: 64, 80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}
# Tegra: a GPU board's cubin does not load there, though major and minor say it would.
_TEGRA = ((8, 7), (10, 1))

OPTIONS = (
    "-std=c++17",
    "-default-device",
    "--fmad=false",  # a multiply-add is written, never guessed
    "--ftz=false",
    "--prec-div=true",
    "--prec-sqrt=true",
    "--diag-suppress=177",  # an unused constant: what one instance has no use for, another has
    "--ptxas-options=-v",  # registers, spills and shared memory, into the log
)
_ERROR_LINES = 8  # of the compiler's, in the message
_INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"')
_TIMES = re.compile(r"^ptxas info *: Compile time.*\n", re.M)  # two compilations of one source say the same
_ONCE = re.compile(r"\s*#\s*pragma\s+once\b")


@dataclass(frozen=True)
class Compiled:
    """A kernel as the driver loads it, and what ptxas said about it: a thread's registers, its bytes of stack, its
    spill stores and loads in bytes of code, the static shared memory of a block. 0 where the log does not say."""

    cubin: bytes
    lowered_name: str  # the kernel's name in the cubin
    registers: int
    shared_bytes: int
    spill_bytes: int
    stack_bytes: int
    log: str


# --- targets


def target_for(major: int, minor: int) -> str:
    """What to compile for a device of this compute capability: the newest target whose cubin it loads.

    A cubin runs on its own major version from its own minor on; sm_90a on 9.0 alone.

    Raises:
        UnsupportedError: there is none; the message names those supported.
    Example:
        >>> target_for(9, 0), target_for(12, 1)
        ('sm_90a', 'sm_120')
    """
    if (major, minor) == (9, 0):
        return "sm_90a"
    fitting = [t for t in TARGETS if not t.endswith("a") and number(t) // 10 == major and number(t) % 10 <= minor]
    if not fitting or (major, minor) in _TEGRA:
        supported = ", ".join(f"{number(t) // 10}.{number(t) % 10}" for t in TARGETS if not t.endswith("a"))
        raise UnsupportedError(
            f"no kernels are made for compute capability {major}.{minor}; supported are {supported}"
            " and later minor versions of these, Tegra excepted"
        )
    return fitting[-1]


def number(target: str) -> int:
    """sm_90a -> 90."""
    return int(target.removeprefix("sm_").rstrip("a"))


def serves(target: str, kernel: Kernel) -> bool:
    """Whether the kernel can be compiled for the target; one with an `arch` only for exactly its own."""
    return target == f"sm_{kernel.sm}{kernel.arch}" if kernel.arch else number(target) >= kernel.sm


def targets(kernel: Kernel) -> list[str]:
    """Every target the kernel is compiled for."""
    return [target for target in TARGETS if serves(target, kernel)]


def shared_limit_bytes(target: str) -> int:
    """The shared memory, static and dynamic, that a block may ask for."""
    return _SHARED_LIMIT_KB[number(target)] * 1024


# --- sources


def kernels_folder() -> Path:
    """Where the .cu files lie: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "kernels", package.parent / "kernels"):
        if (folder / "prims.cuh").is_file():
            return folder
    raise FileNotFoundError(f"the CUDA sources are neither in {package / 'kernels'} nor beside {package}")


def flatten(source: str) -> str:
    """The text of kernels/`source` with what it includes from that folder in place of the first #include of each.

    An include of a file that is not there is left for the compiler (the host's, inside an #if). #line directives keep
    its messages about the right file.
    """
    return "\n".join(_flat(kernels_folder(), source, set())) + "\n"


def _flat(folder: Path, name: str, seen: set[str]) -> Iterator[str]:
    seen.add(name)
    yield f'#line 1 "{name}"'
    for i, line in enumerate((folder / name).read_text(encoding="utf-8").splitlines(), 1):
        include = _INCLUDE.match(line)
        if include and include[1] not in seen and (folder / include[1]).is_file():
            yield from _flat(folder, include[1], seen)
            yield f'#line {i + 1} "{name}"'
        elif _ONCE.match(line) or (include and include[1] in seen):
            yield ""
        else:
            yield line


# --- the compiler


def options(target: str) -> tuple[str, ...]:
    return (f"--gpu-architecture={target}", *OPTIONS)


def compile_kernel(kernel: Kernel, target: str, text: str | None = None) -> Compiled:
    """Compile one instance; threads may do so side by side. The cache (cache.py) is not asked.

    Args:
        text: the flattened source, where the caller has it.
    Raises:
        CompileError: the compiler refuses the source; the message names kernel and target and has its first lines.
        UnsupportedError: the target is no good for this kernel, or there is no NVRTC.
    """
    if target not in TARGETS or not serves(target, kernel):
        raise UnsupportedError(f"{kernel.name} is not made for {target}; it is for {', '.join(targets(kernel))}")
    nvrtc = _library()
    program = ctypes.c_void_p()
    text = flatten(kernel.source) if text is None else text
    nvrtc("nvrtcCreateProgram", ctypes.byref(program), text.encode(), kernel.source.encode(), 0, None, None)
    try:
        nvrtc("nvrtcAddNameExpression", program, kernel.name.encode())
        given = [option.encode() for option in options(target)]
        status = nvrtc.library.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given))
        log = _TIMES.sub("", nvrtc.fetch(program, "ProgramLog").rstrip(b"\0").decode(errors="replace"))
        if status:
            why = _first_errors(log) or nvrtc.reason(status)
            raise CompileError(f"{kernel.source}: {kernel.name} does not compile for {target} ({_named()}):\n{why}")
        lowered = ctypes.c_char_p()
        nvrtc("nvrtcGetLoweredName", program, kernel.name.encode(), ctypes.byref(lowered))
        name = lowered.value.decode()
        return Compiled(nvrtc.fetch(program, "CUBIN"), name, **_figures(log, name), log=log)
    finally:
        nvrtc.library.nvrtcDestroyProgram(ctypes.byref(program))


def version() -> str:
    """The compiler's version: "13.0.88" of NVIDIA's wheel, which need not be loaded to know; "13.0" of the system's.

    Raises:
        UnsupportedError: there is no NVRTC.
    """
    wheel = _wheel()
    return (wheel[1] if wheel else "") or _loaded_version()


def _first_errors(log: str) -> str:
    lines = log.splitlines()
    start = next((i for i, line in enumerate(lines) if "error" in line.lower()), 0)
    return "\n".join(line for line in lines[start : start + _ERROR_LINES] if line.strip())


def _figures(log: str, lowered_name: str) -> dict[str, int]:
    """What ptxas says of this entry; functions that it calls have spills and stacks of their own."""
    entry = re.search(rf"entry function '{re.escape(lowered_name)}'(.*?)(?=Compiling entry function|\Z)", log, re.S)
    said = entry[1] if entry else ""

    def largest(pattern: str) -> int:
        return max(map(int, re.findall(pattern, said)), default=0)

    return {
        "registers": largest(r"Used (\d+) registers"),
        "shared_bytes": largest(r"(\d+) bytes smem"),
        "spill_bytes": sum(map(int, re.findall(r"(\d+) bytes spill", said))),
        "stack_bytes": max(largest(r"(\d+) bytes stack frame"), largest(r"(\d+) bytes cumulative stack")),
    }


# --- the library


class _Nvrtc:
    """libnvrtc: `nvrtc(function, *arguments)` raises where it fails."""

    def __init__(self, library: ctypes.CDLL):
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        self.library = library

    def __call__(self, function: str, *arguments) -> None:
        if status := getattr(self.library, function)(*arguments):
            raise CompileError(f"{function}: {self.reason(status)}")

    def reason(self, status: int) -> str:
        return self.library.nvrtcGetErrorString(status).decode()

    def fetch(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self(f"nvrtcGet{what}", program, buffer)
        return buffer.raw


@lru_cache(maxsize=1)
def _library() -> _Nvrtc:
    wheel = _wheel()
    why = ""
    for path in [wheel[0]] if wheel else _system():
        try:
            # NVRTC looks for its builtins by bare name: from a wheel's folder it finds only what is loaded already.
            for builtins in path.parent.glob("libnvrtc-builtins.so*") if path.is_absolute() else ():
                ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
            return _Nvrtc(ctypes.CDLL(str(path)))
        except OSError as error:
            why = why or str(error)
    raise UnsupportedError(f"no CUDA compiler: {why}; `pip install 'cnnkern[cuda]'` brings one")


@lru_cache(maxsize=1)
def _wheel() -> tuple[Path, str] | None:
    """libnvrtc of NVIDIA's wheel, and the wheel's version if it is written down. Nothing is loaded."""
    found = importlib.util.find_spec("nvidia")  # a namespace: one folder for all of their wheels
    for site in map(Path, (found.submodule_search_locations or ()) if found else ()):
        for folder, wheel in (("cu13", "nvidia_cuda_nvrtc"), ("cuda_nvrtc", "nvidia_cuda_nvrtc_cu12")):
            if library := max((site / folder / "lib").glob("libnvrtc.so.*"), default=None):
                notes = [note.stem for note in site.parent.glob(f"{wheel}-*.dist-info")]
                return library, notes[0].rpartition("-")[2] if notes else ""
    return None


def _system() -> Iterator[Path]:
    """Where else NVRTC may be: by the name that the loader knows, then under CUDA's own folder."""
    names = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so")
    yield from map(Path, names)
    for root in (os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda"):
        yield from (Path(root).resolve() / "lib64" / name for name in names if root)


@lru_cache(maxsize=1)
def _loaded_version() -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _library()("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def _named() -> str:
    return f"NVRTC {version()}"
