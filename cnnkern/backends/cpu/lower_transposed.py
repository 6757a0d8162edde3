"""Transposed convolution as ordinary ones: the outputs of one phase (the same row and column modulo the stride) are a
convolution of x with every stride-th tap, flipped, written into the pixels of y that are the phase's."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np

from ... import ops
from ...graph.ir import Node
from .buffers import Nd, Tensor
from .calls import NativeCall
from .lower_conv import conv_shape, convolution
from .lower_moves import joined
from .lowering import Lowered, Lowering, dense

MAX_PHASES = 4096  # calls of one step


class Phase(NamedTuple):
    """Outputs first, first + stride, ... (`count` of them) along an axis. Output j of those in [begin, end) reads
    x[j - begin - before + m * dilation] for tap number m of `taps`, x counted from `source`, `size` of it; the others
    read nothing."""

    first: int
    count: int
    taps: tuple[int, ...] = ()
    dilation: int = 1
    begin: int = 0
    end: int = 0
    source: int = 0
    size: int = 0
    before: int = 0
    after: int = 0


def phases(size: int, outputs: int, kernel: int, stride: int, before: int, dilation: int) -> list[Phase]:
    """All of an axis: input size, output size, and the convolution's numbers, `before` its padding there."""
    return [_phase(first, size, outputs, kernel, stride, before, dilation) for first in range(min(stride, outputs))]


def _phase(first: int, size: int, outputs: int, kernel: int, stride: int, before: int, dilation: int) -> Phase:
    count = -(-(outputs - first) // stride)
    # Tap r adds input j + reach to output j of the phase; the flipped filter has the smallest reach first.
    reached = [(divmod(first + before - r * dilation, stride), r) for r in reversed(range(kernel))]
    taps = [(reach, r) for (reach, apart), r in reached if not apart and -count < reach < size]
    if not taps:
        return Phase(first, count)
    low, high = taps[0][0], taps[-1][0]
    begin, end = max(0, -high), min(count, size - low)
    source, last = max(0, begin + low), min(size, end + high)
    step = taps[1][0] - low if len(taps) > 1 else 1
    pads = source - (begin + low), end + high - last
    return Phase(first, count, tuple(r for _, r in taps), step, begin, end, source, last - source, *pads)


def conv_transpose2d(low: Lowering, node: Node) -> Lowered | None:
    if not low.constant(node, 1, 2):
        return None
    spec, weight, bias = node.spec, low.array(node, 1), low.array(node, 2)
    tensors = low.in_out(node)
    x, y = tensors["x"], tensors["y"]
    sizes = zip(x.sizes[1:3], y.sizes[1:3], weight.shape[2:], spec.stride, spec.padding, spec.dilation)
    rows, columns = (phases(h, p, r, s, before, d) for h, p, r, s, (before, _), d in sizes)
    if len(rows) * len(columns) > MAX_PHASES:
        return None
    # Winograd's error is no part of what the operation promises; the selector alone decides, as the plan has one line.
    low = replace(low, precision="strict", kept={})
    made, untouched = [], []
    for row in rows:
        for column in columns:
            part = _pixels(y, row, column, spec.stride)
            if row.taps and column.taps:
                made.append(_convolution(low, spec, weight, bias, x, part, row, column))
            untouched += _untouched(part, row, column)
    calls = [call for lowered in made for call in lowered.calls]
    if untouched or not calls:
        calls.append(_biases(untouched, bias))
    largest = max(made, key=lambda lowered: lowered.cycles, default=None)
    return Lowered(
        calls,
        largest.kernel.replace("conv", "conv_transpose", 1) if largest else "f32_fill",
        {"phases": len(made)},
        largest.why if largest else "",
        sum(lowered.cycles for lowered in made),
        sum(lowered.weight_bytes for lowered in made),
    )


def _pixels(y: Tensor, row: Phase, column: Phase, stride) -> Tensor:
    """The phase's own."""
    n, _, _, k = y.sizes
    sn, sh, sw, sc = y.strides
    return y._replace(
        offset=y.offset + row.first * sh + column.first * sw,
        sizes=(n, row.count, column.count, k),
        strides=(sn, sh * stride[0], sw * stride[1], sc),
    )


def _convolution(low, spec, weight, bias, x, part, row: Phase, column: Phase) -> Lowered:
    groups, (c, k_group) = spec.groups, weight.shape[:2]
    taps = weight[:, :, list(row.taps)][:, :, :, list(column.taps)]
    size = taps.shape[2:]
    taps = taps.reshape(groups, c // groups, k_group, *size).transpose(0, 2, 1, 3, 4)
    taps = taps.reshape(groups * k_group, c // groups, *size)
    padding = (row.before, row.after), (column.before, column.after)
    conv = ops.Conv2dSpec(padding=padding, dilation=(row.dilation, column.dilation), groups=groups)
    tensors = {
        "x": x.part(1, row.source, row.size).part(2, column.source, column.size),
        "y": part.part(1, row.begin, row.end - row.begin).part(2, column.begin, column.end - column.begin),
        "residual": None,
    }
    shape = conv_shape(conv, (x.sizes[0], c, row.size, column.size), taps.shape)
    arrays = {"weight": dense(taps), "bias": bias, "scale": None, "shift": None}
    return convolution(low, shape, tensors, arrays, conv, "auto", None)


def _untouched(part: Tensor, row: Phase, column: Phase) -> list[Tensor]:
    """The pixels of a phase that no input reaches."""
    if not (row.taps and column.taps):
        return [part]
    middle = part.part(1, row.begin, row.end - row.begin)
    frame = [
        part.part(1, 0, row.begin),
        part.part(1, row.end, row.count - row.end),
        middle.part(2, 0, column.begin),
        middle.part(2, column.end, column.count - column.end),
    ]
    return [t for t in frame if prod(t.sizes)]


def _biases(parts: list[Tensor], bias: np.ndarray | None) -> NativeCall:
    views = [Nd(*t) for t in parts if prod(t.sizes)]
    copies = [joined(Nd(-1, 0, t.sizes, (0, 0, 0, 1)), t) for t in views if bias is not None]
    fills = [(t, 0.0) for t in views if bias is None]
    values = None if bias is None else dense(bias)
    return NativeCall("add_moves", {}, {"copies": tuple(copies), "fills": tuple(fills)}, {"values": values})
