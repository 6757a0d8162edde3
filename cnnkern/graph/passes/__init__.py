"""Graph passes: each takes (graph, weights) and returns new ones, computing the same outputs under the same names.

A pass works on a batch-bound graph (`graph.bind(batch)`), changes neither of its arguments (weights are copied
shallowly, arrays never written) and keeps every graph input and output. Any subset, in any order, is valid; the order
of `STANDARD` finds the most. A backend lists the ones it wants.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from ... import config
from ..ir import Graph
from .dead_code import dead_code
from .flatten_to_hwc import flatten_to_hwc
from .fold_batch_norm import fold_batch_norm
from .fold_pad import fold_pad
from .fuse_activation import fuse_activation
from .fuse_blocks import fuse_blocks
from .fuse_prologue import fuse_prologue
from .fuse_residual import fuse_residual
from .recognise import recognise

Pass = Callable[[Graph, dict], tuple[Graph, dict]]

STANDARD: list[Pass] = [dead_code, recognise, fold_pad, fold_batch_norm, fuse_activation, fuse_residual, flatten_to_hwc]

__all__ = [
    "STANDARD",
    "Pass",
    "apply",
    "dead_code",
    "flatten_to_hwc",
    "fold_batch_norm",
    "fold_pad",
    "fuse_activation",
    "fuse_blocks",
    "fuse_prologue",
    "fuse_residual",
    "recognise",
]


def apply(graph: Graph, weights: dict, passes: Iterable[Pass] = STANDARD) -> tuple[Graph, dict]:
    """Run passes in order. CNNKERN_VERBOSE=3 writes a line per pass to stderr: nodes before and after."""
    for run in passes:
        before = len(graph.nodes)
        graph, weights = run(graph, weights)
        if config.get("verbose") >= 3:
            print(f"cnnkern pass {run.__name__}: {before} -> {len(graph.nodes)} nodes", file=sys.stderr)
    return graph, weights
