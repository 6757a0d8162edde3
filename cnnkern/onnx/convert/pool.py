"""Pooling over windows, whole maps and regions."""

from __future__ import annotations

import math

import numpy as np

from ...ops import (
    BinarySpec,
    ForeignSpec,
    GlobalPool2dSpec,
    MulSpec,
    PadNdSpec,
    Pool2dSpec,
    ReduceSpec,
    RoiMaxPoolSpec,
    UnarySpec,
)
from ...ops.base import product
from . import converter
from .common import dims, extra_outputs, per_axis, reshaped
from .conv import padded, pads_of


def windows(b, n, x: str):
    """(kernel, strides, pads, dilations, ceil_mode), the first four with an entry for each spatial axis. SAME settles
    the number of windows, and ceil_mode says nothing more; nor does it for VALID (the specification's formula)."""
    rank = len(dims(b, x)) - 2
    if rank < 1:
        raise ValueError(f"x must have rank 3 or more (N, C, ...), got shape {dims(b, x)}")
    if rank > 3:
        raise b.Decline(f"{rank} spatial dimensions")
    if n.attr("kernel_shape") is None:
        raise ValueError("kernel_shape is required")
    kernel, strides = per_axis(n, "kernel_shape", rank, 1), per_axis(n, "strides", rank, 1)
    dilations = per_axis(n, "dilations", rank, 1)
    pads = pads_of(n, dims(b, x)[2:], kernel, strides, dilations)
    b.check_bytes(padded(dims(b, x), pads))
    ceil = bool(n.attr("ceil_mode", 0)) and (n.attr("auto_pad", "NOTSET") or "NOTSET") == "NOTSET"
    return kernel, strides, pads, dilations, ceil


def pooled(b, kind: str, x: str, kernel, strides, pads, dilations, ceil: bool, counted: bool = False) -> str:
    """Windows over one, two or three axes: a line is an image of one row; the planes of a volume are pooled first, then
    its depth (a window is a box, and so is what lies inside of it)."""
    shape = dims(b, x)

    def spec(axes) -> Pool2dSpec:
        line = ((1, 1, (0, 0), 1),) if len(axes) == 1 else ()
        settings = (*line, *((kernel[i], strides[i], pads[i], dilations[i]) for i in axes))
        k, s, pad, d = (tuple(axis[i] for axis in settings) for i in range(4))
        return Pool2dSpec(kind, k, s, pad, d, ceil, counted)

    if len(shape) == 4:
        return _window(b, spec((0, 1)), x, "")
    if len(shape) == 3:
        y = _window(b, spec((0,)), reshaped(b, x, (*shape[:2], 1, shape[2]), "image"), "rows")
        return reshaped(b, y, (*shape[:2], dims(b, y)[3]))
    n, c, depth, h, w = shape
    y = _window(b, spec((1, 2)), reshaped(b, x, (n, c * depth, h, w), "planes"), "planes_pooled")
    p, q = dims(b, y)[2:]
    along = spec((0,))
    turned = Pool2dSpec(
        kind, along.kernel[::-1], along.stride[::-1], along.padding[::-1], along.dilation[::-1], ceil, counted
    )
    y = _window(b, turned, reshaped(b, y, (n, c, depth, p * q), "depth"), "depth_pooled")
    return reshaped(b, y, (n, c, dims(b, y)[2], p, q))


def _window(b, spec: Pool2dSpec, x: str, hint: str) -> str:
    """The spec as it is; where a window of a maximum holds padding alone, that is -inf, and laid out first."""
    try:
        spec.infer(dims(b, x))
    except ValueError:
        if spec.kind != "max" or spec.ceil_mode or not any(map(any, spec.padding)):
            raise
        x = b.emit(PadNdSpec(((0, 0), (0, 0), *spec.padding), value=-math.inf), [x], f"{hint}pad")
        spec = Pool2dSpec(spec.kind, spec.kernel, spec.stride, 0, spec.dilation)
    return b.emit(spec, [x], hint)


@converter("MaxPool")
def max_pool(b, n):
    x = b.value(n.inputs[0])
    settings = windows(b, n, x)
    if not extra_outputs(n):
        return [pooled(b, "max", x, *settings)]
    if len(dims(b, x)) == 5:
        raise b.Decline("Indices of a volume")
    return _with_indices(b, n, x, *settings)


