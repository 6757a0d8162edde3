"""What the drivers of convolutions share: the problem from a spec, how a kernel walks the image, matrices."""

from __future__ import annotations

from typing import Any

from ... import ops
from .conv_select import ConvProblem
from .gemm import Product, Weights
from .launch import Pointer
from .tensors import Tensor

CTYPES = ("float", "f16", "bf16")


def conv_problem(spec: ops.Conv2dSpec, x: Tensor, weight) -> ConvProblem:
    n, c, h, w = x.sizes
    k, _, r, s = weight
    ((_, _, p, q),) = spec.infer(x.sizes, weight, None, None, (c,), (c,))  # a prologue wants both
    pad = (spec.padding[0][0], spec.padding[1][0])
    vector = min(4, x.vector(extra=c // spec.groups if spec.groups > 1 else 0))
    return ConvProblem(n, c, h, w, k, p, q, r, s, spec.stride, pad, spec.dilation, spec.groups, vector)


def gather(problem: ConvProblem, x: Tensor) -> dict[str, Any]:
    """The fields of a kernel's struct that say how it walks the image."""
    return {
        "x": x.pointer, "n": problem.n, "h": problem.h, "width": problem.w, "p": problem.p, "q": problem.q,
        "r": problem.r, "s": problem.s, "stride": problem.stride, "pad": problem.pad, "dilation": problem.dilation,
        "x_strides": x.nhwc_strides,
    }  # fmt: skip


def pixel_stride(y: Tensor) -> int:
    return y.strides[-1] if y.rank == 4 else y.strides[0]


def matrix_product(x: Tensor, taps: int, k: int, w: Weights, y: Pointer, y_stride: int) -> Product:
    """The first `taps` columns of a matrix, whose rows lie on whole vectors, times w."""
    m, stride = x.sizes[0], x.strides[0]
    fields = {
        "x": x.pointer, "n": 1, "h": 1, "width": m, "c": taps, "p": 1, "q": m, "r": 1, "s": 1, "stride": (1, 1),
        "pad": (0, 0), "dilation": (1, 1), "x_strides": (0, 0, stride),
    }  # fmt: skip
    return Product(fields, m, k, taps, w, y, y_stride)
