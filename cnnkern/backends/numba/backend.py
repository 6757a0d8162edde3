"""NumbaBackend: kernels compiled on this machine by Numba, behind the Backend protocol."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ... import config
from ...errors import UnsupportedError
from ...graph import passes
from ...graph.executor import MAX_CONTEXTS, Executable
from ...graph.ir import Graph, Node
from ...graph.memory import dense_bytes, plan_memory
from ...graph.plan import make_plan, new_step
from ...graph.views import own_buffers
from ...ops import Conv2dSpec, ForeignSpec
from ...ops.base import Spec
from .. import fft, reference, warn_once
from ..asked import conv_algo
from ..trace import print_step

PRECISIONS = ("float32", "strict")


class NumbaBackend:
    """Kernels in Python, compiled by Numba for this machine when they are first called: a portable middle between the
    compiled core and the reference. float32 inside; the same bits for every number of threads."""

    name = "numba"
    precisions = PRECISIONS

    def available(self) -> str:
        spec = importlib.util.find_spec("numba")
        if spec is None or spec.origin is None:  # nothing, or a folder of that name
            return "Numba is not installed; pip install 'cnnkern[numba]'"
        try:
            import numba  # noqa: F401
        except Exception as error:  # what it raises where it does not know this NumPy or this Python has no one type
            return f"Numba does not load: {error}"
        return ""

    def passes(self) -> list[passes.Pass]:
        return list(passes.STANDARD)

    def call(
        self, spec: Spec, arrays: Sequence[Any], out: Any = None, *, precision: str = "float32"
    ) -> tuple[np.ndarray, ...]:
        """One operation; see `Backend.call`. precision="strict" changes nothing: there is no Winograd here."""
        _check_precision(precision)
        if conv_algo(spec) == "fft":
            return fft.call(spec, arrays, out, precision)
        shapes = [None if a is None else a.shape for a in arrays]
        spec.infer(*shapes)
        start = time.perf_counter()
        results = _run(spec, arrays)
        if out is not None:
            np.copyto(out, results[0])
            results = (out,)
        if config.get("verbose"):
            print_step(self.name, kernel_name(spec, shapes), spec, shapes, time.perf_counter() - start)
        return results

    def compile(
        self,
        graph: Graph,
        weights: Mapping[str, Any],
        *,
        precision: str = "float32",
        threads: int | None = None,
        max_contexts: int = MAX_CONTEXTS,
    ) -> Executable:
        """A batch-bound graph after this backend's passes -> an executable; filters are packed here, once.

        Args:
            threads: default `cnnkern.get_num_threads()`.
        """
        _check_precision(precision)
        weights = {name: np.asarray(array, np.float32) for name, array in weights.items()}
        # The network's outputs are the caller's to keep; what is no float32 passes from step to step.
        placed = {name for name, value in graph.values.items() if value.dtype == "float32"} - set(graph.outputs)
        size_bytes = {name: dense_bytes(v.shape) if name in placed else 0 for name, v in graph.values.items()}
        memory = plan_memory(graph, own_buffers(graph), size_bytes.__getitem__)
        prepare = partial(_prepare, threads or config.get_num_threads())
        plan = make_plan(graph, weights, prepare, backend=self.name, memory=memory)
        from .runner import NumbaRunner

        return Executable(plan, NumbaRunner(plan, weights, placed), max_contexts=max_contexts)


def _check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        raise UnsupportedError(f"precision {precision!r}: the numba backend has {', '.join(PRECISIONS)}")


def _run(spec: Spec, arrays: Sequence[Any], *new: Callable) -> tuple[np.ndarray, ...]:
    from .operations import OPS, run

    if spec.by_value:  # numbers that a kernel takes for places in memory
        spec.check_values([a.shape for a in arrays], {i: arrays[i] for i in spec.by_value})
    if spec.op in OPS:
        return run(spec, arrays, *new)
    if not isinstance(spec, ForeignSpec):  # whoever made it has said so
        warn_once(("numba", spec.op), f"{spec.op} has no Numba kernel and runs on the reference")
    with config.overrides(verbose=0):
        return reference.ReferenceBackend(np.float32).call(spec, arrays)


def kernel_name(spec: Spec, shapes: Sequence) -> str:
    """ "numba_conv_direct"; "numpy" for what it serves."""
    from . import conv, operations

    if spec.op in operations.MOVES or spec.op not in operations.OPS:
        return "numpy"
    if isinstance(spec, Conv2dSpec):
        return f"numba_conv_{conv.algorithm(spec, *shapes[:2])}"
    return f"numba_{spec.op}"


def _prepare(threads: int, node: Node, graph: Graph, weights: Mapping[str, Any], decision: Any):
    spec = node.spec
    ready = None
    if isinstance(spec, Conv2dSpec) and node.inputs[1] in weights:
        from . import conv

        ready = conv.prepare(spec, graph.shape(node.inputs[0]), weights[node.inputs[1]])

    def run(new, *arrays):
        with config.overrides(num_threads=threads, verbose=0):  # the runner prints the step's line
            if ready is None:
                return _run(spec, arrays, new)
            return (ready(new, arrays[0], *arrays[2:]),)

    shapes = [graph.shape(name) for name in node.inputs]
    return new_step(node, graph, kernel_name(spec, shapes), run=run)
