"""Resize and Upsample, as a table of weights for each axis."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ...ops import AddSpec, ResampleSpec
from . import converter
from .common import axes_in, dims, ints, known
from .shape import picked

COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
)  # fmt: skip
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "floor_or_ceil_down")
LARGEST_TABLE = 1 << 22  # weights of an axis that a plan may hold


@dataclass(frozen=True)
class Axis:
    """How one axis is resized: sizes, scale (output over input), and the part of it that is looked at (`roi`, of
    tf_crop_and_resize, in shares of the axis)."""

    axis: int
    size: int
    out: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)

    @property
    def idle(self) -> bool:
        return self.size == self.out and math.isclose(self.scale, 1.0) and tuple(self.roi) == (0.0, 1.0)


@dataclass(frozen=True)
class Method:
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude: bool = False
    antialias: bool = False
    outside: float = 0.0  # what tf_crop_and_resize puts where it looks outside


def source(method: Method, axis: Axis) -> np.ndarray:
    """Where in the input, in pixels, each output of an axis lies."""
    i, size, scale = np.arange(axis.out, dtype=np.float64), axis.size, axis.scale
    length = scale * size  # of the output, before it was made a whole number
    if method.coordinates == "align_corners":
        return i * (size - 1) / (length - 1) if length != 1 else 0 * i
    if method.coordinates == "asymmetric":
        return i / scale
    if method.coordinates == "tf_crop_and_resize":
        start, end = axis.roi
        step = i * (end - start) * (size - 1) / (length - 1) if length != 1 else 0 * i + (end - start) * (size - 1) / 2
        return step + start * (size - 1)
    if method.coordinates == "pytorch_half_pixel" and length == 1:
        return 0 * i - 0.5
    centre = size / 2 * (1 - axis.out / length) if method.coordinates == "half_pixel_symmetric" else 0.0
    return centre + (i + 0.5) / scale - 0.5


def beyond(method: Method, axis: Axis, at: np.ndarray) -> np.ndarray:
    """Which outputs lie outside the input, and so have a value of their own."""
    return ((at < 0) | (at > axis.size - 1)) & (method.coordinates == "tf_crop_and_resize")


def nearest_index(method: Method, at: np.ndarray, shrinks: bool) -> np.ndarray:
    """Whole pixels; where two are as near, the rule decides."""
    low = np.floor(at)
    part = at - low
    if method.nearest == "round_prefer_floor":
        up = part > 0.5
    elif method.nearest == "round_prefer_ceil":
        up = part >= 0.5
    else:  # opset 10's Resize has no attribute: down, and up where the axis shrinks
        up = (part > 0) & (method.nearest == "ceil" or (method.nearest == "floor_or_ceil_down" and shrinks))
    return (low + up).astype(np.int64)


def kernel(method: Method, distance: np.ndarray) -> np.ndarray:
    """The weight of a pixel so far away: a tent, or Keys' cubic (IEEE Trans. ASSP, 1981)."""
    d, a = np.abs(distance), method.cubic
    if method.mode == "linear":
        return np.clip(1 - d, 0, 1)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def taps(method: Method, axis: Axis) -> int:
    """How many pixels an output reads: an even number, as many before as behind, or one."""
    if method.mode == "nearest":
        return 1
    reach = 1 if method.mode == "linear" else 2
    return -2 * math.floor(-reach / (min(axis.scale, 1.0) if method.antialias else 1.0))


def table(method: Method, axis: Axis) -> tuple[np.ndarray, np.ndarray | None]:
    """(index, weight), (outputs, taps) each: what each output reads. Without weights a pixel is taken as it is.

    Antialiasing widens the kernel by as much as the axis shrinks, and scales the weights to sum to 1. What lies outside
    the axis is its edge, or left out and the others scaled (`exclude`).
    """
    at = source(method, axis)
    outside = beyond(method, axis, at)
    if method.mode == "nearest":
        index = nearest_index(method, at, axis.scale < 1)[:, None]
        weight = None if not outside.any() else np.ones(index.shape)
    else:
        narrow = min(axis.scale, 1.0) if method.antialias else 1.0
        first = 1 - taps(method, axis) // 2
        base = np.ceil(at) - 1  # the pixel before: the distance to it lies in (0, 1]
        steps = np.arange(first, 2 - first)
        index = (base[:, None] + steps).astype(np.int64)
        weight = kernel(method, (steps - (at - base)[:, None]) * narrow)
        if method.antialias:
            weight /= weight.sum(axis=1, keepdims=True)
        if method.exclude:
            weight = np.where((index < 0) | (index >= axis.size), 0.0, weight)
            total = weight.sum(axis=1, keepdims=True)
            weight /= np.where(total == 0, 1.0, total)
    index = np.clip(index, 0, axis.size - 1)
    if weight is not None and outside.any():
        weight = np.where(outside[:, None], 0.0, weight)
    return index, weight


def resized(b, x: str, method: Method, plan: list[Axis]) -> str:
    """An axis at a time, those that shrink first."""
    plan, shape = [axis for axis in plan if not axis.idle], list(dims(b, x))
    if not all(shape) or not all(axis.out for axis in plan):
        raise b.Decline(f"an empty array: {tuple(shape)} to {[axis.out for axis in plan]}")
    for axis in plan:
        shape[axis.axis] = axis.out
        if axis.out * taps(method, axis) > LARGEST_TABLE:
            raise b.Decline(f"a table of {axis.out * taps(method, axis)} weights for axis {axis.axis}")
    b.check_bytes(shape)
    plan.sort(key=lambda axis: axis.out / axis.size)
    for axis in plan:
        index, weight = table(method, axis)
        if weight is not None and ((weight == 0) | (weight == 1)).all() and (weight.sum(axis=1) == 1).all():
            index, weight = np.take_along_axis(index, weight.argmax(axis=1)[:, None], axis=1), None
        if weight is None:
            x = picked(b, x, axis.axis, index[:, 0].tolist(), f"axis{axis.axis}")
        else:
            rows, weights = (tuple(map(tuple, array.tolist())) for array in (index, weight))
            x = b.emit(ResampleSpec(axis.axis, rows, weights), [x], f"axis{axis.axis}")
    if method.coordinates == "tf_crop_and_resize" and method.outside != 0:
        x = _extrapolated(b, x, method, plan)
    return x


