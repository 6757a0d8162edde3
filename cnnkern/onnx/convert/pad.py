"""Padding and cropping."""

from __future__ import annotations

from ...ops import ConcatSpec, ExpandSpec, PadNdSpec, PadSpec
from ...ops.base import product
from . import converter
from .common import axes_in, dims, ints, name_of, reshaped, scalar, taken

MODES = ("constant", "reflect", "edge", "wrap")


@converter("Pad")
def pad(b, n):
    """Pads by attribute (before opset 11) or input; negative ones crop, first."""
    x, mode = b.value(n.inputs[0]), n.attr("mode", "constant")
    shape = dims(b, x)
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    given, axes = ints(b, n, 1, "pads"), ints(b, n, 3)
    axes = list(range(len(shape))) if axes is None else axes_in(axes, len(shape))
    if given is None or len(given) != 2 * len(axes):
        raise ValueError(f"pads must have {2 * len(axes)} numbers, two for each axis, got {given}")
    pads = [(0, 0)] * len(shape)
    for i, axis in enumerate(axes):
        pads[axis] = (given[i], given[len(axes) + i])
    x = cropped(b, x, pads)
    pads = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    if not any(map(any, pads)):
        return [x]
    if mode != "constant":
        return [mirrored(b, x, pads, mode)]
    name = name_of(n, 2)
    value = n.attr("value", 0.0) if not name else scalar(b, name)
    if value is None:
        return [_filled(b, x, pads, b.value(name))]
    return [filled(b, x, pads, value)]


def cropped(b, x: str, pads) -> str:
    """What negative pads leave."""
    for axis, (before, after) in enumerate(pads):
        size = dims(b, x)[axis]
        left = size + min(before, 0) + min(after, 0)
        if left < 0:
            raise ValueError(f"pads {(before, after)} crop more than axis {axis} of size {size} has")
        x = taken(b, x, axis, -min(before, 0) if left else 0, 1, left, f"crop{axis}")
    return x


def filled(b, x: str, pads, value: float, hint: str = "") -> str:
    shape = dims(b, x)
    if len(shape) == 4 and not any(pads[0]) and not any(pads[1]) and product(shape[1:]):
        return b.emit(PadSpec(tuple(pads[2:]), value), [x], hint)
    return b.emit(PadNdSpec(tuple(pads), value=value), [x], hint)


def mirrored(b, x: str, pads, mode: str) -> str:
    """By what x holds; an axis of one element has only that to mirror."""
    shape = dims(b, x)
    alone = tuple(pad if size == 1 and mode == "reflect" else (0, 0) for size, pad in zip(shape, pads))
    others = tuple(pad if pad != single else (0, 0) for pad, single in zip(pads, alone))
    if any(map(any, alone)):
        x = b.emit(PadNdSpec(alone, "edge"), [x], "single" if any(map(any, others)) else "")
    return b.emit(PadNdSpec(others, mode), [x]) if any(map(any, others)) else x


def _filled(b, x: str, pads, value: str) -> str:
    """With a value that only running tells: blocks of it are joined, an axis at a time."""
    for axis, pad in enumerate(pads):
        if not any(pad):
            continue
        shape = dims(b, x)
        one = reshaped(b, value, (1,) * len(shape), f"value{axis}")
        blocks = [
            b.emit(ExpandSpec((*shape[:axis], size, *shape[axis + 1 :])), [one], f"block{axis}") if size else ""
            for size in pad
        ]
        joined = [name for name in (blocks[0], x, blocks[1]) if name]
        x = b.emit(ConcatSpec(axis), joined, f"join{axis}")
    return x


@converter("CenterCropPad")
def center_crop_pad(b, n):
    """To the given sizes: the middle of what is larger, zeros around what is smaller, the odd one behind."""
    x, sizes, axes = b.value(n.inputs[0]), ints(b, n, 1), n.attr("axes")
    shape = dims(b, x)
    axes = list(range(len(shape))) if axes is None else axes_in(axes, len(shape))
    if sizes is None or len(sizes) != len(axes) or min(sizes, default=0) < 0:
        raise ValueError(f"shape must have {len(axes)} sizes, one for each axis, got {sizes}")
    pads = [(0, 0)] * len(shape)
    for axis, size in zip(axes, sizes):
        over = shape[axis] - size
        before = over // 2 if over > 0 else -(-over // 2)
        pads[axis] = (-before, before - over)
    x = cropped(b, x, pads)
    pads = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    return [filled(b, x, pads, 0.0) if any(map(any, pads)) else x]
