"""Every operation again, as loops over Python floats: nothing shared with the oracle but the Spec's attributes.

An operation's loops bear its name; each family has a module.
"""

from __future__ import annotations

from .convolutions import conv2d, conv_transpose2d, fused_block, im2col, locally_connected2d
from .elementwise import activation, add, binary, mul, unary
from .moves import (
    channel_shuffle,
    concat,
    depth_to_space,
    expand,
    flatten,
    pad,
    pad_nd,
    reorder,
    resample,
    reshape,
    slice,
    space_to_depth,
    stride,
    tile,
    transpose,
)
from .normalization import batch_norm, local_contrast_norm, local_response_norm, softmax
from .pooling import adaptive_avg_pool2d, global_pool2d, pool2d, roi_max_pool
from .reductions import linear, matmul, reduce

__all__ = [
    "activation", "adaptive_avg_pool2d", "add", "batch_norm", "binary", "channel_shuffle", "concat", "conv2d",
    "conv_transpose2d", "depth_to_space", "expand", "flatten", "fused_block", "global_pool2d", "im2col", "linear",
    "local_contrast_norm", "local_response_norm", "locally_connected2d", "matmul", "mul", "pad", "pad_nd", "pool2d",
    "reduce", "reorder", "resample", "reshape", "roi_max_pool", "slice", "softmax", "space_to_depth", "stride",
    "tile", "transpose", "unary",
]  # fmt: skip
