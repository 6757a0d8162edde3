"""Reductions over any axes: parts of groups, then their sums."""

from __future__ import annotations

from typing import NamedTuple

from ....ops.base import Counts, product
from ..calls import NativeCall
from .geometry import round_up
from .nd import COPY, UNARY, UNIT, loops

STEPS = 256  # that a part joins, where vectors lie across the groups
WIDE, STAGE = 512, 16384  # outputs at a time there; floats where the input goes through scratch
BRIEF = 32  # elements of a group that is turned, so that its vectors lie across

_JOINS = {"max": Counts(max=1), "min": Counts(max=1), "prod": Counts(mul=1)}
_STEPS = {
    **_JOINS,
    "l1": Counts(add=1),
    "l2": Counts(fma=1),
    "sum_square": Counts(fma=1),
    "log_sum_exp": Counts(fma=8, mul=2, add=3, max=2),
}
_LAST = {"mean": "affine", "l2": "sqrt", "log_sum": "log", "log_sum_exp": "log"}


def join(kind: str) -> Counts:
    """Of two sums (products, extremes)."""
    return _JOINS.get(kind, Counts(add=1))


def step(kind: str) -> Counts:
    """Of a sum and an element."""
    return _STEPS.get(kind, join(kind))


class Reduction(NamedTuple):
    """How a call goes: `outputs` groups of `elements`, in lots of outputs; parts are {(rows, columns): count}."""

    kind: str
    outputs: int
    elements: int
    across: bool  # a lane holds an output; else vectors lie along a group
    staged: bool
    direct: bool  # results are written to y at once
    lots: dict[int, int]  # outputs in a lot: how many such lots
    parts: dict[tuple[int, int], int]


def read(call: NativeCall) -> Reduction | None:
    """None where there are no outputs."""
    x, y, axes = call.tensors["x"], call.tensors["y"], tuple(call.options["axes"])
    kept = tuple(i for i in range(len(x.sizes)) if i not in axes)
    outputs, elements = product(y.sizes), product(x.sizes[i] for i in axes)
    if not outputs:
        return None
    *far, last = loops(x, x, y, without=axes)
    *others, inner = loops(x, x, without=kept)
    brief = elements <= BRIEF <= last.size
    across = last.size > 1 and (inner.size == 1 or brief or abs(last.steps[0]) < abs(inner.steps[0]))
    staged = (last if across else inner).steps[0] != 1
    most = STEPS if across else UNIT
    part = max(1, min(elements, most))
    lot = max(1, (min(UNIT, STAGE // part) if staged else WIDE) if across else UNIT // part)
    parts: dict[tuple[int, int], int] = {}
    if elements:
        columns = min(inner.size, most)
        rows, times = others[-1].size if others else 1, product(loop.size for loop in others[:-1])
        for r, r_count in chunks(rows, max(1, most // columns)):
            for c, c_count in chunks(inner.size, columns):
                parts[r, c] = parts.get((r, c), 0) + times * r_count * c_count
    times = product(loop.size for loop in far)
    lots = {size: times * count for size, count in chunks(last.size, lot)}
    return Reduction(call.options["kind"], outputs, elements, across, staged, last.steps[1] == 1, lots, parts)


def chunks(size: int, chunk: int) -> list[tuple[int, int]]:
    """[(size, how many), ...] of whole chunks and what is left."""
    whole, rest = divmod(size, chunk)
    return [(s, n) for s, n in ((chunk, whole), (rest, 1)) if s and n]


def joined(r: Reduction, width: int, kind: str) -> Counts:
    """All parts of all groups."""
    total = Counts()
    for (rows, columns), count in r.parts.items():
        steps = rows * columns
        if r.across:
            lanes = sum(round_up(n, width) * times for n, times in r.lots.items())
            total += step(kind) * (lanes * steps * count)
        else:
            own = step(kind) * (rows * round_up(columns, width)) + join(kind) * (width - 1)
            total += (own + join(kind) * (3 * width * (columns >= 4 * width))) * (r.outputs * count)
        shifts = r.outputs * (kind == "log_sum_exp")
        total += Counts(bytes_read=4 * (r.outputs * steps + shifts), bytes_written=4 * r.outputs) * count
        total += COPY * (r.outputs * steps * count * r.staged)
    return total


def over(r: Reduction, width: int, lane: Counts, operands: int = 1) -> Counts:
    """A pass over the outputs, lot by lot."""
    lanes = sum(round_up(n, width) * times for n, times in r.lots.items())
    return lane * lanes + Counts(bytes_read=4 * operands * r.outputs, bytes_written=4 * r.outputs)


def added(r: Reduction, width: int, kind: str) -> Counts:
    """The parts' sums, where there are several."""
    count = sum(r.parts.values())
    return over(r, width, join(kind) * count, count) if count > 1 else Counts()


def after(r: Reduction, width: int) -> Counts:
    """What follows a sum, and its way to y."""
    total = Counts() if r.direct else COPY * r.outputs
    if r.elements and r.kind in _LAST:
        total += over(r, width, UNARY[_LAST[r.kind]])
    if r.elements and r.kind == "log_sum_exp":
        total += over(r, width, Counts(add=1), 2)
    return total


def largest(r: Reduction, width: int) -> Counts:
    """What a logarithm of a sum of exponentials takes out first."""
    if r.kind != "log_sum_exp" or not r.elements:
        return Counts()
    return joined(r, width, "max") + added(r, width, "max") + over(r, width, Counts(max=2))


def executed(call: NativeCall, isa: str, width: int) -> Counts:
    r = read(call)
    if r is None:
        return Counts()
    if not r.elements:
        return Counts(bytes_written=4 * r.outputs) + after(r, width)
    return largest(r, width) + joined(r, width, r.kind) + added(r, width, r.kind) + after(r, width)
