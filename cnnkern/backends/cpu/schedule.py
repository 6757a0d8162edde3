"""The order of a batch: which steps take the whole batch at once, and which go image by image.

Image by image, a core carries one image through many steps while its activations stay in that core's caches, but reads
every weight anew for each image. Shallow layers have large activations and few weights, deep ones the reverse: so the
first steps of a network go image by image, up to a cut, and the rest takes the batch layer by layer.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, NamedTuple

from ... import ops
from ...graph.ir import Graph, Node
from ...graph.views import View, is_free
from ...ops.base import product
from .lower import lower
from .lowering import Lowering, one_image

# Ops whose output for an image depends on that image alone, and whose specs do not name the batch.
BY_IMAGE = (
    ops.Conv2dSpec, ops.FusedBlockSpec, ops.Pool2dSpec, ops.GlobalPool2dSpec, ops.AdaptiveAvgPool2dSpec,
    ops.BatchNormSpec, ops.LocalResponseNormSpec, ops.ActivationSpec, ops.AddSpec, ops.MulSpec, ops.ReorderSpec,
    ops.ConcatSpec, ops.SliceSpec, ops.ChannelShuffleSpec, ops.PadSpec, ops.DepthToSpaceSpec, ops.SpaceToDepthSpec,
    ops.ResampleSpec, ops.ConvTranspose2dSpec, ops.StrideSpec, ops.PadNdSpec, ops.TransposeSpec, ops.UnarySpec,
    ops.BinarySpec,
)  # fmt: skip

# Bytes a cycle that a core moves to and from where so many bytes fit: its L2, the L3, memory; weights are streamed and
# fetched ahead, from L3 or from memory. Fitted on AMD EPYC (Zen 4, 2 cores, 1 MiB of L2 each, 32 MiB of L3) on
# 2026-11-20 against the times of cuts at every fifth of mobilenet_v2, resnet18, resnet50, densenet121, googlenet and
# efficientnet_b0 at batch 16; times are flat around the best cut, so the orders of magnitude matter, not the digits.
LEVELS = ((1 << 20, 32.0), (16 << 20, 8.0), (float("inf"), 4.0))
NEAR_WEIGHTS_BYTES, NEAR_WEIGHTS_RATE, FAR_WEIGHTS_RATE = 32 << 20, 24.0, 8.0


def image_by_image(low: Lowering, decisions: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """The names of the nodes that go image by image: those of `decisions` where it has any, else up to the best cut."""
    images = low.buffers.images
    if images < 2:
        return frozenset()
    nodes = _candidates(low)
    if decisions:
        return frozenset(node.name for node in nodes if decisions.get(node.name, {}).get("images") == 1)
    each = one_image(low)
    saved, weight_bytes, best, cut = 0.0, 0, 0.0, 0
    for i, node in enumerate(nodes, 1):
        together, once = _cost(low, node), _cost(each, node)
        saved += together.cycles - images * once.cycles + together.weight_bytes / FAR_WEIGHTS_RATE
        weight_bytes += once.weight_bytes
        near = weight_bytes <= NEAR_WEIGHTS_BYTES
        gain = saved - images * weight_bytes / (NEAR_WEIGHTS_RATE if near else FAR_WEIGHTS_RATE)
        if gain > best:
            best, cut = gain, i
    return frozenset(node.name for node in nodes[:cut])


def own_values(graph: Graph, views: Mapping[str, View], by_image: Container[str]) -> frozenset[str]:
    """The roots whose values never leave the steps that go image by image: one image's worth of memory is enough."""
    kept = {views[name].root for name in (*graph.inputs, *graph.outputs)}
    for node in graph.nodes:
        if node.name not in by_image:
            kept.update(views[name].root for name in (*node.inputs, *node.outputs) if name in views)
    return frozenset(view.root for view in views.values()) - kept


def _candidates(low: Lowering) -> list[Node]:
    """The nodes before the first that has to see the batch at once."""
    found = []
    for node in low.graph.nodes:
        values = [name for name in (*node.inputs, *node.outputs) if name in low.graph.values]
        shapes = [low.graph.shape(name) for name in values]
        if any(len(shape) != 4 or shape[0] != low.buffers.images for shape in shapes):
            break  # no images, or an operand whose first axis is not the batch's
        if _across(node.spec, 4):
            break
        if not (is_free(low.graph, low.views, node) or (isinstance(node.spec, BY_IMAGE) and lower(low, node))):
            break
        found.append(node)
    return found


def _across(spec: ops.Spec, rank: int) -> bool:
    """Whether it moves something along the batch."""
    if isinstance(spec, ops.TransposeSpec):
        return spec.axes[0] != 0
    if isinstance(spec, ops.PadNdSpec):
        return any(spec.pads[0])
    return getattr(spec, "axis", 1) % rank == 0


class _Cost(NamedTuple):
    """Of one run of a node on one core: its arithmetic and activations, and the weights it reads."""

    cycles: float
    weight_bytes: int


def _cost(low: Lowering, node: Node) -> _Cost:
    if is_free(low.graph, low.views, node):
        return _Cost(0.0, 0)
    lowered = lower(low, node)
    values = [name for name in (*node.inputs, *node.outputs) if name in low.graph.values]
    moved = 4 * sum(product(low.graph.shape(name)) for name in values)
    rate = next(rate for fits, rate in LEVELS if moved <= fits)
    return _Cost(lowered.cycles + moved / rate, lowered.weight_bytes)
