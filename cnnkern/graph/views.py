"""Values that need no memory of their own: concatenations built in place, slices and flattenings that only look.

See `plan_views`, which says exactly what a backend may rely on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..ops import ConcatSpec, FlattenSpec, ReshapeSpec, SliceSpec
from ..ops.base import product
from .ir import Graph, Node


class View(NamedTuple):
    """Where a value lies: channels [offset, offset + C) of the buffer of the value `root`, which has `channels`."""

    root: str
    offset: int
    channels: int


def plan_views(graph: Graph, *, lanes: int = 16, accept: Callable[[Node], bool] | None = None) -> dict[str, View]:
    """Place values inside other values' NHWC buffers, so that concat, slice and flatten move as little as possible.

    The memory model: every *root* owns a buffer of N x H x W pixels, `ps` floats apart, ps = round_up(channels, lanes).
    A rank-4 value with view (root, offset, channels) has the root's N, H, W, and its element (n, c, h, w) lies at
    `root + ((n * H + h) * W + w) * ps + offset + c`. A rank-2 value (N, F) has its element (n, f) at
    `root + n * H * W * ps + offset + f`, H and W of the root (1 and 1 if the root is itself of rank 2).

    What is placed:
      - Inputs of a concat (rank 4, axis 1) that a node computes and that are not placed yet: at their offset inside the
        concat's output. Larger concats choose first, so nested ones (a concat inside a concat) follow their parent.
      - The output of a concat whose inputs already lie side by side, in order, in one root: there. DenseNet's
        concats of a growing list [x0], [x0, x1], ... are thus all prefixes of the last one's buffer.
      - A slice (rank 4, axis 1) of a computed value: its channels of that value. A concat that reads it copies it.
      - Flatten, and reshape between (N, C) and (N, C, 1, 1), where H * W == 1; and flatten in HWC order where
        H * W > 1, if the flattened value is its own root and its channels are a multiple of `lanes` (no holes).

    What a backend may rely on:
      - Every value of the graph has an entry. A value that owns its buffer has (its name, 0, its channels). A root's
        own view is always that; graph inputs are roots, and nothing else lies in them.
      - Two values share memory only where they are by definition the same numbers, so writing each computed value
        through its view, nodes in graph order, corrupts nothing. A root stays alive from the first write to any value
        in it to the last read of any (`memory.lifetimes` does this).
      - Nodes that then move nothing: `is_free(graph, views, node)`. A concat that is not free copies only the inputs
        `concat_copies(graph, views, node)` names.
      - A writer must keep to its channels [offset, offset + C): the lanes after them belong to a neighbour, unless
        offset + C == channels, where they are the root's padding lanes (ps - channels of them).
      - Offsets are any integer (58 in ShuffleNet V2), not multiples of `lanes`.

    Args:
        graph: batch-bound. Not changed.
        lanes: the rounding of pixel strides.
        accept: asked once for each node whose output could be placed in a concat; False keeps that output out (its
            kernel cannot write at an offset, say), and the concat copies it.
    Example: Inception's `cat = concat([b1 (64), b2 (128)])` gives {"b1": ("cat", 0, 192), "b2": ("cat", 64, 192)}.
    """
    parents = {}
    for node in graph.nodes:
        source = _alias(graph, node)
        if source is not None:
            parents[node.outputs[0]] = source
    computed = {out: node for node in graph.nodes for out in node.outputs if out not in parents}
    for node in _largest_first(graph):
        _place(graph, node, parents, computed, accept)
    views = {name: _resolve(graph, parents, name) for name in graph.values}
    _flatten_dense(graph, views, lanes)
    return views


def own_buffers(graph: Graph) -> dict[str, View]:
    """The views of a backend that wants none: every value in a buffer of its own."""
    return {name: _resolve(graph, {}, name) for name in graph.values}


def concat_copies(graph: Graph, views: Mapping[str, View], node: Node) -> list[tuple[str, int]]:
    """The inputs of a concat that do not lie in its output yet, each with its first channel there."""
    out, offset, copies = views[node.outputs[0]], 0, []
    for name in node.inputs:
        if name not in views or views[name][:2] != (out.root, out.offset + offset):  # a param lies nowhere
            copies.append((name, offset))
        offset += graph.shape(name)[1]
    return copies


def is_free(graph: Graph, views: Mapping[str, View], node: Node) -> bool:
    """Whether a node moves nothing under these views: its output is already where and what it should be."""
    spec, out = node.spec, views[node.outputs[0]]
    if isinstance(spec, ConcatSpec):
        return _on_channels(graph, node) and not concat_copies(graph, views, node)
    if isinstance(spec, SliceSpec):
        source = views.get(node.inputs[0])
        if source is None or not _on_channels(graph, node):
            return False
        return out[:2] == (source.root, source.offset + _first_channel(graph, node))
    if isinstance(spec, (FlattenSpec, ReshapeSpec)):
        return node.inputs[0] in views and out[:2] == views[node.inputs[0]][:2]
    return False


def _on_channels(graph: Graph, node: Node) -> bool:
    return len(graph.shape(node.outputs[0])) == 4 and node.spec.axis in (1, -3)


def _alias(graph: Graph, node: Node) -> tuple[str, int] | None:
    """(source, first channel) of a node that only looks at a computed value."""
    source = node.inputs[0] if node.inputs else ""
    if source not in graph.values or source in graph.inputs:
        return None
    if isinstance(node.spec, SliceSpec):
        return (source, _first_channel(graph, node)) if _on_channels(graph, node) else None
    if isinstance(node.spec, (FlattenSpec, ReshapeSpec)):
        before, after = graph.shape(source), graph.shape(node.outputs[0])
        if _is_vector(before) and _is_vector(after) and before[:2] == after[:2]:
            return (source, 0)
    return None


def _first_channel(graph: Graph, node: Node) -> int:
    return node.spec.bounds(graph.shape(node.inputs[0]))[1]


def _is_vector(shape) -> bool:
    """(N, C) or (N, C, 1, 1): one pixel per image, so NCHW and NHWC are the same."""
    return len(shape) in (2, 4) and product(shape[2:]) == 1


def _largest_first(graph: Graph) -> list[Node]:
    concats = [
        (graph.shape(node.outputs[0])[1], i, node)
        for i, node in enumerate(graph.nodes)
        if isinstance(node.spec, ConcatSpec) and _on_channels(graph, node)
    ]
    return [node for _, _, node in sorted(concats, key=lambda c: c[:2], reverse=True)]


def _place(graph: Graph, node: Node, parents: dict, computed: Mapping[str, Node], accept) -> None:
    """Let a concat look at its inputs where they lie side by side, else draw those that are free into its output."""
    out = node.outputs[0]
    if out not in parents and (home := _side_by_side(graph, node, parents)):
        parents[out] = home
        return
    offset = 0
    for name in node.inputs:
        same_kind = name in computed and graph.values[name].dtype == graph.values[out].dtype
        if same_kind and name not in parents and (accept is None or accept(computed[name])):
            parents[name] = (out, offset)
        offset += graph.shape(name)[1]


def _side_by_side(graph: Graph, node: Node, parents: dict) -> tuple[str, int] | None:
    """(root, channel) where all inputs of a concat already lie in order in one computed root; None if they do not."""
    first = end = None
    for name in node.inputs:
        if name not in graph.values:
            return None
        view = _resolve(graph, parents, name)
        if view.root in graph.inputs or (end is not None and (view.root, view.offset) != end):
            return None
        first = first or (view.root, view.offset)
        end = (view.root, view.offset + graph.shape(name)[1])
    return first


def _resolve(graph: Graph, parents: dict, name: str) -> View:
    offset = 0
    while name in parents:
        name, step = parents[name]
        offset += step
    shape = graph.shape(name)
    return View(name, offset, shape[1] if len(shape) > 1 else 1)


def _flatten_dense(graph: Graph, views: dict[str, View], lanes: int) -> None:
    """HWC flattenings of a root with dense pixels; last, because only then is known who is a root."""
    roots_in_use = {view.root for name, view in views.items() if view.root != name}
    for node in graph.nodes:
        if not (isinstance(node.spec, FlattenSpec) and node.spec.order == "HWC"):
            continue
        source, out = node.inputs[0], node.outputs[0]
        if source not in graph.values or source in graph.inputs or out in roots_in_use or views[out].root != out:
            continue
        shape = graph.shape(source)
        if len(shape) == 4 and views[source] == (source, 0, shape[1]) and shape[1] % lanes == 0:
            views[out] = View(source, 0, shape[1])
