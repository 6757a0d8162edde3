"""Copies between layouts, and the ops that are one: reorder, concat, slice, reshape, transpose, shuffle; and pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...graph.ir import Node
from ...graph.views import concat_copies
from ...ops.base import product
from .launch import Kernel, Launch
from .lowering import Lowered, Lowering, line
from .tensors import LOAD_BYTES, WIDEST, Tensor, dense, vectors

COPY_ARGS = "x:p y:p sizes:i5 x_strides:i5 y_strides:i5 valid:i"
TRANSPOSE_ARGS = "x:p y:p rows:i columns:i x_stride:i y_stride:i x_batch:i y_batch:i width:i"
PAD_ARGS = "x:p y:p n:i h:i w:i c:i top:i left:i x_h:i x_w:i x_strides:i3 y_strides:i3 value:f"
AXES = 5  # that a copy may have, once neighbours are one
TILE = 32  # of a transpose


def copy_kernel(x: str, y: str, vector: int) -> Kernel:
    return Kernel("moves.cu", f"copy<{x}, {y}, {vector}>", COPY_ARGS, 256)


def transpose_kernel(x: str, y: str) -> Kernel:
    return Kernel("moves.cu", f"transpose<{x}, {y}>", TRANSPOSE_ARGS, (32, 8, 1), shared_bytes=4 * TILE * (TILE + 1))


def pad_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("moves.cu", f"pad<{ctype}, {vector}>", PAD_ARGS, 256)


def kernels() -> list[Kernel]:
    below = [(a, b) for t in ("f16", "bf16") for a, b in (("float", t), (t, "float"), (t, t))]
    pairs = [("float", "float"), ("float", "tf32"), *below]
    found = [copy_kernel(a, b, v) for a, b in pairs for v in vectors("float" if "float" in (a, b) else a)]
    found += [transpose_kernel(a, b) for a, b in pairs]
    return found + [pad_kernel(t, v) for t in WIDEST for v in vectors(t)]


class Axis(NamedTuple):
    size: int
    x: int  # strides
    y: int


def copy_axes(x: Tensor, y: Tensor, axes: Sequence[Axis]) -> Launch | None:
    """The copy of x's elements to y's, axis by axis; None where even merged axes are too many.

    Channels behind y's last are filled with its zeros.
    """
    if not product(axis.size for axis in axes):
        return None
    zeros = y.zeros
    axes = sorted((axis for axis in axes if axis.size > 1), key=lambda axis: -axis.y)
    if zeros and not (axes and axes[-1].y == 1):  # one channel: an axis of its own, to stand before the zeros
        axes.append(Axis(1, 1, 1))
    merged: list[Axis] = []
    for axis in axes:
        before = merged[-1] if merged else None
        if before and before.x == axis.size * axis.x and before.y == axis.size * axis.y:
            merged[-1] = Axis(before.size * axis.size, axis.x, axis.y)
        else:
            merged.append(axis)
    if not merged:
        merged = [Axis(1, 1, 1)]
    turned = _transpose(x, y, merged, zeros)
    if turned is not None:
        return turned
    if len(merged) > AXES:
        raise ValueError(f"a copy along {len(merged)} axes")
    last = merged[-1]
    vector = _vector(x, y, merged, zeros)
    sizes = [axis.size for axis in merged[:-1]] + [(last.size + zeros) // vector]
    lead = AXES - len(merged)
    args = {
        "x": x.pointer,
        "y": y.pointer,
        "sizes": [1] * lead + sizes,
        "x_strides": [0] * lead + [axis.x for axis in merged[:-1]] + [last.x * vector],
        "y_strides": [0] * lead + [axis.y for axis in merged[:-1]] + [last.y * vector],
        "valid": last.size // vector,
    }
    return line(copy_kernel(x.ctype, y.ctype, vector), product(sizes), args)


def _vector(x: Tensor, y: Tensor, axes: Sequence[Axis], zeros: int) -> int:
    *others, last = axes
    if last.x != 1 or last.y != 1:
        return 1
    vector = LOAD_BYTES // max(x.item_bytes, y.item_bytes)
    values = [last.size, zeros, *(s for axis in others for s in (axis.x, axis.y))]
    values += [t.pointer.offset_bytes // t.item_bytes for t in (x, y)]
    while any(value % vector for value in values):
        vector //= 2
    return vector


def _transpose(x: Tensor, y: Tensor, axes: Sequence[Axis], zeros: int) -> Launch | None:
    """Matrices whose rows become columns, through shared memory; None where that is not what it is."""
    if len(axes) not in (2, 3):
        return None
    *batch, down, across = axes
    batch_size = batch[0].size if batch else 1
    tall = down.x == 1 and across.y == 1 and across.x > 1 and min(down.size, across.size) >= 8
    if not tall or batch_size > 65535 or across.size + zeros > 65535 * TILE:
        return None
    args = {
        "x": x.pointer,
        "y": y.pointer,
        "rows": across.size,
        "columns": down.size,
        "x_stride": across.x,
        "y_stride": down.y,
        "x_batch": batch[0].x if batch else 0,
        "y_batch": batch[0].y if batch else 0,
        "width": across.size + zeros,
    }
    grid = (-(-down.size // TILE), -(-(across.size + zeros) // TILE), batch_size)
    return Launch(transpose_kernel(x.ctype, y.ctype), grid, args)


def copy(x: Tensor, y: Tensor) -> list[Launch]:
    """The launch that copies between two tensors of the same sizes, if there is anything to copy."""
    made = copy_axes(x, y, [Axis(*of) for of in zip(x.sizes, x.strides, y.strides)])
    return [] if made is None else [made]


def _lowered(launches: Sequence[Launch | None]) -> Lowered:
    found = [launch for launch in launches if launch is not None]
    return Lowered(found, found[0].kernel.template if found else "copy")


def reorder(low: Lowering, node: Node) -> Lowered:
    return _lowered(copy(low.tensor(node.inputs[0]), low.output(node)))


def concat(low: Lowering, node: Node) -> Lowered:
    y, shapes = low.output(node), [low.graph.shape(name) for name in node.inputs]
    axis = node.spec.axis % y.rank
    if axis == 1 and y.rank == 4:
        copies = concat_copies(low.graph, low.views, node) if not low.own else _all(node.inputs, shapes, axis)
    else:
        copies = _all(node.inputs, shapes, axis)
    launches = []
    for name, first in copies:
        size = low.graph.shape(name)[axis]
        launches += copy(low.tensor(name), _part(y, axis, first, size))
    return _lowered(launches)


def _all(names, shapes, axis) -> list[tuple[str, int]]:
    return [(name, sum(shape[axis] for shape in shapes[:i])) for i, name in enumerate(names)]


def _part(t: Tensor, axis: int, first: int, size: int) -> Tensor:
    sizes = (*t.sizes[:axis], size, *t.sizes[axis + 1 :])
    return t._replace(pointer=t.pointer + first * t.strides[axis] * t.item_bytes, sizes=sizes, zeros=0)


def slice_(low: Lowering, node: Node) -> Lowered:
    x = low.tensor(node.inputs[0])
    axis, start, stop = node.spec.bounds(x.sizes)
    return _lowered(copy(_part(x, axis, start, stop - start), low.output(node)))


def transpose(low: Lowering, node: Node) -> Lowered:
    x = low.tensor(node.inputs[0])
    turned = x._replace(
        sizes=tuple(x.sizes[a] for a in node.spec.axes), strides=tuple(x.strides[a] for a in node.spec.axes), zeros=0
    )
    return _lowered(copy(turned, low.output(node)))


def reshape(low: Lowering, node: Node) -> Lowered:
    """The same elements in row-major order. Where the two shapes have no common refinement, by way of a dense copy."""
    x, y = low.tensor(node.inputs[0]), low.output(node)
    if getattr(node.spec, "order", "CHW") == "HWC":
        x = x._replace(sizes=tuple(x.sizes[a] for a in (0, 2, 3, 1)), strides=tuple(x.strides[a] for a in (0, 2, 3, 1)))
    axes = refine(x, y)
    if axes is not None and len(axes) <= AXES:
        return _lowered([copy_axes(x, y, axes)])
    between = low.scratch((product(x.sizes),), x.ctype)
    there = copy(x, dense(between.pointer, x.sizes, x.ctype))
    return _lowered([*there, *copy(dense(between.pointer, y.sizes, x.ctype), y)])


def refine(x: Tensor, y: Tensor) -> list[Axis] | None:
    """The axes of a shape that both x and y are row-major groupings of; None where there is none."""
    axes: list[Axis] = []
    left, right = _axes(x), _axes(y)
    while left and right:
        (n, sx), (m, sy) = left.pop(), right.pop()
        size = min(n, m)
        if n % size or m % size:
            return None
        axes.append(Axis(size, sx, sy))
        if n > size:
            left.append((n // size, sx * size))
        if m > size:
            right.append((m // size, sy * size))
    return axes[::-1]


def _axes(t: Tensor) -> list[tuple[int, int]]:
    return [(n, s) for n, s in zip(t.sizes, t.strides) if n != 1]


def channel_shuffle(low: Lowering, node: Node) -> Lowered:
    """Channels as (groups, C/groups) become (C/groups, groups)."""
    x, y = low.tensor(node.inputs[0]), low.output(node)
    n, c, h, w = x.sizes
    groups = node.spec.groups
    each = c // groups
    (xn, xc, xh, xw), (yn, yc, yh, yw) = x.strides, y.strides
    channels = [Axis(each, xc, groups * yc), Axis(groups, each * xc, yc)]
    return _lowered([copy_axes(x, y, [Axis(n, xn, yn), *channels, Axis(h, xh, yh), Axis(w, xw, yw)])])


def pad(low: Lowering, node: Node) -> Lowered:
    x, y = low.tensor(node.inputs[0]), low.output(node)
    vector = x.vector(y)
    n, c, h, w = y.sizes
    (top, _), (left, _) = node.spec.padding
    args = {
        "x": x.pointer, "y": y.pointer, "n": n, "h": h, "w": w, "c": c // vector, "top": top, "left": left,
        "x_h": x.sizes[2], "x_w": x.sizes[3], "x_strides": x.nhwc_strides, "y_strides": y.nhwc_strides,
        "value": node.spec.value,
    }  # fmt: skip
    return Lowered([line(pad_kernel(x.ctype, vector), product(y.sizes) // vector, args)], "pad")
