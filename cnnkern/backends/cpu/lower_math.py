"""What element-wise operations, reductions, products and softmax become on arrays of any rank and layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...graph.ir import Node
from .buffers import Nd
from .calls import NativeCall
from .lower_conv import conv_shape
from .lowering import Lowered, Lowering, act_options, dense

MAX_RANK = 8  # axes that the native side takes


def _fits(low: Lowering, node: Node) -> bool:
    names = [name for name in (*node.inputs, *node.outputs) if name]
    return all(len(low.graph.shape(name)) <= MAX_RANK and not low.buffers.in_python(name) for name in names)


def unary(low: Lowering, node: Node) -> Lowered | None:
    if not _fits(low, node):
        return None
    spec = node.spec
    alpha, beta = (0.0 if value is None else value for value in (spec.alpha, spec.beta))
    if spec.kind == "thresholded_relu":  # the native side asks for x < alpha, so that a NaN is kept
        least = np.float32(alpha)
        alpha = least if least > alpha else np.nextafter(least, np.float32(np.inf))
    tensors = {"x": low.nd(node.inputs[0]), "y": low.nd(node.outputs[0])}
    options = {"kind": spec.kind, "alpha": float(alpha), "beta": float(beta)}
    return Lowered([NativeCall("add_unary", tensors, options)], f"f32_{spec.kind}")


def binary(low: Lowering, node: Node) -> Lowered | None:
    """Sums, products and the rest, with operands that broadcast, constants among them."""
    if not _fits(low, node):
        return None
    spec, y = node.spec, low.nd(node.outputs[0])
    kind = spec.kind if isinstance(spec, ops.BinarySpec) else spec.op
    inputs, options = node.inputs, {"act": "", "param": 0.0}
    if not isinstance(spec, ops.BinarySpec):
        options = act_options(spec.activation, spec.activation_param)
    if kind == "pow" and _all_equal(low, inputs[1], 2.0) and low.nd(inputs[0]).sizes == y.sizes:
        kind, inputs = "mul", (inputs[0], inputs[0])
    a, b = (_operand(low, name, len(y.sizes)).broadcast(y.sizes) for name in inputs)
    call = NativeCall("add_binary_nd", {"a": a, "b": b, "y": y}, {"kind": kind, **options})
    return Lowered([call], f"f32_{kind}")


def _operand(low: Lowering, name: str, rank: int) -> Nd:
    """A value, or a constant: where steps run once an image, each takes all of it, or its image's part."""
    if low.images is None or name not in low.weights:
        return low.nd(name)
    t = low.buffers.nd(name)
    if len(t.sizes) < rank or t.sizes[0] == 1:
        return t
    return t._replace(sizes=(1, *t.sizes[1:]), image=t.strides[0])


def _all_equal(low: Lowering, name: str, value: float) -> bool:
    return name in low.weights and low.weights[name].size > 0 and bool(np.all(low.weights[name] == value))


def batch_norm(low: Lowering, node: Node, arrays: dict[str, np.ndarray]) -> Lowered | None:
    """Of any rank; `arrays` are the statistics as a scale and a shift."""
    if not _fits(low, node):
        return None
    tensors = {"x": low.nd(node.inputs[0]), "y": low.nd(node.outputs[0])}
    options = {"axis": 1, **act_options(node.spec.activation, node.spec.activation_param)}
    return Lowered([NativeCall("add_affine_nd", tensors, options, arrays)], "f32_affine")


def softmax(low: Lowering, node: Node) -> Lowered | None:
    rank = low.rank(node)
    if rank == 0 or not _fits(low, node):
        return None
    tensors = {"x": low.nd(node.inputs[0]), "y": low.nd(node.outputs[0])}
    options = {"axis": node.spec.axis % rank, "log": node.spec.log}
    return Lowered(
        [NativeCall("add_softmax_nd", tensors, options)], "f32_log_softmax" if node.spec.log else "f32_softmax"
    )


def reduce(low: Lowering, node: Node) -> Lowered | None:
    if not _fits(low, node):
        return None
    spec, x, y = node.spec, low.nd(node.inputs[0]), low.nd(node.outputs[0])
    axes = spec.over(len(x.sizes))
    if not spec.keepdims:
        y = _with_ones(y, axes)
    call = NativeCall("add_reduce", {"x": x, "y": y}, {"kind": spec.kind, "axes": axes})
    return Lowered([call], f"f32_reduce_{spec.kind}")


def _with_ones(t: Nd, axes) -> Nd:
    """The same with axes of size 1 put in where `axes`, counted in the result, say."""
    sizes, strides = list(t.sizes), list(t.strides)
    for axis in sorted(axes):
        sizes.insert(axis, 1)
        strides.insert(axis, 0)
    return t._replace(sizes=tuple(sizes), strides=tuple(strides))


def matmul(low: Lowering, node: Node) -> Lowered | None:
    """b is packed when the plan is made if it is known by then."""
    if not _fits(low, node):
        return None
    a, b, y = node.inputs[0], node.inputs[1], low.nd(node.outputs[0])
    known = b in low.weights
    b_shape = low.graph.shape(b)
    left = low.nd(a)
    if len(left.sizes) == 1:  # a row
        left, y = _with_ones(left, [0]), _with_ones(y, [len(y.sizes) - (len(b_shape) > 1)])
    if len(b_shape) == 1:  # a column
        y = _with_ones(y, [len(y.sizes)])
    if len(y.sizes) > MAX_RANK:
        return None
    lead = y.sizes[:-2]
    left = left.broadcast((*lead, *left.sizes[-2:])) if left.sizes[:-2] != lead else left
    (m, k), n = left.sizes[-2:], y.sizes[-1]
    right, arrays = None, {"weight": None}
    if known:
        weight = dense(low.weights[b])
        arrays["weight"] = weight[:, None] if weight.ndim == 1 else weight
    else:
        right = low.nd(b)
        right = _with_ones(right, [1]) if len(b_shape) == 1 else right
        right = right.broadcast((*lead, k, n)) if right.sizes[:-2] != lead else right
    plan = _tiles(low, m if known and arrays["weight"].ndim > 2 else m * ops.base.product(lead), k, n)
    tensors = {"a": left, "b": right, "y": y}
    call = NativeCall("add_matmul", tensors, plan, arrays)
    bytes_ = 4 * arrays["weight"].size if known else 0
    return Lowered([call], f"f32_matmul_{plan['px']}x{16 * plan['ob']}", plan=dict(plan), weight_bytes=bytes_)


def _tiles(low: Lowering, m: int, k: int, n: int) -> dict[str, Any]:
    """The tile that the convolutions' selector would take for a product of that size."""
    sizes = [max(1, min(size, 1 << 20)) for size in (m, k, n)]
    shape = conv_shape(ops.Conv2dSpec(), (1, sizes[1], 1, sizes[0]), (sizes[2], sizes[1], 1, 1))
    plan = low.core.conv_select(low.isa, shape, "pointwise", False, True, sizes[1], True, False)
    return {"ob": plan["ob"], "px": plan["px"]}
