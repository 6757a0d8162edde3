"""Softmax and its logarithm, along any axis of any rank."""

from __future__ import annotations

from ... import ops
from ...graph.ir import Node
from ...ops.base import product
from .launch import Kernel, Launch
from .lowering import THREADS, Lowered, Lowering
from .tensors import LOAD_BYTES, WIDEST, Tensor, vectors

SOFTMAX_ARGS = "x:p y:p rows:i length:i sizes:i3 x_strides:i3 y_strides:i3 x_step:i y_step:i threads:i log:i"
AXES = 3  # that rows may be counted along, once neighbours are one
LONG_THREADS = 1024  # that share a row in softmax_long
MOST_LOADS = 4  # vectors of a thread in softmax_short
MOST_SHARED = 32  # threads that share a column
# Threads that keep a multiprocessor's memory busy; not measured yet.
BUSY = 1024


def short_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("softmax.cu", f"softmax_short<{ctype}, {vector}>", SOFTMAX_ARGS, THREADS, shared_bytes=4 * 2 * 8)


def long_kernel(ctype: str, vector: int) -> Kernel:
    name = f"softmax_long<{ctype}, {vector}>"
    return Kernel("softmax.cu", name, SOFTMAX_ARGS, LONG_THREADS, shared_bytes=4 * 2 * 32)


def columns_kernel(ctype: str, vector: int) -> Kernel:
    name = f"softmax_columns<{ctype}, {vector}>"
    return Kernel("softmax.cu", name, SOFTMAX_ARGS, THREADS, shared_bytes=4 * THREADS * vector)


def kernels() -> list[Kernel]:
    found = []
    for ctype, widest in WIDEST.items():
        found += [make(ctype, v) for make in (short_kernel, columns_kernel) for v in vectors(ctype)]
        found += [long_kernel(ctype, v) for v in (1, widest)]
    return found


def softmax(low: Lowering, node: Node) -> Lowered | None:
    """None where more than three axes count the rows, which no layout of the backend's has."""
    spec, x, y = node.spec, low.tensor(node.inputs[0]), low.output(node)
    along = spec.axis % x.rank
    length, steps = x.sizes[along], [1 if x.sizes[along] == 1 else t.strides[along] for t in (x, y)]
    axes = _merged(x, y, along)
    if len(axes) > AXES:
        return None
    args = {
        "x": x.pointer, "y": y.pointer, "rows": product(size for size, *_ in axes), "length": length,
        "x_step": steps[0], "y_step": steps[1], "log": int(spec.log),
    }  # fmt: skip
    name = "log_softmax" if spec.log else "softmax"
    if steps == [1, 1]:
        return Lowered([_along_rows(x, y, axes, args)], name)
    return Lowered([_along_columns(low, x, y, axes, args)], name)


def _merged(x: Tensor, y: Tensor, along: int) -> list[tuple[int, int, int]]:
    """The other axes as (size, stride of x, stride of y), neighbours as one where they lie so; the innermost last."""
    axes = [of for i, of in enumerate(zip(x.sizes, x.strides, y.strides)) if i != along and of[0] > 1]
    axes.sort(key=lambda axis: -axis[2])
    merged: list[tuple[int, int, int]] = []
    for size, *strides in axes:
        if merged and all(outer == size * stride for outer, stride in zip(merged[-1][1:], strides)):
            merged[-1] = (merged[-1][0] * size, *strides)
        else:
            merged.append((size, *strides))
    return merged


def _axis_args(axes: list[tuple[int, int, int]]) -> dict[str, list[int]]:
    filled = [(1, 0, 0)] * (AXES - len(axes)) + axes
    return dict(zip(("sizes", "x_strides", "y_strides"), map(list, zip(*filled))))


def _vector(x: Tensor, y: Tensor, values: list[int]) -> int:
    """The widest power of two of elements, at most 16 bytes, that divides `values` and both offsets."""
    vector = LOAD_BYTES // x.item_bytes
    values = [*values, *(t.pointer.offset_bytes // t.item_bytes for t in (x, y))]
    while any(value % vector for value in values):
        vector //= 2
    return vector


def _along_rows(x: Tensor, y: Tensor, axes: list[tuple[int, int, int]], args: dict) -> Launch:
    length, count = args["length"], args["rows"]
    vector = _vector(x, y, [length, *(stride for _, *strides in axes for stride in strides)])
    args |= _axis_args(axes)
    if length // vector > MOST_LOADS * THREADS:
        vector = vector if vector == WIDEST[x.ctype] else 1
        args |= {"length": length // vector, "threads": LONG_THREADS}
        return Launch(long_kernel(x.ctype, vector), (count, 1, 1), args)
    threads = 1
    while threads < THREADS and 2 * threads < length // vector:  # two vectors each, where they suffice
        threads *= 2
    args |= {"length": length // vector, "threads": threads}
    return Launch(short_kernel(x.ctype, vector), (-(-count // (THREADS // threads)), 1, 1), args)


def _along_columns(low: Lowering, x: Tensor, y: Tensor, axes: list[tuple[int, int, int]], args: dict) -> Launch:
    vector = 1
    if axes and axes[-1][1:] == (1, 1):
        size, others = axes[-1][0], [stride for _, *strides in axes[:-1] for stride in strides]
        vector = _vector(x, y, [size, args["x_step"], args["y_step"], *others])
        axes = [*axes[:-1], (size // vector, vector, vector)]
    count, threads = args["rows"] // vector, 1
    while threads < MOST_SHARED and count * threads < BUSY * low.multiprocessors and 4 * threads <= args["length"]:
        threads *= 2
    args |= {**_axis_args(axes), "rows": count, "threads": threads}
    return Launch(columns_kernel(x.ctype, vector), (-(-count // (THREADS // threads)), 1, 1), args)


LOWERINGS = {ops.SoftmaxSpec: softmax}
