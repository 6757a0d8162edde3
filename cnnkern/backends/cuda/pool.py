"""Pooling: windows, windows that tile a map, regions' cells, whole maps."""

from __future__ import annotations

from ... import ops
from ...graph.ir import Node
from ...ops.base import product
from .launch import Kernel, Launch
from .lowering import THREADS, Lowered, Lowering, line
from .tensors import WIDEST, Tensor, vectors

POOL_ARGS = (
    "x:p y:p n:i h:i w:i c:i p:i q:i window:i2 stride:i2 dilation:i2 pad:i4 x_strides:i3 y_strides:i3 maximum:i "
    "divide:i strip:i"
)
INDEXED_ARGS = (
    "x:p y:p indices:p n:i h:i w:i c:i p:i q:i window:i2 stride:i2 dilation:i2 pad:i2 x_strides:i3 y_strides:i4 "
    "i_strides:i4"
)
ADAPTIVE_ARGS = "x:p y:p n:i h:i w:i c:i p:i q:i x_strides:i3 y_strides:i3"
ROI_ARGS = "x:p rois:p y:p n:i h:i w:i c:i regions:i p:i q:i x_strides:i3 y_strides:i3 scale:f"
GLOBAL_ARGS = (
    "x:p y:p columns:i c:i pixels:i chunk:i walkers:i x_image:i x_pixel:i y_image:i y_chunk:i maximum:i scale:f "
    "scaled:i"
)
STRIPS = ((3, 1), (3, 2), (2, 2))  # (window, stride) of pool_strip
MOST_STRIP = 8
MOST_WALKERS = 32
SPLIT_VECTOR = 4  # channels of a thread where a map is split over blocks: partial results are floats
# Threads that keep a multiprocessor's memory busy; not measured yet.
BUSY = 1024


def pool_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("pool.cu", f"pool<{ctype}, {vector}>", POOL_ARGS, THREADS)


def strip_kernel(ctype: str, maximum: bool, window: int, stride: int) -> Kernel:
    name = f"pool_strip<{ctype}, {WIDEST[ctype]}, {str(maximum).lower()}, {window}, {stride}>"
    return Kernel("pool.cu", name, POOL_ARGS, THREADS)


def indexed_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("pool.cu", f"max_pool_indexed<{ctype}, {vector}>", INDEXED_ARGS, THREADS)


def adaptive_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("pool.cu", f"adaptive_avg_pool<{ctype}, {vector}>", ADAPTIVE_ARGS, THREADS)


def roi_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("pool.cu", f"roi_max_pool<{ctype}, {vector}>", ROI_ARGS, THREADS)


def global_kernel(x: str, y: str, vector: int) -> Kernel:
    name = f"global_pool<{x}, {y}, {vector}>"
    return Kernel("pool.cu", name, GLOBAL_ARGS, THREADS, shared_bytes=4 * THREADS * vector)


def kernels() -> list[Kernel]:
    found = []
    for ctype, widest in WIDEST.items():
        for v in vectors(ctype):
            found += [pool_kernel(ctype, v), adaptive_kernel(ctype, v), global_kernel(ctype, ctype, v)]
        found += [make(ctype, v) for make in (indexed_kernel, roi_kernel) for v in (1, widest)]
        found += [strip_kernel(ctype, maximum, *strip) for maximum in (True, False) for strip in STRIPS]
        if ctype != "float":
            found += [global_kernel(a, b, SPLIT_VECTOR) for a, b in ((ctype, "float"), ("float", ctype))]
    return found


