"""A convolution as its native call describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ....ops.base import Counts
from ..calls import NativeCall
from .tiles import CLAMPS, Epilogue, scaling


class Conv(NamedTuple):
    """Shape, plan and surroundings of one `add_conv`; hashable."""

    n: int
    c: int
    h: int
    w: int
    k: int
    r: int
    s: int
    stride_h: int
    stride_w: int
    pad_t: int
    pad_b: int
    pad_l: int
    pad_r: int
    dil_h: int
    dil_w: int
    groups: int
    algo: str
    ob: int
    px: int
    merge: int
    band_rows: int
    scratch_px: int
    m: int
    tile_block: int
    flat: bool  # every pixel of every tensor lies one pixel stride after the last
    epilogue: Epilogue
    prologue: str | None  # x is scaled and shifted, then clamped where a clamp is named

    @property
    def p(self) -> int:
        return (self.h + self.pad_t + self.pad_b - (self.r - 1) * self.dil_h - 1) // self.stride_h + 1

    @property
    def q(self) -> int:
        return (self.w + self.pad_l + self.pad_r - (self.s - 1) * self.dil_w - 1) // self.stride_w + 1

    @property
    def rows(self) -> tuple[int, int, int, int, int, int]:
        """The vertical axis as `geometry.inside` takes it: outputs, size, taps, stride, dilation, padding before."""
        return self.p, self.h, self.r, self.stride_h, self.dil_h, self.pad_t

    @property
    def columns(self) -> tuple[int, int, int, int, int, int]:
        return self.q, self.w, self.s, self.stride_w, self.dil_w, self.pad_l

    @property
    def depth(self) -> int:
        """Input channels that one output reads: those of its group and of the groups computed with it."""
        return self.c // self.groups * self.merge

    @property
    def breadth(self) -> int:
        """Output channels of groups computed together."""
        return self.k // self.groups * self.merge


_SHAPE = Conv._fields[:16]
_PLAN = Conv._fields[16:24]


def read(call: NativeCall) -> Conv:
    """The convolution of an `add_conv`."""
    flat = all(t.flat for t in call.tensors.values() if t is not None)
    prologue = None if call.arrays["scale"] is None else call.options["prologue"]
    bias, residual = call.arrays["bias"] is not None, call.tensors["residual"] is not None
    return convolution(call.options, bias, residual, flat, prologue)


def convolution(
    options: Mapping[str, Any], bias: bool, residual: bool, flat: bool, prologue: str | None = None
) -> Conv:
    """From {"shape", "plan", "act"} and what surrounds it."""
    shape, plan = options["shape"], options["plan"]
    epilogue = Epilogue(bias, residual, options["act"])
    return Conv(*(shape[key] for key in _SHAPE), *(plan[key] for key in _PLAN), flat, epilogue, prologue)


def fetching(conv: Conv, pixels: int, width: int) -> Counts:
    """Putting that many input pixels where tiles read them: a copy, or the prologue's work, which im2col does group by
    group."""
    if conv.prologue is None:
        moved = 4 * pixels * conv.c
        return Counts(bytes_read=moved, bytes_written=moved)
    run = conv.depth if conv.algo == "im2col" else conv.c
    return scaling(width, pixels, run, conv.prologue in CLAMPS) * (conv.c // run)
