"""Winograd convolutions: transforms, and a product per position between them."""

from __future__ import annotations

from ...graph.memory import round_up
from .conv_parts import matrix_product, pixel_stride
from .conv_select import WINOGRAD
from .gemm import Epilogue, Weights, gemm
from .launch import Kernel
from .lowering import Lowered, line
from .tensors import dense

FILTER_ARGS = "w:p u:p k:i c:i c_padded:i k_padded:i"
WINOGRAD_IN_ARGS = "x:p v:p n:i h:i width:i c:i c_padded:i down:i across:i tiles:i top:i left:i x_strides:i3"
WINOGRAD_OUT_ARGS = (
    "m:p bias:p residual:p y:p p:i q:i k:i k_padded:i down:i across:i tiles:i y_stride:i residual_stride:i act:i "
    "param:f"
)
WINOGRAD_BYTES = 256 << 20  # of transformed tiles at once: more images go one chunk after the other


def filter_kernel(side: int, size: int) -> Kernel:
    return Kernel("conv_winograd.cu", f"winograd_filter<{side}, {size}>", FILTER_ARGS, 256)


def winograd_in_kernel(side: int, m: int) -> Kernel:
    return Kernel("conv_winograd.cu", f"winograd_in<{side}, {m}>", WINOGRAD_IN_ARGS, 128)


def winograd_out_kernel(side: int, m: int) -> Kernel:
    return Kernel("conv_winograd.cu", f"winograd_out<{side}, {m}>", WINOGRAD_OUT_ARGS, 128)


def kernels() -> list[Kernel]:
    found = []
    for m, size in WINOGRAD:
        side = m + size - 1
        found += [filter_kernel(side, size), winograd_in_kernel(side, m), winograd_out_kernel(side, m)]
    return found


def winograd(low, problem, plan, x, weight, y, epilogue) -> Lowered:
    m, size = plan["m"], problem.r
    side = m + size - 1
    positions = side * side
    down, across = -(-problem.p // m), -(-problem.q // m)
    c_padded, k_padded = round_up(problem.c, 4), round_up(problem.k, 4)
    u = low.weights.take(4 * positions * c_padded * k_padded)
    transform = {
        "w": weight.pointer,
        "u": u,
        "k": problem.k,
        "c": problem.c,
        "c_padded": c_padded,
        "k_padded": k_padded,
    }
    setup = [line(filter_kernel(side, size), problem.k * problem.c, transform)]
    image_bytes = 4 * positions * down * across * (c_padded + k_padded)
    most = max(1, WINOGRAD_BYTES // image_bytes)
    chunk = -(-problem.n // -(-problem.n // most))
    v = low.scratch((positions * chunk * down * across * c_padded,), "float").pointer
    products = low.scratch((positions * chunk * down * across * k_padded,), "float").pointer
    launches = []
    for first in range(0, problem.n, chunk):
        n = min(chunk, problem.n - first)
        tiles = n * down * across
        image = {"down": down, "across": across, "tiles": tiles}
        seen = x.pointer + first * x.strides[0] * x.item_bytes
        args = {"x": seen, "v": v, "n": n, "h": problem.h, "width": problem.w, "c": problem.c, "c_padded": c_padded,
                "top": problem.pad[0], "left": problem.pad[1], "x_strides": x.nhwc_strides, **image}  # fmt: skip
        launches.append(line(winograd_in_kernel(side, m), tiles * c_padded, args))
        filters = Weights(u, k_padded, c_padded * k_padded, None)
        given = matrix_product(dense(v, (tiles, c_padded)), c_padded, problem.k, filters, products, k_padded)
        given = given._replace(groups=positions, x_group=tiles * c_padded, y_group=tiles * k_padded)
        launches += gemm(low, given, plan, 4, Epilogue())
        pixels = first * problem.p * problem.q
        beside = epilogue.residual_args
        if epilogue.residual is not None:
            beside["residual"] = beside["residual"] + 4 * pixels * beside["residual_stride"]
        out = {"m": products, "bias": epilogue.bias, **beside, "y": y.pointer + 4 * pixels * pixel_stride(y),
               "p": problem.p, "q": problem.q, "k": problem.k, "k_padded": k_padded, "y_stride": pixel_stride(y),
               **image, **epilogue.act}  # fmt: skip
        launches.append(line(winograd_out_kernel(side, m), tiles * problem.k, out))
    return Lowered(launches, f"f32_conv_winograd_f{m}x{size}", setup)
