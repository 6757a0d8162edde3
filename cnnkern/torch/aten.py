"""ATen's layers in cnnkern's operations: convolutions, matrix products, pools, normalisations.

A lowering function takes (emitter, node) and the node's arguments by the names of ATen's schema, adds operations, and
returns the name of the result, or a tuple of results of which None is one that nobody may read. It raises `Decline`, or
lets a Spec's ValueError pass, where cnnkern has no such operation; the node then stays in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..ops import (
    ActivationSpec,
    AdaptiveAvgPool2dSpec,
    AddSpec,
    BatchNormSpec,
    BinarySpec,
    Conv2dSpec,
    ConvTranspose2dSpec,
    GlobalPool2dSpec,
    LinearSpec,
    MatMulSpec,
    MulSpec,
    Pool2dSpec,
    ReduceSpec,
    SoftmaxSpec,
    TransposeSpec,
    UnarySpec,
)
from .emitter import Emitter, image, pair, sides
from .errors import Decline

LOWERINGS: dict[str, Callable[..., Any]] = {}  # by the name of an ATen operation and, where it matters, its overload


def lowers(*names: str):
    """Enters a function in `LOWERINGS`."""

    def enter(function):
        LOWERINGS.update(dict.fromkeys(names, function))
        return function

    return enter


# --- products


@lowers("convolution", "_convolution")
def convolution(
    e: Emitter, node, input, weight, bias, stride, padding, dilation, transposed, output_padding, groups, *ignored
):
    x, layer = e.value(input), e.label(weight)
    rank = e.rank(x)
    if rank == 3 and not transposed:  # a signal is an image of one row
        n, c, length = e.shape(x)
        x = e.reshape(x, (n, c, 1, length))
        w = e.constant(weight, "conv_weight", lambda t: t.unsqueeze(2))
        stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
    elif rank == 4:
        w = e.constant(weight, "conv_weight")
    else:
        raise Decline(f"a {'transposed ' if transposed else ''}convolution of shape {e.shape(x)}")
    b = e.constant(bias, "bias")
    if transposed:
        spec = ConvTranspose2dSpec(pair(stride), sides(padding), pair(output_padding), pair(dilation), groups)
        return e.emit(spec, x, w, b, layer=layer)
    y = e.emit(Conv2dSpec(pair(stride), sides(padding), pair(dilation), groups), x, w, b, "", layer=layer)
    return y if rank == 4 else e.reshape(y, (*e.shape(y)[:2], e.shape(y)[3]))


@lowers("addmm")
def addmm(e: Emitter, node, self, mat1, mat2, beta=1, alpha=1):
    if (beta, alpha) != (1, 1):
        raise Decline(f"its factors are beta {beta}, alpha {alpha}")
    if e.is_constant(mat2) and e.is_constant(self) and e.tensor(self).dim() == 1 and not e.is_constant(mat1):
        return _linear(e, mat1, mat2, self)
    return e.emit(AddSpec(), e.emit(MatMulSpec(), e.value(mat1), e.value(mat2)), e.value(self))


@lowers("mm", "matmul", "bmm")
def mm(e: Emitter, node, self, mat2):
    if e.is_constant(mat2) and e.tensor(mat2).dim() == 2 and not e.is_constant(self) and e.rank(e.value(self)) == 2:
        return _linear(e, self, mat2, None)
    return e.emit(MatMulSpec(), e.value(self), e.value(mat2))


@lowers("baddbmm")
def baddbmm(e: Emitter, node, self, batch1, batch2, beta=1, alpha=1):
    return addmm(e, node, self, batch1, batch2, beta, alpha)


def _linear(e: Emitter, x, columns, bias) -> str:
    """x columns + bias: PyTorch keeps the weight as its transpose, so that turning it back copies nothing."""
    turned = columns.args[0] if columns.args and e.is_constant(columns.args[0]) else columns
    return e.emit(
        LinearSpec(),
        e.value(x),
        e.constant(columns, "linear_weight", lambda t: t.t()),
        e.constant(bias, "bias"),
        layer=e.label(turned),
    )


@lowers("_scaled_dot_product_flash_attention_for_cpu")
def attention(e: Emitter, node, query, key, value, dropout_p=0.0, is_causal=False, *, attn_mask=None, scale=None):
    """softmax(q k^T scale + mask) v."""
    if dropout_p or is_causal:
        raise Decline("attention with dropout or a causal mask")
    q, k = e.value(query), e.value(key)
    rank, width = e.rank(q), e.shape(q)[-1]
    k = e.emit(TransposeSpec((*range(rank - 2), rank - 1, rank - 2)), k)
    scores = e.emit(UnarySpec("affine", scale or 1 / math.sqrt(width), 0.0), e.emit(MatMulSpec(), q, k))
    if attn_mask is not None:
        scores = e.emit(AddSpec(), scores, e.value(attn_mask))
    return e.emit(MatMulSpec(), e.emit(SoftmaxSpec(-1), scores), e.value(value)), None


# --- pools


@lowers("max_pool2d_with_indices", "max_pool2d")
def max_pool2d(e: Emitter, node, self, kernel_size, stride=(), padding=0, dilation=1, ceil_mode=False):
    kernel = pair(kernel_size)
    spec = Pool2dSpec(
        "max", kernel, pair(stride) if stride else kernel, sides(padding), pair(dilation), ceil_mode=ceil_mode
    )
    y = e.emit(spec, image(e, e.value(self)))
    return (y, None) if "indices" in str(node.target) else y


@lowers("avg_pool2d")
def avg_pool2d(
    e: Emitter, node, self, kernel_size, stride=(), padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):  # fmt: skip
    kernel = pair(kernel_size)
    where = (kernel, pair(stride) if stride else kernel, sides(padding))
    x = image(e, e.value(self))
    if divisor_override is None:
        return e.emit(Pool2dSpec("avg", *where, ceil_mode=ceil_mode, count_include_pad=count_include_pad), x)
    total = e.emit(Pool2dSpec("sum", *where, ceil_mode=ceil_mode), x)
    return e.emit(UnarySpec("affine", 1 / divisor_override, 0.0), total)


@lowers("avg_pool3d")
def avg_pool3d(
    e: Emitter, node, self, kernel_size, stride=(), padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):  # fmt: skip
    """Along the first of three axes alone, as `local_response_norm` has it: the other two are one."""
    x = e.value(self)
    kernel, stride = tuple(kernel_size), tuple(stride) or tuple(kernel_size)
    padding = tuple(padding) if isinstance(padding, (list, tuple)) else (padding,)
    if e.rank(x) != 5 or kernel[1:] != (1, 1) or any(padding) or stride[-2:] not in ((1, 1), (1,)) or divisor_override:
        raise Decline("pooling along three axes")
    n, c, d, h, w = e.shape(x)
    spec = Pool2dSpec("avg", (kernel[0], 1), (stride[0], 1), ceil_mode=ceil_mode)
    y = e.emit(spec, e.reshape(x, (n, c, d, h * w)))
    return e.reshape(y, (n, c, e.shape(y)[2], h, w))


@lowers("_adaptive_avg_pool2d", "adaptive_avg_pool2d")
def adaptive_avg_pool2d(e: Emitter, node, self, output_size):
    x, size = image(e, e.value(self)), pair(output_size)
    if e.shape(x)[2:] == size:
        return x
    return e.emit(GlobalPool2dSpec("avg") if size == (1, 1) else AdaptiveAvgPool2dSpec(size), x)


@lowers("adaptive_max_pool2d")
def adaptive_max_pool2d(e: Emitter, node, self, output_size):
    x, size = image(e, e.value(self)), pair(output_size)
    if size == (1, 1):
        return e.emit(GlobalPool2dSpec("max"), x), None
    if any(have % want for have, want in zip(e.shape(x)[2:], size)):
        raise Decline(f"windows of different sizes: {e.shape(x)[2:]} to {size}")
    kernel = tuple(have // want for have, want in zip(e.shape(x)[2:], size))
    return e.emit(Pool2dSpec("max", kernel, kernel), x), None


# --- reductions


def _reduce(e: Emitter, kind: str, self, dim, keepdim) -> str:
    x = e.value(self)
    rank = e.rank(x)
    dims = [dim] if isinstance(dim, int) else list(dim or ())
    axes = tuple(sorted(d % rank for d in dims)) if dims else tuple(range(rank))
    if rank == 4 and axes == (2, 3) and kind in ("mean", "max") and min(e.shape(x)[1:]) > 0:
        y = e.emit(GlobalPool2dSpec("avg" if kind == "mean" else "max"), x)
        return y if keepdim else e.reshape(y, e.shape(y)[:2])
    return e.emit(ReduceSpec(kind, axes, bool(keepdim)), x)


@lowers("mean")
def mean(e: Emitter, node, self, dim=None, keepdim=False, dtype=None):
    return _reduce(e, "mean", self, dim, keepdim)


@lowers("sum")
def sum_(e: Emitter, node, self, dim=None, keepdim=False, dtype=None):
    return _reduce(e, "sum", self, dim, keepdim)


@lowers("amax")
def amax(e: Emitter, node, self, dim=(), keepdim=False):
    return _reduce(e, "max", self, dim, keepdim)


@lowers("amin")
def amin(e: Emitter, node, self, dim=(), keepdim=False):
    return _reduce(e, "min", self, dim, keepdim)


@lowers("max.dim")
def max_dim(e: Emitter, node, self, dim, keepdim=False):
    return _reduce(e, "max", self, dim, keepdim), None


@lowers("min.dim")
def min_dim(e: Emitter, node, self, dim, keepdim=False):
    return _reduce(e, "min", self, dim, keepdim), None


@lowers("max.default")
def max_all(e: Emitter, node, self):
    return _reduce(e, "max", self, None, False)


@lowers("min.default")
def min_all(e: Emitter, node, self):
    return _reduce(e, "min", self, None, False)


@lowers("prod.dim_int")
def prod(e: Emitter, node, self, dim, keepdim=False, dtype=None):
    return _reduce(e, "prod", self, dim, keepdim)


@lowers("var.correction", "var.dim", "var_mean.correction", "std.correction")
def var(e: Emitter, node, self, dim=None, *rest, correction=None, keepdim=False):
    """Of deviations from the mean, as PyTorch: nothing cancels."""
    if rest:
        raise Decline("an old form of its arguments")
    x = e.value(self)
    rank = e.rank(x)
    axes = tuple(sorted(d % rank for d in dim)) if dim else tuple(range(rank))
    count = math.prod(e.shape(x)[axis] for axis in axes)
    correction = 1 if correction is None else correction
    if count <= correction:
        raise Decline(f"a variance of {count} elements with correction {correction}")
    center = e.emit(ReduceSpec("mean", axes, True), x)
    deviation = e.emit(BinarySpec("sub"), x, center)
    total = e.emit(ReduceSpec("sum_square", axes, bool(keepdim)), deviation)
    y = e.emit(UnarySpec("affine", 1 / (count - correction), 0.0), total)
    if "std" in str(node.target):
        return e.emit(UnarySpec("sqrt"), y)
    if "var_mean" not in str(node.target):
        return y
    return y, e.reshape(center, e.shape(y))


# --- normalisation


@lowers("native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm")
def batch_norm(e: Emitter, node, input, weight, bias, running_mean, running_var, training, momentum, eps):
    x = e.value(input)
    if training:
        if running_mean is not None or running_var is not None:
            raise Decline("batch norm in training mode")
        axes = tuple(axis for axis in range(e.rank(x)) if axis != 1)
        return _normalised(e, x, axes, weight, bias, eps, (e.shape(x)[1], *(1,) * (e.rank(x) - 2))), None, None
    arrays = [e.constant(a, kind) for a, kind in ((running_mean, "bn_mean"), (running_var, "bn_var"))]
    arrays += [e.constant(a, kind) for a, kind in ((weight, "bn_weight"), (bias, "bn_bias"))]
    return e.emit(BatchNormSpec(eps), x, *arrays, layer=e.label(running_mean)), None, None


@lowers("_native_batch_norm_legit_no_training")
def batch_norm_no_training(e: Emitter, node, input, weight, bias, running_mean, running_var, momentum, eps):
    return batch_norm(e, node, input, weight, bias, running_mean, running_var, False, momentum, eps)


@lowers("_native_batch_norm_legit.no_stats")
def batch_norm_no_stats(e: Emitter, node, input, weight, bias, training, momentum, eps):
    return batch_norm(e, node, input, weight, bias, None, None, True, momentum, eps)


@lowers("native_layer_norm")
def layer_norm(e: Emitter, node, input, normalized_shape, weight, bias, eps):
    x = e.value(input)
    axes = tuple(range(e.rank(x) - len(normalized_shape), e.rank(x)))
    return _normalised(e, x, axes, weight, bias, eps, tuple(normalized_shape)), None, None


@lowers("native_group_norm")
def group_norm(e: Emitter, node, input, weight, bias, N, C, HxW, group, eps):
    x = e.value(input)
    shape = e.shape(x)
    y = _normalised(e, e.reshape(x, (N, group, C // group * HxW)), (2,), None, None, eps, ())
    y = e.reshape(y, shape)
    return _affine(e, y, weight, bias, (C, *(1,) * (len(shape) - 2))), None, None


def _normalised(e: Emitter, x: str, axes, weight, bias, eps: float, param_shape) -> str:
    """(x - mean) / sqrt(var + eps) weight + bias over `axes`; the params are read in `param_shape`."""
    center = e.emit(ReduceSpec("mean", axes, True), x)
    deviation = e.emit(BinarySpec("sub"), x, center)
    count = math.prod(e.shape(x)[axis] for axis in axes)
    if count == 0:
        raise Decline("a mean of nothing")
    squares = e.emit(ReduceSpec("sum_square", axes, True), deviation)
    spread = e.emit(UnarySpec("sqrt"), e.emit(UnarySpec("affine", 1 / count, eps), squares))
    return _affine(e, e.emit(BinarySpec("div"), deviation, spread), weight, bias, param_shape)


def _affine(e: Emitter, x: str, weight, bias, shape) -> str:
    for spec, argument in ((MulSpec(), weight), (AddSpec(), bias)):
        if argument is not None:
            x = e.emit(spec, x, e.constant(argument, "constant", lambda t: t.reshape(shape)))
    return x


@lowers("_softmax", "_log_softmax")
def softmax(e: Emitter, node, self, dim, half_to_float):
    return e.emit(SoftmaxSpec(dim, log="log" in str(node.target)), e.value(self))


@lowers("prelu", "_prelu_kernel")
def prelu(e: Emitter, node, self, weight):
    x = e.value(self)
    if not e.is_constant(weight):
        return e.emit(BinarySpec("prelu"), x, e.value(weight))
    slopes = e.tensor(weight)
    if slopes.numel() == 1:
        return e.emit(ActivationSpec("leaky_relu", float(slopes)), x)
    shape = slopes.shape if slopes.dim() > 1 else (-1, *(1,) * (e.rank(x) - 2))
    return e.emit(BinarySpec("prelu"), x, e.constant(weight, "constant", lambda t: t.reshape(shape)))
