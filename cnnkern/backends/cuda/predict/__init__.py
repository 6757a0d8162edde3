"""What a launch must execute, from its kernel's name and its arguments alone: the second of the three numbers.

Written from what each kernel is said to do, in formulas of its own; nothing here reads a kernel or shares a line with
one, so that a kernel that does more, or less, than its launch says is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ....ops.base import Counts
from ..launch import Launch
from . import conv, eltwise, im2col, moves, norm, pool, softmax

TEMPLATES: dict[str, Callable[[Launch], Counts | None]] = {
    **moves.TEMPLATES,
    **eltwise.TEMPLATES,
    **conv.TEMPLATES,
    **pool.TEMPLATES,
    **norm.TEMPLATES,
    **softmax.TEMPLATES,
    **im2col.TEMPLATES,
}


def predict(launches: Iterable[Launch]) -> Counts | None:
    """The sum over the launches of a step; None where one of them is of no known kind, or hangs on values that it only
    points to."""
    total = Counts()
    for launch in launches:
        template = launch.kernel.template
        counts = TEMPLATES[template](launch) if template in TEMPLATES else None
        if counts is None:
            return None
        total += counts
    return total
