"""Which operations of a traced graph cnnkern takes, cut into as few pieces as their order allows."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from . import aten_elementwise, aten_moves  # noqa: F401  they enter their functions in LOWERINGS
from .aten import LOWERINGS
from .emitter import Emitter
from .errors import Decline
from .trace import Trace

# What makes a piece worth its two borders, where the graph has to be cut at all.
HEAVY = frozenset(
    (
        "convolution", "addmm", "mm", "bmm", "baddbmm", "native_batch_norm", "_native_batch_norm_legit",
        "_native_batch_norm_legit_no_training", "max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d",
        "upsample_bilinear2d", "upsample_nearest2d", "native_group_norm", "native_layer_norm", "_softmax",
    )
)  # fmt: skip


@dataclass
class Part:
    """Operations that run together, on cnnkern (`ours`) or in PyTorch."""

    ours: bool
    nodes: list[fx.Node]
    inputs: list[fx.Node]
    outputs: list[fx.Node]


def name_of(node: fx.Node) -> str:
    """ "convolution" for aten.convolution.default."""
    schema = getattr(node.target, "_schema", None)
    return schema.name.split("::")[-1] if schema is not None else getattr(node.target, "__name__", str(node.target))


def tensors_of(value: Any) -> list[torch.Tensor]:
    """The fake tensors of a traced value, one or several."""
    many = value if isinstance(value, (tuple, list)) else [value]
    return [tensor for tensor in many if isinstance(tensor, torch.Tensor)]


def function_of(node: fx.Node):
    """The lowering function of a node; None where there is none."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.name.startswith("aten::"):
        return None
    name = schema.name.split("::")[1]
    exact = LOWERINGS.get(f"{name}.{schema.overload_name or 'default'}")
    return exact or LOWERINGS.get(name)


def emit(e: Emitter, node: fx.Node) -> None:
    """Lower one node whose inputs are in the emitter.

    Raises: Decline, ValueError, TypeError: cnnkern has no such operation; the text says why.
    """
    if node.target is operator.getitem:
        made = e.env[node.args[0]][node.args[1]]
        if made is None:
            raise Decline(f"its result {node.args[1]} is read")
        e.env[node] = made
        return
    function = function_of(node)
    if function is None:
        raise Decline("cnnkern has no such operation")
    e.env[node] = function(e, node, *node.args, **node.kwargs)


def declined(found: Trace) -> dict[fx.Node, str]:
    """The nodes that stay in PyTorch, each with the reason."""
    left: dict[fx.Node, str] = {}
    for node in found.nodes:
        if node.target is operator.getitem:
            continue
        reason = _why_not(found, node)
        if reason:
            left[node] = reason
    for node in _aliases(found):
        left.setdefault(node, "it is a view of an input or of another output, which only PyTorch can hand out")
    _with_results(found.nodes, left)
    return left


def _with_results(nodes: Iterable[fx.Node], left: dict[fx.Node, str]) -> None:
    """What picks one of several results goes with what computes them."""
    for node in nodes:
        if node.target is operator.getitem:
            left.pop(node, None)
            if node.args[0] in left:
                left[node] = ""  # said of the other already


def _why_not(found: Trace, node: fx.Node) -> str:
    """Try a node by itself; "" where it goes."""
    users = [user for user in node.users if user.target is operator.getitem]
    read = [user.meta["val"] for user in users] if users else tensors_of(node.meta["val"])
    given = [arg for arg in node.all_input_nodes if arg not in found.constants]
    tensors = [t for arg in given for t in tensors_of(arg.meta["val"])] + [t for t in read if t is not None]
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.float32:
            return f"{getattr(tensor, 'dtype', type(tensor).__name__)}; float32 is lowered"
        if tensor.layout != torch.strided:
            return f"a tensor of layout {tensor.layout}"
    try:
        e = Emitter(name_of(node), found.constants, found.labels)
        for arg in given:
            shapes = [tuple(t.shape) for t in tensors_of(arg.meta["val"])]
            if not isinstance(arg.meta["val"], torch.Tensor):
                raise Decline("it reads several results at once")
            e.input(arg, shapes[0])
        emit(e, node)
        for user in users:
            emit(e, user)
        for user in users or [node]:
            if e.shape(e.env[user]) != tuple(user.meta["val"].shape):
                raise Decline(f"its result has shape {e.shape(e.env[user])}, not {tuple(user.meta['val'].shape)}")
    except (Decline, ValueError, TypeError, NotImplementedError) as error:
        return str(error)
    return ""


def _aliases(found: Trace) -> list[fx.Node]:
    """Outputs that lie in an input's memory, or in another output's, and the views on the way there."""
    outputs, todo = {node for node in found.outputs if isinstance(node, fx.Node)}, set(found.nodes)
    aliases = []
    for node in outputs:
        way, at = [], node
        while at in todo and (aten_moves.is_view(at) or at.target is operator.getitem):
            way.append(at)
            at = at.all_input_nodes[0]
            if at in outputs:
                break
        if way and (at in outputs or (at.op == "placeholder" and at not in found.constants)):
            aliases += way
    return aliases


def cut(found: Trace, left: dict[fx.Node, str]) -> list[Part]:
    """The parts in an order in which they can run. Adds to `left` what is too little to be worth a border."""
    parts = _levels(found, left)
    if len(parts) > 1:
        small = [part for part in parts if part.ours and not any(name_of(node) in HEAVY for node in part.nodes)]
        for part in small:
            reason = "it stands alone between operations that stay in PyTorch"
            left.update((node, reason) for node in part.nodes)
        _with_results(found.nodes, left)
        parts = _levels(found, left) if small else parts
    wanted = {node for node in found.outputs if isinstance(node, fx.Node)}
    for part in parts:
        inside = set(part.nodes)
        read = [arg for node in part.nodes for arg in node.all_input_nodes if arg not in inside]
        part.inputs = [arg for arg in dict.fromkeys(read) if arg not in found.constants or not part.ours]
        part.outputs = [
            node
            for node in part.nodes
            if node in wanted or any(user not in inside and user.op != "output" for user in node.users)
        ]
    return parts


def _levels(found: Trace, left: dict[fx.Node, str]) -> list[Part]:
    """A part per level and kind, where a level is how often the way to a node has crossed a border: so a part's inputs
    never hang on its own outputs."""
    level: dict[fx.Node, int] = {}
    parts: dict[tuple[int, bool], Part] = {}
    for node in found.nodes:
        ours = node not in left
        before = [level[arg] + ((arg not in left) != ours) for arg in node.all_input_nodes if arg in level]
        level[node] = max(before, default=0 if ours else 1)
        parts.setdefault((level[node], ours), Part(ours, [], [], [])).nodes.append(node)
    return [parts[key] for key in sorted(parts)]
