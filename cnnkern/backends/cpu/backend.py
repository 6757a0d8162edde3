"""CpuBackend: one instruction set's kernels behind the Backend protocol."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ... import config
from ...errors import UnsupportedError
from ...graph import passes
from ...graph.executor import Executable
from ...graph.ir import Graph, Node
from ...graph.memory import round_up
from ...graph.plan import make_plan, new_step
from ...graph.recent import Recent
from ...graph.views import is_free, plan_views
from ...ops import ForeignSpec
from ...ops.base import Spec
from .. import fft, reference, warn_once
from ..asked import conv_algo
from ..edges import add_edges
from ..one_node import layout, one_node, reference_run
from . import kept
from .buffers import LANES, Buffers
from .candidates import Problem, shown
from .lower import lower
from .lower_conv import conv_shape, reads_nchw, writes_nchw
from .lowering import Lowering, one_image
from .predict import predict
from .runner import NativeRunner
from .schedule import image_by_image, own_values

PRECISIONS = ("float32", "strict")
MAX_PLANS = 32  # eager plans kept; each holds an arena of its operands' size


class CpuBackend:
    """C++ kernels on one instruction set.

    Args:
        isa: "vec128", "avx2" or "avx512"; None: CNNKERN_ISA, else the best this CPU has.
    Raises:
        ValueError: the CPU lacks it (the message lists what it has). ImportError: there is no native module.
    """

    name = "cpu"
    precisions = PRECISIONS

    def __init__(self, isa: str | None = None):
        from ... import _core

        self._core = _core
        self.isa: str = _core.resolve_isa(isa or config.get("isa") or "")
        self._plans = Recent(MAX_PLANS)

    def available(self) -> str:
        return ""

    def passes(self) -> list[passes.Pass]:
        return [*passes.STANDARD, passes.fuse_blocks, passes.fuse_prologue]

    def call(
        self, spec: Spec, arrays: Sequence[Any], out=None, *, precision: str = "float32", threads: int | None = None
    ) -> tuple[Any, ...]:
        """One operation, planned like a network of one layer. Plans without weights are kept; weights may have changed
        between two calls, so what packs them is made anew."""
        if conv_algo(spec) == "fft":
            return fft.call(spec, arrays, out, precision)
        if getattr(spec, "return_indices", False):
            return self._reference_call(spec, arrays, out)
        threads = config.get_num_threads() if threads is None else threads
        layouts = tuple("" if a is None else layout(a) for a in arrays), "NCHW" if out is None else layout(out)
        key = (spec, tuple(None if a is None else a.shape for a in arrays), layouts, precision, threads)
        made = self._plans.get(key)
        graph, weights, inputs = one_node(spec, arrays)
        if made is None:
            external = {name: layout(array) for name, array in zip(graph.inputs, inputs)}
            made = self._compile(graph, weights, precision, threads, {**external, graph.outputs[0]: layouts[1]})
            if not weights:
                self._plans.keep(key, made)
        return (made(inputs, out),)

    def compile(
        self,
        graph: Graph,
        weights: Mapping[str, Any],
        *,
        precision: str = "float32",
        threads: int | None = None,
        decisions: Mapping[str, Mapping[str, Any]] | None = None,
        autotune: bool = False,
        free_weights: bool = False,
        layouts: Mapping[str, str] | None = None,
    ) -> Executable:
        """A batch-bound graph after this backend's passes -> an executable.

        Args:
            precision: "float32", or "strict": no Winograd.
            threads: of the team; default `cnnkern.get_num_threads()`.
            decisions: of an earlier plan (`graph.plan.load_decisions`), to be obeyed.
            autotune: measure first what no earlier run has, and keep it; what is kept is taken in any case.
            free_weights: keep packed weights alone, so that the originals go with the model; checking steps needs them.
            layouts: of rank 4 inputs and outputs by name, as the caller's arrays lie ("NCHW" unless it says "NHWC");
                others are taken too, and copied.
        """
        if autotune and not decisions:
            from .trial import tune

            tune(self, dict(self.problems(graph, weights, precision=precision, threads=threads)).values())
        return self._compile(graph, weights, precision, threads, layouts or {}, decisions, free_weights)

    def problems(
        self, graph: Graph, weights: Mapping[str, Any], *, precision: str = "float32", threads: int | None = None
    ) -> list[tuple[str, Problem]]:
        """The layers of a graph (as for `compile`) whose plan measuring may choose; array values do not matter."""
        low, by_image = self._lowering(graph, weights, precision, threads, {}, {})
        each, found = one_image(low), []
        for node in low.graph.nodes:
            free = is_free(low.graph, low.views, node)
            lowered = None if free else lower(each if node.name in by_image else low, node)
            if lowered is not None and lowered.problem is not None:
                found.append((node.name, lowered.problem))
        return found

    def candidates(self, problem: Problem, costs: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
        """The decisions worth measuring for a problem, the selector's own first; `costs` replaces some of `costs()`."""
        shape = conv_shape(problem.spec, problem.x, problem.weight)
        pixel = 1 if problem.planes else round_up(problem.x[1], LANES)
        strict = problem.precision == "strict"
        last = not problem.planes
        given = (self.isa, shape, problem.spec.algo, strict, last, pixel, last, problem.scaled)
        return [shown(plan) for plan in self._core.conv_candidates(*given, costs=dict(costs or {}))]

    def costs(self) -> dict[str, float]:
        """The machine constants that the selector estimates with."""
        return self._core.conv_costs()

    @property
    def cpu(self) -> str:
        """The processor that kept choices belong to."""
        return self._core.cpu_name()

    @property
    def cache_bytes(self) -> tuple[int, int]:
        """Of a core's second-level cache and of the last one; common sizes where they are unknown."""
        _, l2, l3 = self._core.cache_sizes()
        return l2 or 1 << 20, l3 or 32 << 20

    def _lowering(self, graph, weights, precision, threads, layouts, decisions) -> tuple[Lowering, frozenset[str]]:
        """What lowers the nodes, and those that go image by image."""
        if precision not in PRECISIONS:
            raise UnsupportedError(f"precision {precision!r}: the cpu backend has {', '.join(PRECISIONS)}")
        threads = config.get_num_threads() if threads is None else int(threads)
        graph = add_edges(graph, layouts, layouts, reads_nchw, writes_nchw=writes_nchw)
        external = {name: layouts.get(name, "NCHW") for name in (*graph.inputs, *graph.outputs)}
        views = plan_views(graph, lanes=LANES)
        buffers = Buffers(graph, views, external)
        low = Lowering(self._core, self.isa, graph, weights, views, buffers, precision, threads)
        by_image = image_by_image(low, decisions)  # an order that what is kept does not change
        if by_image:
            buffers = Buffers(graph, views, external, own_values(graph, views, by_image))
        return replace(low, buffers=buffers, kept=kept.load(self.cpu, self.isa)), by_image

    def _compile(self, graph, weights, precision, threads, layouts, decisions=None, free_weights=False) -> Executable:
        low, by_image = self._lowering(graph, weights, precision, threads, layouts, decisions or {})
        graph, views, buffers, threads = low.graph, low.views, low.buffers, low.threads
        prepare = self._prepare(low, by_image)
        memory = buffers.memory(threads)
        plan = make_plan(graph, weights, prepare, backend=self.name, decisions=decisions, views=views, memory=memory)
        program = self._core.Program(
            self.isa,
            threads,
            buffers.shared.arena_bytes // 4,
            buffers.external_floats,
            buffers.read_only,
            buffers.each.arena_bytes // 4,
            buffers.images,
        )
        for step in plan.steps:
            for call in step.native or ():
                call.add_to(program)
            if step.native:  # the weights are packed; what stays is what describes the step
                step.native = [call.described() for call in step.native]
        if free_weights:  # steps on the reference still read theirs; of the others the program has its own
            read = {name for step in plan.steps if step.run for name in step.inputs}.union(
                graph.outputs, buffers.constants
            )
            weights = {name: array for name, array in weights.items() if name in read}
        return Executable(plan, NativeRunner(plan, program, buffers, weights, layouts))

    def _prepare(self, low: Lowering, by_image: Container[str]):
        width = self._core.ukernels.width(self.isa)
        each = one_image(low)

        def prepare(node: Node, graph: Graph, weights, decision):
            if is_free(graph, low.views, node):
                return None
            lowered = lower(each if node.name in by_image else low, node, decision)
            if lowered is None:
                foreign = isinstance(node.spec, ForeignSpec)  # whoever made it has said so
                if not foreign:
                    message = f"{node.spec.op} has no native form for these arguments and runs on the reference"
                    warn_once(("cpu", node.spec.op), message)
                return new_step(node, graph, "foreign" if foreign else "numpy", run=reference_run(node.spec))
            predicted = predict(lowered.calls, self.isa, width)
            return new_step(
                node,
                graph,
                lowered.kernel,
                native=lowered.calls,
                plan=lowered.plan,
                why=lowered.why,
                predicted=predicted,
            )

        return prepare

    def _reference_call(self, spec: Spec, arrays, out):
        warn_once(("cpu", spec.op, "indices"), f"{spec.op} with indices runs on the reference")
        return reference.ReferenceBackend().call(spec, arrays, out=out)
