"""Convolutions, by algorithm."""

from __future__ import annotations

from functools import lru_cache

from ....ops.base import Counts
from ..calls import NativeCall
from . import conv_depthwise, conv_direct, conv_im2col, conv_pointwise, conv_winograd
from .conv_call import Conv, read

ALGORITHMS = {
    "direct": conv_direct,
    "im2col": conv_im2col,
    "pointwise": conv_pointwise,
    "depthwise": conv_depthwise,
    "grouped": conv_depthwise,
    "winograd": conv_winograd,
}


def executed(call: NativeCall, isa: str, width: int) -> Counts:
    return _executed(read(call), isa, width)


@lru_cache(maxsize=4096)
def _executed(conv: Conv, isa: str, width: int) -> Counts:
    return ALGORITHMS[conv.algo].executed(conv, isa, width)