def pool2d(low: Lowering, node: Node) -> Lowered | None:
    spec, x, y = node.spec, low.tensor(node.inputs[0]), low.output(node)
    if spec.return_indices:
        return _indexed(low, node)
    if _whole(spec, x, y) and x.flat:
        return Lowered(_global(low, x, y, spec.kind), f"global_pool_{spec.kind}")
    n, c, p, q = y.sizes
    vector = x.vector(y)
    args = {
        "x": x.pointer, "y": y.pointer, "n": n, "h": x.sizes[2], "w": x.sizes[3], "c": c // vector, "p": p, "q": q,
        "window": spec.kernel, "stride": spec.stride, "dilation": spec.dilation, "pad": _pad(spec),
        "x_strides": x.nhwc_strides, "y_strides": y.nhwc_strides, "maximum": int(spec.kind == "max"),
        "divide": 0 if spec.kind != "avg" else 2 if spec.count_include_pad else 1, "strip": 1,
    }  # fmt: skip
    shape = (spec.kernel[0], spec.stride[0])
    if vector == WIDEST[x.ctype] and spec.kernel[0] == spec.kernel[1] and spec.dilation == (1, 1) and shape in STRIPS:
        columns = n * q * c // vector
        strip = 1 if shape[0] == shape[1] else _strip(low, columns, p)
        kernel = strip_kernel(x.ctype, spec.kind == "max", *shape)
        launch = line(kernel, columns * -(-p // strip), {**args, "strip": strip})
    else:
        launch = line(pool_kernel(x.ctype, vector), product(y.sizes) // vector, args)
    return Lowered([launch], f"{launch.kernel.template}_{spec.kind}")


def _whole(spec: ops.Pool2dSpec, x: Tensor, y: Tensor) -> bool:
    """Whether its one window is the map."""
    return y.sizes[2:] == (1, 1) and spec.kernel == x.sizes[2:] and spec.dilation == (1, 1) and not any(_pad(spec))


def _pad(spec: ops.Pool2dSpec) -> tuple[int, int, int, int]:
    (top, bottom), (left, right) = spec.padding
    return top, left, bottom, right


def _strip(low: Lowering, columns: int, rows: int) -> int:
    """Rows for a thread: as many as leave the device enough threads, for what windows share is then read once."""
    strip = MOST_STRIP
    while strip > 1 and columns * -(-rows // strip) < BUSY * low.multiprocessors:
        strip //= 2
    return strip


def _indexed(low: Lowering, node: Node) -> Lowered | None:
    spec, x, y, indices = node.spec, low.tensor(node.inputs[0]), low.output(node), low.tensor(node.outputs[1])
    if indices.ctype != "i64":
        return None
    n, c, p, q = y.sizes
    vector = WIDEST[x.ctype] if x._replace(zeros=0).vector() == WIDEST[x.ctype] else 1
    args = {
        "x": x.pointer, "y": y.pointer, "indices": indices.pointer, "n": n, "h": x.sizes[2], "w": x.sizes[3],
        "c": c // vector, "p": p, "q": q, "window": spec.kernel, "stride": spec.stride, "dilation": spec.dilation,
        "pad": _pad(spec)[:2], "x_strides": x.nhwc_strides, "y_strides": y.strides, "i_strides": indices.strides,
    }  # fmt: skip
    return Lowered([line(indexed_kernel(x.ctype, vector), product(y.sizes) // vector, args)], "max_pool_indexed")


def adaptive_avg_pool2d(low: Lowering, node: Node) -> Lowered:
    x, y = low.tensor(node.inputs[0]), low.output(node)
    if y.sizes[2:] == (1, 1) and x.flat:
        return Lowered(_global(low, x, y, "avg"), "global_pool_avg")
    n, c, p, q = y.sizes
    vector = x.vector(y)
    args = {
        "x": x.pointer, "y": y.pointer, "n": n, "h": x.sizes[2], "w": x.sizes[3], "c": c // vector, "p": p, "q": q,
        "x_strides": x.nhwc_strides, "y_strides": y.nhwc_strides,
    }  # fmt: skip
    launch = line(adaptive_kernel(x.ctype, vector), product(y.sizes) // vector, args)
    return Lowered([launch], "adaptive_avg_pool")


def roi_max_pool(low: Lowering, node: Node) -> Lowered | None:
    """Regions that no caller brings are not checked before the plan runs: the reference checks them as it goes."""
    spec, (x, rois), y = node.spec, (low.tensor(name) for name in node.inputs), low.output(node)
    if node.inputs[1] not in low.graph.inputs:
        return None
    r, c, p, q = y.sizes
    vector = WIDEST[x.ctype] if x.vector(y) == WIDEST[x.ctype] else 1
    args = {
        "x": x.pointer, "rois": rois.pointer, "y": y.pointer, "n": x.sizes[0], "h": x.sizes[2], "w": x.sizes[3],
        "c": c // vector, "regions": r, "p": p, "q": q, "x_strides": x.nhwc_strides, "y_strides": y.nhwc_strides,
        "scale": spec.spatial_scale,
    }  # fmt: skip
    return Lowered([line(roi_kernel(x.ctype, vector), product(y.sizes) // vector, args)], "roi_max_pool")


def global_pool2d(low: Lowering, node: Node) -> Lowered:
    spec, x, y = node.spec, low.tensor(node.inputs[0]), low.output(node)
    if not x.flat:
        whole = ops.Pool2dSpec(spec.kind, x.sizes[2:])
        return pool2d(low, node.with_(spec=whole))
    return Lowered(_global(low, x, y, spec.kind), f"global_pool_{spec.kind}")


def _global(low: Lowering, x: Tensor, y: Tensor, kind: str) -> list[Launch]:
    """One launch; where the channels leave most of the device idle, one over parts of the maps and one over those."""
    n, c, h, w = x.sizes
    pixels, pixel = h * w, x.strides[3] if w > 1 else x.strides[2]
    vector, enough = x.vector(y), BUSY * low.multiprocessors
    last = {"maximum": int(kind == "max"), "scale": 1 / pixels, "scaled": int(kind == "avg")}
    parts = _parts(low, n * c // SPLIT_VECTOR, pixels) if vector >= SPLIT_VECTOR else 1
    if parts == 1:
        return [_reduction(x, y, (n, c, pixels), (x.strides[0], pixel, y.strides[0], 0), vector, 1, enough, last)]
    chunk = -(-pixels // parts)
    partial = low.scratch((-(-pixels // chunk), n * c), "float")
    first = {**last, "scaled": 0}
    strides = (x.strides[0], pixel, c, n * c)
    parts = partial.sizes[0]
    return [
        _reduction(x, partial, (n, c, pixels), strides, SPLIT_VECTOR, parts, enough, first),
        _reduction(partial, y, (n, c, parts), (c, n * c, y.strides[0], 0), SPLIT_VECTOR, 1, enough, last),
    ]


def _parts(low: Lowering, columns: int, pixels: int) -> int:
    """Blocks that a map's pixels are split over: so many that every multiprocessor has two, and that a thread keeps
    eight pixels."""
    blocks = -(-columns // (THREADS // MOST_WALKERS))
    if blocks >= low.multiprocessors or pixels < 32 * MOST_WALKERS:
        return 1
    return max(1, min(-(-2 * low.multiprocessors // blocks), pixels // (8 * MOST_WALKERS)))


def _reduction(x: Tensor, y: Tensor, sizes, strides, vector: int, parts: int, enough: int, how) -> Launch:
    """`sizes`: images, channels, pixels; `strides`: of x from image to image and pixel to pixel, of y from image to
    image and part to part."""
    n, c, pixels = sizes
    columns, chunk, walkers = n * c // vector, -(-pixels // parts), 1
    while walkers < MOST_WALKERS and columns * parts * walkers < enough and 4 * walkers <= chunk:
        walkers *= 2
    args = {
        "x": x.pointer, "y": y.pointer, "columns": columns, "c": c // vector, "pixels": pixels, "chunk": chunk,
        "walkers": walkers, **dict(zip(("x_image", "x_pixel", "y_image", "y_chunk"), strides)), **how,
    }  # fmt: skip
    grid = (-(-columns // (THREADS // walkers)), parts, 1)
    return Launch(global_kernel(x.ctype, y.ctype, vector), grid, args)


LOWERINGS = {
    ops.Pool2dSpec: pool2d,
    ops.GlobalPool2dSpec: global_pool2d,
    ops.AdaptiveAvgPool2dSpec: adaptive_avg_pool2d,
    ops.RoiMaxPoolSpec: roi_max_pool,
}
