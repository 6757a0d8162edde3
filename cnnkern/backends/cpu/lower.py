"""What each node becomes: native calls, the kernel's name, the decision and why.

A lowering returns None for a node it has no native form for; the backend then puts a reference step in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ... import config, ops
from ...errors import UnsupportedError
from ...graph.ir import Graph, Node
from ...graph.views import View, concat_copies
from .buffers import Buffers, Tensor
from .calls import NativeCall
from .candidates import Problem, shown


@dataclass
class Lowered:
    """The native calls of one step, and what is said of it."""

    calls: list[NativeCall]
    kernel: str
    plan: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    cycles: float = 0.0  # what the selector expects of one core, for one run of the calls
    weight_bytes: int = 0
    problem: Problem | None = None  # of a convolution whose plan may be chosen by measuring


@dataclass
class Lowering:
    """What the lowering functions look at."""

    core: Any  # cnnkern._core
    isa: str
    graph: Graph
    weights: Mapping[str, np.ndarray]
    views: Mapping[str, View]
    buffers: Buffers
    precision: str
    threads: int = 1
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # choices measured best, by Problem.key
    images: int | None = None  # lower for one image, to be run once for each of so many

    def lower(self, node: Node, decision: Mapping[str, Any] | None = None) -> Lowered | None:
        function = LOWERINGS.get(type(node.spec))
        if function is None:
            return None
        lowered = function(self, node, decision) if function in (conv2d, linear) else function(self, node)
        if lowered is None:
            return None
        if not lowered.kernel.endswith(self.isa):
            lowered.kernel = f"{lowered.kernel}__{self.isa}"
        if self.images is not None:
            lowered.calls = [replace(call, images=self.images) for call in lowered.calls]
            lowered.plan = {**lowered.plan, "images": 1}
        return lowered

    def tensor(self, name: str) -> Tensor:
        return self.buffers.tensor(name) if self.images is None else self.buffers.image_tensor(name)

    def in_out(self, node: Node) -> dict[str, Tensor]:
        return {"x": self.tensor(node.inputs[0]), "y": self.tensor(node.outputs[0])}

    def array(self, node: Node, i: int) -> np.ndarray | None:
        """The weight at input position i."""
        name = node.inputs[i] if i < len(node.inputs) else ""
        return self.weights[name] if name else None

    def constant(self, node: Node, *positions: int) -> bool:
        """Whether those inputs are weights, known when the plan is made."""
        return all(
            not name or name in self.weights for name in (node.inputs[i] for i in positions if i < len(node.inputs))
        )

    def rank(self, node: Node) -> int:
        return len(self.graph.shape(node.outputs[0]))


def one_image(low: Lowering) -> Lowering:
    """The same, for steps that run once for each image of the batch."""
    graph = low.graph.copy()
    graph.values = {n: replace(v, shape=(1, *v.shape[1:])) if v.shape else v for n, v in graph.values.items()}
    return replace(low, graph=graph, images=low.buffers.images, threads=1)


def _activation(kind: str | None, param: float | None) -> dict[str, Any]:
    return {"act": kind or "", "param": float(param or 0.0)}


# --- convolutions


def conv_shape(spec: ops.Conv2dSpec, x, weight) -> dict[str, int]:
    """The native side's description of a convolution, from NCHW and KCRS shapes."""
    (top, bottom), (left, right) = spec.padding
    return {
        "n": x[0], "c": x[1], "h": x[2], "w": x[3], "k": weight[0], "r": weight[2], "s": weight[3],
        "stride_h": spec.stride[0], "stride_w": spec.stride[1], "pad_t": top, "pad_b": bottom, "pad_l": left,
        "pad_r": right, "dil_h": spec.dilation[0], "dil_w": spec.dilation[1], "groups": spec.groups,
    }  # fmt: skip


def conv2d(low: Lowering, node: Node, decision=None) -> Lowered | None:
    if not low.constant(node, 1, 2, 4, 5):
        return None
    spec = node.spec
    shape = conv_shape(spec, low.graph.shape(node.inputs[0]), low.graph.shape(node.inputs[1]))
    residual = low.tensor(node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] else None
    algo = config.get("conv_algo") if spec.algo == "auto" else spec.algo
    arrays = {name: low.array(node, i) for i, name in enumerate(spec.inputs) if name not in ("x", "residual")}
    return _conv(low, shape, {**low.in_out(node), "residual": residual}, arrays, spec, algo, decision)


