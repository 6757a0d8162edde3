"""Convolution: of lines and planes as they are, of volumes as a sum over the depth taps."""

from __future__ import annotations

import numpy as np

from ...ops import Conv2dSpec, PadNdSpec, StrideSpec, normalise_padding
from . import converter
from .common import dims, name_of, per_axis, reshaped, transposed

DEEPEST = 64  # planes of a kernel, each of which is a layer
AUTO = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}


def check_kernel(b, n) -> tuple[int, ...]:
    """The spatial shape of the weight, which `kernel_shape` may repeat; the ranks of x and weight agree."""
    x, weight = tuple(b.shape(n.inputs[0])), tuple(b.shape(n.inputs[1]))
    if len(x) < 3 or len(x) != len(weight):
        raise ValueError(f"x and weight must have the same rank, 3 or more, got shapes {x} and {weight}")
    said = n.attr("kernel_shape")
    if said is not None and list(said) != list(weight[2:]):
        raise ValueError(f"kernel_shape {list(said)} differs from the weight's {list(weight[2:])}")
    return weight[2:]


def pads_of(n, spatial, kernel, strides, dilations) -> list[tuple[int, int]]:
    """(before, after) of each spatial axis, by `pads` or `auto_pad`."""
    auto, rank = n.attr("auto_pad", "NOTSET") or "NOTSET", len(spatial)
    if auto == "NOTSET":
        pads = n.attr("pads") or [0] * (2 * rank)
        if len(pads) != 2 * rank:
            raise ValueError(f"pads must have {2 * rank} numbers, two for each spatial axis, got {list(pads)}")
        if min(pads) < 0:
            raise ValueError(f"pads must not be negative, got {list(pads)}")
        return [(int(pads[i]), int(pads[rank + i])) for i in range(rank)]
    if auto not in AUTO:
        raise ValueError(f"auto_pad must be NOTSET, SAME_UPPER, SAME_LOWER or VALID, got {auto!r}")
    return [
        normalise_padding(AUTO[auto], (size, 1), (k, 1), (s, 1), (d, 1))[0]
        for size, k, s, d in zip(spatial, kernel, strides, dilations)
    ]


def padded(shape, pads) -> tuple[int, ...]:
    """The shape of images with their padding."""
    return (*shape[:2], *(size + sum(pad) for size, pad in zip(shape[2:], pads)))


def weight_of(b, name: str, shape, kind: str = "conv_weight", hint: str = "weight", pick=None) -> str:
    """A weight as an operand: a constant as it is or in another shape (of the part that `pick` indexes), else the value
    reshaped."""
    array = b.const(name)
    if array is None:
        return reshaped(b, b.value(name), shape, hint)
    if pick is None and array.shape == tuple(shape):
        return b.weight(name, kind)
    part = np.asarray(array if pick is None else array[pick], np.float32)
    return b.param(part.reshape(shape), hint, kind)


def bias_of(b, name: str) -> str:
    return "" if not name else b.weight(name, "bias") if b.const(name) is not None else b.value(name)


@converter("Conv")
def conv(b, n):
    kernel, x = check_kernel(b, n), b.value(n.inputs[0])
    shape, rank = dims(b, x), len(kernel)
    strides, dilations = per_axis(n, "strides", rank, 1), per_axis(n, "dilations", rank, 1)
    pads, groups = pads_of(n, shape[2:], kernel, strides, dilations), n.attr("group", 1)
    if rank > 3:
        raise b.Decline(f"{rank} spatial dimensions")
    b.check_bytes(padded(shape, pads))
    if rank == 3:
        return [_volume(b, n, x, kernel, strides, pads, dilations, groups)]
    spec = Conv2dSpec(_two(strides, 1), _two(pads, (0, 0)), _two(dilations, 1), groups)
    filters = tuple(b.shape(n.inputs[1]))
    image = reshaped(b, x, (*shape[:2], *_two(shape[2:], 1)), "image")
    weight = weight_of(b, n.inputs[1], (*filters[:2], *_two(kernel, 1)))
    y = b.emit(spec, [image, weight, bias_of(b, name_of(n, 2)), ""], "" if rank == 2 else "rows")
    return [y if rank == 2 else reshaped(b, y, (*dims(b, y)[:2], dims(b, y)[3]))]


def _two(values, first) -> tuple:
    """A line is an image of one row."""
    return tuple(values) if len(values) == 2 else (first, *values)


def _volume(b, n, x: str, kernel, strides, pads, dilations, groups: int) -> str:
    """(N, C, D, H, W): for each depth tap r the planes r dd, r dd + sd, ... as images of their own, convolved with
    weight[:, :, r] and added to what the taps before gave."""
    if kernel[0] > DEEPEST:
        raise b.Decline(f"a kernel {kernel[0]} planes deep")
    batch, c, depth, h, w = dims(b, x)
    (front, back), extent = pads[0], dilations[0] * (kernel[0] - 1) + 1
    planes = (depth + front + back - extent) // strides[0] + 1
    if planes < 1:
        raise ValueError(f"kernel {kernel} with dilations {dilations} is larger than x {dims(b, x)} padded by {pads}")
    x = transposed(b, x, (0, 2, 1, 3, 4), "planes")
    if front or back:
        x = b.emit(PadNdSpec(((0, 0), (front, back), (0, 0), (0, 0), (0, 0))), [x], "pad")
    spec = Conv2dSpec(tuple(strides[1:]), tuple(pads[1:]), tuple(dilations[1:]), groups)
    filters, y = tuple(b.shape(n.inputs[1])), ""
    volume = "" if b.const(n.inputs[1]) is not None else b.value(n.inputs[1])
    for r in range(kernel[0]):
        seen = b.emit(StrideSpec(1, r * dilations[0], strides[0], planes), [x], f"depth{r}")
        images = reshaped(b, seen, (batch * planes, c, h, w), f"images{r}")
        if volume:
            weight = b.emit(StrideSpec(2, r, 1, 1), [volume], f"tap{r}")
            weight = reshaped(b, weight, (*filters[:2], *kernel[1:]), f"weight{r}")
        else:
            taken = (slice(None), slice(None), r)
            weight = weight_of(b, n.inputs[1], (*filters[:2], *kernel[1:]), hint=f"weight{r}", pick=taken)
        y = b.emit(spec, [images, weight, bias_of(b, name_of(n, 2)) if r == 0 else "", y], f"conv{r}")
    out = dims(b, y)
    y = reshaped(b, y, (batch, planes, *out[1:]), "volumes")
    return transposed(b, y, (0, 2, 1, 3, 4), "channels")
