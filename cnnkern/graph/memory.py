"""Where activations live: one arena, each buffer at an offset, two buffers alive at the same time never overlapping.

`plan_arena` knows numbers only; `plan_memory` takes the numbers from a graph and its views (graph/views.py). Nothing
here allocates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..ops.base import Shape, product
from .ir import Graph
from .views import View, is_free, plan_views

ALIGN_BYTES = 64  # a cache line, and the widest vector
ITEM_BYTES = {
    "float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "bool": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8,
    "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8,
}  # fmt: skip

Lifetime = tuple[int, int, int]  # size in bytes, first use, last use (both inclusive)


@dataclass(frozen=True)
class MemoryPlan:
    """Byte offsets of the roots in the arena, the arena's size, and what the roots would take without reuse."""

    offsets: dict[str, int] = field(default_factory=dict)
    arena_bytes: int = 0
    activation_bytes: int = 0


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is >= value."""
    return -(-value // multiple) * multiple


def plan_arena(lifetimes: Sequence[Lifetime], align_bytes: int = ALIGN_BYTES) -> tuple[list[int], int]:
    """Offsets for buffers with known lifetimes in one arena: largest first, each into the tightest gap that holds it.

    Args:
        lifetimes: (size_bytes, first_use, last_use) per buffer; the uses are step numbers, both inclusive, so a step's
            output never lies on its input.
        align_bytes: every offset, and the total, is a multiple of it.
    Returns:
        (offsets, total_bytes): offsets[i] + size[i] <= total_bytes, and [offset, offset + size) of two buffers whose
        lifetimes meet are disjoint. A buffer of no bytes lies at 0.
    Raises:
        ValueError: a negative size, or a last use before the first.
    Example:
        >>> plan_arena([(64, 0, 1), (64, 1, 2), (64, 2, 3)])
        ([0, 64, 0], 128)
    Source: greedy by size, Pisarchyk and Lee 2020, "Efficient Memory Management for Deep Neural Net Inference".
    """
    for size, first, last in lifetimes:
        if size < 0 or last < first:
            raise ValueError(
                f"lifetimes: got (size_bytes={size}, first_use={first}, last_use={last}); "
                "sizes are >= 0 and the last use is not before the first"
            )
    offsets = [0] * len(lifetimes)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    for i in sorted(range(len(lifetimes)), key=lambda i: (-lifetimes[i][0], lifetimes[i][1])):
        size, first, last = lifetimes[i]
        size = round_up(size, align_bytes)
        if size == 0:
            continue
        taken = sorted((o, e) for o, e, f, z in placed if f <= last and first <= z)
        offsets[i] = _tightest_gap(taken, size)
        placed.append((offsets[i], offsets[i] + size, first, last))
    return offsets, max((end for _, end, _, _ in placed), default=0)


def _tightest_gap(taken: list[tuple[int, int]], size: int) -> int:
    """Where `size` bytes fit with the least left over between the sorted intervals `taken`, else after the last."""
    best, slack, end = None, None, 0
    for start, stop in taken:
        gap = start - end
        if gap >= size and (slack is None or gap < slack):
            best, slack = end, gap
        end = max(end, stop)
    return end if best is None else best


def lifetimes(graph: Graph, views: Mapping[str, View], size_bytes: Callable[[str], int]) -> dict[str, Lifetime]:
    """(size_bytes, first_use, last_use) of every root that a node writes, in node numbers.

    A root is written first by the first node that computes any value placed in it and read last by the last reader of
    any such value; a graph output is read at len(graph.nodes). Graph inputs belong to the caller and are left out.
    """
    spans: dict[str, list[int]] = {}
    for i, node in enumerate(graph.nodes):
        touched = list(node.outputs) if is_free(graph, views, node) else [*node.outputs, *node.inputs]
        for name in touched:
            if name in graph.values and views[name].root not in graph.inputs:
                spans.setdefault(views[name].root, []).append(i)
    for name in graph.outputs:
        if views[name].root in spans:
            spans[views[name].root].append(len(graph.nodes))
    return {root: (size_bytes(root), min(uses), max(uses)) for root, uses in spans.items()}


def dense_bytes(shape: Shape, dtype: str = "float32") -> int:
    """The bytes of a packed tensor, without padding lanes."""
    return product(shape) * ITEM_BYTES.get(dtype, 8)  # what is no number: pointers


def nhwc_bytes(shape: Shape, dtype: str = "float32", lanes: int = 16) -> int:
    """The bytes of an NHWC buffer whose pixel stride is the channel count rounded up to `lanes`; of a matrix (N, F), of
    rows rounded up likewise."""
    if len(shape) < 2:
        return dense_bytes(shape, dtype)
    return dense_bytes((shape[0], round_up(shape[1], lanes), *shape[2:]), dtype)


def plan_memory(
    graph: Graph,
    views: Mapping[str, View] | None = None,
    size_bytes: Callable[[str], int] | None = None,
    align_bytes: int = ALIGN_BYTES,
) -> MemoryPlan:
    """The arena of a batch-bound graph: lifetimes from its nodes in order, one buffer per root.

    Args:
        views: as `plan_views` gives them (the default).
        size_bytes: the size of a root's buffer; by default that of an NHWC buffer with 16-lane pixels. A root that
            lives elsewhere (an output written straight into the caller's array) has size 0 and takes no place.
    """
    views = plan_views(graph) if views is None else views
    size_bytes = size_bytes or (lambda name: nhwc_bytes(graph.shape(name), graph.values[name].dtype))
    spans = lifetimes(graph, views, size_bytes)
    offsets, arena_bytes = plan_arena(list(spans.values()), align_bytes)
    return MemoryPlan(dict(zip(spans, offsets)), arena_bytes, sum(size for size, _, _ in spans.values()))
