"""What operations that only move data become: lists of strided copies and fills (`Program.add_moves`), any rank.

A view is an `Nd`; everything here is arithmetic on views, done when the plan is made.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from ...graph.ir import Node
from ...ops.base import product
from .buffers import Nd
from .calls import NativeCall
from .lowering import Lowered, Lowering

MAX_RANK = 8  # of a view, in native code
MAX_PARTS = 1 << 16  # copies of one step: beyond, a plan would be larger than what it moves

Pair = tuple[Nd, Nd]  # what is read, what is written
Run = tuple[int, int, int, int]  # along an axis: first output, first input, step of the input, count


# --- views


def permuted(t: Nd, axes: Iterable[int]) -> Nd:
    axes = tuple(axes)
    return t._replace(sizes=tuple(t.sizes[i] for i in axes), strides=tuple(t.strides[i] for i in axes))


def split(t: Nd, axis: int, *sizes: int) -> Nd:
    """An axis as several, outermost first, whose product its size is."""
    strides = [t.strides[axis] * product(sizes[i + 1 :]) for i in range(len(sizes))]
    return t._replace(
        sizes=(*t.sizes[:axis], *sizes, *t.sizes[axis + 1 :]),
        strides=(*t.strides[:axis], *strides, *t.strides[axis + 1 :]),
    )


def joined(x: Nd, y: Nd) -> Pair:
    """The same pairs of elements, without axes of size 1, axes that both walk as one joined."""
    axes: list[tuple[int, int, int]] = []
    for size, a, b in zip(x.sizes, x.strides, y.strides):
        if size == 1:
            continue
        if axes and axes[-1][1:] == (size * a, size * b):
            size *= axes.pop()[0]
        axes.append((size, a, b))
    sizes, a, b = zip(*axes) if axes else ((), (), ())
    return x._replace(sizes=sizes, strides=a), y._replace(sizes=sizes, strides=b)


def copies(x: Nd, y: Nd) -> list[Pair]:
    """One copy, or as many as leave each at most MAX_RANK axes."""
    if not product(y.sizes):
        return []
    x, y = joined(x, y)
    if len(y.sizes) <= MAX_RANK:
        return [(x, y)]
    made = []
    for i in range(y.sizes[0]):
        parts = [permuted(t.axis(0, i, 1, 1), range(1, len(t.sizes))) for t in (x, y)]
        made += copies(*parts)
    return made


def moves(
    pairs: Iterable[Pair], kernel: str = "f32_copy", fills: Sequence[tuple[Nd, float]] = (), values=None
) -> Lowered:
    """One native call for all of them."""
    made = tuple(part for x, y in pairs for part in copies(x, y))
    filled = tuple((joined(y, y)[0], value) for y, value in fills if product(y.sizes))
    return Lowered([NativeCall("add_moves", {}, {"copies": made, "fills": filled}, {"values": values})], kernel)


def ends(low: Lowering, node: Node) -> Pair:
    return low.nd(node.inputs[0]), low.nd(node.outputs[0])


# --- one view of the input


def transpose(low: Lowering, node: Node) -> Lowered:
    x, y = ends(low, node)
    return moves([(permuted(x, node.spec.axes), y)], "f32_transpose")


def slice_(low: Lowering, node: Node) -> Lowered:
    x, y = ends(low, node)
    axis, start, _ = node.spec.bounds(x.sizes)
    return moves([(x.axis(axis, start, 1, y.sizes[axis]), y)])


def stride(low: Lowering, node: Node) -> Lowered:
    (x, y), spec = ends(low, node), node.spec
    return moves([(x.axis(spec.axis % len(x.sizes), spec.start, spec.step, spec.count), y)])


def expand(low: Lowering, node: Node) -> Lowered:
    x, y = ends(low, node)
    return moves([(x.broadcast(y.sizes), y)])


def tile(low: Lowering, node: Node) -> Lowered:
    """Every axis of y is a pair of axes, (repeats, size), the first of which x does not move along."""
    x, y = ends(low, node)
    sizes = x.sizes
    for axis in reversed(range(len(sizes))):
        times = node.spec.repeats[axis]
        y = split(y, axis, times, sizes[axis])
        x = x._replace(
            sizes=(*x.sizes[:axis], times, *x.sizes[axis:]), strides=(*x.strides[:axis], 0, *x.strides[axis:])
        )
    return moves([(x, y)])


def depth_to_space(low: Lowering, node: Node) -> Lowered:
    (x, y), b = ends(low, node), node.spec.block
    channels, height, width = y.sizes[1], x.sizes[2], x.sizes[3]
    y = split(split(y, 3, width, b), 2, height, b)  # n, c, h, i, w, j
    if node.spec.mode == "DCR":
        x = permuted(split(x, 1, b, b, channels), (0, 3, 4, 1, 5, 2))
    else:
        x = permuted(split(x, 1, channels, b, b), (0, 1, 4, 2, 5, 3))
    return moves([(x, y)], "f32_depth_to_space")


def space_to_depth(low: Lowering, node: Node) -> Lowered:
    (x, y), b = ends(low, node), node.spec.block
    channels, height, width = x.sizes[1], y.sizes[2], y.sizes[3]
    x = split(split(x, 3, width, b), 2, height, b)  # n, c, h, i, w, j
    y = permuted(split(y, 1, b, b, channels), (0, 3, 4, 1, 5, 2))
    return moves([(x, y)], "f32_space_to_depth")


# --- several inputs


def concat(low: Lowering, node: Node) -> Lowered:
    """An input that was computed in its place is not copied: its view and that of its place are one."""
    y = low.nd(node.outputs[0])
    axis = node.spec.axis % len(y.sizes)
    inputs = [low.nd(name) for name in node.inputs]
    firsts = itertools.accumulate((x.sizes[axis] for x in inputs), initial=0)
    pairs = [(x, y.axis(axis, first, 1, x.sizes[axis])) for first, x in zip(firsts, inputs)]
    return moves(pair for pair in pairs if pair[0] != pair[1])


# --- the same elements in row-major order


def flatten(low: Lowering, node: Node) -> Lowered:
    x, y = ends(low, node)
    if node.spec.order == "HWC":
        x = permuted(x, (0, 2, 3, 1))
    return moves(in_order(x, y))


def reshape(low: Lowering, node: Node) -> Lowered:
    return moves(in_order(*ends(low, node)))


def in_order(x: Nd, y: Nd) -> list[Pair]:
    """Copies of x's elements, in row-major order, to y's.

    From the innermost axes outwards both are cut into axes of common sizes. Axes that have no common size, as 4 x 6 and
    6 x 4 that do not lie densely, are cut into runs that both walk at one stride.
    """
    if not product(y.sizes):
        return []
    a, b = (_axes(t) for t in (x, y))
    common: list[tuple[int, int, int]] = []  # (size, stride of x, stride of y), innermost first
    runs = [(0, 0, 1, 0, 0)]  # (offset in x, offset in y, length, stride of x, stride of y) of what has no common axes
    while a and b:
        (n, s), (m, t) = a.pop(), b.pop()
        if n % m and m % n:
            runs = _crossed(runs, *_group(a, b, (n, s), (m, t)))
            continue
        common.append((min(n, m), s, t))
        if n > m:
            a.append((n // m, s * m))
        elif m > n:
            b.append((m // n, t * n))
    sizes, xs, ys = zip(*reversed(common)) if common else ((), (), ())
    return [
        (
            Nd(x.slot, x.offset + dx, (*sizes, n), (*xs, s), x.image),
            Nd(y.slot, y.offset + dy, (*sizes, n), (*ys, t), y.image),
        )
        for dx, dy, n, s, t in runs
    ]


def _axes(t: Nd) -> list[tuple[int, int]]:
    """(size, stride) of a view's axes, those that are walked as one joined."""
    t, _ = joined(t, t)
    return list(zip(t.sizes, t.strides))


