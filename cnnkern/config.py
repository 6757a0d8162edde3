"""Settings: every CNNKERN_* variable in one table, and `with cnnkern.config(...)` for a block of code.

A setting's value is the innermost `with`'s, else the environment's, else the default. Blocks are per thread and per
asyncio task (contextvars). This module is callable: `cnnkern.config(check=True)`.
"""

from __future__ import annotations

import math
import os
import sys
import types
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from .ops.checks import as_choice, as_int
from .ops.conv import CONV_ALGOS

PRECISIONS = ("float32", "strict", "tf32", "bfloat16", "float16")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def _flag(name: str, value) -> bool:
    if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    if value in (True, False):
        return bool(value)
    raise ValueError(f"{name} must be 0 or 1, got {value!r}")


def _count(minimum: int) -> Callable[[str, Any], int]:
    def parse(name: str, value) -> int:
        if isinstance(value, str):
            try:
                value = int(value)
            except ValueError:
                raise ValueError(f"{name} must be an integer, got {value!r}") from None
        return as_int(name, value, minimum)

    return parse


def _choice(*choices: str) -> Callable[[str, Any], str]:
    return lambda name, value: as_choice(name, value, choices)


def _text(name: str, value) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    return value


@dataclass(frozen=True)
class Setting:
    """One setting: its variable, its value when unset (None: decided at use), its check, and what it does."""

    variable: str
    default: Any
    parse: Callable[[str, Any], Any]
    help: str


SETTINGS: dict[str, Setting] = {
    "backend": Setting("CNNKERN_BACKEND", None, _text, "the backend to use; unset: the fastest available"),
    "isa": Setting(
        "CNNKERN_ISA", None, _text, "the cpu backend's instruction set: vec128, avx2, avx512; unset: the best"
    ),
    "num_threads": Setting(
        "CNNKERN_NUM_THREADS", None, _count(1), "threads of the cpu backend; unset: the usable CPUs"
    ),
    "precision": Setting("CNNKERN_PRECISION", "float32", _choice(*PRECISIONS), "arithmetic; strict: no Winograd, FFT"),
    "conv_algo": Setting("CNNKERN_CONV_ALGO", "auto", _choice(*CONV_ALGOS), "force one convolution algorithm"),
    "verbose": Setting(
        "CNNKERN_VERBOSE", 0, _count(0), "to stderr: 1 a line per step, 2 why each was chosen, 3 passes"
    ),
    "check": Setting("CNNKERN_CHECK", False, _flag, "compare every step with the float64 oracle"),
    "cache": Setting(
        "CNNKERN_CACHE", None, _text, "folder of what is kept between runs; unset: .cache/cnnkern at home"
    ),
    "require_native": Setting(
        "CNNKERN_REQUIRE_NATIVE", False, _flag, "while building: a failed native build is an error"
    ),
    "build_dir": Setting(
        "CNNKERN_BUILD_DIR", None, _text, "while building: keep CMake's folder here, for the next build"
    ),
}

_overrides: ContextVar[Mapping[str, Any]] = ContextVar("cnnkern_config", default=types.MappingProxyType({}))
_threads: int | None = None  # what set_num_threads was told


def get(name: str) -> Any:
    """The value of a setting here and now. Raises ValueError naming the variable when the environment's is no good."""
    inner = _overrides.get()
    if name in inner:
        return inner[name]
    setting = SETTINGS[name]
    text = os.environ.get(setting.variable, "")
    return setting.parse(setting.variable, text) if text else setting.default


def in_force() -> tuple:
    """A key that differs where `with`s or set_num_threads do: what may change between two calls. Cheaper than reading
    every setting, and touches little memory, which a network has just driven out of the caches."""
    inner = _overrides.get()
    return (_threads, *inner.items()) if inner else (_threads,)


def settings() -> dict[str, Any]:
    """Every variable's name -> its value here and now."""
    return {setting.variable: get(name) for name, setting in SETTINGS.items()}


def cache_folder() -> Path:
    """Where what is kept between runs lies; it need not exist yet."""
    folder = get("cache")
    return Path(folder) if folder else Path.home() / ".cache" / "cnnkern"


class overrides:
    """`with overrides(check=True, precision="strict"): ...`: the settings named hold inside the block.

    Raises at once: TypeError for an unknown name, ValueError or TypeError for a value that is not accepted.
    """

    def __init__(self, **values: Any):
        for name in values:
            if name not in SETTINGS or name == "require_native":
                near = get_close_matches(name, SETTINGS, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(SETTINGS)}"
                raise TypeError(f"config has no setting {name!r}{hint}")
        self._values = {
            name: value if value is None and SETTINGS[name].default is None else SETTINGS[name].parse(name, value)
            for name, value in values.items()
        }
        self._tokens: list[Token] = []

    def again(self) -> overrides:
        """The same for another block, which may be another thread's; nothing is checked a second time."""
        other = object.__new__(overrides)
        other._values, other._tokens = self._values, []
        return other

    def __enter__(self) -> overrides:
        self._tokens.append(_overrides.set({**_overrides.get(), **self._values}))
        return self

    def __exit__(self, *exception) -> None:
        _overrides.reset(self._tokens.pop())


def set_num_threads(n: int) -> None:
    """How many threads operations may use from now on, in the whole process (a `with cnnkern.config` still wins).

    Example:
        >>> cnnkern.set_num_threads(2)
    """
    global _threads
    _threads = as_int("n", n, 1)


def get_num_threads() -> int:
    """Threads in use: the innermost `with`'s, else set_num_threads', CNNKERN_NUM_THREADS', or usable_cpus()."""
    inner = _overrides.get().get("num_threads")
    return inner or _threads or get("num_threads") or usable_cpus()


def usable_cpus() -> int:
    """The CPU cores that affinity and the container's quota (cgroup v2) leave to this process; hyper-threads of a core
    share its multipliers and count once. OMP_NUM_THREADS wins."""
    openmp = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if openmp.isdigit() and int(openmp) > 0:
        return int(openmp)
    cpus = _cores(frozenset(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cpus, _quota() or cpus)


@lru_cache(maxsize=1)  # read once: an eager call asks for its threads each time
def _quota() -> int | None:
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()[:2]
        return None if quota == "max" else max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None


@lru_cache(maxsize=4)
def _cores(cpus: frozenset[int]) -> int:
    siblings = set()
    for cpu in cpus:
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as file:
                siblings.add(file.read())
        except OSError:
            return len(cpus)
    return len(siblings)


class _CallableModule(types.ModuleType):
    def __call__(self, **values: Any) -> overrides:
        return overrides(**values)


sys.modules[__name__].__class__ = _CallableModule
