"""The line per step of CNNKERN_VERBOSE=1: backend, kernel, problem, ms, GFLOP/s; at 2 also why the kernel was chosen.

The problem is a line that the op benchmark takes back (graph/problem.py). Everything goes to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..graph.problem import format_problem
from ..ops.base import Shape, Spec


def print_step(
    backend: str, kernel: str, spec: Spec, shapes: Sequence[Shape | None], seconds: float, why: str = "", name: str = ""
) -> None:
    """Print one step that took `seconds`; `name` is its layer where it has one."""
    flops = spec.theory(*shapes).flops
    rate = f"{flops / seconds / 1e9:.2f} GFLOP/s" if seconds > 0 else "-"
    words = (backend, name, kernel, f"[{format_problem(spec, shapes)}]", f"{seconds * 1e3:.4f} ms", rate)
    print("cnnkern", *(w for w in words if w), *((f"({why})",) if why else ()), file=sys.stderr)
