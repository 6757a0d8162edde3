"""Pictures of what a network computes: the channels of a layer, or filters, as tiles of a grid.

The grids are uint8 arrays and need NumPy alone; `save` writes one with its title, through matplotlib.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

COLUMNS = 16  # as in the Keras courses; more where the grid would be more than twice as high as wide
GAP = 255  # the line between tiles, and what fills the last row
SIDE = 1000  # pixels: smaller grids are magnified to this length, by a whole number
MARGIN, TITLE, TITLE_WIDTH = 12, 64, 760  # pixels around a grid, above it, and for the lines there


def channels(activation: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Every channel of a layer's output as a tile, each scaled for itself.

    y = (x - mean) / std * 64 + 128, cut to 0..255, per channel (Chollet, "Deep Learning with Python", section 5.4). A
    channel whose values are all alike, or not finite, says nothing and is black. A vector's values, which are a channel
    each, are scaled together, and are the pixels of a block that is about square.

    Args:
        activation: (C, H, W), (1, C, H, W), (C,) or (1, C).
        columns: tiles in a row, at least 1; None: 16, or twice that and so on for more than 512.
    Returns:
        uint8 (rows * (H + 1) - 1, columns * (W + 1) - 1), with white lines one pixel wide; a vector has no lines.
    Raises:
        ValueError: another shape, or no values.
    Example:
        >>> channels(np.zeros((20, 5, 5))).shape
        (11, 95)
    """
    array = np.asarray(activation, np.float64)
    array = array[0] if array.ndim in (2, 4) and len(array) == 1 else array
    if array.ndim not in (1, 3) or array.size == 0:
        raise ValueError(f"activation: (C, H, W) or (C,), of one image, is accepted, got {np.shape(activation)}")
    columns = _columns(columns, len(array))
    if array.ndim == 1 or array.shape[1:] == (1, 1):
        values = _scaled(array.reshape(1, -1))[0]
        return _tiles(values.reshape(-1, 1, 1), max(columns, math.ceil(math.sqrt(len(values)))), gap=0)
    return _tiles(_scaled(array.reshape(len(array), -1)).reshape(array.shape), columns)


def filters(weight: np.ndarray, columns: int | None = None, order: str = "RGB") -> np.ndarray:
    """The filters of a convolution as tiles: in colour where they see three channels, else in grey.

    y = 128 + 127 * w / max |w|, per filter: nothing is grey, positive weights are light. Filters that see one channel
    or three are tiles of a grid; others are rows of it, with a tile per channel they see.

    Args:
        weight: (K, C, R, S).
        columns: tiles in a row, at least 1; None: 16, or twice that and so on for more than 512.
        order: of three channels, "RGB" or "BGR".
    Returns:
        uint8 (height, width), or (height, width, 3) in colour.
    Raises:
        ValueError: another shape, or no values.
    Example:
        >>> filters(np.ones((64, 3, 11, 11))).shape
        (47, 191, 3)
    """
    array = np.asarray(weight, np.float64)
    if array.ndim != 4 or array.size == 0:
        raise ValueError(f"weight: (K, C, R, S) is accepted, got {np.shape(weight)}")
    columns = _columns(columns, len(array))
    array = np.where(np.isfinite(array), array, 0)
    largest = np.abs(array).max(axis=(1, 2, 3), keepdims=True)
    grey = np.rint(128 + 127 * array / np.where(largest > 0, largest, 1)).astype(np.uint8)
    k, c, r, s = array.shape
    gap = 0 if r * s == 1 else 1
    if c == 3:
        colours = grey[:, ::-1] if order == "BGR" else grey
        return np.stack([_tiles(colours[:, i], columns, gap) for i in range(3)], axis=-1)
    return _tiles(grey.reshape(k * c, r, s), columns if c == 1 else c, gap)


def blank(activation: np.ndarray) -> int:
    """How many channels of (1, C, H, W) hold one value throughout."""
    return int((np.ptp(activation.reshape(activation.shape[1], -1), axis=1) == 0).sum())


def save(grid: np.ndarray, path: str, title: str, subtitle: str = "") -> None:
    """Write a grid as a picture, magnified by a whole number and with a title above it.

    Args:
        grid: uint8 (height, width), shown in grey, or (height, width, 3).
        path: its suffix says the format; without one it is PNG.
    Raises:
        ImportError: matplotlib is not installed; says how it would be. ValueError: an unknown suffix.
    """
    figure_class = figure()
    height, width = grid.shape[:2]
    times = max(1, SIDE // max(height, width))
    inner, total = times * width, max(TITLE_WIDTH, times * width) + 2 * MARGIN
    tall = times * height + TITLE + MARGIN
    made = figure_class(figsize=(total / 100, tall / 100), dpi=100, facecolor="white")
    axes = made.add_axes((MARGIN / total, MARGIN / tall, inner / total, times * height / tall))
    colours = grid if grid.ndim == 3 else np.repeat(grid[:, :, np.newaxis], 3, axis=2)  # a colour map would round
    axes.imshow(colours, interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="0.6", linewidth=0.5)
    made.text(MARGIN / total, 1 - 24 / tall, title, fontsize=13, weight="bold", va="center")
    made.text(MARGIN / total, 1 - 47 / tall, subtitle, fontsize=10, va="center", color="0.35")
    suffix = str(path).rpartition(".")[2] if "." in str(path).replace("\\", "/").rpartition("/")[2] else "png"
    made.savefig(path, format=suffix.lower())


def figure() -> Any:
    """matplotlib's Figure, which draws into files and needs no screen.

    Raises:
        ImportError: matplotlib is not installed; says how it would be.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'cnnkern[bench]'") from None
    return Figure


def _scaled(rows: np.ndarray) -> np.ndarray:
    """Each row (n, values) by its own mean and standard deviation, as uint8."""
    finite = np.isfinite(rows).all(axis=1, keepdims=True)
    rows = np.where(finite, rows, 0)
    alike = np.ptp(rows, axis=1, keepdims=True) == 0  # the standard deviation of equal values need not round to 0
    std = np.where(alike, 1, rows.std(axis=1, keepdims=True))
    scaled = (rows - rows.mean(axis=1, keepdims=True)) / np.where(std > 0, std, 1) * 64 + 128
    return np.where(alike, 0, np.clip(np.rint(scaled), 0, 255)).astype(np.uint8)


def _columns(columns: int | None, tiles: int) -> int:
    if columns is None:
        columns = COLUMNS
        while tiles > 2 * columns**2:
            columns *= 2
    if columns < 1:
        raise ValueError(f"columns: at least 1 is accepted, got {columns}")
    return columns


def _tiles(tiles: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """(n, H, W) side by side, row by row."""
    n, height, width = tiles.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    grid = np.full((rows * columns, height + gap, width + gap), GAP, np.uint8)
    grid[:n, :height, :width] = tiles
    grid = grid.reshape(rows, columns, height + gap, width + gap).transpose(0, 2, 1, 3)
    whole = grid.reshape(rows * (height + gap), columns * (width + gap))
    return np.ascontiguousarray(whole[: rows * (height + gap) - gap, : columns * (width + gap) - gap])
