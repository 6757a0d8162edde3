"""Activations, sums and products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...graph.ir import Node
from ...ops.base import product
from .activations import act_args
from .launch import Kernel, Launch, Pointer
from .lowering import Lowered, Lowering, line
from .moves import AXES, copy
from .tensors import LOAD_BYTES, WIDEST, Tensor, vectors

ACTIVATION_ARGS = "x:p y:p rows:i c:i x_stride:i y_stride:i act:i param:f"
BINARY_ARGS = "a:p b:p y:p sizes:i5 a_strides:i5 b_strides:i5 y_strides:i5 multiply:i act:i param:f"
AFFINE_ARGS = "x:p scale:p shift:p y:p rows:i c:i x_stride:i y_stride:i act:i param:f"


def activation_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("eltwise.cu", f"activation<{ctype}, {vector}>", ACTIVATION_ARGS, 256)


def binary_kernel(ctype: str, vector: int, a: int, b: int) -> Kernel:
    return Kernel("eltwise.cu", f"binary<{ctype}, {vector}, {a}, {b}>", BINARY_ARGS, 256)


def affine_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("eltwise.cu", f"affine<{ctype}, {vector}>", AFFINE_ARGS, 256)


def kernels() -> list[Kernel]:
    found = []
    for ctype in WIDEST:
        for v in vectors(ctype):
            found += [activation_kernel(ctype, v), affine_kernel(ctype, v)]
            found += [binary_kernel(ctype, v, a, b) for a, b in sorted({(v, v), (v, 1), (1, v)})]
    return found


def rows(t: Tensor) -> tuple[int, int, int]:
    """(rows, length, stride): a flat image by pixels, a matrix by rows, anything dense as one line."""
    if t.rank == 4:
        n, c, h, w = t.sizes
        return n * h * w, c, t.strides[3] if n * h * w > 1 else c
    if t.rank == 2:
        return t.sizes[0], t.sizes[1], t.strides[0]
    return 1, product(t.sizes), product(t.sizes)


def activation(low: Lowering, node: Node) -> Lowered:
    x, y = low.tensor(node.inputs[0]), low.output(node)
    (count, length, x_stride), (_, _, y_stride) = rows(x), rows(y)
    widest = WIDEST[x.ctype]
    values = (length, x_stride, y_stride, *(t.pointer.offset_bytes // t.item_bytes for t in (x, y)))
    while any(value % widest for value in values):
        widest //= 2
    args = {"x": x.pointer, "y": y.pointer, "rows": count, "c": length // widest, "x_stride": x_stride,
            "y_stride": y_stride, **act_args(node.spec.kind, node.spec.param)}  # fmt: skip
    kernel = activation_kernel(x.ctype, widest)
    return Lowered([line(kernel, count * length // widest, args)], node.spec.kind)


def binary(low: Lowering, node: Node) -> Lowered | None:
    """Any shapes that broadcast; None where that takes too many axes."""
    y, spec = low.output(node), node.spec
    (a, before_a), (b, before_b) = (_operand(low, name) for name in node.inputs)
    axes = []  # (size, strides of a, b, y)
    for i, size in enumerate(y.sizes):
        if size > 1:
            axes.append((size, *(_stride(t, i - y.rank) for t in (a, b)), y.strides[i]))
    axes.sort(key=lambda axis: -axis[3])
    merged: list[tuple[int, ...]] = []
    for size, *strides in axes:
        if merged and all(outer == size * s for outer, s in zip(merged[-1][1:], strides)):
            merged[-1] = (merged[-1][0] * size, *strides)
        else:
            merged.append((size, *strides))
    merged = merged or [(1, 0, 0, 1)]
    if len(merged) > AXES:
        return None
    (size, *last), others = merged[-1], merged[:-1]
    vector = _vector(size, last, others, (a, b, y))
    reads = [vector if stride else 1 for stride in last[:2]]
    lead = AXES - len(merged)
    args = {
        "a": a.pointer, "b": b.pointer, "y": y.pointer,
        "sizes": [1] * lead + [axis[0] for axis in others] + [size // vector],
        "multiply": int(spec.op == "mul"), **act_args(spec.activation, spec.activation_param),
    }  # fmt: skip
    for i, name in enumerate(("a_strides", "b_strides", "y_strides")):
        args[name] = [0] * lead + [axis[1 + i] for axis in others] + [last[i] * vector]
    launch = line(binary_kernel(y.ctype, vector, *reads), product(y.sizes) // vector, args)
    return Lowered([launch], spec.op, setup=[*before_a, *before_b])


def _operand(low: Lowering, name: str):
    """A value as it is; a weight in the precision of the values, converted once."""
    t = low.tensor(name)
    if name not in low.graph.params or t.ctype == low.ctype:
        return t, []
    made = t._replace(pointer=low.weights.take(product(t.sizes) * 2), ctype=low.ctype)
    return made, copy(t, made)


def _stride(t: Tensor, axis: int) -> int:
    """Along an axis counted from the end; 0 where the operand repeats."""
    return 0 if -axis > t.rank or t.sizes[axis] == 1 else t.strides[axis]


def _vector(size: int, last, others, tensors) -> int:
    *operands, along = last
    if along != 1 or any(stride not in (0, 1) for stride in operands):
        return 1
    widest = LOAD_BYTES // tensors[2].item_bytes
    for i, t in enumerate(tensors):
        if last[i]:
            values = [size, t.pointer.offset_bytes // t.item_bytes, *(axis[1 + i] for axis in others)]
            while any(value % widest for value in values):
                widest //= 2
    return widest


def affine_launch(x: Tensor, scale: Pointer, shift: Pointer, y: Tensor, act: Mapping[str, Any]) -> Launch:
    """y = act(x scale + shift) on images as NHWC: what stands before a convolution with a prologue."""
    (count, length, x_stride), (_, _, y_stride) = rows(x), rows(y)
    vector = x.vector(y._replace(zeros=x.zeros))
    while length % vector:
        vector //= 2
    args = {"x": x.pointer, "scale": scale, "shift": shift, "y": y.pointer, "rows": count, "c": length // vector,
            "x_stride": x_stride, "y_stride": y_stride, **act}  # fmt: skip
    return line(affine_kernel(x.ctype, vector), count * length // vector, args)
