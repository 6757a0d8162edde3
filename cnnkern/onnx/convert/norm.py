"""Normalisation."""

from __future__ import annotations

import numpy as np

from ...ops import (
    AddSpec,
    BatchNormSpec,
    BinarySpec,
    ExpandSpec,
    LocalResponseNormSpec,
    MulSpec,
    ReduceSpec,
    UnarySpec,
)
from ...ops.base import product
from . import converter
from .common import axes_in, axis_in, dims, extra_outputs, has, reshaped, scaled, taken

SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


@converter("BatchNormalization")
def batch_norm(b, n):
    """With the running statistics, unless training_mode asks for the batch's own; `spatial` 0 (before opset 9) has
    statistics for each position."""
    if extra_outputs(n) and n.opset < 14:
        raise b.Decline("outputs of training before opset 14")
    if not n.attr("spatial", 1):
        raise b.Decline("spatial is 0")
    x, *given = n.inputs[:5]
    if len(b.shape(x)) < 2:
        raise b.Decline(f"x of rank {len(b.shape(x))}")
    if n.attr("training_mode", 0):
        return _training(b, n)
    if not product(b.shape(x)):
        return [b.value(x)]  # nothing
    if extra_outputs(n):
        raise ValueError("running statistics are outputs of training alone")
    kinds = ("bn_weight", "bn_bias", "bn_mean", "bn_var")
    weight, bias, mean, var = (
        b.weight(name, kind) if b.const(name) is not None else b.value(name) for name, kind in zip(given, kinds)
    )
    return [b.emit(BatchNormSpec(n.attr("epsilon", 1e-5)), [b.value(x), mean, var, weight, bias])]


def _training(b, n) -> list[str]:
    """By the batch's mean and variance, of which the running ones take 1 - momentum."""
    x, momentum = b.value(n.inputs[0]), n.attr("momentum", 0.9)
    rank, c = len(dims(b, x)), dims(b, x)[1]
    check_vectors(b, n, c)
    mean, apart, variance = centred(b, x, (0, *range(2, rank)))
    scale, bias = (along_channels(b, name, rank, hint) for name, hint in zip(n.inputs[1:3], ("scale", "bias")))
    factor = b.emit(MulSpec(), [inverse_root(b, variance, n.attr("epsilon", 1e-5)), scale], "factor")
    made = [b.emit(AddSpec(), [b.emit(MulSpec(), [apart, factor], "scaled"), bias])]
    for position, name, now in ((1, n.inputs[3], mean), (2, n.inputs[4], variance)):
        if position < len(n.outputs):
            new = scaled(b, reshaped(b, now, (c,), f"batch{position}"), 1 - momentum, hint=f"new{position}")
            old = scaled(b, b.value(name), momentum, hint=f"old{position}")
            made.append(b.emit(AddSpec(), [old, new], f"running{position}"))
    return made


# --- by the mean and variance of what is there


def centred(b, x: str, axes, groups=None) -> tuple[str, str, str]:
    """(mean, x less it, the mean of that squared), all over `axes`. `groups` takes what is left of a reduction and
    returns it joined further (GroupNormalization)."""
    count = _counted(b, x, axes)
    join = groups or (lambda array, hint: (array, 1))
    mean, times = join(b.emit(ReduceSpec("mean", tuple(axes)), [x], "mean"), "mean")
    if times > 1:
        mean = b.emit(UnarySpec("affine", 1 / times, 0.0), [mean], "mean_of_group")
    apart = b.emit(BinarySpec("sub"), [x, mean], "centred")
    squares, _ = join(b.emit(ReduceSpec("sum_square", tuple(axes)), [apart], "squares"), "squares")
    return mean, apart, b.emit(UnarySpec("affine", 1 / (count * times), 0.0), [squares], "variance")


def _counted(b, x: str, axes) -> int:
    count = product(dims(b, x)[axis] for axis in axes)
    if not count:
        raise b.Decline("a mean of nothing")
    return count


def inverse_root(b, variance: str, eps: float) -> str:
    """1 / sqrt(variance + eps)."""
    widened = b.emit(UnarySpec("affine", 1.0, eps), [variance], "widened")
    return b.emit(UnarySpec("reciprocal"), [b.emit(UnarySpec("sqrt"), [widened], "deviation")], "inverse")


