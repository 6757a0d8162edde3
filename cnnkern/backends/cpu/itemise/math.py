"""Functions, reductions and products of arrays of any rank."""

from __future__ import annotations

from dataclasses import replace

from ....backends.base import Step
from ....ops.base import Counts, product
from ....ops.eltwise import BINARY as PAIR_FORMULAS
from ....ops.eltwise import UNARY as FORMULAS
from ..predict import matmul, nd, predict, reduce
from .items import FOLDED, FUNCTIONS, LANES, PACKING, PASSES, TRAFFIC, Items
from .others import after, batch_norm, given, lanes


def _bytes(counts: Counts) -> Counts:
    return Counts(bytes_read=counts.bytes_read, bytes_written=counts.bytes_written)


def _operations(counts: Counts) -> Counts:
    return replace(counts, bytes_read=0, bytes_written=0)


def unary(step: Step, isa: str, width: int) -> Items:
    found, (call,) = Items(), step.native
    found.book(
        FUNCTIONS, (FORMULAS[call.options["kind"]][1] - nd.UNARY[call.options["kind"]]) * product(step.out_shapes[0])
    )
    found.book(LANES, lanes(step, isa, width))
    found.book(PACKING, _bytes(step.theory) - _bytes(predict(step.native, isa, width)))
    return found


def binary(step: Step, isa: str, width: int) -> Items:
    """What is added and multiplied, too, where operands broadcast or are constants."""
    found, (call,), n = Items(), step.native, product(step.out_shapes[0])
    kind = getattr(step.spec, "kind", step.spec.op)
    formula = PAIR_FORMULAS[kind] if kind in PAIR_FORMULAS else Counts(**{kind: 1})
    found.book(FUNCTIONS, (formula - nd.BINARY[call.options["kind"]]) * n)
    after(found, call.options["act"], n)
    found.book(LANES, lanes(step, isa, width))
    a, b, y = (call.tensors[name] for name in "aby")
    g = nd.grid(y, a, b, y)
    if g is not None:
        moved = g.reads(0) + g.reads(1) + g.writes()
        once = Counts(bytes_read=given(step), bytes_written=4 * n)
        through = Counts(bytes_read=4, bytes_written=4) * ((moved.bytes_written - 4 * n) // 4)
        found.book(PACKING, -1 * through)
        found.book(TRAFFIC, once + through - moved)
    elif given(step):
        found.book(TRAFFIC, Counts(bytes_read=given(step)))
    return found


def affine(step: Step, isa: str, width: int) -> Items:
    """A batch norm's statistics became one multiplication and addition when the plan was made; any activation takes a
    pass of its own."""
    (call,) = step.native
    g, act, n = nd.channels(call), call.options["act"], product(step.out_shapes[0])
    if g is None or g.cols.steps[2]:
        return batch_norm(step, isa, width)
    found, scaled = Items(), step.in_shapes[3:4] not in ((), (None,))
    after(found, act, n, pass_of_its_own=True)
    found.book(FOLDED, Counts(fma=1, mul=int(scaled), add=1, special=2) * step.in_shapes[0][1])
    found.book(LANES, lanes(step, isa, width))
    found.book(TRAFFIC, Counts(bytes_read=given(step) - 4 * n))
    return found


def softmax(step: Step, isa: str, width: int) -> Items:
    found, (call,) = Items(), step.native
    sizes, log = call.tensors["y"].sizes, call.options["log"]
    floats, length = product(sizes), sizes[call.options["axis"]]
    if floats:
        rows = floats // length
        formula = Counts(max=length - 1, add=2 * length - 1, special=length + 1)
        formula += Counts(add=length) if log else Counts(mul=length)
        found.book(FUNCTIONS, (formula - nd.softmax_row(length, log)) * rows)
        found.book(PASSES, Counts(bytes_read=-8, bytes_written=0 if log else -4) * floats)
        found.book(PACKING, nd.COPY * (-2 * floats * nd.staged(call)))
        found.book(LANES, lanes(step, isa, width))
    return found


def reduction(step: Step, isa: str, width: int) -> Items:
    """The first element of a sum joins the neutral one; sums of parts are added up again."""
    found, (call,) = Items(), step.native
    found.book(FUNCTIONS, _operations(step.theory - predict(step.native, isa, 1)))
    found.book(LANES, lanes(step, isa, width))
    r = reduce.read(call)
    if r is None:
        found.book(TRAFFIC, _bytes(step.theory))
        return found
    times = 2 if r.kind == "log_sum_exp" else 1
    copied = nd.COPY * (r.outputs * r.elements * times * r.staged + r.outputs * (not r.direct))
    found.book(PACKING, -1 * copied)
    found.book(PASSES, _bytes(step.theory) - _bytes(predict(step.native, isa, width)) + copied)
    return found


def products(step: Step, isa: str, width: int) -> Items:
    found, (call,) = Items(), step.native
    copies = matmul.copies(call, isa)
    found.book(PACKING, -1 * copies)
    found.book(LANES, Counts(fma=-matmul.idle(call, isa)))
    tiles = _bytes(matmul.tiles(call, isa, width))
    found.book(TRAFFIC, _bytes(step.theory) - tiles)
    return found