def _with_indices(b, n, x: str, kernel, strides, pads, dilations, ceil: bool):
    """ONNX counts through the whole array, column by column with storage_order 1; Pool2dSpec through one plane."""
    shape = dims(b, x)
    line = len(shape) == 3
    if line:
        kernel, strides, pads, dilations = (1, *kernel), (1, *strides), ((0, 0), *pads), (1, *dilations)
    spec = Pool2dSpec("max", tuple(kernel), tuple(strides), tuple(pads), tuple(dilations), ceil, return_indices=True)
    image = reshaped(b, x, (*shape[:2], *((1,) if line else ()), *shape[2:]), "image")
    h, w = dims(b, image)[2:]
    y, plane = b.emit_all(spec, [image], "rows" if line else "")
    out = (*shape[:2], dims(b, y)[3]) if line else dims(b, y)
    if h * w > 2**24:
        raise b.Decline(f"Indices of planes of {h * w} pixels")  # pass between steps as float32
    by_column, first = bool(n.attr("storage_order", 0)), np.arange(product(shape[:2])).reshape(*shape[:2], 1, 1) * h * w

    def run(found):
        found = found.astype(np.int64)
        return [(first + (found % w * h + found // w if by_column else found)).reshape(out)]

    indices = b.emit(ForeignSpec("MaxPool indices", (out,), ("int64",), run), [plane], "indices")
    return [reshaped(b, y, out), indices]


@converter("AveragePool")
def average_pool(b, n):
    x = b.value(n.inputs[0])
    return [pooled(b, "avg", x, *windows(b, n, x), bool(n.attr("count_include_pad", 0)))]


# --- by a norm


def to_power(b, x: str, p: float, hint: str) -> str:
    """x^p of what is not negative."""
    if p == 1:
        return x
    if p == 0.5:
        return b.emit(UnarySpec("sqrt"), [x], hint)
    return b.emit(BinarySpec("pow"), [x, b.param(np.full((1,) * len(dims(b, x)), p, np.float32), hint)], hint)


def powers(b, x: str, p: float) -> str:
    """|x|^p."""
    if p == 2:
        return b.emit(MulSpec(), [x, x], "square")
    return to_power(b, b.emit(UnarySpec("abs"), [x], "abs"), p, "powers")


@converter("LpPool")
def lp_pool(b, n):
    """(sum |x|^p)^(1/p)."""
    x, p = b.value(n.inputs[0]), float(n.attr("p", 2))
    if p <= 0:
        raise ValueError(f"p must be positive, got {p:g}")
    settings = windows(b, n, x)
    return [to_power(b, pooled(b, "sum", powers(b, x, p), *settings), 1 / p, "root")]


# --- whole maps


@converter("GlobalAveragePool", "GlobalMaxPool")
def global_pool(b, n):
    return [whole_maps(b, b.value(n.inputs[0]), "mean" if n.op == "GlobalAveragePool" else "max")]


def whole_maps(b, x: str, kind: str, hint: str = "") -> str:
    """The mean or maximum over all but the first two axes, which become 1."""
    shape = dims(b, x)
    if len(shape) == 4 and product(shape[1:]):
        return b.emit(GlobalPool2dSpec("avg" if kind == "mean" else "max"), [x], hint)
    if len(shape) < 3:
        raise ValueError(f"x must have rank 3 or more (N, C, ...), got shape {shape}")
    return b.emit(ReduceSpec(kind, tuple(range(2, len(shape)))), [x], hint)


@converter("GlobalLpPool")
def global_lp_pool(b, n):
    x, p = b.value(n.inputs[0]), float(n.attr("p", 2))
    if p <= 0:
        raise ValueError(f"p must be positive, got {p:g}")
    axes = tuple(range(2, len(dims(b, x))))
    if p in (1, 2):
        return [b.emit(ReduceSpec(f"l{p:.0f}", axes), [x])]
    return [to_power(b, b.emit(ReduceSpec("sum", axes), [powers(b, x, p)], "sum"), 1 / p, "root")]


@converter("MaxRoiPool")
def max_roi_pool(b, n):
    spec = RoiMaxPoolSpec(tuple(n.attr("pooled_shape", ())), n.attr("spatial_scale", 1.0))
    return [b.emit(spec, [b.value(n.inputs[0]), b.value(n.inputs[1])])]
