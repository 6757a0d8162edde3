"""Pooling: windows, whole planes, adaptive, regions."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from .base import Counts, Spec, io_bytes, product
from .checks import (
    Padding,
    Pair,
    as_bool,
    as_choice,
    as_float,
    as_padding,
    as_pair,
    check_image,
    check_shape,
    check_size,
    sliding_size,
)

POOL_KINDS = ("max", "avg", "sum")


def pooled_size(op, axis, size, kernel, stride, padding: Pair, dilation, ceil_mode: bool) -> int:
    """Windows along one axis. ceil_mode also takes the last partial one, and then drops the last if it starts behind
    the input (the rule of torch and onnxruntime, so with padding behind it can be one less than without ceil_mode)."""
    count = sliding_size(op, axis, size, kernel, stride, padding, dilation, ceil_mode)
    return count - (ceil_mode and (count - 1) * stride >= size + padding[0])


@lru_cache(maxsize=1024)
def _has_empty_window(size, kernel, stride, before, dilation, count) -> bool:
    """Does some window hold padding alone?"""
    if before > dilation * (kernel - 1) or (count - 1) * stride - before >= size:
        return True
    if size >= dilation:
        return False  # consecutive taps cannot step over the whole input
    starts = range(-before, min(0, count * stride - before), stride)
    return any(start % dilation >= size for start in starts[:dilation])


@dataclass(frozen=True)
class Pool2dSpec(Spec):
    """Pooling over windows: x (N, C, H, W) -> (N, C, P, Q), and with return_indices (max only) a second output of the
    same shape, int64: h * W + w of the maximum in its input plane (the first one, row by row).

    max ignores the padding; sum takes it as 0; avg divides by the window's taps inside the padded input
    (count_include_pad=True; what ceil_mode lets hang over beyond the padding is never counted) or inside the input
    (False). stride=None means the kernel's. A window that would hold padding alone is refused for max and for avg
    without padding, which have no value there.

    Theory, per output, with R S window taps, padded ones counted: max R S - 1 max; sum R S - 1 add; avg R S - 1 add and
    one mul (by the reciprocal).
    """

    kind: str = "max"
    kernel: Pair = (2, 2)
    stride: Pair | None = None
    padding: Padding = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    ceil_mode: bool = False
    count_include_pad: bool = True
    return_indices: bool = False
    op = "pool2d"

    def __post_init__(self):
        fix = object.__setattr__
        as_choice("kind", self.kind, POOL_KINDS)
        fix(self, "kernel", as_pair("kernel_size", self.kernel))
        fix(self, "stride", self.kernel if self.stride is None else as_pair("stride", self.stride))
        fix(self, "padding", as_padding("padding", self.padding))
        fix(self, "dilation", as_pair("dilation", self.dilation))
        for flag in ("ceil_mode", "count_include_pad", "return_indices"):
            as_bool(flag, getattr(self, flag))
        if self.return_indices and self.kind != "max":
            raise ValueError(f"return_indices is for max pooling, got kind {self.kind!r}")

    def infer(self, x):
        n, c, *hw = check_image(self.op, x)
        out_hw = []
        for axis, *sizes in zip(("H", "W"), hw, self.kernel, self.stride, self.padding, self.dilation):
            count = pooled_size(self.op, axis, *sizes, self.ceil_mode)
            size, kernel, stride, padding, dilation = sizes
            if self._needs_input and _has_empty_window(size, kernel, stride, padding[0], dilation, count):
                raise ValueError(
                    f"{self.op}: padding {padding} along {axis} leaves a window without input: kernel {kernel}, stride "
                    f"{stride}, dilation {dilation}, input {size}"
                )
            out_hw.append(count)
        out = (n, c, *out_hw)
        check_size(self.op, "the output", out)
        return (out, out) if self.return_indices else (out,)

    @property
    def _needs_input(self) -> bool:
        return self.kind == "max" or (self.kind == "avg" and not self.count_include_pad)

    def theory(self, x):
        out, *indices = self.infer(x)
        n, others = product(out), product(self.kernel) - 1
        own = {
            "max": Counts(max=n * others),
            "sum": Counts(add=n * others),
            "avg": Counts(add=n * others, mul=n),
        }[self.kind]
        return own + Counts(**io_bytes([x], [out])) + Counts(bytes_written=8 * sum(map(product, indices)))

    def reduction(self, x):
        """K = R S for sums; a maximum rounds nothing: 1."""
        return 1 if self.kind == "max" else product(self.kernel)


@dataclass(frozen=True)
class GlobalPool2dSpec(Spec):
    """One value per plane: x (N, C, H, W) -> (N, C, 1, 1); kind "avg" or "max".

    Theory, per plane: H W - 1 add and a mul, or H W - 1 max.
    """

    kind: str = "avg"
    op = "global_pool2d"

    def __post_init__(self):
        as_choice("kind", self.kind, ("avg", "max"))

    def infer(self, x):
        n, c, *_ = check_image(self.op, x)
        return ((n, c, 1, 1),)

    def theory(self, x):
        n, c, h, w = x
        planes, others = n * c, h * w - 1
        own = Counts(max=planes * others) if self.kind == "max" else Counts(add=planes * others, mul=planes)
        return own + Counts(**io_bytes([x], self.infer(x)))

    def reduction(self, x):
        """K = H W for the average, 1 for the maximum."""
        return 1 if self.kind == "max" else x[2] * x[3]


@dataclass(frozen=True)
class AdaptiveAvgPool2dSpec(Spec):
    """Averages over windows that tile the input into a given grid: x (N, C, H, W) -> (N, C, P, Q).

    Row p covers floor(p H / P) ... ceil((p + 1) H / P) - 1, columns likewise (torch's rule; windows overlap where P
    does not divide H, and repeat pixels where P > H). Theory, per output: its window's size - 1 add and one mul.
    """

    output_size: Pair = (1, 1)
    op = "adaptive_avg_pool2d"

    def __post_init__(self):
        object.__setattr__(self, "output_size", as_pair("output_size", self.output_size))

    @staticmethod
    def windows(size: int, count: int) -> list[Pair]:
        """[(start, stop), ...] along one axis."""
        return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]

    def infer(self, x):
        n, c, *_ = check_image(self.op, x)
        out = (n, c, *self.output_size)
        check_size(self.op, "the output", out)
        return (out,)

    def theory(self, x):
        (out,) = self.infer(x)
        rows, columns = (
            sum(stop - start for start, stop in self.windows(size, count))
            for size, count in zip(x[2:], self.output_size)
        )
        n = product(out)
        counts = Counts(add=x[0] * x[1] * rows * columns - n, mul=n)
        return counts + Counts(**io_bytes([x], [out]))

    def reduction(self, x):
        """K = the largest window's size."""
        return product(
            max(stop - start for start, stop in self.windows(size, count))
            for size, count in zip(x[2:], self.output_size)
        )


