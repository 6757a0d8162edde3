"""cnnkern: fast, counted and checked kernels for convolutional networks."""

__version__ = "0.1.0"

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import backends, config, evaluate, functional, models, onnx, ops, testing
from .backends import cpu_info
from .config import get_num_threads, set_num_threads
from .errors import ModelError, UnsupportedError
from .functional import *  # noqa: F403  its __all__ lists the operations

if TYPE_CHECKING:
    from .onnx.ort_value import OrtValue
    from .onnx.providers import get_available_providers, get_device
    from .onnx.session import InferenceSession
    from .onnx.session_options import (
        ExecutionMode,
        GraphOptimizationLevel,
        RunOptions,
        SessionOptions,
        set_default_logger_severity,
    )

__all__ = [
    "ExecutionMode", "GraphOptimizationLevel", "InferenceSession", "ModelError", "OrtValue", "RunOptions",
    "SessionOptions", "UnsupportedError", "backends", "config", "cpu_info", "evaluate", "get_available_providers",
    "get_device", "get_num_threads", "models", "onnx", "ops", "set_default_logger_severity",
    "set_num_threads", "testing",
    *functional.__all__,
]  # fmt: skip

_LAZY = {  # onnxruntime's names, and where they are: `import cnnkern` does not load them
    "ExecutionMode": "session_options",
    "GraphOptimizationLevel": "session_options",
    "InferenceSession": "session",
    "OrtValue": "ort_value",
    "RunOptions": "session_options",
    "SessionOptions": "session_options",
    "get_available_providers": "providers",
    "get_device": "providers",
    "set_default_logger_severity": "session_options",
}


def __getattr__(name: str) -> Any:
    if name == "torch":  # the door to PyTorch; its own words where PyTorch is missing
        return import_module(".torch", __name__)
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(f".onnx.{_LAZY[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
