"""Convolution by its formula, any shape; and its untied form."""

from __future__ import annotations

from ...graph.ir import Node
from ...ops.base import product
from .conv_parts import CTYPES, gather, pixel_stride
from .launch import Kernel
from .lowering import Lowered, Lowering, line

DIRECT_ARGS = (
    "x:p w:p bias:p residual:p y:p n:i h:i width:i c_group:i k:i k_group:i p:i q:i r:i s:i stride:i2 pad:i2 "
    "dilation:i2 x_strides:i3 y_stride:i residual_stride:i act:i param:f"
)
LOCAL_ARGS = (
    "x:p w:p bias:p y:p n:i h:i width:i c:i k:i p:i q:i r:i s:i stride:i2 pad:i2 x_strides:i3 y_stride:i bias_k:i "
    "bias_position:i"
)


def direct_kernel(ctype: str) -> Kernel:
    return Kernel("conv_direct.cu", f"conv_direct<{ctype}>", DIRECT_ARGS, 256)


def local_kernel(ctype: str) -> Kernel:
    return Kernel("conv_direct.cu", f"locally_connected<{ctype}>", LOCAL_ARGS, 256)


def kernels() -> list[Kernel]:
    return [kernel(ctype) for ctype in CTYPES for kernel in (direct_kernel, local_kernel)]


def direct(low, problem, plan, x, weight, y, epilogue) -> Lowered:
    args = {
        **gather(problem, x), "w": weight.pointer, "bias": epilogue.bias, **epilogue.residual_args, "y": y.pointer,
        "c_group": problem.c_group, "k": problem.k, "k_group": problem.k_group, "y_stride": pixel_stride(y),
        **epilogue.act,
    }  # fmt: skip
    return Lowered([line(direct_kernel(x.ctype), problem.m * problem.k, args)], "conv_direct")


def locally_connected2d(low: Lowering, node: Node) -> Lowered | None:
    if not low.constant(node, 1, 2):
        return None
    spec, y = node.spec, low.output(node)
    x, weight, bias = low.inputs(node)
    p, q, k, c, r, s = weight.sizes
    by_position = bias is not None and bias.rank == 3
    args = {
        "x": x.pointer, "w": weight.pointer, "bias": None if bias is None else bias.pointer, "y": y.pointer,
        "n": x.sizes[0], "h": x.sizes[2], "width": x.sizes[3], "c": c, "k": k, "p": p, "q": q, "r": r, "s": s,
        "stride": spec.stride, "pad": (spec.padding[0][0], spec.padding[1][0]), "x_strides": x.nhwc_strides,
        "y_stride": pixel_stride(y), "bias_k": p * q if by_position else 1, "bias_position": int(by_position),
    }  # fmt: skip
    return Lowered([line(local_kernel(x.ctype), product((p, q, k)) * 32, args)], "locally_connected")
