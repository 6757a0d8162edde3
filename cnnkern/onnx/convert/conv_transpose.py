"""Transposed convolution: of lines and planes as they are, of volumes as a sum over the depth taps."""

from __future__ import annotations

import numpy as np

from ...ops import AddSpec, ConvTranspose2dSpec, PadNdSpec, StrideSpec
from . import converter
from .common import dims, name_of, per_axis, reshaped, taken, transposed
from .conv import DEEPEST, bias_of, check_kernel, pads_of, weight_of


def geometry(n, spatial, kernel, strides, dilations) -> list[tuple[int, int, int]]:
    """(before, after, extra) of each spatial axis: what is cut off the whole result at both ends, and how much is added
    behind. `output_shape` and SAME (size times stride, or all there is) settle a size first, and cut what is over."""
    rank, auto = len(spatial), n.attr("auto_pad", "NOTSET") or "NOTSET"
    extra = per_axis(n, "output_padding", rank, 0)
    if any(more >= max(s, d) for more, s, d in zip(extra, strides, dilations)):
        raise ValueError(f"output_padding must be below the strides or dilations, got {extra}")
    sizes = n.attr("output_shape")
    if sizes:
        sizes = list(sizes)[-rank:]
        if len(sizes) != rank:
            raise ValueError(f"output_shape must have {rank} numbers, one for each spatial axis, got {sizes}")
    elif auto not in ("SAME_UPPER", "SAME_LOWER"):
        pads = pads_of(n, spatial, kernel, strides, dilations)
        return [(before, after, more) for (before, after), more in zip(pads, extra)]
    found = []
    for i, (size, s, k, d, more) in enumerate(zip(spatial, strides, kernel, dilations, extra)):
        whole = s * (size - 1) + more + d * (k - 1) + 1
        over = whole - (int(sizes[i]) if sizes else min(whole, size * s))
        less = max(over, 0) // 2
        before, after = (less, max(over, 0) - less) if auto == "SAME_UPPER" else (max(over, 0) - less, less)
        found.append((before, after, more + max(-over, 0)))
    return found


@converter("ConvTranspose")
def conv_transpose(b, n):
    kernel, x = check_kernel(b, n), b.value(n.inputs[0])
    shape, rank = dims(b, x), len(kernel)
    if rank > 3 or (rank == 3 and kernel[0] > DEEPEST):
        raise b.Decline(f"a kernel of shape {kernel}")
    strides, dilations = per_axis(n, "strides", rank, 1), per_axis(n, "dilations", rank, 1)
    cuts, groups = geometry(n, shape[2:], kernel, strides, dilations), n.attr("group", 1)
    axes = zip(shape[2:], strides, dilations, kernel, cuts)
    b.check_bytes((*shape[:2], *((size - 1) * s + d * (k - 1) + 1 + cut[2] for size, s, d, k, cut in axes)))
    if rank == 3:
        return [_volume(b, n, x, kernel, strides, cuts, dilations, groups)]
    filters = tuple(b.shape(n.inputs[1]))
    line = ((1, 1, (0, 0, 0), 1, 1),) if rank == 1 else ()  # a line is an image of one row
    axes = (*line, *zip(strides, dilations, cuts, shape[2:], kernel))
    stride, dilation, cut, hw, taps = (tuple(axis[i] for axis in axes) for i in range(5))
    spec = ConvTranspose2dSpec(stride, tuple(c[:2] for c in cut), tuple(c[2] for c in cut), dilation, groups)
    image = reshaped(b, x, (*shape[:2], *hw), "image")
    weight = weight_of(b, n.inputs[1], (*filters[:2], *taps))
    y = b.emit(spec, [image, weight, bias_of(b, name_of(n, 2))], "" if rank == 2 else "rows")
    return [y if rank == 2 else reshaped(b, y, (*dims(b, y)[:2], dims(b, y)[3]))]


def _volume(b, n, x: str, kernel, strides, cuts, dilations, groups: int) -> str:
    """(N, C, D, H, W): each depth tap r gives each input plane d an output plane at d sd + r dd; these are spread,
    added, and cut."""
    batch, c, depth, h, w = dims(b, x)
    filters, weight_name = tuple(b.shape(n.inputs[1])), n.inputs[1]
    images = reshaped(b, transposed(b, x, (0, 2, 1, 3, 4), "planes"), (batch * depth, c, h, w), "images")
    spec = ConvTranspose2dSpec(
        tuple(strides[1:]), tuple(cut[:2] for cut in cuts[1:]), tuple(cut[2] for cut in cuts[1:]),
        tuple(dilations[1:]), groups,
    )  # fmt: skip
    spread = (depth - 1) * strides[0] + 1
    before, after, extra = cuts[0]
    whole, y = spread + dilations[0] * (kernel[0] - 1) + extra, ""
    volume = "" if b.const(weight_name) is not None else b.value(weight_name)
    for r in range(kernel[0]):
        if volume:
            weight = reshaped(
                b, b.emit(StrideSpec(2, r, 1, 1), [volume], f"tap{r}"), (*filters[:2], *kernel[1:]), f"weight{r}"
            )
        else:
            pick = (slice(None), slice(None), r)
            weight = weight_of(b, weight_name, (*filters[:2], *kernel[1:]), hint=f"weight{r}", pick=pick)
        part = b.emit(spec, [images, weight, ""], f"conv{r}")
        k, p, q = dims(b, part)[1:]
        part = reshaped(b, part, (batch, depth, 1, k * p * q), f"part{r}")
        if strides[0] > 1:
            part = b.emit(PadNdSpec(((0, 0), (0, 0), (0, strides[0] - 1), (0, 0))), [part], f"spread{r}")
        part = reshaped(b, part, (batch, depth * strides[0], k * p * q), f"planes{r}")
        part = taken(b, part, 1, 0, 1, spread, f"planes{r}")
        start = r * dilations[0]
        if whole > spread:
            part = b.emit(PadNdSpec(((0, 0), (start, whole - spread - start), (0, 0))), [part], f"shift{r}")
        y = part if r == 0 else b.emit(AddSpec(), [y, part], f"sum{r}")
    left = whole - before - after
    if left < 1:
        raise ValueError(f"pads leave no output of x {(batch, c, depth, h, w)} with kernel {kernel}")
    y = reshaped(b, taken(b, y, 1, before, 1, left, "cut"), (batch, left, k, p, q), "volumes")
    y = transposed(b, y, (0, 2, 1, 3, 4), "channels")
    name = name_of(n, 2)
    if not name:
        return y
    array, shape = b.const(name), (k, 1, 1, 1)
    if tuple(b.shape(name)) != (k,):
        raise ValueError(f"bias must have shape ({k},), got {tuple(b.shape(name))}")
    bias = reshaped(b, b.value(name), shape, "bias") if array is None else _as_param(b, array, shape)
    return b.emit(AddSpec(), [y, bias])


def _as_param(b, array, shape) -> str:
    return b.param(np.asarray(array, np.float32).reshape(shape), "bias")