LARGEST_SCALE = 2.0**64  # as a float32 it is finite, so that no corner times it is a NaN
FARTHEST = 2.0**40  # pixels: far from any map, and so near that doubles hold all between


def _float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


@dataclass(frozen=True)
class RoiMaxPoolSpec(Spec):
    """The largest value in each cell of a grid over regions of interest: x (N, C, H, W), rois (R, 5) -> (R, C, P, Q)
    (Girshick, Fast R-CNN, 2015).

    A row of rois is (image, x1, y1, x2, y2): an index into the batch, and corners, both inside the region, that times
    `spatial_scale` are pixels of x. Along each axis, all in float32, fractions rounded away from zero at one half:

        start = round(x1 scale), end = round(x2 scale), size = max(end - start + 1, 1), bin = size / Q
        column q covers start + floor(q bin) ... start + ceil((q + 1) bin) - 1, clipped to x

    Cells overlap where they share a pixel; a cell that the clipping leaves empty gives 0; a NaN wins. Pixels beyond
    2**40 count as the 2**40th.

    The work depends on the regions: theory counts the bytes alone (x, rois and the output, each once), no comparison.
    """

    output_size: Pair = (1, 1)
    spatial_scale: float = 1.0
    op = "roi_max_pool"
    inputs = ("x", "rois")
    by_value = (1,)

    def __post_init__(self):
        fix = object.__setattr__
        fix(self, "output_size", as_pair("output_size", self.output_size))
        fix(self, "spatial_scale", as_float("spatial_scale", self.spatial_scale))
        if not 0 < self.spatial_scale <= LARGEST_SCALE:
            raise ValueError(f"spatial_scale must be above 0 and at most 2**64, got {self.spatial_scale}")

    def infer(self, x, rois):
        _, c, *_ = check_image(self.op, x)
        count, columns = check_shape(self.op, "rois", rois, 2, "(R, 5)")
        if columns != 5:
            raise ValueError(f"{self.op}: rois must have shape (R, 5), image, x1, y1, x2, y2 each, got {tuple(rois)}")
        out = (count, c, *self.output_size)
        check_size(self.op, "the output", out)
        return (out,)

    def check_values(self, shapes, values):
        """Whole batch indices of images that are there, finite corners."""
        rois, images = values[1], shapes[0][0]
        first = rois[:, 0]
        good = (abs(rois) < float("inf")).all(axis=1) & (first >= 0) & (first < images) & (first == first.round())
        if not good.all():
            row = int(good.argmin())
            raise ValueError(
                f"{self.op}: rois must have an image from 0 to {images - 1} first in each row, a whole number, and "
                f"finite corners; got rois[{row}] = {rois[row].tolist()}"
            )

    def cells(self, corners: Sequence[float], size: Pair) -> tuple[list[Pair], list[Pair]]:
        """Of the region x1, y1, x2, y2 on a map of `size` (H, W): [(first, behind the last), ...] of the rows that each
        of its rows of cells covers, and of the columns likewise."""
        left, top, right, bottom = (self._pixel(corner) for corner in corners)
        (p, q), (h, w) = self.output_size, size
        return self._cut(top, bottom, p, h), self._cut(left, right, q, w)

    def _pixel(self, corner: float) -> int:
        at = _float32(min(max(corner * _float32(self.spatial_scale), -FARTHEST), FARTHEST))
        return int(math.copysign(math.floor(abs(at) + 0.5), at))

    @staticmethod
    def _cut(start: int, end: int, count: int, size: int) -> list[Pair]:
        """[(first, behind the last), ...]. As a double a product of two float32 is exact, and so rounded once."""
        cell = _float32(_float32(max(end - start + 1, 1)) / _float32(count))
        first = [start + math.floor(_float32(_float32(i) * cell)) for i in range(count)]
        behind = [start + math.ceil(_float32(_float32(i + 1) * cell)) for i in range(count)]
        return [(min(max(a, 0), size), min(max(b, 0), size)) for a, b in zip(first, behind)]

    def theory(self, x, rois):
        return Counts(**io_bytes([x, rois], self.infer(x, rois)))