def _group(a: list, b: list, inner_a, inner_b) -> tuple[list, list]:
    """The fewest axes of either side, innermost first, whose products are equal; the rest stays in a and b."""
    group_a, group_b = [inner_a], [inner_b]
    while (size_a := product(n for n, _ in group_a)) != (size_b := product(n for n, _ in group_b)):
        if size_a < size_b:
            group_a.append(a.pop())
        else:
            group_b.append(b.pop())
    return group_a, group_b


def _crossed(runs, group_a, group_b) -> list[tuple[int, int, int, int, int]]:
    """Every run so far (they are longer than one element in one group at most) with every run of a further group."""
    total, (n, s), (m, t) = product(size for size, _ in group_a), group_a[0], group_b[0]
    cuts = sorted({*range(0, total, n), *range(0, total, m), total})
    found = []
    for first, end in itertools.pairwise(cuts):
        dx, dy = _at(group_a, first), _at(group_b, first)
        found.append((dx, dy, end - first, s, t))
    if runs == [(0, 0, 1, 0, 0)]:
        return found
    return [
        (ox + i * s0 + dx, oy + i * t0 + dy, length, s1, t1)
        for ox, oy, count, s0, t0 in runs
        for i in range(count)
        for dx, dy, length, s1, t1 in found
    ]


