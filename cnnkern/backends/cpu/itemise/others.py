"""Everything that is no convolution. What a kernel whose lanes are never idle would execute (a width of 1) parts the
wasted lanes from what the form of the kernel costs."""

from __future__ import annotations

from dataclasses import replace

from ....backends.base import Step
from ....ops.base import Counts, product
from ....ops.eltwise import ACTIVATIONS as FORMULAS
from ..predict import eltwise, locally_connected, norm, pool, predict
from ..predict.geometry import overlap
from ..predict.moves import im2col
from ..predict.tiles import ACTIVATIONS as LEAVES
from ..predict.tiles import CLAMPS
from .items import FOLDED, FUNCTIONS, IN_PLACE, LANES, PASSES, REGIONS, SAVING, SKIPPED, TRAFFIC, Items

CLAMP = Counts(max=2)


def given(step: Step) -> int:
    """Bytes of all inputs of a step."""
    return 4 * sum(product(shape) for shape in step.in_shapes if shape is not None)


def lanes(step: Step, isa: str, width: int) -> Counts:
    """The operations on idle lanes, negative."""
    idle = predict(step.native, isa, 1) - predict(step.native, isa, width)
    return replace(idle, bytes_read=0, bytes_written=0)


def after(found: Items, act: str, elements: int, pass_of_its_own: bool = False) -> None:
    """An activation behind something else; clamps need no pass of their own."""
    if act in CLAMPS and not pass_of_its_own:
        found.book(FUNCTIONS, (FORMULAS[act] - CLAMP) * elements)
    elif act:
        found.book(FUNCTIONS, (FORMULAS[act] - LEAVES[act]) * elements)
        found.book(PASSES, Counts(bytes_read=-4 * elements, bytes_written=-4 * elements))


def activation(step: Step, isa: str, width: int) -> Items:
    found, kind = Items(), step.native[0].options["kind"]
    found.book(FUNCTIONS, (FORMULAS[kind] - LEAVES[kind]) * product(step.out_shapes[0]))
    found.book(LANES, lanes(step, isa, width))
    return found


def binary(step: Step, isa: str, width: int) -> Items:
    found, (call,) = Items(), step.native
    after(found, call.options["act"], product(step.out_shapes[0]))
    found.book(TRAFFIC, Counts(bytes_read=given(step) - eltwise.operands(call)))
    found.book(LANES, lanes(step, isa, width))
    return found


def batch_norm(step: Step, isa: str, width: int) -> Items:
    """The statistics became one multiplication and addition when the plan was made."""
    found, x, scaled = Items(), step.in_shapes[0], step.in_shapes[3:4] not in ((), (None,))
    after(found, step.native[0].options["act"], product(x))
    found.book(FOLDED, Counts(fma=1, mul=int(scaled), add=1, special=2) * x[1])
    found.book(TRAFFIC, Counts(bytes_read=given(step) - 12 * product(x)))
    found.book(LANES, lanes(step, isa, width))
    return found


def softmax(step: Step, isa: str, width: int) -> Items:
    found, (call,) = Items(), step.native
    n, h, w, length = call.tensors["y"].sizes
    rows, log = n * h * w, call.options["log"]
    if rows * length:
        formula = Counts(max=length - 1, add=2 * length - 1, special=length + 1)
        formula += Counts(add=length) if log else Counts(mul=length)
        found.book(FUNCTIONS, (formula - eltwise.softmax_row(length, log)) * rows)
        found.book(PASSES, Counts(bytes_read=-8, bytes_written=0 if log else -4) * (rows * length))
        found.book(LANES, lanes(step, isa, width))
    return found


