"""Local response and local contrast normalisation."""

from __future__ import annotations

from ....ops.base import Counts
from ..calls import NativeCall
from .geometry import ceil_div, overlap, round_up

PIXELS = 16  # that local response normalisation takes at a time; the ends of its scratch are zeroed for each lot


def window(channels: int, size: int) -> tuple[int, int]:
    """(before, after): the neighbours of a channel in the window, never more than there are."""
    return min(size // 2, channels - 1), min((size - 1) // 2, channels - 1)


def power(beta: float) -> Counts:
    """What a lane of x / (k + factor sum)^beta takes, the square included and the sum not: by square roots where beta
    is 3/4, else by a logarithm and an exponential."""
    return Counts(fma=1, mul=2, special=3) if beta == 0.75 else Counts(fma=14, mul=8, add=4, max=5, special=1)


def zeroed(call: NativeCall) -> int:
    """Floats of scratch that are set to zero."""
    n, h, w, c = call.tensors["y"].sizes
    return n * h * ceil_div(w, PIXELS) * sum(window(c, call.options["size"]))


def lrn(call: NativeCall, isa: str, width: int) -> Counts:
    """The squares go to scratch, with zeros beyond the first and last channel; every window is added up anew."""
    n, h, w, c = call.tensors["y"].sizes
    neighbours = sum(window(c, call.options["size"]))
    lanes, floats = n * h * w * round_up(c, width), n * h * w * c
    moved = Counts(bytes_read=4 * floats * (3 + neighbours), bytes_written=8 * floats + 4 * zeroed(call))
    return (power(call.options["beta"]) + Counts(add=neighbours)) * lanes + moved


def correlate(width: int, length: int, taps: int, scaled: bool = False, root: bool = False) -> Counts:
    """`length` sums of `taps` products with weights, then a scaling, then a square root."""
    vectors = ceil_div(length, width)
    lane = Counts(fma=taps, mul=2 * scaled, special=int(root))
    read = 4 * length * (taps + scaled) + 4 * taps * vectors
    return lane * (vectors * width) + Counts(bytes_read=read, bytes_written=4 * length)


def reduce(width: int, pixels: int, channels: int, squares: bool) -> Counts:
    """A pixel's channels, less a pivot and with `squares` a mean, added up in a vector that is folded at the end."""
    lane = Counts(fma=1, add=2) if squares else Counts(add=2)
    pixel = lane * round_up(channels, width) + Counts(
        add=width - 1, bytes_read=4 * (channels + 1 + squares), bytes_written=4
    )
    return pixel * pixels


def divide(width: int, pixels: int, channels: int) -> Counts:
    pixel = Counts(add=2, special=1) * round_up(channels, width) + Counts(
        max=2 * width, bytes_read=4 * (channels + 4), bytes_written=4 * channels
    )
    return pixel * pixels


def lcn(call: NativeCall, isa: str, width: int) -> Counts:
    """Sums over channels first; then the Gaussian, which is separable, along rows (over zeros beside the image) and
    along columns (over the rows that exist): once for the mean, once for the deviation."""
    n, h, w, c = call.tensors["y"].sizes
    taps = len(call.options["window"])
    half = taps // 2
    beside = Counts(bytes_written=4 * 2 * half)
    rows = reduce(width, w, c, False) + reduce(width, w, c, True) + 2 * (beside + correlate(width, w, taps))
    columns = Counts()
    for row in range(h):
        reach = overlap(row - half, row + half + 1, h)
        columns += correlate(width, w, reach, scaled=True) + correlate(width, w, reach, scaled=True, root=True)
    average = reduce(width, h, w, False) + reduce(width, 1, h, False) + correlate(width, 1, 1)
    return (rows * h + columns + average + divide(width, h * w, c)) * n
