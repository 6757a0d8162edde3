"""theory - executed of one step, in named items that add up to it exactly.

Each item is a formula of shape and plan; none is what the others leave. The names are explained in items.py.
"""

from __future__ import annotations

from collections.abc import Callable

from ....backends.base import Step
from ....ops.base import Counts
from . import conv, others
from .items import Items

METHODS: dict[str, Callable[[Step, str, int], Items]] = {
    "add_conv": conv.items,
    "add_locally_connected": others.locally_connected2d,
    "add_pool": others.pooling,
    "add_global_pool": others.pooling,
    "add_adaptive_avg_pool": others.pooling,
    "add_activation": others.activation,
    "add_binary": others.binary,
    "add_affine": others.batch_norm,
    "add_softmax": others.softmax,
    "add_lrn": others.local_response_norm,
    "add_lcn": others.local_contrast_norm,
    "add_im2col": others.patches,
}


def itemise(step: Step, isa: str, width: int) -> dict[str, Counts]:
    """Item name -> Counts of a step of native calls.

    Args:
        isa, width: the instruction set it runs on, and the floats in its vectors.
    """
    method = step.native[0].method if step.native else "add_copy"
    return dict(METHODS.get(method, others.moved)(step, isa, width))
