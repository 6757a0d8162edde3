"""What each node becomes: native calls, the kernel's name, the decision and why.

A lowering returns None for a node it has no native form for; the backend then puts a reference step in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ... import ops
from ...graph.ir import Node
from . import lower_math, lower_moves
from .calls import NativeCall
from .lower_conv import conv2d, fused_block, im2col, linear, locally_connected2d
from .lower_transposed import conv_transpose2d
from .lowering import Lowered, Lowering, act_options, dense, windowed

# --- pooling


def pool2d(low: Lowering, node: Node) -> Lowered | None:
    spec = node.spec
    if spec.return_indices:
        return None
    options = {"kind": spec.kind, "count_include_pad": spec.count_include_pad}
    return windowed(low, node, "add_pool", f"f32_pool_{spec.kind}", options)


def global_pool2d(low: Lowering, node: Node) -> Lowered:
    call = NativeCall("add_global_pool", low.in_out(node), {"kind": node.spec.kind})
    return Lowered([call], f"f32_global_pool_{node.spec.kind}")


def adaptive_avg_pool2d(low: Lowering, node: Node) -> Lowered:
    return Lowered([NativeCall("add_adaptive_avg_pool", low.in_out(node))], "f32_adaptive_avg_pool")


def roi_max_pool(low: Lowering, node: Node) -> Lowered | None:
    """Regions that no caller brings are not checked before the plan runs: the reference checks them as it goes."""
    if node.inputs[1] not in low.graph.inputs:
        return None
    tensors = {**low.in_out(node), "rois": low.tensor(node.inputs[1])}
    return Lowered([NativeCall("add_roi_max_pool", tensors, {"scale": node.spec.spatial_scale})], "f32_roi_max_pool")


# --- normalisation, element-wise, softmax


def batch_norm(low: Lowering, node: Node) -> Lowered | None:
    if not low.constant(node, 1, 2, 3, 4):
        return None
    mean, var, weight, bias = (low.array(node, i) for i in (1, 2, 3, 4))
    with np.errstate(all="ignore"):
        scale = 1 / np.sqrt(var.astype(np.float64) + node.spec.eps)
        scale = scale if weight is None else scale * weight
        shift = -mean * scale + (0 if bias is None else bias)
    arrays = {"scale": dense(scale), "shift": dense(shift)}
    if low.rank(node) not in (2, 4):
        return lower_math.batch_norm(low, node, arrays)
    options = act_options(node.spec.activation, node.spec.activation_param)
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
    """Equal shapes, or a rank 4 operand with sizes of 1 against one without; other shapes and constants go as arrays
    of any rank."""
    shapes = [low.graph.shape(name) for name in node.inputs]
    out = low.graph.shape(node.outputs[0])
    if any(len(shape) != len(out) for shape in shapes) or (len(out) != 4 and shapes[0] != shapes[1]):
        return lower_math.binary(low, node)
    if any(name in low.weights for name in node.inputs) or out not in shapes:
        return lower_math.binary(low, node)
    spec = node.spec
    a, b = node.inputs if shapes[0] == out else reversed(node.inputs)
    tensors = {"a": low.tensor(a), "b": low.tensor(b), "y": low.tensor(node.outputs[0])}
    options = {"kind": spec.op, **act_options(spec.activation, spec.activation_param)}
    return Lowered([NativeCall("add_binary", tensors, options)], f"f32_{spec.op}")


def softmax(low: Lowering, node: Node) -> Lowered | None:
    rank = low.rank(node)
    if rank == 0 or node.spec.axis % rank != (1 if rank == 4 else rank - 1):
        return lower_math.softmax(low, node)
    call = NativeCall("add_softmax", low.in_out(node), {"log": node.spec.log})
    return Lowered([call], "f32_log_softmax" if node.spec.log else "f32_softmax")


LOWERINGS: dict[type[ops.Spec], Callable[..., Lowered | None]] = {
    ops.Conv2dSpec: conv2d,
    ops.ConvTranspose2dSpec: conv_transpose2d,
    ops.FusedBlockSpec: fused_block,
    ops.LinearSpec: linear,
    ops.LocallyConnected2dSpec: locally_connected2d,
    ops.Im2colSpec: im2col,
    ops.Pool2dSpec: pool2d,
    ops.GlobalPool2dSpec: global_pool2d,
    ops.AdaptiveAvgPool2dSpec: adaptive_avg_pool2d,
    ops.RoiMaxPoolSpec: roi_max_pool,
    ops.BatchNormSpec: batch_norm,
    ops.LocalResponseNormSpec: local_response_norm,
    ops.LocalContrastNormSpec: local_contrast_norm,
    ops.ActivationSpec: activation,
    ops.AddSpec: binary,
    ops.MulSpec: binary,
    ops.SoftmaxSpec: softmax,
    ops.ReorderSpec: lower_moves.reorder,
    ops.ConcatSpec: lower_moves.concat,
    ops.SliceSpec: lower_moves.slice_,
    ops.StrideSpec: lower_moves.stride,
    ops.TransposeSpec: lower_moves.transpose,
    ops.FlattenSpec: lower_moves.flatten,
    ops.ReshapeSpec: lower_moves.reshape,
    ops.ExpandSpec: lower_moves.expand,
    ops.TileSpec: lower_moves.tile,
    ops.DepthToSpaceSpec: lower_moves.depth_to_space,
    ops.SpaceToDepthSpec: lower_moves.space_to_depth,
    ops.ChannelShuffleSpec: lower_moves.channel_shuffle,
    ops.PadSpec: lower_moves.pad,
    ops.PadNdSpec: lower_moves.pad_nd,
    ops.ResampleSpec: lower_moves.resample,
    ops.UnarySpec: lower_math.unary,
    ops.BinarySpec: lower_math.binary,
    ops.ReduceSpec: lower_math.reduce,
    ops.MatMulSpec: lower_math.matmul,
}


def lower(low: Lowering, node: Node, decision: Mapping[str, Any] | None = None) -> Lowered | None:
    """The native calls of a node, for the batch or for one image; None: the reference has to do it."""
    function = LOWERINGS.get(type(node.spec))
    if function is None:
        return None
    lowered = function(low, node, decision) if function in (conv2d, linear) else function(low, node)
    if lowered is None:
        return None
    if not lowered.kernel.endswith(low.isa):
        lowered.kernel = f"{lowered.kernel}__{low.isa}"
    if low.images is not None:
        lowered.calls = [replace(call, images=low.images) for call in lowered.calls]
        lowered.plan = {**lowered.plan, "images": 1}
    return lowered
