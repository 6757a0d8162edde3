"""Operations that move data and compute nothing. Theory of each: bytes alone."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Counts, Shape, Spec, io_bytes, product
from .checks import (
    Padding,
    as_choice,
    as_int,
    as_padding,
    check_axis,
    check_image,
    check_shape,
    check_size,
)


class _Move(Spec):
    def theory(self, *shapes):
        return Counts(**io_bytes(shapes, self.infer(*shapes)))


@dataclass(frozen=True)
class ConcatSpec(_Move):
    """Any number of arrays of one rank joined along `axis`; the other dimensions agree."""

    axis: int = 1
    op = "concat"
    inputs = ("arrays",)

    def __post_init__(self):
        object.__setattr__(self, "axis", as_int("axis", self.axis))

    def infer(self, *shapes):
        if not shapes:
            raise ValueError("concat: arrays must hold at least one array, got none")
        first = check_shape(self.op, "arrays[0]", shapes[0], minimum=0)
        axis = check_axis(self.op, self.axis, len(first))
        total = first[axis]
        for i, shape in enumerate(shapes[1:], 1):
            shape = check_shape(self.op, f"arrays[{i}]", shape, minimum=0)
            if len(shape) != len(first) or shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
                raise ValueError(
                    f"concat: arrays[{i}] must agree with arrays[0] of shape {first} but for axis {axis}, got {shape}"
                )
            if isinstance(total, str) or isinstance(shape[axis], str):
                raise ValueError(f"concat: axis {axis} is symbolic in shapes {first} and {shape}")
            total += shape[axis]
        out = (*first[:axis], total, *first[axis + 1 :])
        check_size(self.op, "the output", out)
        return (out,)


@dataclass(frozen=True)
class ReorderSpec(_Move):
    """The same values in another memory layout, any rank: what a backend puts where its layout meets the caller's."""

    op = "reorder"

    def infer(self, x):
        return (check_shape(self.op, "x", x, minimum=0),)


@dataclass(frozen=True)
class ChannelShuffleSpec(_Move):
    """x (N, C, H, W) -> the same shape: channels read as (groups, C/groups) and written as (C/groups, groups)
    (Zhang et al., ShuffleNet, 2017): y[:, j groups + i] = x[:, i C/groups + j]."""

    groups: int = 1
    op = "channel_shuffle"

    def __post_init__(self):
        object.__setattr__(self, "groups", as_int("groups", self.groups, 1))

    def infer(self, x):
        x = check_image(self.op, x)
        if x[1] % self.groups:
            raise ValueError(f"{self.op}: groups must divide the channels of x: groups {self.groups}, x has {x[1]}")
        return (x,)


@dataclass(frozen=True)
class PadSpec(_Move):
    """x (N, C, H, W) -> (N, C, top + H + bottom, left + W + right), filled with `value` (any float, inf included)."""

    padding: Padding
    value: float = 0.0
    op = "pad"

    def __post_init__(self):
        object.__setattr__(self, "padding", as_padding("padding", self.padding))
        if isinstance(self.value, (bool, str)):
            raise TypeError(f"value must be a number, got {self.value!r}")
        object.__setattr__(self, "value", float(self.value))

    def infer(self, x):
        n, c, h, w = check_image(self.op, x)
        out = (n, c, h + sum(self.padding[0]), w + sum(self.padding[1]))
        check_size(self.op, "the output", out)
        return (out,)


@dataclass(frozen=True)
class FlattenSpec(_Move):
    """x (N, ...) -> (N, F). order "CHW" keeps the logical order (torch); "HWC" (rank 4 only) moves the channels last
    first (Keras)."""

    order: str = "CHW"
    op = "flatten"

    def __post_init__(self):
        as_choice("order", self.order, ("CHW", "HWC"))

    def infer(self, x):
        x = check_image(self.op, x) if self.order == "HWC" else check_shape(self.op, "x", x, minimum=0)
        if not x:
            raise ValueError("flatten: x must have rank 1 or more, got a scalar")
        return ((x[0], product(x[1:])),)


@dataclass(frozen=True)
class SliceSpec(_Move):
    """x[..., start:stop, ...] along `axis`; negative numbers count from the end; at least one element stays."""

    axis: int
    start: int
    stop: int
    op = "slice"

    def __post_init__(self):
        for name in ("axis", "start", "stop"):
            object.__setattr__(self, name, as_int(name, getattr(self, name)))

    def bounds(self, x: Shape) -> tuple[int, int, int]:
        """(axis, start, stop), all counted from the front."""
        axis = check_axis(self.op, self.axis, len(x))
        size = x[axis]
        if isinstance(size, str):
            raise ValueError(f"slice: axis {axis} is symbolic in shape {tuple(x)}")
        start, stop = (v + size if v < 0 else v for v in (self.start, self.stop))
        if not 0 <= start < stop <= size:
            raise ValueError(f"slice: [{self.start}:{self.stop}] is empty or leaves axis {axis} of size {size}")
        return axis, start, stop

    def infer(self, x):
        x = check_shape(self.op, "x", x, minimum=0)
        axis, start, stop = self.bounds(x)
        return ((*x[:axis], stop - start, *x[axis + 1 :]),)


@dataclass(frozen=True)
class ReshapeSpec(_Move):
    """The same elements in another shape (row-major). 0 copies the input's dimension at its place, one -1 takes what is
    left (the ONNX rule)."""

    shape: Shape
    op = "reshape"

    def __post_init__(self):
        shape = tuple(as_int(f"shape[{i}]", v, -1) for i, v in enumerate(self.shape))
        if shape.count(-1) > 1:
            raise ValueError(f"shape may hold one -1, got {shape}")
        object.__setattr__(self, "shape", shape)

    def infer(self, x):
        x = check_shape(self.op, "x", x, minimum=0)
        refused = ValueError(f"reshape: x of shape {x} does not reshape to {self.shape}")
        if any(v == 0 and i >= len(x) for i, v in enumerate(self.shape)):
            raise refused
        out = [x[i] if v == 0 else v for i, v in enumerate(self.shape)]
        left = [v for i, v in enumerate(x) if i >= len(out) or self.shape[i] != 0]  # what is not copied
        symbols = [v for v in left if isinstance(v, str)]
        have = product(v for v in left if not isinstance(v, str))
        want = product(v for v in self.shape if v > 0)
        if -1 in out:
            if have % want or (symbols and have != want):
                raise refused
            out[out.index(-1)] = symbols[0] if symbols else have // want
        elif symbols or have != want:
            raise refused
        return (tuple(out),)


@dataclass(frozen=True)
class TransposeSpec(_Move):
    """Axes permuted: output axis i is input axis axes[i]."""

    axes: tuple[int, ...]
    op = "transpose"

    def __post_init__(self):
        axes = tuple(as_int(f"axes[{i}]", v, 0) for i, v in enumerate(self.axes))
        if sorted(axes) != list(range(len(axes))):
            raise ValueError(f"axes must be a permutation of 0 ... {len(axes) - 1}, got {axes}")
        object.__setattr__(self, "axes", axes)

    def infer(self, x):
        if len(x) != len(self.axes):
            raise ValueError(f"transpose: axes {self.axes} are for rank {len(self.axes)}, x has shape {tuple(x)}")
        return (tuple(x[axis] for axis in self.axes),)
