"""What a native call must execute, from its shapes, strides and plan alone: the second of the three numbers.

Written from what each kernel is said to do, in formulas of its own: nothing here asks the native module or shares a
line with it, so that a kernel that does more, or less, than its plan says is found out (`cnnkern flops`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from ....ops.base import Counts
from ..calls import NativeCall
from . import conv as convolution
from . import conv_depthwise, conv_direct, conv_im2col, conv_pointwise, conv_winograd

CONVOLUTIONS = {
    "direct": conv_direct.executed,
    "im2col": conv_im2col.executed,
    "pointwise": conv_pointwise.executed,
    "depthwise": conv_depthwise.executed,
    "winograd": conv_winograd.executed,
}


def predict(calls: Iterable[NativeCall], isa: str, width: int) -> Counts | None:
    """The sum over the calls of a step; None where one of them is of no known kind.

    Args:
        width: floats in a vector of that instruction set.
    """
    total = Counts()
    for call in calls:
        if call.method == "add_conv":
            total += _conv(convolution.read(call, call.arrays.get("bias") is not None), isa, width)
        else:
            return None
    return total


@lru_cache(maxsize=4096)
def _conv(conv: convolution.Conv, isa: str, width: int) -> Counts:
    return CONVOLUTIONS[conv.algo](conv, isa, width)
