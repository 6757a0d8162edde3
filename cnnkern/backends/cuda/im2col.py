"""The patches of images: as rows of a matrix for a convolution (`patches`), and as columns (the op im2col)."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...graph.ir import Node
from ...ops.base import product
from ...ops.checks import Pair
from .launch import Kernel, Launch
from .lowering import THREADS, Lowered, Lowering, line
from .tensors import WIDEST, Tensor, vectors

PATCHES_ARGS = (
    "x:p y:p rows:i h:i w:i c:i p:i q:i taps:i s:i columns:i stride:i2 pad:i2 dilation:i2 x_strides:i3 y_stride:i"
)
UNFOLD_ARGS = "x:p y:p n:i h:i w:i c:i p:i q:i r:i s:i stride:i2 pad:i2 dilation:i2 x_strides:i3 deep:i"
ROWS = 4  # of a thread of patches
DEEP, WIDE = 32, 64  # channels and positions of a tile of unfold


def patches_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("im2col.cu", f"patches<{ctype}, {vector}>", PATCHES_ARGS, THREADS)


def unfold_kernel(ctype: str) -> Kernel:
    return Kernel("im2col.cu", f"unfold<{ctype}>", UNFOLD_ARGS, THREADS, shared_bytes=4 * DEEP * (WIDE + 1))


def kernels() -> list[Kernel]:
    return [patches_kernel(ctype, v) for ctype in WIDEST for v in vectors(ctype)] + [unfold_kernel(t) for t in WIDEST]


def patches(x: Tensor, spec: Any, kernel: Pair, out_hw: Pair, y: Tensor) -> Launch:
    """The patches of NHWC images as the rows of a matrix.

    y[(n P + p) Q + q, (r S + s) C + c] = x[n, c, p sh - top + r dh, q sw - left + s dw]; zeros where that is
    padding, and in the columns of y behind the last tap.

    Args:
        x: (N, C, H, W), channels neighbours. For some of the channels, `x.channels(first, count)`; to have the zeros
            behind the last channel as channels, `x._replace(sizes=(n, c + x.zeros, h, w), zeros=0)`.
        spec: a Conv2dSpec or an Im2colSpec: stride, padding, dilation.
        kernel: (R, S). out_hw: (P, Q).
        y: a matrix (N P Q, columns), columns >= R S C, each row's elements neighbours; of x's type.
    """
    n, c, h, w = x.sizes
    rows, columns = y.sizes
    vector = x._replace(zeros=0).vector(y)
    (top, _), (left, _) = spec.padding
    args = {
        "x": x.pointer, "y": y.pointer, "rows": rows, "h": h, "w": w, "c": c // vector, "p": out_hw[0], "q": out_hw[1],
        "taps": product(kernel), "s": kernel[1], "columns": columns // vector, "stride": spec.stride,
        "pad": (top, left), "dilation": spec.dilation, "x_strides": x.nhwc_strides, "y_stride": y.strides[0],
    }  # fmt: skip
    return line(patches_kernel(x.ctype, vector), -(-rows // ROWS) * (columns // vector), args)


def im2col(low: Lowering, node: Node) -> Lowered:
    spec, x, y = node.spec, low.tensor(node.inputs[0]), low.output(node)
    n, c, h, w = x.sizes
    (p, q), (r, s) = spec.output_hw(x.sizes), spec.kernel
    (top, _), (left, _) = spec.padding
    deep = min(c, DEEP)
    args = {
        "x": x.pointer, "y": y.pointer, "n": n, "h": h, "w": w, "c": c, "p": p, "q": q, "r": r, "s": s,
        "stride": spec.stride, "pad": (top, left), "dilation": spec.dilation, "x_strides": x.nhwc_strides, "deep": deep,
    }  # fmt: skip
    blocks = -(-p * q // WIDE) * -(-c // deep) * r * s * n
    return Lowered([Launch(unfold_kernel(x.ctype), (blocks, 1, 1), args)], "unfold")


LOWERINGS = {ops.Im2colSpec: im2col}