def along_channels(b, name: str, rank: int, hint: str) -> str:
    """A vector over the channels as an operand of arrays (N, C, ...)."""
    array = b.const(name)
    shape = (b.shape(name)[0], *(1,) * (rank - 2))
    if array is None:
        return reshaped(b, b.value(name), shape, hint)
    return b.param(np.asarray(array, np.float32).reshape(shape), hint)


def check_vectors(b, n, size: int) -> None:
    for name in n.inputs[1:3]:
        if tuple(b.shape(name)) != (size,):
            raise ValueError(f"{name!r} must have shape ({size},), got {tuple(b.shape(name))}")


@converter("InstanceNormalization")
def instance_norm(b, n):
    x = b.value(n.inputs[0])
    rank, eps = len(dims(b, x)), n.attr("epsilon", 1e-5)
    if rank < 3:
        raise ValueError(f"x must have rank 3 or more (N, C, ...), got shape {dims(b, x)}")
    check_vectors(b, n, dims(b, x)[1])
    _, apart, variance = centred(b, x, range(2, rank))
    scale, bias = (along_channels(b, name, rank, hint) for name, hint in zip(n.inputs[1:], ("scale", "bias")))
    factor = b.emit(MulSpec(), [inverse_root(b, variance, eps), scale], "factor")
    return [b.emit(AddSpec(), [b.emit(MulSpec(), [apart, factor], "scaled"), bias])]


@converter("GroupNormalization", since=18)
def group_norm_18(b, n):
    return [_group_norm(b, n, per_group=True)]


@converter("GroupNormalization", since=21)
def group_norm_21(b, n):
    return [_group_norm(b, n, per_group=False)]


def _group_norm(b, n, per_group: bool) -> str:
    """Sums over the pixels of each channel, then over the channels of a group: only small arrays change shape."""
    x, groups, eps = b.value(n.inputs[0]), n.attr("num_groups"), n.attr("epsilon", 1e-5)
    shape = dims(b, x)
    if len(shape) < 3:
        raise b.Decline(f"x of rank {len(shape)}")
    if not groups or groups < 1 or shape[1] % groups:
        raise ValueError(f"num_groups must divide the {shape[1]} channels of x, got {groups}")
    each = shape[1] // groups
    small = (shape[0], shape[1], *(1,) * (len(shape) - 2))

    def join(array: str, hint: str) -> tuple[str, int]:
        split = reshaped(b, array, (shape[0], groups, each), f"{hint}_split")
        total = b.emit(ReduceSpec("sum", (2,)), [split], f"{hint}_sum")
        whole = b.emit(ExpandSpec((shape[0], groups, each)), [total], f"{hint}_spread") if each > 1 else total
        return reshaped(b, whole, small, f"{hint}_joined"), each

    check_vectors(b, n, groups if per_group else shape[1])
    _, apart, variance = centred(b, x, range(2, len(shape)), join)
    scale, bias = (
        _of_channels(b, name, shape, groups if per_group else 0, hint)
        for name, hint in zip(n.inputs[1:], ("scale", "bias"))
    )
    factor = b.emit(MulSpec(), [inverse_root(b, variance, eps), scale], "factor")
    return b.emit(AddSpec(), [b.emit(MulSpec(), [apart, factor], "scaled"), bias])


def _of_channels(b, name: str, shape, groups: int, hint: str) -> str:
    """A number for each channel, from one for each channel or (opset 18) for each group."""
    if not groups:
        return along_channels(b, name, len(shape), hint)
    each, full = shape[1] // groups, (shape[1], *(1,) * (len(shape) - 2))
    if b.const(name) is not None:
        return b.param(np.repeat(np.asarray(b.const(name), np.float32), each).reshape(full), hint)
    column = reshaped(b, b.value(name), (groups, 1), f"{hint}_column")
    spread = b.emit(ExpandSpec((groups, each)), [column], f"{hint}_spread") if each > 1 else column
    return reshaped(b, spread, full, hint)


