"""A fused block, convolution by convolution."""

from __future__ import annotations

from ....backends.base import Step
from ....ops.base import Counts, product
from ....ops.eltwise import ACTIVATIONS as FORMULAS
from ..predict import conv_depthwise
from ..predict import fused_block as predict
from ..predict.conv_call import Conv
from ..predict.geometry import BLOCK, round_up
from ..predict.tiles import Epilogue
from .conv import epilogue, pixels, post_lanes, stored_lanes, taps
from .items import LANES, PACKING, SKIPPED, TRAFFIC, Items


def items(step: Step, isa: str, width: int) -> Items:
    (call,) = step.native
    block, found = predict.read(call), Items()
    wide = call.options["expand"]["shape"]
    _unread(found, block.expand, wide["n"] * wide["h"] * wide["w"])
    for conv in (block.expand, block.project):
        if conv is not None:
            lanes = stored_lanes(conv, isa)
            found.book(LANES, Counts(fma=-pixels(conv) * conv.c * (lanes - conv.k)))
            epilogue(found, conv, lanes, post_lanes(conv, isa, width))
    _filter(found, block.depthwise, isa, width)
    _bytes(found, step, block, isa, width)
    return found


def _unread(found: Items, expand: Conv, wanted: int) -> None:
    """Wide pixels that no output reads."""
    left = wanted - pixels(expand)
    each = Counts(fma=expand.c, add=int(expand.epilogue.bias))
    act = FORMULAS[expand.epilogue.act] if expand.epilogue.act else Counts()
    found.book(SKIPPED, (each + act) * (left * expand.k))


def _filter(found: Items, conv: Conv, isa: str, width: int) -> None:
    done, lanes = taps(conv), round_up(conv.k, BLOCK)
    found.book(SKIPPED, Counts(fma=(pixels(conv) * conv.r * conv.s - done) * conv.k))
    found.book(LANES, Counts(fma=-done * (lanes - conv.k)))
    epilogue(found, conv, lanes, post_lanes(conv, isa, width))


def _bytes(found: Items, step: Step, block: predict.Block, isa: str, width: int) -> None:
    """What the sums read again, and the rows between the convolutions."""

    def bare(conv: Conv) -> Conv:
        return conv._replace(epilogue=Epilogue(bias=conv.epilogue.bias))

    moved = predict.lines(bare(block.expand), isa, width) + conv_depthwise.tiles(bare(block.depthwise), isa, width)
    if block.project is not None:
        moved += predict.lines(bare(block.project), isa, width)
    given = 4 * sum(product(shape) for shape in step.in_shapes[:7] if shape is not None)
    once = 4 * product(step.out_shapes[0])
    found.book(TRAFFIC, Counts(bytes_read=given - moved.bytes_read))
    between = Counts(bytes_written=moved.bytes_written - once)
    found.book(PACKING, -1 * between)