def _at(axes: list[tuple[int, int]], position: int) -> int:
    """Where an element lies; axes innermost first."""
    offset = 0
    for size, stride in axes:
        offset += position % size * stride
        position //= size
    return offset


# --- padding


def pad_nd(low: Lowering, node: Node) -> Lowered | None:
    (x, y), spec = ends(low, node), node.spec
    if spec.mode == "constant":
        middle, fills = y, []
        for axis, (before, _) in enumerate(spec.pads):
            size, all_of = x.sizes[axis], middle.sizes[axis]
            fills.append((middle.axis(axis, 0, 1, before), spec.value))
            fills.append((middle.axis(axis, before + size, 1, all_of - before - size), spec.value))
            middle = middle.axis(axis, before, 1, size)
        return moves([(x, middle)], "f32_pad", fills)
    runs = [_RUNS[spec.mode](size, *pads) for size, pads in zip(x.sizes, spec.pads)]
    if product(map(len, runs)) > MAX_PARTS:
        return None
    pairs = []
    for combined in itertools.product(*runs):
        a, b = x, y
        for axis, (first, source, step, count) in enumerate(combined):
            a, b = a.axis(axis, source, step, count), b.axis(axis, first, 1, count)
        pairs.append((a, b))
    return moves(pairs, "f32_pad")


def _edge(size: int, before: int, after: int) -> list[Run]:
    runs = [(0, 0, 0, before), (before, 0, 1, size), (before + size, size - 1, 0, after)]
    return [run for run in runs if run[3]]


def _wrap(size: int, before: int, after: int) -> list[Run]:
    """x over and over again, cut where it begins."""
    if not before + after:
        return [(0, 0, 1, size)]
    runs, at, end = [], -before, size + after
    while at < end:
        count = min(size - at % size, end - at)
        runs.append((at + before, at % size, 1, count))
        at += count
    return runs


def _reflect(size: int, before: int, after: int) -> list[Run]:
    """Back and forth, n - 1 elements in each direction."""
    if not before + after:
        return [(0, 0, 1, size)]
    runs, at, end, turn = [], -before, size + after, size - 1
    while at < end:
        way, phase = divmod(at, turn)
        count = min(turn - phase, end - at)
        runs.append((at + before, turn - phase, -1, count) if way % 2 else (at + before, phase, 1, count))
        at += count
    return runs


_RUNS = {"edge": _edge, "wrap": _wrap, "reflect": _reflect}


def pad(low: Lowering, node: Node) -> Lowered:
    (top, bottom), (left, right) = node.spec.padding
    options = {"pad": (top, bottom, left, right), "value": node.spec.value}
    return Lowered([NativeCall("add_pad", low.in_out(node), options)], "f32_pad")


def channel_shuffle(low: Lowering, node: Node) -> Lowered:
    options = {"groups": node.spec.groups}
    return Lowered([NativeCall("add_channel_shuffle", low.in_out(node), options)], "f32_channel_shuffle")


def reorder(low: Lowering, node: Node) -> Lowered:
    return Lowered([NativeCall("add_copy", low.in_out(node))], "f32_copy")


# --- resampling


def resample(low: Lowering, node: Node) -> Lowered:
    (x, y), spec = ends(low, node), node.spec
    index = np.array(spec.index, np.int64).reshape(-1, spec.taps)
    weight = None if spec.weight is None else np.array(spec.weight, np.float32).reshape(index.shape)
    if len(x.sizes) > MAX_RANK:
        return None
    call = NativeCall(
        "add_resample", {"x": x, "y": y}, {"axis": spec.axis % len(x.sizes)}, {"index": index, "weight": weight}
    )
    return Lowered([call], "f32_gather" if weight is None else "f32_resample")