def linear(low: Lowering, node: Node, decision=None) -> Lowered | None:
    """A 1x1 convolution over N pixels."""
    if not low.constant(node, 1, 2):
        return None
    weight = low.array(node, 1)
    n, features = low.graph.shape(node.inputs[0])
    shape = conv_shape(ops.Conv2dSpec(), (n, features, 1, 1), (*weight.shape, 1, 1))
    tensors = {**low.in_out(node), "residual": None}
    arrays = {"weight": weight, "bias": low.array(node, 2), "scale": None, "shift": None}
    lowered = _conv(low, shape, tensors, arrays, node.spec, "pointwise", decision)
    lowered.kernel = lowered.kernel.replace("conv_pointwise", "linear")
    return lowered


def _conv(low, shape, tensors, arrays, spec, algo, decision) -> Lowered:
    x, scaled = tensors["x"], arrays["scale"] is not None
    flat = all(t.flat for t in tensors.values() if t is not None)
    given = (low.isa, shape, algo, low.precision == "strict", x.channels_last, x.strides[2], flat, scaled)
    try:
        plan = low.core.conv_select(*given)
    except ValueError as error:
        raise UnsupportedError(str(error)) from None
    problem = Problem.of(shape, algo, low.precision, low.threads, not x.channels_last, scaled)
    why = "asked for" if algo != "auto" else "the selector's estimate"
    if decision:
        plan, why = {**plan, **decision}, "given with the plan"
    elif problem.key in low.kept:
        # One of today's candidates, or it was measured by other kernels than these.
        best = (p for p in low.core.conv_candidates(*given) if shown(p) == low.kept[problem.key])
        found = next(best, None)
        plan, why = (found, "autotuned") if found else (plan, why)
    call = NativeCall(
        "add_conv",
        tensors,
        {
            "shape": shape,
            "plan": plan,
            "prologue": getattr(spec, "prologue", None) or "",
            **_activation(spec.activation, spec.activation_param),
        },
        {name: None if a is None else _dense(a) for name, a in arrays.items()},
    )
    name = {"winograd": f"winograd_f{plan['m']}x{shape['r']}"}.get(plan["algo"], plan["algo"])
    kernel = f"f32_conv_{name}_{plan['px']}x{16 * plan['ob']}"
    return Lowered([call], kernel, shown(plan), why, plan["cycles"], plan["weight_bytes"], problem)


def fused_block(low: Lowering, node: Node) -> Lowered | None:
    if not low.constant(node, 1, 2, 3, 4, 5, 6):
        return None
    spec, tensors = node.spec, low.in_out(node)
    inputs = (*node.inputs, *("",) * (8 - len(node.inputs)))
    tensors["residual"] = low.tensor(inputs[7]) if inputs[7] else None
    shapes = [low.graph.shape(name) if name else None for name in inputs]
    x, options, arrays, cycles, weight_bytes = shapes[0], {"project": None}, {}, 0.0, 0
    for i, (stage, weight, bias, _) in enumerate(spec.stages(*shapes)):
        shape, name = conv_shape(stage, x, weight), ("expand", "depthwise", "project")[i]
        # Rows are lines of their own: `flat` would promise more.
        plan = low.core.conv_select(low.isa, shape, "depthwise" if i == 1 else "pointwise", False, True, 0, False)
        act = _activation(stage.activation, stage.activation_param)
        options[name] = {"shape": shape, "plan": plan, **act}
        for what, j in (("weight", 1 + 2 * i), ("bias", 2 + 2 * i)):
            array = low.array(node, j)
            arrays[f"{name}_{what}"] = None if array is None else _dense(array)
        (x,) = stage.infer(x, weight, bias)
        cycles, weight_bytes = cycles + plan["cycles"], weight_bytes + plan["weight_bytes"]
    return Lowered(
        [NativeCall("add_fused_block", tensors, options, arrays)],
        "f32_fused_block",
        why="the wide rows stay in L2",
        cycles=cycles,
        weight_bytes=weight_bytes,
    )


def _dense(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)


def locally_connected2d(low: Lowering, node: Node) -> Lowered | None:
    if not low.constant(node, 1, 2):
        return None
    spec, weight, bias = node.spec, low.array(node, 1), low.array(node, 2)
    (top, bottom), (left, right) = spec.padding
    call = NativeCall(
        "add_locally_connected",
        low.in_out(node),
        {"kernel": weight.shape[4:], "stride": spec.stride, "pad": (top, bottom, left, right)},
        {"weight": _dense(weight), "bias": None if bias is None else _dense(bias)},
    )
    return Lowered([call], "f32_locally_connected")


