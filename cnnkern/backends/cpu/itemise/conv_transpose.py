"""Transposed convolution: one convolution for each phase of the output."""

from __future__ import annotations

from ....backends.base import Step
from ....ops.base import Counts, product
from ..calls import NativeCall
from ..predict.conv_call import read
from ..predict.moves import parts, written
from . import conv
from .items import FOLDED, PASSES, SKIPPED, TRAFFIC, Items
from .others import given


def items(step: Step, isa: str, width: int) -> Items:
    """Theory counts an input pixel's products with all taps, those that the padding cuts off included; a convolution's
    counts an output's, those with what lies beside the image included."""
    found, once = Items(), Counts(bytes_read=given(step), bytes_written=4 * product(step.out_shapes[0]))
    convolutions = [call for call in step.native if call.method == "add_conv"]
    bytes_read = bytes_written = fma = 0
    for call in convolutions:
        for name, counts in conv.of(read(call), isa, width).items():
            found.book(name, counts)
        products, outputs, inputs = _theory(call)
        fma, bytes_read, bytes_written = fma + products, bytes_read + 4 * inputs, bytes_written + 4 * outputs
    for call in step.native[len(convolutions) :]:  # what no input reaches
        moved, biased = parts(call, isa, width), sum(product(y.sizes) for y in written(call, "copies"))
        bytes_read, bytes_written = bytes_read + moved.bytes_read, bytes_written + moved.bytes_written
        found.book(FOLDED, Counts(add=biased))
    found.book(SKIPPED, Counts(fma=step.theory.fma - fma))
    found.book(TRAFFIC, Counts(bytes_read=once.bytes_read - bytes_read))
    found.book(PASSES, Counts(bytes_written=once.bytes_written - bytes_written))
    return found


def _theory(call: NativeCall) -> tuple[int, int, int]:
    """(products, outputs, elements of its inputs) of a phase as a layer of its own."""
    *_, k = sizes = call.tensors["y"].sizes
    weight, bias = call.arrays["weight"], call.arrays["bias"]
    outputs = product(sizes)
    inputs = product(call.tensors["x"].sizes) + product(weight.shape) + (0 if bias is None else k)
    return outputs * product(weight.shape[1:]), outputs, inputs
