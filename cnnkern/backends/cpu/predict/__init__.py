"""What a native call must execute, from its shapes, strides and plan alone: the second of the three numbers.

Written from what each kernel is said to do, in formulas of its own: nothing here asks the native module or shares a
line with it, so that a kernel that does more, or less, than its plan says is found out (`cnnkern flops`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ....ops.base import Counts
from ..calls import NativeCall
from . import conv, eltwise, fused_block, locally_connected, matmul, moves, nd, norm, pool, reduce, resample

METHODS: dict[str, Callable[[NativeCall, str, int], Counts | None]] = {
    "add_conv": conv.executed,
    "add_fused_block": fused_block.executed,
    "add_locally_connected": locally_connected.executed,
    "add_pool": pool.executed,
    "add_global_pool": pool.executed,
    "add_adaptive_avg_pool": pool.executed,
    "add_roi_max_pool": pool.regions,
    "add_activation": eltwise.activation,
    "add_binary": eltwise.binary,
    "add_affine": eltwise.affine,
    "add_softmax": eltwise.softmax,
    "add_lrn": norm.lrn,
    "add_lcn": norm.lcn,
    "add_copy": moves.copy,
    "add_moves": moves.parts,
    "add_resample": resample.executed,
    "add_channel_shuffle": moves.copy,
    "add_pad": moves.pad,
    "add_im2col": moves.im2col,
    "add_unary": nd.unary,
    "add_binary_nd": nd.binary,
    "add_affine_nd": nd.affine,
    "add_softmax_nd": nd.softmax,
    "add_reduce": reduce.executed,
    "add_matmul": matmul.executed,
}


def predict(calls: Iterable[NativeCall], isa: str, width: int) -> Counts | None:
    """The sum over the calls of a step; None where one of them is of no known kind, or hangs on values that its
    `arrays` do not have.

    Args:
        isa: "vec128", "avx2" or "avx512".
        width: floats in a vector. 1 tells what would be executed if no lane were ever wasted.
    """
    total = Counts()
    for call in calls:
        counts = METHODS[call.method](call, isa, width) if call.method in METHODS else None
        if counts is None:
            return None
        total += counts * call.times
    return total
