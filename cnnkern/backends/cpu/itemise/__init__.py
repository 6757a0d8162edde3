"""theory - executed of one step, in named items that add up to it exactly.

Each item is a formula of shape and plan; none is what the others leave. The names are explained in items.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ....backends.base import Step
from ....ops.base import Counts
from ...base import WEIGHTS
from . import conv, conv_transpose, fused_block, math, moves, others
from .items import FOLDED, TRAFFIC, Items

METHODS: dict[str, Callable[[Step, str, int], Items]] = {
    "add_conv": conv.items,
    "add_fused_block": fused_block.items,
    "add_moves": moves.parts,
    "add_resample": moves.resample,
    "add_locally_connected": others.locally_connected2d,
    "add_pool": others.pooling,
    "add_global_pool": others.pooling,
    "add_adaptive_avg_pool": others.pooling,
    "add_roi_max_pool": others.regions,
    "add_activation": others.activation,
    "add_binary": others.binary,
    "add_affine": others.batch_norm,
    "add_softmax": others.softmax,
    "add_lrn": others.local_response_norm,
    "add_lcn": others.local_contrast_norm,
    "add_im2col": others.patches,
    "add_unary": math.unary,
    "add_binary_nd": math.binary,
    "add_affine_nd": math.affine,
    "add_softmax_nd": math.softmax,
    "add_reduce": math.reduction,
    "add_matmul": math.products,
}


def itemise(step: Step, isa: str, width: int) -> dict[str, Counts]:
    """Item name -> Counts of a step of native calls.

    Args:
        isa, width: the instruction set it runs on, and the floats in its vectors.
    """
    images = step.native[0].images if step.native else None
    if images is None:
        return dict(_items(step, isa, width))
    one = _one_image(step)
    found = Items({name: counts * images for name, counts in _items(one, isa, width).items()})
    once = step.theory - one.theory * images  # weights, which every image reads again, and what is made of them
    found.book(TRAFFIC, replace(Counts(), bytes_read=once.bytes_read, bytes_written=once.bytes_written))
    found.book(FOLDED, replace(once, bytes_read=0, bytes_written=0))
    return dict(found)


def _items(step: Step, isa: str, width: int) -> Items:
    if step.spec.op == "conv_transpose2d":  # several calls, mostly convolutions
        return conv_transpose.items(step, isa, width)
    method = step.native[0].method if step.native else "add_copy"
    return METHODS.get(method, others.moved)(step, isa, width)


def _one_image(step: Step) -> Step:
    """The step that runs for each image."""
    weights = WEIGHTS.get(step.spec.op, ())
    out = step.out_shapes[0]

    def part(i: int, shape):  # a constant may have no images
        whole = shape is None or i in weights or len(shape) < len(out) or shape[:1] != out[:1]
        return shape if whole else (1, *shape[1:])

    shapes = tuple(part(i, shape) for i, shape in enumerate(step.in_shapes))
    return replace(
        step,
        in_shapes=shapes,
        out_shapes=tuple((1, *shape[1:]) for shape in step.out_shapes),
        theory=step.spec.theory(*shapes),
        native=[replace(call, images=None) for call in step.native],
    )
