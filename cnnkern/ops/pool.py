"""Pooling: windows, whole planes, adaptive."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from .base import Counts, Spec, io_bytes, product
from .checks import (
    Padding,
    Pair,
    as_bool,
    as_choice,
    as_padding,
    as_pair,
    check_image,
    check_size,
    sliding_size,
)

POOL_KINDS = ("max", "avg", "sum")


def pooled_size(op, axis, size, kernel, stride, padding: Pair, dilation, ceil_mode: bool) -> int:
    """Windows along one axis. ceil_mode also takes the last partial one, and then drops the last if it starts behind
    the input (the rule of torch and onnxruntime, so with padding behind it can be one less than without ceil_mode)."""
    count = sliding_size(op, axis, size, kernel, stride, padding, dilation)
    if ceil_mode:
        room = size + sum(padding) - dilation * (kernel - 1) - 1
        count = -(-room // stride) + 1
        if (count - 1) * stride >= size + padding[0]:
            count -= 1
    return count


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
