"""What a backend is, and the `Step` that every road ends in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..graph.ir import Graph
from ..ops.base import Counts, Spec

# Inputs of an op that are weights: packed when they are known, not computed by other steps.
WEIGHTS = {
    "conv2d": (1, 2, 4, 5),
    "conv_transpose2d": (1, 2),
    "fused_block": (1, 2, 3, 4, 5, 6),
    "linear": (1, 2),
    "locally_connected2d": (1, 2),
    "batch_norm": (1, 2, 3, 4),
}


@dataclass
class Step:
    """One kernel with everything it needs, ready to run: made by a plan, run by one loop.

    `run` takes the arrays of `inputs` (None where absent) and returns the arrays of `outputs`; a backend whose steps
    live in a native program leaves it None and keeps its handle in `native`.
    """

    name: str  # the layer, as in the graph
    spec: Spec
    kernel: str  # "f32_conv_14x32__avx512"; "numpy" on the reference
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    in_shapes: tuple[tuple[int, ...] | None, ...]
    out_shapes: tuple[tuple[int, ...], ...]
    theory: Counts
    run: Callable[..., Sequence[Any]] | None = None
    native: Any = None
    predicted: Counts | None = None  # from shape and plan alone; None where that is not enough, or not known how
    why: str = ""  # why this kernel was chosen, for CNNKERN_VERBOSE=2
    plan: dict[str, Any] = field(default_factory=dict)  # the decisions (algo, tiles, ...), printable and serialisable


class Backend(Protocol):
    """A place where steps run. Backends are objects: two run side by side in one process."""

    name: str
    precisions: tuple[str, ...]  # of cnnkern.config.PRECISIONS, those it has

    def available(self) -> str:
        """An empty string when usable, else one sentence that says why not."""

    def passes(self) -> list[Callable[[Graph, dict], tuple[Graph, dict]]]:
        """The graph passes this backend wants, in order; each takes and returns (graph, weights)."""

    def call(self, spec: Spec, arrays: Sequence[Any], out=None, *, precision: str = "float32") -> tuple[Any, ...]:
        """One eager operation on NCHW-shaped arrays (any strides, whole floats); returns fresh arrays, or fills `out`
        (operations with one output). UnsupportedError: a precision or a forced algorithm it cannot serve."""

    def compile(
        self, graph: Graph, weights: dict, *, precision: str = "float32", threads: int | None = None, **options: Any
    ):
        """A batch-bound graph (after passes) and its weights -> an executable (graph/executor.py)."""
