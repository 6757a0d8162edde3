"""Depthwise convolutions and narrow groups."""

from __future__ import annotations

from .conv_direct import direct
from .conv_parts import CTYPES, gather, pixel_stride
from .conv_select import ConvProblem
from .gemm import FFMA, Weights
from .launch import Kernel
from .lowering import Lowered, Lowering, line
from .moves import Axis, copy_axes
from .tensors import Tensor, dense

DEPTHWISE_ARGS = (
    "x:p w:p bias:p residual:p y:p n:i h:i width:i c:i p:i q:i r:i s:i stride:i2 pad:i2 dilation:i2 multiplier:i "
    "x_strides:i3 y_stride:i residual_stride:i w_stride:i act:i param:f"
)
GROUPED_ARGS = (
    "x:p w:p bias:p residual:p y:p n:i h:i width:i groups:i p:i q:i r:i s:i stride:i2 pad:i2 dilation:i2 x_strides:i3 "
    "y_stride:i residual_stride:i act:i param:f"
)
DEPTHWISE_TILES = {(3, 1): (2, 4), (3, 2): (1, 4), (5, 1): (2, 4), (5, 2): (1, 4)}  # (kernel, stride): rows, columns


def depthwise_kernel(ctype: str, vector: int, size: int, stride: int) -> Kernel:
    rows, columns = DEPTHWISE_TILES[size, stride]
    name = f"conv_depthwise<{ctype}, {vector}, {size}, {stride}, {rows}, {columns}>"
    return Kernel("conv_depthwise.cu", name, DEPTHWISE_ARGS, 128)


def depthwise_any_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("conv_depthwise.cu", f"conv_depthwise_any<{ctype}, {vector}>", DEPTHWISE_ARGS, 256)


def grouped_kernel(ctype: str, size: int) -> Kernel:
    return Kernel("conv_depthwise.cu", f"conv_grouped<{ctype}, {size}, 4>", GROUPED_ARGS, 128)


def kernels() -> list[Kernel]:
    found = []
    for ctype in CTYPES:
        found += [depthwise_kernel(ctype, v, *tile) for tile in DEPTHWISE_TILES for v in (1, 2, 4) if v * tile[0] <= 12]
        found += [depthwise_any_kernel(ctype, v) for v in (1, 2, 4)]
        found += [grouped_kernel(ctype, size) for size in (2, 4, 8)]
    return found


def depthwise(low, problem, plan, x, weight, y, epilogue) -> Lowered:
    multiplier = problem.k // problem.c
    residual = [] if epilogue.residual is None else [epilogue.residual]
    vector = min(4, x.vector(y, *residual)) if multiplier == 1 else 1
    while problem.k % vector:
        vector //= 2
    filters = FFMA.pack(low, weight, 1, 1)
    args = {
        **gather(problem, x), "w": filters.pointer, "bias": epilogue.bias, **epilogue.residual_args, "y": y.pointer,
        "multiplier": multiplier, "y_stride": pixel_stride(y), "w_stride": filters.stride, **epilogue.act,
    }  # fmt: skip
    size, stride = problem.r, problem.stride[0]
    regular = problem.r == problem.s and problem.stride[0] == problem.stride[1] and problem.dilation == (1, 1)
    if regular and multiplier == 1 and (size, stride) in DEPTHWISE_TILES:
        while vector * size > 12:
            vector //= 2
        rows, across = DEPTHWISE_TILES[size, stride]
        kernel = depthwise_kernel(x.ctype, vector, size, stride)
        count = problem.n * -(-problem.p // rows) * -(-problem.q // across) * (problem.k // vector)
    else:
        kernel = depthwise_any_kernel(x.ctype, vector)
        count = problem.m * (problem.k // vector)
    launch = line(kernel, count, {**args, "c": problem.k // vector})
    return Lowered([launch], f"conv_depthwise_{problem.r}x{problem.s}", [filters.pack])


def grouped(low, problem, plan, x, weight, y, epilogue) -> Lowered:
    """Groups of few channels, side by side; where they do not lie on whole words, one output at a time."""
    size = problem.c_group
    tensors = [t for t in (x, y, epilogue.residual) if t is not None]
    if any(t.vector(extra=size) < min(size, 16 // t.item_bytes) for t in tensors):
        return direct(low, problem, plan, x, weight, y, epilogue)
    filters = _group_weights(low, weight, problem)
    args = {
        **gather(problem, x), "w": filters.pointer, "bias": epilogue.bias, **epilogue.residual_args, "y": y.pointer,
        "groups": problem.groups, "y_stride": pixel_stride(y), **epilogue.act,
    }  # fmt: skip
    count = problem.n * problem.p * -(-problem.q // 4) * problem.groups
    return Lowered([line(grouped_kernel(x.ctype, size), count, args)], f"conv_grouped_{size}", [filters.pack])


def _group_weights(low: Lowering, weight: Tensor, problem: ConvProblem) -> Weights:
    """Per group r s c rows of its outputs, without gaps."""
    size, taps = problem.c_group, problem.r * problem.s
    to = low.weights.take(4 * problem.groups * taps * size * size)
    axes = [
        Axis(problem.groups, size * size * taps, taps * size * size),
        Axis(taps, 1, size * size),
        Axis(size, taps, size),
        Axis(size, size * taps, 1),
    ]
    return Weights(to, size, taps * size * size, copy_axes(weight, dense(to, weight.sizes), axes))
