"""A fused block: 1x1 and depthwise convolutions row by row. Wide pixels that no output reads are never made."""

from __future__ import annotations

from typing import NamedTuple

from ....ops.base import Counts
from ..calls import NativeCall
from . import conv_depthwise
from .conv_call import Conv, convolution
from .geometry import pieces
from .tiles import conv_tiles, panels


class Block(NamedTuple):
    """The convolutions of one `add_fused_block`; `project` may be None. `expand` is cut down to what is read of it."""

    expand: Conv
    depthwise: Conv
    project: Conv | None


def read(call: NativeCall) -> Block:
    stages, end = [], "depthwise" if call.options["project"] is None else "project"
    for name in ("expand", "depthwise", "project"):
        options = call.options[name]
        if options is not None:
            residual = name == end and call.tensors["residual"] is not None
            stages.append(convolution(options, call.arrays[f"{name}_bias"] is not None, residual, flat=False))
    expand, depthwise, *rest = stages
    rows = min(depthwise.h, (depthwise.p - 1) * depthwise.stride_h - depthwise.pad_t + depthwise.r)
    columns = min(depthwise.w, (depthwise.q - 1) * depthwise.stride_w - depthwise.pad_l + depthwise.s)
    return Block(expand._replace(h=rows, w=columns), depthwise, rest[0] if rest else None)


def executed(call: NativeCall, isa: str, width: int) -> Counts:
    block = read(call)
    total = lines(block.expand, isa, width) + conv_depthwise.tiles(block.depthwise, isa, width)
    return total if block.project is None else total + lines(block.project, isa, width)


def lines(conv: Conv, isa: str, width: int) -> Counts:
    """A 1x1 convolution, every row a line of its own."""
    count, total = conv.n * conv.p, Counts()
    for panel in panels(isa, conv.k, conv.ob, conv.px):
        total += conv_tiles(isa, width, panel, pieces(conv.q, panel.px), count, count * conv.c, conv.epilogue)
    return total