def pooling(step: Step, isa: str, width: int) -> Items:
    found, (call,) = Items(), step.native
    n, p, q, c = call.tensors["y"].sizes
    kind, (rows, columns) = call.options.get("kind", "avg"), pool.axes(call)
    taps = n * sum(rows) * sum(columns)
    filled = n * sum(map(bool, rows)) * sum(map(bool, columns))
    whole = n * p * q * product(call.options["kernel"]) if call.method == "add_pool" else taps
    joins = Counts(**{pool.JOINS[kind]: (whole - n * p * q - (taps - filled)) * c})
    found.book(SKIPPED, joins + Counts(mul=(n * p * q - filled) * c if kind == "avg" else 0))
    found.book(TRAFFIC, Counts(bytes_read=given(step) - 4 * taps * c))
    found.book(PASSES, -1 * pool.row_results(call))
    found.book(LANES, lanes(step, isa, width))
    return found


def regions(step: Step, isa: str, width: int) -> Items:
    found = Items()
    found.book(REGIONS, step.theory - predict(step.native, isa, 1))
    found.book(LANES, lanes(step, isa, width))
    return found


def local_response_norm(step: Step, isa: str, width: int) -> Items:
    found, (call,) = Items(), step.native
    n, neighbours = product(step.in_shapes[0]), sum(norm.window(step.in_shapes[0][1], step.spec.size))
    found.book(SKIPPED, Counts(add=(step.spec.size - 1 - neighbours) * n))
    found.book(FUNCTIONS, (Counts(fma=1, mul=2, special=1) - norm.power(call.options["beta"])) * n)
    written = -4 * (n + norm.zeroed(call))
    found.book(PASSES, Counts(bytes_read=-4 * n * (2 + neighbours), bytes_written=written))
    found.book(LANES, lanes(step, isa, width))
    return found


def local_contrast_norm(step: Step, isa: str, width: int) -> Items:
    """Two windows of size x size over C channels, against a sum over C and two separable windows over that."""
    found, (n, c, h, w), size = Items(), step.in_shapes[0], step.spec.size
    plain = Counts(fma=2 * c * size**2, mul=c + 2, add=c + 1, max=2, special=c + 1)
    separable = Counts(fma=4 * size + c, mul=4, add=6 * c + 2, max=2, special=c + 1)
    average = Counts(fma=1, add=2 * h)  # of the rows' sums, an image
    found.book(SAVING, (plain - separable) * (n * h * w) - average * n)
    outside = sum(size - overlap(row - size // 2, row + size // 2 + 1, h) for row in range(h))
    found.book(SKIPPED, Counts(fma=2 * n * w * outside))
    found.book(LANES, lanes(step, isa, width))
    done, once = predict(step.native, isa, width), given(step)
    found.book(PASSES, Counts(bytes_read=once - done.bytes_read, bytes_written=once - done.bytes_written))
    return found


def locally_connected2d(step: Step, isa: str, width: int) -> Items:
    found, (call,) = Items(), step.native
    (n, p, q, k), c = call.tensors["y"].sizes, call.tensors["x"].sizes[3]
    taps, bias = locally_connected.taps(call), call.arrays["bias"] is not None
    every = p * q * product(call.options["kernel"])
    found.book(SKIPPED, Counts(fma=(every - taps) * n * c * k))
    found.book(FOLDED, Counts(add=n * p * q * k * bias))
    panels = locally_connected.cut(call, isa) if n else ()
    idle = sum(panel.lanes * panel.count for panel in panels) - k if n else 0
    found.book(LANES, Counts(fma=-taps * n * c * idle))
    read = predict(step.native, isa, width).bytes_read
    found.book(TRAFFIC, Counts(bytes_read=given(step) - read))
    return found


def moved(step: Step, isa: str, width: int) -> Items:
    """What a concat, a slice, a flattening ... copies of what it would."""
    found = Items()
    read, written = (4 * sum(product(call.tensors[name].sizes) for call in step.native) for name in "xy")
    made = 4 * sum(map(product, step.out_shapes))
    found.book(IN_PLACE, Counts(bytes_read=given(step) - read, bytes_written=made - written))
    return found


def patches(step: Step, isa: str, width: int) -> Items:
    found, (call,) = Items(), step.native
    found.book(TRAFFIC, Counts(bytes_read=given(step) - im2col(call, isa, width).bytes_read))
    return found