def im2col(low: Lowering, node: Node) -> Lowered:
    """The native side sees images of patches: (N, P, Q, C R S) in the strides of (N, C R S, P Q)."""
    n, patch, positions = low.graph.shape(node.outputs[0])
    p, q = node.spec.output_hw(low.graph.shape(node.inputs[0]))
    y = low.tensor(node.outputs[0])
    y = y._replace(sizes=(n, p, q, patch), strides=(patch * positions, q, 1, positions))
    return _windowed(low, node, "add_im2col", "f32_im2col", {}, y)


# --- pooling


def _windowed(low: Lowering, node: Node, method: str, kernel: str, options: dict[str, Any], y=None) -> Lowered:
    spec = node.spec
    (top, bottom), (left, right) = spec.padding
    geometry = {
        "kernel": spec.kernel,
        "stride": spec.stride,
        "pad": (top, bottom, left, right),
        "dilation": spec.dilation,
    }
    tensors = low.in_out(node)
    return Lowered([NativeCall(method, {**tensors, "y": y or tensors["y"]}, {**geometry, **options})], kernel)


def pool2d(low: Lowering, node: Node) -> Lowered | None:
    spec = node.spec
    if spec.return_indices:
        return None
    options = {"kind": spec.kind, "count_include_pad": spec.count_include_pad}
    return _windowed(low, node, "add_pool", f"f32_pool_{spec.kind}", options)


def global_pool2d(low: Lowering, node: Node) -> Lowered:
    call = NativeCall("add_global_pool", low.in_out(node), {"kind": node.spec.kind})
    return Lowered([call], f"f32_global_pool_{node.spec.kind}")


def adaptive_avg_pool2d(low: Lowering, node: Node) -> Lowered:
    return Lowered([NativeCall("add_adaptive_avg_pool", low.in_out(node))], "f32_adaptive_avg_pool")


# --- normalisation, element-wise, softmax


def batch_norm(low: Lowering, node: Node) -> Lowered | None:
    if low.rank(node) not in (2, 4) or not low.constant(node, 1, 2, 3, 4):
        return None
    mean, var, weight, bias = (low.array(node, i) for i in (1, 2, 3, 4))
    with np.errstate(all="ignore"):
        scale = 1 / np.sqrt(var.astype(np.float64) + node.spec.eps)
        scale = scale if weight is None else scale * weight
        shift = -mean * scale + (0 if bias is None else bias)
    arrays = {"scale": _dense(scale), "shift": _dense(shift)}
    options = _activation(node.spec.activation, node.spec.activation_param)
    return Lowered([NativeCall("add_affine", low.in_out(node), options, arrays)], "f32_affine")


def local_response_norm(low: Lowering, node: Node) -> Lowered:
    spec = node.spec
    options = {"size": spec.size, "factor": spec.factor, "beta": spec.beta, "k": spec.k}
    return Lowered([NativeCall("add_lrn", low.in_out(node), options)], "f32_lrn")


def local_contrast_norm(low: Lowering, node: Node) -> Lowered:
    options = {"window": node.spec.window(), "eps": node.spec.eps}
    return Lowered([NativeCall("add_lcn", low.in_out(node), options)], "f32_lcn")


def activation(low: Lowering, node: Node) -> Lowered:
    spec = node.spec
    call = NativeCall("add_activation", low.in_out(node), {"kind": spec.kind, "param": float(spec.param or 0.0)})
    return Lowered([call], f"f32_{spec.kind}")


def binary(low: Lowering, node: Node) -> Lowered | None:
    """Equal shapes, or a rank 4 operand with sizes of 1 against one without."""
    shapes = [low.graph.shape(name) for name in node.inputs]
    out = low.graph.shape(node.outputs[0])
    if any(len(shape) != len(out) for shape in shapes) or (len(out) != 4 and shapes[0] != shapes[1]):
        return None
    if any(name in low.weights for name in node.inputs) or out not in shapes:
        return None
    spec = node.spec
    a, b = node.inputs if shapes[0] == out else reversed(node.inputs)
    tensors = {"a": low.tensor(a), "b": low.tensor(b), "y": low.tensor(node.outputs[0])}
    options = {"kind": spec.op, **_activation(spec.activation, spec.activation_param)}
    return Lowered([NativeCall("add_binary", tensors, options)], f"f32_{spec.op}")


def softmax(low: Lowering, node: Node) -> Lowered | None:
    rank = low.rank(node)
    if rank == 0 or node.spec.axis % rank != (1 if rank == 4 else rank - 1):
        return None
    call = NativeCall("add_softmax", low.in_out(node), {"log": node.spec.log})
    return Lowered([call], "f32_log_softmax" if node.spec.log else "f32_softmax")


# --- moves


