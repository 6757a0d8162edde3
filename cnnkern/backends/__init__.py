"""The backends of this installation: a registry. This module is callable: `cnnkern.backends()` says what is usable.

A backend is a module here with a class that has `available`, `passes`, `call` and `compile` (base.py), and one line in
`_CLASSES`. Modules are imported when they are first asked for; one that cannot be imported is "not available".
"""

from __future__ import annotations

import importlib
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import Any

from .. import config
from ..errors import UnsupportedError

_CLASSES = {  # name -> (module, class), in the order in which they are tried for NumPy arrays
    "cpu": ("cpu", "CpuBackend"),
    "cuda": ("cuda", "CudaBackend"),
    "numba": ("numba", "NumbaBackend"),
    "reference": ("reference", "ReferenceBackend"),
}
_PLANNERS = {"null": ("null", "NullBackend")}  # that compute nothing: asked for by name alone
_objects: dict[tuple, Any] = {}
_lock = threading.RLock()
_warned: set = set()


def get(name: Any = None) -> Any:
    """A backend by name; an object that is one already is returned as it is; None means the default.

    Raises:
        ValueError: no backend has that name. UnsupportedError: it cannot be used here; the message says why.
    Example:
        >>> cnnkern.backends.get("reference").name
        'reference'
    """
    if name is None:
        return default()
    if not isinstance(name, str):
        if hasattr(name, "call") and hasattr(name, "name"):
            return name
        raise TypeError(f"backend must be a name or a backend, got {name!r} of type {type(name).__name__}")
    if name not in _CLASSES and name not in _PLANNERS:
        raise ValueError(f"backend must be one of {', '.join(map(repr, _CLASSES))}, got {name!r}")
    found, reason = _find(name)
    if reason:
        raise UnsupportedError(f"backend {name!r} is not available: {reason}")
    return found


def default() -> Any:
    """The one that CNNKERN_BACKEND or `cnnkern.config(backend=...)` names, else the fastest available; falling back is
    said once."""
    chosen = config.get("backend")
    if chosen:
        return get(chosen)
    found, why = fastest()
    if why:
        warn_once(("default", found.name), why)
    return found


def fastest() -> tuple[Any, str]:
    """The first that is available, and what to say where that is not the first of all: which are missing, and why.

    Raises:
        UnsupportedError: none is.
    """
    missing: dict[str, str] = {}
    for name in _CLASSES:
        found, reason = _find(name)
        if not reason:
            return found, _slower(found.name, missing)
        if name != "cuda":  # most machines have no GPU, and NumPy arrays do not miss it
            missing[name] = reason
    raise UnsupportedError("no backend is available")


def on_cpu() -> Any:
    """The default backend, or, where that is a GPU's, the fastest one on the CPU."""
    chosen = default()
    if chosen.name != "cuda":
        return chosen
    reasons = available()
    return get(next(name for name in _CLASSES if name != "cuda" and not reasons[name]))


def _slower(found: str, missing: dict[str, str]) -> str:
    if not missing:
        return ""
    first, *others = missing
    also = "".join(f"; nor is {name}: {missing[name]}" for name in others)
    return f"the {first} backend is not available, so this runs on {found}, which is slower: {missing[first]}{also}"


def choose(name: Any, *arrays: Any) -> Any:
    """The backend for these arrays: the one that is asked for, else where device arrays live, else the default.

    Raises:
        TypeError: a backend that is asked for cannot take device arrays.
    """
    on_device = any(is_device_array(array) for array in arrays)
    if not on_device:
        return get(name)
    chosen = get(name or config.get("backend") or "cuda")
    if not hasattr(chosen, "at"):
        raise TypeError(f"backend {chosen.name!r} takes NumPy arrays; an array on a GPU was given: leave backend out")
    return chosen.at(next(array for array in arrays if is_device_array(array)))


def is_device_array(array: Any) -> bool:
    """Whether it is an array on a GPU, as CuPy's are."""
    kind = type(array)
    return hasattr(kind, "__cuda_array_interface__") and kind.__module__.partition(".")[0] != "torch"


def available() -> dict[str, str]:
    """Backend name -> "" where it is usable, else why not."""
    return {name: _find(name)[1] for name in _CLASSES}


def warn_once(key: Any, message: str) -> None:
    """One RuntimeWarning per key in this process (fallbacks say so once)."""
    with _lock:
        if key in _warned:
            return
        _warned.add(key)
    warnings.warn(f"cnnkern: {message}", RuntimeWarning, stacklevel=3)


def cpu_info() -> dict[str, Any]:
    """What the cpu backend has to work with.

    Returns:
        {"name": the processor's, "isa": the instruction set chosen ("" without the native module), "isas": those
        available, weakest first, "threads": as get_num_threads, "cache_bytes": {"l1d", "l2", "l3"}, 0 where unknown}.
    Raises:
        ValueError: CNNKERN_ISA names a set that this CPU lacks.
    """
    info = {"name": "", "isa": "", "isas": [], "threads": config.get_num_threads(), "cache_bytes": {}}
    try:
        from .. import _core
    except ImportError:
        return info
    l1d, l2, l3 = _core.cache_sizes()
    return info | {
        "name": _core.cpu_name(),
        "isa": _core.resolve_isa(config.get("isa") or ""),
        "isas": list(_core.available_isas()),
        "cache_bytes": {"l1d": l1d, "l2": l2, "l3": l3},
    }


def _find(name: str) -> tuple[Any, str]:
    """(the backend, "") or (None, why not). One object per name, and for the cpu per instruction set."""
    options = {"isa": config.get("isa")} if name == "cpu" and config.get("isa") else {}
    key = (name, *options.values())
    with _lock:
        if key not in _objects:
            module, cls = (_CLASSES | _PLANNERS)[name]
            try:
                _objects[key] = getattr(importlib.import_module(f".{module}", __name__), cls)(**options)
            except ImportError as error:
                return None, _why_not(error)
        reason = _objects[key].available()
        return (None, reason) if reason else (_objects[key], "")


def _why_not(error: ImportError) -> str:
    """What the installation noted when the native module did not build, else the import's own words."""
    note = Path(__file__).parent.parent / "_native_build_failed.txt"
    if note.exists():
        return f"the native module did not build: {note.read_text().strip()}"
    return f"{error}"


class _CallableModule(types.ModuleType):
    def __call__(self) -> dict[str, str]:
        return {name: reason or "available" for name, reason in available().items()}


sys.modules[__name__].__class__ = _CallableModule
