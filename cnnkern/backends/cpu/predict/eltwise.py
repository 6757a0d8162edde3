"""Element-wise calls: activations, two operands, scale and shift, softmax."""

from __future__ import annotations

from ....ops.base import Counts
from ..buffers import Tensor
from ..calls import NativeCall
from .geometry import ceil_div, round_up
from .tiles import CLAMPS, row_act, scaling

CHUNK = 4096  # floats of a row that are worked on at a time


def runs(y: Tensor, *operands: Tensor) -> tuple[int, int]:
    """(rows, length): how y falls into runs along which every tensor moves at one stride of its own. A size of 1 that
    y has more of is read again and again, at stride 0."""
    total = y.sizes[0] * y.sizes[1] * y.sizes[2] * y.sizes[3]
    length = y.sizes[3]
    steps = [_stride(t, y, 3) for t in operands]
    for axis in (2, 1, 0):
        if y.sizes[axis] == 1:
            continue
        if any(_stride(t, y, axis) != length * step for t, step in zip(operands, steps)):
            break
        length *= y.sizes[axis]
    return (total // length if length else 0), length


def _stride(t: Tensor, y: Tensor, axis: int) -> int:
    if t.sizes[axis] != y.sizes[axis]:
        return 0
    return 1 if axis == 3 and t.sizes[3] <= 1 else t.strides[axis]


def activation(call: NativeCall, isa: str, width: int) -> Counts:
    x, y = call.tensors["x"], call.tensors["y"]
    rows, length = runs(y, x, y)
    return row_act(call.options["kind"], width, length, rows)


def binary(call: NativeCall, isa: str, width: int) -> Counts:
    rows, length = runs(call.tensors["y"], *(call.tensors[name] for name in "aby"))
    own = Counts(**{call.options["kind"]: rows * round_up(length, width)}, bytes_written=4 * rows * length)
    return own + Counts(bytes_read=operands(call)) + _after(call.options["act"], width, rows, length)


def operands(call: NativeCall) -> int:
    """Bytes that a binary call reads: one channel against many is read once a run (a part of it, if it is long)."""
    a, b, y = (call.tensors[name] for name in "aby")
    rows, length = runs(y, a, b, y)
    once = [ceil_div(length, CHUNK) if t.sizes[3] != y.sizes[3] else length for t in (a, b)]
    return 4 * rows * sum(once)


def affine(call: NativeCall, isa: str, width: int) -> Counts:
    """x * scale + shift, both read for every pixel."""
    y = call.tensors["y"]
    pixels, channels = y.sizes[0] * y.sizes[1] * y.sizes[2], y.sizes[3]
    return scaling(width, pixels, channels) + _after(call.options["act"], width, pixels, channels)


def _after(act: str, width: int, rows: int, length: int) -> Counts:
    """An activation: a clamp where the value is, else a pass over what was stored."""
    if act in CLAMPS:
        return Counts(max=2 * rows * round_up(length, width))
    return row_act(act, width, length, rows)


def softmax(call: NativeCall, isa: str, width: int) -> Counts:
    """Per pixel: the maximum; the exponentials and their sum; the quotients or, of the logarithm, the differences."""
    y = call.tensors["y"]
    rows, length = y.sizes[0] * y.sizes[1] * y.sizes[2], y.sizes[3]
    if not length:
        return Counts()
    log = call.options["log"]
    folds = Counts(add=width - 1, max=width - 1)
    moved = Counts(bytes_read=12 * length, bytes_written=4 * length if log else 8 * length)
    return (softmax_row(length, log, width) + folds + moved) * rows


def softmax_row(length: int, log: bool, width: int = 1) -> Counts:
    """The operations on a row's vectors. An exponential takes 8 fma, 2 mul, 1 add, 2 max; the logarithm of the sum, on
    a vector of its own, 5 fma, 3 mul, 3 add, 3 max and a division."""
    each = Counts(fma=8, mul=2, add=5, max=3) if log else Counts(fma=8, mul=3, add=3, max=3)
    once = Counts(fma=5, mul=3, add=3, max=3, special=1) if log else Counts(special=1)
    return each * round_up(length, width) + once * width
