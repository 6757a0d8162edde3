"""Convolutions and linear layers: what each kernel executes."""

from __future__ import annotations

from ....ops.base import Counts
from ..launch import Launch
from .instance import ITEM_BYTES, arguments, ceil_div, epilogue, inside

STEP = 8  # taps that the tiled product takes at once
LINE_BYTES = 64  # of each operand's rows that the one on tensor cores takes at once
WGMMA_LINE_BYTES, WGMMA_ROWS = 128, 128  # the one on Hopper's; pixels of its tiles


def seen(launch: Launch) -> tuple[int, int]:
    """(rows, columns): over all outputs of an axis, the filter's taps inside the image; their product times n counts
    the (pixel, tap) pairs."""
    a = launch.args
    dilation = a.get("dilation", (1, 1))
    rows = inside(a["p"], a["h"], a["r"], a["stride"][0], dilation[0], a["pad"][0])
    columns = inside(a["q"], a["width"], a["s"], a["stride"][1], dilation[1], a["pad"][1])
    return rows, columns


def direct(launch: Launch) -> Counts:
    (ctype,) = arguments(launch)
    a, (rows, columns) = launch.args, seen(launch)
    fma = a["n"] * a["k"] * rows * columns * a["c_group"]
    outputs = a["n"] * a["p"] * a["q"] * a["k"]
    own = Counts(fma=fma, bytes_read=fma * (ITEM_BYTES[ctype] + 4))
    return own + epilogue(launch, outputs, ITEM_BYTES[ctype])


def locally_connected(launch: Launch) -> Counts:
    """Lanes add up what they have: 5 additions each, of 32."""
    (ctype,) = arguments(launch)
    a, (rows, columns) = launch.args, seen(launch)
    size = ITEM_BYTES[ctype]
    outputs = a["n"] * a["p"] * a["q"] * a["k"]
    fma = a["n"] * a["k"] * a["c"] * rows * columns
    counts = Counts(fma=fma, add=5 * 32 * outputs, bytes_read=fma * (size + 4), bytes_written=outputs * size)
    return counts + (Counts(add=outputs, bytes_read=4 * outputs) if a["bias"] is not None else Counts())


def product(launch: Launch) -> Counts:
    """The tiled product: every tile multiplies all of its rows and columns, in whole steps; it gathers the pixels that
    exist once per tile of columns, and the weights' padded columns once per tile of rows."""
    tile_rows, tile_columns, *_ = arguments(launch)
    fma, gathered, row_tiles = _tiles(launch, tile_rows, tile_columns, STEP)
    a = launch.args
    groups = launch.grid[2] // a["splits"]
    weights = row_tiles * a["r"] * a["s"] * a["c"] * a["w_stride"] * groups
    outputs = a["m"] * a["k"] * groups * a["splits"]
    return Counts(fma=fma, bytes_read=4 * (gathered + weights)) + epilogue(launch, outputs, 4)