@converter("LayerNormalization")
def layer_norm(b, n):
    """Over all axes from `axis` on; the mean and 1 / deviation are outputs too."""
    x = b.value(n.inputs[0])
    rank = len(dims(b, x))
    axes = range(axis_in(n.attr("axis", -1), rank), rank)
    mean, apart, variance = centred(b, x, axes)
    inverse = inverse_root(b, variance, n.attr("epsilon", 1e-5))
    y = b.emit(MulSpec(), [apart, inverse], "normal")
    y = b.emit(MulSpec(), [y, _within(b, n, 1, x)], "scaled" if has(n, 2) else "")
    if has(n, 2):
        y = b.emit(AddSpec(), [y, _within(b, n, 2, x)])
    return [y, mean, inverse][: len(n.outputs)]


def _within(b, n, position: int, x: str) -> str:
    """An input that broadcasts to x, and not x to it."""
    found = b.value(n.inputs[position])
    if MulSpec().infer(dims(b, x), dims(b, found))[0] != dims(b, x):
        raise ValueError(f"{n.inputs[position]!r} of shape {dims(b, found)} does not broadcast to x {dims(b, x)}")
    return found


@converter("RMSNormalization")
def rms_norm(b, n):
    x = b.value(n.inputs[0])
    shape = dims(b, x)
    axes = tuple(range(axis_in(n.attr("axis", -1), len(shape)), len(shape)))
    squares = b.emit(ReduceSpec("sum_square", axes), [x], "squares")
    mean = b.emit(UnarySpec("affine", 1 / _counted(b, x, axes), 0.0), [squares], "mean")
    y = b.emit(MulSpec(), [x, inverse_root(b, mean, n.attr("epsilon", 1e-5))], "normal")
    return [b.emit(MulSpec(), [y, _within(b, n, 1, x)])]


@converter("MeanVarianceNormalization")
def mean_variance_norm(b, n):
    """(x - mean) / (deviation + 1e-9), the addend that the specification's own decomposition has."""
    x = b.value(n.inputs[0])
    axes = axes_in(n.attr("axes", (0, 2, 3)), len(dims(b, x)))
    _, apart, variance = centred(b, x, axes)
    deviation = b.emit(UnarySpec("sqrt"), [variance], "deviation")
    return [b.emit(BinarySpec("div"), [apart, b.emit(UnarySpec("affine", 1.0, 1e-9), [deviation], "divisor")])]


@converter("LpNormalization")
def lp_norm(b, n):
    """x / norm; where the norm is 0 so is x, and the quotient."""
    x, p = b.value(n.inputs[0]), n.attr("p", 2)
    if p not in (1, 2):
        raise ValueError(f"p must be 1 or 2, got {p}")
    axis = axis_in(n.attr("axis", -1), len(dims(b, x)))
    norm = b.emit(ReduceSpec(f"l{p}", (axis,)), [x], "norm")
    return [b.emit(BinarySpec("div"), [x, b.emit(UnarySpec("clip", SMALLEST, float("inf")), [norm], "divisor")])]


@converter("LRN")
def lrn(b, n):
    """ONNX's window of an even size has the odd channel behind, Spec's before: the channels are turned round for it."""
    x, size = b.value(n.inputs[0]), n.attr("size", 1)
    shape, alpha, k = dims(b, x), n.attr("alpha", 1e-4), n.attr("bias", 1.0)
    if len(shape) < 3:
        raise ValueError(f"x must have rank 3 or more (N, C, ...), got shape {shape}")
    if not product(shape):
        return [x]
    if alpha < 0 or k <= 0:
        raise b.Decline(f"alpha {alpha} or bias {k}")
    c = shape[1]
    if size > 2 * c - 1:  # all channels, whatever the file says
        size, alpha = 2 * c - 1, alpha * (2 * c - 1) / size
    spec = LocalResponseNormSpec(size, alpha, n.attr("beta", 0.75), k)
    image = x if len(shape) == 4 else reshaped(b, x, (shape[0], c, 1, product(shape[2:])), "image")
    if size % 2:
        return [reshaped(b, b.emit(spec, [image], "" if image == x else "lrn"), shape)]
    turned = taken(b, image, 1, c - 1, -1, c, "turned")
    return [reshaped(b, taken(b, b.emit(spec, [turned], "lrn"), 1, c - 1, -1, c, "back"), shape)]
