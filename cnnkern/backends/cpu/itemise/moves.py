"""Moves of any rank, and resampling."""

from __future__ import annotations

from ....backends.base import Step
from ....ops.base import Counts, product
from ..predict.moves import parts as executed
from ..predict.resample import executed as resampled
from .items import IN_PLACE, LANES, TRAFFIC, Items
from .others import given, lanes


def parts(step: Step, isa: str, width: int) -> Items:
    """What lies in its place already, or is stepped over, is not moved; what is repeated is read as often."""
    found, (call,) = Items(), step.native
    done = executed(call, isa, width)
    unread = given(step) - done.bytes_read
    unwritten = 4 * sum(map(product, step.out_shapes)) - done.bytes_written
    found.book(IN_PLACE, Counts(bytes_read=max(0, unread), bytes_written=unwritten))
    found.book(TRAFFIC, Counts(bytes_read=min(0, unread)))
    return found


def resample(step: Step, isa: str, width: int) -> Items:
    found, (call,) = Items(), step.native
    found.book(TRAFFIC, Counts(bytes_read=given(step) - resampled(call, isa, width).bytes_read))
    found.book(LANES, lanes(step, isa, width))
    return found
