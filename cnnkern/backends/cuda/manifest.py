"""Every kernel that a plan may launch: what the compile gate compiles for each target, and tests run on the host."""

from __future__ import annotations

from . import conv, eltwise, im2col, moves, norm, pool, softmax
from .launch import Kernel


def kernels() -> list[Kernel]:
    """Without repetition, by source and name."""
    families = (moves, eltwise, conv, im2col, pool, norm, softmax)
    found = {(kernel.source, kernel.name): kernel for family in families for kernel in family.kernels()}
    return [found[key] for key in sorted(found)]
