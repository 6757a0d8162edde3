"""Moves between arrays of any rank: every output is an input's element, or a given value."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Shape
from .checks import as_choice, as_int, check_axis, check_image, check_shape, check_size
from .eltwise import broadcast
from .shape import _Move

PAD_MODES = ("constant", "reflect", "edge", "wrap")


@dataclass(frozen=True)
class StrideSpec(_Move):
    """x[start, start + step, ...], `count` elements along `axis`; the step may be negative, the start counts from the
    front. (With step 1: SliceSpec.)"""

    axis: int
    start: int
    step: int
    count: int
    op = "stride"

    def __post_init__(self):
        for name, least in (("axis", None), ("start", 0), ("step", None), ("count", 0)):
            object.__setattr__(self, name, as_int(name, getattr(self, name), least))

    def infer(self, x):
        x = check_shape(self.op, "x", x, minimum=0)
        axis = check_axis(self.op, self.axis, len(x))
        if isinstance(x[axis], str):
            raise ValueError(f"stride: axis {axis} is symbolic in shape {x}")
        last = self.start + (self.count - 1) * self.step
        if self.count and not (self.start < x[axis] and 0 <= last < x[axis]):
            raise ValueError(f"stride: elements {self.start} to {last} leave axis {axis} of size {x[axis]}")
        return ((*x[:axis], self.count, *x[axis + 1 :]),)


@dataclass(frozen=True)
class PadNdSpec(_Move):
    """x of any rank with `pads` (before, after) along each axis, filled with `value` (mode "constant"), with x mirrored
    without its edge ("reflect"; as often as needed), with its edge ("edge"), or with x over again ("wrap")."""

    pads: tuple[tuple[int, int], ...]
    mode: str = "constant"
    value: float = 0.0
    op = "pad_nd"

    def __post_init__(self):
        pads = tuple(
            (as_int(f"pads[{i}][0]", a, 0), as_int(f"pads[{i}][1]", b, 0)) for i, (a, b) in enumerate(self.pads)
        )
        object.__setattr__(self, "pads", pads)
        as_choice("mode", self.mode, PAD_MODES)
        object.__setattr__(self, "value", float(self.value))

    def infer(self, x):
        x = check_shape(self.op, "x", x, minimum=0)
        if len(self.pads) != len(x):
            raise ValueError(f"pad_nd: pads must have an entry for each of {len(x)} axes, got {len(self.pads)}")
        for axis, (size, pad) in enumerate(zip(x, self.pads)):
            if any(pad) and isinstance(size, str):
                raise ValueError(f"pad_nd: axis {axis} is symbolic in shape {x}")
            if any(pad) and self.mode != "constant" and (size == 0 or (size == 1 and self.mode == "reflect")):
                raise ValueError(f"pad_nd: axis {axis} of size {size} has nothing to {self.mode}")
        out = tuple(size + sum(pad) if any(pad) else size for size, pad in zip(x, self.pads))
        check_size(self.op, "the output", out)
        return (out,)


@dataclass(frozen=True)
class ExpandSpec(_Move):
    """x broadcast with `shape`, by NumPy's rules; a 1 there keeps x's dimension."""

    shape: Shape
    op = "expand"

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(as_int(f"shape[{i}]", v, 0) for i, v in enumerate(self.shape)))

    def infer(self, x):
        out = broadcast(self.op, check_shape(self.op, "x", x, minimum=0), self.shape)
        check_size(self.op, "the output", out)
        return (out,)


@dataclass(frozen=True)
class TileSpec(_Move):
    """x repeated `repeats` times along each axis."""

    repeats: tuple[int, ...]
    op = "tile"

    def __post_init__(self):
        object.__setattr__(self, "repeats", tuple(as_int(f"repeats[{i}]", v, 0) for i, v in enumerate(self.repeats)))

    def infer(self, x):
        x = check_shape(self.op, "x", x, minimum=0)
        if len(x) != len(self.repeats):
            raise ValueError(f"tile: repeats must have an entry for each of {len(x)} axes, got {self.repeats}")
        if any(isinstance(size, str) and times != 1 for size, times in zip(x, self.repeats)):
            raise ValueError(f"tile: axis 0 is symbolic in shape {x}")
        out = tuple(size if times == 1 else size * times for size, times in zip(x, self.repeats))
        check_size(self.op, "the output", out)
        return (out,)


@dataclass(frozen=True)
class DepthToSpaceSpec(_Move):
    """x (N, C, H, W) -> (N, C / b^2, H b, W b): channels become pixels. `mode` "DCR" (depth, column, row): channel
    (i b + j) C/b^2 + c goes to pixel (h b + i, w b + j) of channel c; "CRD" (torch's pixel_shuffle): channel
    c b^2 + i b + j does (Shi et al., 2016; the ONNX specification)."""

    block: int
    mode: str = "DCR"
    op = "depth_to_space"

    def __post_init__(self):
        object.__setattr__(self, "block", as_int("block", self.block, 1))
        as_choice("mode", self.mode, ("DCR", "CRD"))

    def infer(self, x):
        n, c, h, w = check_image(self.op, x)
        if c % self.block**2:
            raise ValueError(f"depth_to_space: block^2 must divide the channels: block {self.block}, x has {c}")
        return ((n, c // self.block**2, h * self.block, w * self.block),)


@dataclass(frozen=True)
class SpaceToDepthSpec(_Move):
    """The inverse of DepthToSpaceSpec in mode "DCR": x (N, C, H, W) -> (N, C b^2, H / b, W / b)."""

    block: int
    op = "space_to_depth"

    def __post_init__(self):
        object.__setattr__(self, "block", as_int("block", self.block, 1))

    def infer(self, x):
        n, c, h, w = check_image(self.op, x)
        if h % self.block or w % self.block:
            raise ValueError(f"space_to_depth: block must divide H and W: block {self.block}, x is {h} x {w}")
        return ((n, c * self.block**2, h // self.block, w // self.block),)
