"""Element-wise calls on arrays of any rank, softmax along any axis, scale and shift by any axis."""

from __future__ import annotations

from typing import NamedTuple

from ....ops.base import Counts, product
from ..buffers import Nd
from ..calls import NativeCall
from .eltwise import softmax_row
from .geometry import ceil_div, round_up
from .tiles import ACTIVATIONS, CLAMPS, row_act, scaling

UNIT = 4096  # floats of a block: of a row at most, and of several short rows
COPY = Counts(bytes_read=4, bytes_written=4)  # of a float that goes through scratch

_EXP = Counts(fma=8, mul=2, add=1, max=2)
_EXPM1 = Counts(fma=7, mul=4, add=4, max=2)
_NEAREST = Counts(add=2, max=1)
# What a lane of each function's vector form executes.
UNARY = {
    "neg": Counts(add=1),
    "abs": Counts(),
    "sign": Counts(max=2),
    "floor": _NEAREST + Counts(add=1, max=1),
    "ceil": _NEAREST + Counts(add=1, max=1),
    "round": _NEAREST,
    "sqrt": Counts(special=1),
    "reciprocal": Counts(special=1),
    "exp": _EXP,
    "log": Counts(fma=5, mul=4, add=4, max=7, special=1),
    "erf": Counts(fma=22, mul=10, add=5, max=2, special=1),
    "affine": Counts(fma=1),
    "clip": ACTIVATIONS["clip"],
    "hardsigmoid": Counts(fma=1, max=2),
    "elu": _EXPM1 + Counts(mul=1, max=2),
    "selu": _EXPM1 + Counts(mul=2, max=2),
    "celu": _EXPM1 + Counts(mul=1, max=2, special=1),
    "thresholded_relu": Counts(max=1),
    "softplus": _EXP + Counts(fma=4, mul=2, add=4, max=2, special=1),
    "softsign": Counts(add=1, special=1),
    "mish": _EXP + Counts(mul=2, add=2, max=1, special=1),
    "gelu_tanh": _EXP + Counts(fma=1, mul=2, add=1, special=1),
    "swish": _EXP + Counts(mul=1, add=1, special=1),
}
BINARY = {
    "add": Counts(add=1),
    "mul": Counts(mul=1),
    "sub": Counts(add=1),
    "div": Counts(special=1),
    "pow": Counts(fma=13, mul=15, add=27, max=21, special=2),
    "min": Counts(max=1),
    "max": Counts(max=1),
    "prelu": Counts(mul=1, max=1),
}


class Loop(NamedTuple):
    """One axis, and the floats from one of its elements to the next, of each operand."""

    size: int
    steps: tuple[int, ...]


def loops(lead: Nd, *operands: Nd, without: tuple[int, ...] = ()) -> list[Loop]:
    """The axes of `lead` (those but `without`), as they lie in its memory, outermost first; what every operand walks
    as one is one."""
    axes = [i for i, size in enumerate(lead.sizes) if size != 1 and i not in without]
    axes.sort(key=lambda i: -abs(lead.strides[i]))
    found: list[Loop] = []
    for i in axes:
        loop = Loop(lead.sizes[i], tuple(t.strides[i] for t in operands))
        if found and all(outer == loop.size * own for outer, own in zip(found[-1].steps, loop.steps)):
            found[-1] = Loop(found[-1].size * loop.size, loop.steps)
        else:
            found.append(loop)
    return found or [Loop(1, (1,) * len(operands))]


