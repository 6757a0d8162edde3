"""Counting without enumerating: shares of a line, taps inside an image, and their sums over all outputs."""

from __future__ import annotations

BLOCK = 16  # channels in a block, on every instruction set


def ceil_div(value: int, by: int) -> int:
    return -(-value // by)


def round_up(value: int, multiple: int) -> int:
    return ceil_div(value, multiple) * multiple


def pieces(length: int, longest: int) -> list[tuple[int, int]]:
    """[(size, how many), ...] of a line cut into as few nearly equal pieces of at most `longest` as will do.

    Example: pieces(30, 14) == [(10, 3)]; pieces(31, 14) == [(10, 2), (11, 1)].
    """
    return shares(length, ceil_div(length, longest))


def shares(length: int, parts: int) -> list[tuple[int, int]]:
    """[(size, how many), ...] of `length` things in `parts` shares that differ by one at most."""
    if not length:
        return []
    size, larger = divmod(length, parts)
    return [(s, n) for s, n in ((size, parts - larger), (size + 1, larger)) if s and n]


def overlap(start: int, stop: int, size: int) -> int:
    """How many of the positions [start, stop) lie in [0, size)."""
    return max(0, min(stop, size) - max(start, 0))


def inside(out: int, size: int, taps: int, stride: int, dilation: int, pad: int) -> int:
    """Over all outputs of one axis, the taps that lie inside the image: pairs (o, t), o < out, t < taps, with
    0 <= o stride - pad + t dilation < size."""
    total = 0
    for tap in range(taps):
        shift = pad - tap * dilation
        first = max(0, ceil_div(shift, stride))
        last = min(out - 1, (size - 1 + shift) // stride)
        total += max(0, last - first + 1)
    return total
