"""Which algorithm is asked for: by the operation, or else by the settings."""

from __future__ import annotations

from .. import config
from ..errors import UnsupportedError
from ..ops import Conv2dSpec
from ..ops.base import Spec


def conv_algo(spec: Spec) -> str:
    """The convolution's own `algo`, or where that is "auto" the configured one; "" for what is no convolution."""
    if not isinstance(spec, Conv2dSpec):
        return ""
    return config.get("conv_algo") if spec.algo == "auto" else spec.algo


def planned_algo(spec: Conv2dSpec) -> str:
    """`conv_algo`, for a step of a plan.

    Raises:
        UnsupportedError: it is "fft", which is no kernel of a backend's (fft.py).
    """
    algo = conv_algo(spec)
    if algo == "fft":
        raise UnsupportedError("algo 'fft' is an eager operation, no step of a plan; 'direct' serves any convolution")
    return algo