class Grid(NamedTuple):
    """The two innermost loops, and how often they run. The last operand is written."""

    outer: int
    rows: Loop
    cols: Loop

    @property
    def lines(self) -> int:
        return self.outer * self.rows.size

    @property
    def floats(self) -> int:
        return self.lines * self.cols.size

    def lanes(self, width: int) -> int:
        return self.lines * round_up(self.cols.size, width)

    def once(self, i: int) -> bool:
        """Whether operand i is one float a row; of operands that all stand still, the first is copied."""
        return self.cols.steps[i] == 0 and (i > 0 or any(self.cols.steps[:-1]))

    def reads(self, i: int) -> Counts:
        """What is read of operand i, with the copy that it takes where its floats do not follow each other."""
        if self.once(i):
            return Counts(bytes_read=4 * self.lines * ceil_div(self.cols.size, UNIT))
        straight = Counts(bytes_read=4 * self.floats)
        if self.cols.steps[i] == 1:
            return straight
        lot = max(1, UNIT // min(self.cols.size, UNIT))
        lines = self.rows.size if self.rows.steps[i] else ceil_div(self.rows.size, lot)
        return straight + COPY * (self.outer * lines * self.cols.size)

    def writes(self) -> Counts:
        straight = Counts(bytes_written=4 * self.floats)
        return straight if self.cols.steps[-1] == 1 else straight + COPY * self.floats


def grid(lead: Nd, *operands: Nd) -> Grid | None:
    """None where there is nothing to do."""
    if not product(lead.sizes):
        return None
    *outer, cols = loops(lead, *operands)
    rows = outer.pop() if outer else Loop(1, (0,) * len(operands))
    return Grid(product(loop.size for loop in outer), rows, cols)


def unary(call: NativeCall, isa: str, width: int) -> Counts:
    x, y = call.tensors["x"], call.tensors["y"]
    g = grid(y, x, y)
    return Counts() if g is None else UNARY[call.options["kind"]] * g.lanes(width) + g.reads(0) + g.writes()


def binary(call: NativeCall, isa: str, width: int) -> Counts:
    a, b, y = (call.tensors[name] for name in "aby")
    g, act = grid(y, a, b, y), call.options["act"]
    if g is None:
        return Counts()
    done = BINARY[call.options["kind"]] * g.lanes(width) + g.reads(0) + g.reads(1) + g.writes()
    return done + (Counts(max=2 * g.lanes(width)) if act in CLAMPS else row_act(act, width, g.cols.size, g.lines))


def channels(call: NativeCall) -> Grid | None:
    """Of an affine map: operand 2 is the place along the channels' axis."""
    x, y, axis = call.tensors["x"], call.tensors["y"], call.options["axis"]
    return grid(y, x, y, y._replace(strides=tuple(int(i == axis) for i in range(len(y.sizes)))))


def affine(call: NativeCall, isa: str, width: int) -> Counts:
    """Along the rows of a channel the scale and the shift are numbers, and any activation takes a pass of its own."""
    g, act = channels(call), call.options["act"]
    if g is None:
        return Counts()
    if g.cols.steps[2]:
        clamp = act in CLAMPS
        after = Counts() if clamp else row_act(act, width, g.cols.size, g.lines)
        return scaling(width, g.lines, g.cols.size, clamp) + after
    moved = Counts(bytes_read=4 * g.floats, bytes_written=4 * g.floats)
    return Counts(fma=g.lanes(width)) + moved + row_act(act, width, g.cols.size, g.lines)


def staged(call: NativeCall) -> bool:
    """Whether a softmax's rows lie apart, and go through scratch."""
    axis = call.options["axis"]
    return call.tensors["y"].sizes[axis] > 1 and any(call.tensors[name].strides[axis] != 1 for name in "xy")


def softmax(call: NativeCall, isa: str, width: int) -> Counts:
    sizes, axis, log = call.tensors["y"].sizes, call.options["axis"], call.options["log"]
    floats, length = product(sizes), sizes[axis]
    if not floats:
        return Counts()
    folds = Counts(add=width - 1, max=width - 1)
    moved = Counts(bytes_read=12 * length, bytes_written=4 * length if log else 8 * length)
    done = (softmax_row(length, log, width) + folds + moved) * (floats // length)
    return done + COPY * (2 * floats * staged(call))