def _extrapolated(b, x: str, method: Method, plan: list[Axis]) -> str:
    """What looks outside along any axis is 0 so far; it becomes the given value."""
    rank, away = len(dims(b, x)), np.zeros((), bool)
    for axis in plan:
        along = beyond(method, axis, source(method, axis))
        away = away | along.reshape([-1 if i == axis.axis else 1 for i in range(rank)])
    if not away.any():
        return x
    return b.emit(AddSpec(), [x, b.param(np.where(away, method.outside, 0.0), "outside")], "extrapolate")


# --- what a node says


def out_size(size: int, scale: float) -> int:
    """floor(size scale), the scale a float32, its product none: as ONNX's shape inference computes it."""
    if not 0 < scale < 2**31:
        raise ValueError(f"scales must be positive, got {scale}")
    return math.floor(size * scale)


def by_scales(shape, axes, scales) -> list[Axis]:
    if len(scales) != len(axes):
        raise ValueError(f"scales must have {len(axes)} numbers, one for each axis, got {list(scales)}")
    return [Axis(a, shape[a], out_size(shape[a], float(s)), float(s)) for a, s in zip(axes, scales)]


def by_sizes(shape, axes, sizes, policy: str) -> list[Axis]:
    """To these sizes, or (not_larger, not_smaller) with one scale for all axes, into or around them."""
    if len(sizes) != len(axes) or min(sizes, default=1) < 0:
        raise ValueError(f"sizes must have {len(axes)} numbers, one for each axis, got {list(sizes)}")
    if policy not in ("stretch", "not_larger", "not_smaller"):
        raise ValueError(f"keep_aspect_ratio_policy must be stretch, not_larger or not_smaller, got {policy!r}")
    scales = [size / shape[a] for a, size in zip(axes, sizes)]
    if policy != "stretch":
        scales = [(min if policy == "not_larger" else max)(scales)] * len(axes)
        sizes = [int(scale * shape[a] + 0.5) for a, scale in zip(axes, scales)]
    return [Axis(a, shape[a], int(size), scale) for a, size, scale in zip(axes, sizes, scales)]


@converter("Upsample")
@converter("Resize", since=10)
def upsample(b, n):
    """Before opset 11: scales alone, coordinates i / scale."""
    x = b.value(n.inputs[0])
    shape, mode = dims(b, x), n.attr("mode", "nearest")
    given = n.attr("scales")
    scales = known(b, n, 1) if given is None else given
    if scales is None or mode not in ("nearest", "linear", "bilinear"):
        raise ValueError(f"scales are required and mode must be 'nearest' or 'linear', got {mode!r}")
    scales = np.asarray(scales, np.float32).reshape(-1)
    method = Method("nearest" if mode == "nearest" else "linear", "asymmetric", "floor_or_ceil_down")
    return [resized(b, x, method, by_scales(shape, range(len(shape)), scales))]


@converter("Resize", since=11)
def resize(b, n):
    x = b.value(n.inputs[0])
    shape, axes = dims(b, x), n.attr("axes")
    if not all(shape):
        raise b.Decline(f"an empty array {shape}")
    axes = list(range(len(shape))) if axes is None else axes_in(axes, len(shape))
    method = Method(
        n.attr("mode", "nearest"), n.attr("coordinate_transformation_mode", "half_pixel"),
        n.attr("nearest_mode", "round_prefer_floor"), n.attr("cubic_coeff_a", -0.75),
        bool(n.attr("exclude_outside", 0)), bool(n.attr("antialias", 0)), n.attr("extrapolation_value", 0.0),
    )  # fmt: skip
    for argument, value, choices in (
        ("mode", method.mode, ("nearest", "linear", "cubic")),
        ("coordinate_transformation_mode", method.coordinates, COORDINATES),
        ("nearest_mode", method.nearest, NEAREST[:4]),
    ):
        if value not in choices:
            raise ValueError(f"{argument} must be one of {', '.join(choices)}, got {value!r}")
    scales, sizes = known(b, n, 2), ints(b, n, 3)
    if sizes:
        plan = by_sizes(shape, axes, sizes, n.attr("keep_aspect_ratio_policy", "stretch"))
    elif scales is not None and scales.size:
        plan = by_scales(shape, axes, np.asarray(scales, np.float32).reshape(-1))
    else:
        raise ValueError("one of scales and sizes is required")
    if method.coordinates == "tf_crop_and_resize":
        plan = _with_roi(b, n, plan)
    return [resized(b, x, method, plan)]


def _with_roi(b, n, plan: list[Axis]) -> list[Axis]:
    roi = known(b, n, 1)
    if roi is None or roi.size != 2 * len(plan):
        raise ValueError(f"roi must have {2 * len(plan)} numbers, two for each axis, got {roi}")
    starts, ends = np.asarray(roi, np.float32).reshape(2, -1)  # float32, as the others compute: 0.1 * 5 is 1/2
    return [replace(axis, roi=pair) for axis, *pair in zip(plan, starts, ends)]
