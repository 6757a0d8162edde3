"""cnnkern: fast, counted and checked kernels for convolutional networks."""

__version__ = "0.1.0"

from . import backends, config, evaluate, functional, models, onnx, ops, testing
from .backends import cpu_info
from .config import get_num_threads, set_num_threads
from .errors import ModelError, UnsupportedError
from .functional import *  # noqa: F403  its __all__ lists the operations

__all__ = [
    "ModelError", "UnsupportedError", "backends", "config", "cpu_info", "evaluate", "get_num_threads", "models", "onnx",
    "ops", "set_num_threads", "testing",
    *functional.__all__,
]  # fmt: skip
