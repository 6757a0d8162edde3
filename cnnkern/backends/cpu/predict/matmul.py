"""Products of stacks of matrices: b packed into panels unless it is known, rows of a through tiles."""

from __future__ import annotations

from typing import NamedTuple

from ....ops.base import Counts, product
from ..calls import NativeCall
from .geometry import ceil_div, pieces
from .nd import COPY
from .tiles import Epilogue, conv_tiles, panels

UNITS, CHUNK_FLOATS, CHUNK_ROWS = 16, 48 * 1024, 256  # how many rows go together: pieces of a matrix, floats of a, rows


class Product(NamedTuple):
    """`count` products (m, k) (k, n); of a and b, the matrices that are copied."""

    count: int
    m: int
    n: int
    k: int
    a_copies: int
    b_copies: int
    y_copied: bool


def read(call: NativeCall) -> Product:
    """Products of the same b are one of more rows, where a's rows and y's go on at their stride."""
    a, b, y = (call.tensors[name] for name in "aby")
    *lead, m, n = y.sizes
    k = a.sizes[-1]
    weight = call.arrays["weight"]
    if b is None:
        own = (1,) * (len(lead) + 2 - weight.ndim) + weight.shape[:-2]
        b_moves = [size != 1 for size in own]
    else:
        b_moves = [step != 0 for step in b.strides[:-2]]
    axes = [i for i, size in enumerate(lead) if size != 1]
    a_row, y_row = a.strides[-2], y.strides[-2]
    while axes and not b_moves[axes[-1]]:
        i = axes[-1]
        if m == 1:
            a_row, y_row = a.strides[i], y.strides[i]
        elif (a.strides[i], y.strides[i]) != (m * a_row, m * y_row):
            break
        m *= lead[axes.pop()]
    a_apart, y_apart = k > 1 and a.strides[-1] != 1, n > 1 and y.strides[-1] != 1
    a_count = product(lead[i] for i in axes if a.strides[i] != 0)
    b_count = product(lead[i] for i in axes if b_moves[i])
    count = product(lead[i] for i in axes)
    return Product(count, m, n, k, a_count * a_apart, b_count * (b is not None), y_apart)


def chunk_rows(p: Product, px: int) -> int:
    """Rows of a that are multiplied by one panel after the other."""
    fit = min(CHUNK_FLOATS // max(1, p.k), CHUNK_ROWS) // px
    return px * max(1, min(fit, ceil_div(ceil_div(p.m, px), UNITS)))


def copies(call: NativeCall, isa: str) -> Counts:
    """b in panels of whole blocks, zeros beyond its last column; a and y where their rows do not lie in a row."""
    p = read(call)
    if not p.count * p.m * p.n:
        return Counts()
    last = panels(isa, p.n, call.options["ob"], call.options["px"])
    zeroed = sum(panel.lanes * panel.count for panel in last if panel.valid < panel.lanes)
    packed = COPY * (p.k * p.n) + Counts(bytes_written=4 * p.k * zeroed)
    through = p.a_copies * p.m * p.k + p.count * p.m * p.n * p.y_copied
    return packed * p.b_copies + COPY * through


def tiles(call: NativeCall, isa: str, width: int) -> Counts:
    p, px = read(call), call.options["px"]
    chunk, total = chunk_rows(p, px), Counts()
    whole, rest = divmod(p.m, chunk)
    for panel in panels(isa, p.n, call.options["ob"], px):
        cut = [(size, n * whole) for size, n in pieces(chunk, panel.px)] if whole else []
        cut += pieces(rest, panel.px)
        total += conv_tiles(isa, width, panel, cut, p.count, p.count * p.k, Epilogue())
    return total


def executed(call: NativeCall, isa: str, width: int) -> Counts:
    return copies(call, isa) + tiles(call, isa, width)


def idle(call: NativeCall, isa: str) -> int:
    """Multiply-adds on lanes beyond the last column."""
    p = read(call)
    lanes = sum(panel.lanes * panel.count for panel in panels(isa, p.n, call.options["ob"], call.options["px"]))
    return p.count * p.m * p.k * (lanes - p.n)