def tensor_product(launch: Launch) -> Counts:
    """The same on tensor cores: each output's row of weights comes once per tile of rows; parts of sums are float."""
    ctype, tile_rows, tile_columns, *_ = arguments(launch)
    size = ITEM_BYTES[ctype]
    fma, gathered, row_tiles = _tiles(launch, tile_rows, tile_columns, LINE_BYTES // size)
    a = launch.args
    groups = launch.grid[2] // a["splits"]
    weights = row_tiles * a["r"] * a["s"] * a["c"] * a["k"] * groups
    outputs = a["m"] * a["k"] * groups * a["splits"]
    return Counts(fma=fma, bytes_read=size * (gathered + weights)) + epilogue(
        launch, outputs, 4 if a["splits"] > 1 else size
    )


def wgmma_product(launch: Launch) -> Counts:
    """On Hopper's: each block has whole tiles of packed weights brought, step by step."""
    ctype, tile_columns = arguments(launch)
    size = ITEM_BYTES[ctype]
    step = WGMMA_LINE_BYTES // size
    fma, gathered, _ = _tiles(launch, WGMMA_ROWS, tile_columns, step)
    a = launch.args
    groups = launch.grid[2] // a["splits"]
    weights = fma // WGMMA_ROWS  # every weight of a tile meets all of its pixels
    outputs = a["m"] * a["k"] * groups * a["splits"]
    return Counts(fma=fma, bytes_read=size * (gathered + weights)) + epilogue(
        launch, outputs, 4 if a["splits"] > 1 else size
    )


def wgmma_weights(launch: Launch) -> Counts:
    """Every weight once, and zeros around them."""
    (ctype,) = arguments(launch)
    a = launch.args
    weights = a["groups"] * a["k"] * a["c"] * a["r"] * a["s"]
    written = a["groups"] * a["column_tiles"] * a["columns"] * a["steps"] * WGMMA_LINE_BYTES
    return Counts(bytes_read=4 * weights, bytes_written=written)


def _tiles(launch: Launch, tile_rows: int, tile_columns: int, step: int) -> tuple[int, int, int]:
    """(multiply-adds, values of x gathered, tiles of rows)."""
    a, (rows, columns) = launch.args, seen(launch)
    groups = launch.grid[2] // a["splits"]
    row_tiles, column_tiles = ceil_div(a["m"], tile_rows), ceil_div(a["k"], tile_columns)
    steps, left = 0, a["r"] * a["s"] * a["c"]
    for _ in range(a["splits"]):
        part = min(left, a["split_steps"] * step)
        steps += ceil_div(part, step)
        left -= part
    fma = row_tiles * tile_rows * column_tiles * tile_columns * steps * step * groups
    gathered = a["n"] * rows * columns * a["c"] * column_tiles * groups
    return fma, gathered, row_tiles


def reduce(launch: Launch) -> Counts:
    (ctype,) = arguments(launch)
    a = launch.args
    outputs = a["m"] * a["k"]
    own = Counts(add=outputs * (a["splits"] - 1), bytes_read=4 * outputs * a["splits"])
    return own + epilogue(launch, outputs, ITEM_BYTES[ctype])


# One dimension of a transform: of the inputs of a tile's side, and from as many products to the outputs.
FORWARD = {4: Counts(add=4), 6: Counts(fma=12)}
BACK = {(4, 2): Counts(add=4), (6, 2): Counts(fma=2, add=6), (6, 4): Counts(fma=4, mul=2, add=6)}


def covered(tiles: int, m: int, side: int, before: int, size: int) -> int:
    """Pixels of one axis that its tiles read, those outside left out."""
    starts = (i * m - before for i in range(tiles))
    return sum(max(0, min(start + side, size) - max(start, 0)) for start in starts)


def winograd_in(launch: Launch) -> Counts:
    side, m = arguments(launch)
    a = launch.args
    rows = covered(a["down"], m, side, a["top"], a["h"])
    columns = covered(a["across"], m, side, a["left"], a["width"])
    moved = Counts(
        bytes_read=4 * a["n"] * rows * columns * a["c"], bytes_written=4 * side * side * a["tiles"] * a["c_padded"]
    )
    return FORWARD[side] * (2 * side * a["tiles"] * a["c"]) + moved


def winograd_out(launch: Launch) -> Counts:
    """All columns of a tile are transformed, and those of its rows that lie in the image."""
    side, m = arguments(launch)
    a = launch.args
    images = a["tiles"] // (a["down"] * a["across"])
    lines = side * a["tiles"] + images * a["p"] * a["across"]
    own = BACK[side, m] * (lines * a["k"]) + Counts(bytes_read=4 * side * side * a["tiles"] * a["k"])
    return own + epilogue(launch, images * a["p"] * a["q"] * a["k"], 4)


def depthwise(launch: Launch) -> Counts:
    """Every thread multiplies its whole window, padding and outputs beyond the image included; it loads its taps once,
    and the pixels of its window that exist."""
    ctype, vector, size, stride, rows, columns = arguments(launch)
    a = launch.args
    down, across = ceil_div(a["p"], rows), ceil_div(a["q"], columns)
    channels, threads = a["c"] * vector, a["n"] * down * across * a["c"]
    read_rows = covered(down, rows * stride, (rows - 1) * stride + size, a["pad"][0], a["h"])
    read_columns = covered(across, columns * stride, (columns - 1) * stride + size, a["pad"][1], a["width"])
    read = a["n"] * read_rows * read_columns * channels * ITEM_BYTES[ctype] + 4 * threads * vector * size * size
    own = Counts(fma=threads * vector * rows * columns * size * size, bytes_read=read)
    return own + epilogue(launch, a["n"] * a["p"] * a["q"] * channels, ITEM_BYTES[ctype])


def depthwise_any(launch: Launch) -> Counts:
    ctype, vector = arguments(launch)
    a, (rows, columns) = launch.args, seen(launch)
    fma = a["n"] * rows * columns * a["c"] * vector
    own = Counts(fma=fma, bytes_read=fma * (ITEM_BYTES[ctype] + 4))
    return own + epilogue(launch, a["n"] * a["p"] * a["q"] * a["c"] * vector, ITEM_BYTES[ctype])


def grouped(launch: Launch) -> Counts:
    """A thread multiplies all of its pixels with every tap of the rows that exist, and loads the pixels that do."""
    ctype, size, pixels = arguments(launch)
    a, (rows, _) = launch.args, seen(launch)
    strips = a["n"] * ceil_div(a["q"], pixels) * rows * a["s"] * a["groups"]  # a filter row's taps, by thread
    # The last strip's pixels beyond the image are loaded, too, where the input has them.
    whole = ceil_div(a["q"], pixels) * pixels
    wide = inside(whole, a["width"], a["s"], a["stride"][1], a["dilation"][1], a["pad"][1])
    read = a["n"] * rows * wide * a["groups"] * size * ITEM_BYTES[ctype] + 4 * strips * size * size
    own = Counts(fma=strips * pixels * size * size, bytes_read=read)
    return own + epilogue(launch, a["n"] * a["p"] * a["q"] * a["groups"] * size, ITEM_BYTES[ctype])


def linear(launch: Launch) -> Counts:
    """The weights once per group of rows; x once per output; 5 additions a lane and row of a group, rows that are not
    there included."""
    ctype, rows, _ = arguments(launch)
    a = launch.args
    groups, size = launch.grid[1], ITEM_BYTES[ctype]
    fma = a["n"] * a["o"] * a["f"]
    own = Counts(fma=fma, add=5 * 32 * rows * groups * a["o"], bytes_read=4 * groups * a["o"] * a["f"] + size * fma)
    return own + epilogue(launch, a["n"] * a["o"], size)


TEMPLATES = {
    "conv_direct": direct,
    "locally_connected": locally_connected,
    "conv_fp32": product,
    "conv_mma": tensor_product,
    "conv_wgmma": wgmma_product,
    "wgmma_weights": wgmma_weights,
    "conv_reduce": reduce,
    "winograd_in": winograd_in,
    "winograd_out": winograd_out,
    "conv_depthwise": depthwise,
    "conv_depthwise_any": depthwise_any,
    "conv_grouped": grouped,
    "linear": linear,
}
