"""Execution providers: onnxruntime's names for where a model runs, and cnnkern's backends behind them.

Source: onnxruntime's Python API, https://onnxruntime.ai/docs/api/python/api_summary.html#load-and-run-a-model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import backends
from ..errors import InvalidArgument
from .ort_value import cuda_for
from .session_options import warn_once

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@dataclass(frozen=True)
class Providers:
    """Where a session runs: names in onnxruntime's order, their options, and the backend of the first."""

    options: Mapping[str, Mapping[str, str]]
    backend: Any = field(compare=False)

    @property
    def names(self) -> list[str]:
        return list(self.options)

    @property
    def cuda(self) -> Any:
        """The backend where it is a GPU's, else None."""
        return self.backend if CUDA in self.options else None


def get_available_providers() -> list[str]:
    """The providers of this installation, the fastest first: "CUDAExecutionProvider" where cnnkern's cuda backend is
    available, and "CPUExecutionProvider".

    Example:
        >>> "CPUExecutionProvider" in cnnkern.get_available_providers()
        True
    Source: onnxruntime's function of this name.
    """
    return [*([CUDA] if not backends.available()["cuda"] else []), CPU]


def get_device() -> str:
    """What models can run on: "GPU" where the cuda backend is available, else "CPU".

    Example:
        >>> cnnkern.get_device() in ("CPU", "GPU")
        True
    Source: onnxruntime's function of this name.
    """
    return "GPU" if CUDA in get_available_providers() else "CPU"


def resolve(providers: Any, provider_options: Any = None, *, unknown_is_error: bool = False) -> Providers:
    """Providers as a caller gives them -> where to run.

    Args:
        providers: names, or (name, options) pairs, the most wanted first; None or none at all: the CPU.
        provider_options: a mapping for each name, in place of pairs.
        unknown_is_error: what is not available raises; else it is said once and passed over, as onnxruntime does.
    Raises:
        TypeError, InvalidArgument: what is no such list, or an option of the wrong kind.
        UnsupportedError: device_id names a GPU that is not here.
    """
    available = get_available_providers()
    wanted: dict[str, dict[str, str]] = {}
    for name, options in _pairs(providers, provider_options):
        if name in wanted:
            warn_once(f"provider twice {name}", f"provider {name!r} is named twice; the second is ignored", 4)
        elif name in available:
            wanted[name] = {str(key): str(value) for key, value in options.items()}
        elif unknown_is_error:
            raise InvalidArgument(f"provider {name!r} is not available here; available: {', '.join(available)}")
        else:
            there = ", ".join(available)
            warn_once(f"provider {name}", f"provider {name!r} is not available here, so it is ignored; {there} is", 4)
    wanted.setdefault(CPU, {})  # what everything falls back to
    if next(iter(wanted)) == CPU:
        return Providers({CPU: wanted[CPU]}, backends.on_cpu())
    options = {"device_id": "0", **wanted[CUDA]}
    if not options["device_id"].isdecimal():
        raise InvalidArgument(f"device_id of {CUDA} must be a GPU's number, got {options['device_id']!r}")
    return Providers({CUDA: options, CPU: wanted[CPU]}, cuda_for("cuda", int(options["device_id"])))


def _pairs(providers: Any, provider_options: Any) -> list[tuple[str, Mapping[Any, Any]]]:
    """(name, options) each."""
    if isinstance(providers, str):
        providers = [providers]
    given = list(providers or ())
    if provider_options is None:
        return [_pair(i, provider) for i, provider in enumerate(given)]
    if providers is None:
        return []  # onnxruntime passes over options without names
    options = [provider_options] if isinstance(provider_options, Mapping) else list(provider_options)
    if len(options) != len(given):
        raise InvalidArgument(f"provider_options must be one for each of {len(given)} providers, got {len(options)}")
    for i, (provider, each) in enumerate(zip(given, options)):
        if not isinstance(provider, str) or not isinstance(each, Mapping):
            raise InvalidArgument(
                f"providers[{i}] must be a name and provider_options[{i}] a mapping where both are given, got "
                f"{provider!r} and {each!r}"
            )
    return list(zip(given, options))


def _pair(i: int, provider: Any) -> tuple[str, Mapping[Any, Any]]:
    if isinstance(provider, str):
        return provider, {}
    pair = isinstance(provider, Sequence) and len(provider) == 2
    if not pair or not isinstance(provider[0], str) or not isinstance(provider[1], Mapping):
        raise InvalidArgument(f"providers[{i}] must be a name or a (name, options) pair, got {provider!r}")
    return provider[0], provider[1]