def _copy(x: Tensor, y: Tensor) -> NativeCall:
    return NativeCall("add_copy", {"x": x, "y": y})


def reorder(low: Lowering, node: Node) -> Lowered:
    tensors = low.in_out(node)
    return Lowered([_copy(tensors["x"], tensors["y"])], "f32_copy")


def concat(low: Lowering, node: Node) -> Lowered | None:
    rank = low.rank(node)
    if node.spec.axis % max(rank, 1) != {4: 1, 2: 1}.get(rank, -1) or any(i in low.weights for i in node.inputs):
        return None
    y = low.tensor(node.outputs[0])
    if rank == 4:
        copies = concat_copies(low.graph, low.views, node)
    else:
        widths = [low.graph.shape(name)[1] for name in node.inputs]
        copies = [(name, sum(widths[:i])) for i, name in enumerate(node.inputs)]
    calls = [_copy(low.tensor(name), y.channels(first, low.graph.shape(name)[1])) for name, first in copies]
    return Lowered(calls, "f32_copy")


def slice_(low: Lowering, node: Node) -> Lowered | None:
    shape = low.graph.shape(node.inputs[0])
    axis, start, stop = node.spec.bounds(shape)
    if len(shape) not in (2, 4) or axis != 1:
        return None
    x = low.tensor(node.inputs[0]).channels(start, stop - start)
    return Lowered([_copy(x, low.tensor(node.outputs[0]))], "f32_copy")


def flatten(low: Lowering, node: Node) -> Lowered | None:
    x, y = low.tensor(node.inputs[0]), low.tensor(node.outputs[0])
    shape = low.graph.shape(node.inputs[0])
    if len(shape) == 2:
        return Lowered([_copy(x, y)], "f32_copy")
    if len(shape) != 4:
        return None
    _, c, h, w = shape
    row = y.strides[0]
    strides = (row, w * c, c, 1) if node.spec.order == "HWC" else (row, w, 1, h * w)
    return Lowered([_copy(x, y._replace(sizes=x.sizes, strides=strides))], "f32_copy")


def reshape(low: Lowering, node: Node) -> Lowered | None:
    """Between an image and its rows, or where each row is one pixel; the rest is left to the reference."""
    before, after = low.graph.shape(node.inputs[0]), low.graph.shape(node.outputs[0])
    x, y = low.tensor(node.inputs[0]), low.tensor(node.outputs[0])
    if len(before) == 4 and len(after) == 2 and before[0] == after[0]:
        _, _, h, w = before
        return Lowered([_copy(x, y._replace(sizes=x.sizes, strides=(y.strides[0], w, 1, h * w)))], "f32_copy")
    if len(before) == 2 and len(after) == 4 and before[0] == after[0]:
        _, _, h, w = after
        return Lowered([_copy(x._replace(sizes=y.sizes, strides=(x.strides[0], w, 1, h * w)), y)], "f32_copy")
    return None


def channel_shuffle(low: Lowering, node: Node) -> Lowered:
    return Lowered(
        [NativeCall("add_channel_shuffle", low.in_out(node), {"groups": node.spec.groups})], "f32_channel_shuffle"
    )


def pad(low: Lowering, node: Node) -> Lowered:
    (top, bottom), (left, right) = node.spec.padding
    options = {"pad": (top, bottom, left, right), "value": node.spec.value}
    return Lowered([NativeCall("add_pad", low.in_out(node), options)], "f32_pad")


LOWERINGS: dict[type[ops.Spec], Callable[..., Lowered | None]] = {
    ops.Conv2dSpec: conv2d,
    ops.FusedBlockSpec: fused_block,
    ops.LinearSpec: linear,
    ops.LocallyConnected2dSpec: locally_connected2d,
    ops.Im2colSpec: im2col,
    ops.Pool2dSpec: pool2d,
    ops.GlobalPool2dSpec: global_pool2d,
    ops.AdaptiveAvgPool2dSpec: adaptive_avg_pool2d,
    ops.BatchNormSpec: batch_norm,
    ops.LocalResponseNormSpec: local_response_norm,
    ops.LocalContrastNormSpec: local_contrast_norm,
    ops.ActivationSpec: activation,
    ops.AddSpec: binary,
    ops.MulSpec: binary,
    ops.SoftmaxSpec: softmax,
    ops.ReorderSpec: reorder,
    ops.ConcatSpec: concat,
    ops.SliceSpec: slice_,
    ops.FlattenSpec: flatten,
    ops.ReshapeSpec: reshape,
    ops.ChannelShuffleSpec: channel_shuffle,
    ops.PadSpec: pad,
}
