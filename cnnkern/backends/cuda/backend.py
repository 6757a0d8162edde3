"""CudaBackend: the kernels of kernels/ behind the Backend protocol."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ... import config
from ...errors import UnsupportedError
from ...graph import passes
from ...graph.executor import Executable
from ...graph.ir import Graph, Node
from ...graph.plan import make_plan, new_step
from ...graph.views import is_free, plan_views
from ...graph.watch import watching
from ...ops import ActivationSpec, AddSpec, MulSpec
from ...ops.base import Spec, product
from .. import warn_once
from ..edges import add_edges
from ..one_node import contiguous, layout, one_node, operands, reference_run
from .lower import lower
from .lowering import CTYPES, Lowering
from .predict import predict
from .runner import CudaRunner
from .runtime import Runtime
from .tensors import Buffers

PRECISIONS = tuple(CTYPES)
TENSOR = ("tf32", "float16", "bfloat16")  # what tensor cores compute
MAX_PLANS = 64  # eager plans kept; each holds device memory of its operands' size


class CudaBackend:
    """CUDA kernels on one device or several.

    Args:
        runtime: what runs them; None: CuPy on `device`, or on CuPy's current device.
    """

    name = "cuda"
    precisions = PRECISIONS

    def __init__(self, runtime: Runtime | None = None, device: int | None = None):
        self._runtimes: dict[int | None, Runtime] = {} if runtime is None else {None: runtime}
        self._device = device
        self._plans: OrderedDict[tuple, Executable] = OrderedDict()
        self._others: dict[int, CudaBackend] = {}
        self._lock = threading.Lock()

    def runtime(self, device: int | None = None) -> Runtime:
        """The device's runtime, made when it is first asked for."""
        device = self._device if device is None else device
        with self._lock:
            if device not in self._runtimes:
                if None in self._runtimes and not hasattr(self._runtimes[None], "device"):
                    raise ValueError(f"device must be left out: {self.name} runs on one, got {device}")
                from .device import CupyRuntime

                self._runtimes[device] = CupyRuntime(device)
            return self._runtimes[device]

    def available(self) -> str:
        return self.runtime().available()

    def passes(self) -> list[passes.Pass]:
        return list(passes.STANDARD)

    def at(self, array: Any) -> CudaBackend:
        """This backend on the device where an array lies: itself, or one for that device."""
        device = getattr(getattr(array, "device", None), "id", None)
        if device is None or device == self.runtime().device:
            return self
        with self._lock:
            return self._others.setdefault(device, CudaBackend(device=device))

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        """A fresh array on the device."""
        return self.runtime().empty(shape, dtype)

    def call(self, spec: Spec, arrays: Sequence[Any], out=None, *, precision: str = "float32") -> tuple[Any, ...]:
        """One operation, planned like a network of one layer; plans are kept. Device arrays stay on their device and
        current stream; NumPy arrays go there and come back."""
        flat = _flattened(spec, arrays, out)
        if flat is not None:
            (result,) = self.call(spec, flat, None, precision=precision)
            return (result.reshape(arrays[0].shape),)
        layouts = tuple("" if a is None else layout(a) for a in arrays), "NCHW" if out is None else layout(out)
        algo = config.get("conv_algo")
        key = (spec, tuple(None if a is None else a.shape for a in arrays), layouts, precision, algo)
        with self._lock:
            made = self._plans.pop(key, None)
        weights, inputs = operands(spec, arrays)
        if made is None:
            graph, *_ = one_node(spec, arrays)
            external = {name: layout(array) for name, array in zip(graph.inputs, inputs)}
            external |= dict.fromkeys(graph.outputs, layouts[1])
            made = self._compile(graph, None, precision, external, graph_replay=False)
        with self._lock:
            self._plans[key] = made
            while len(self._plans) > MAX_PLANS:
                self._plans.popitem(last=False)
        return made.eager(inputs, weights, out)

    def compile(
        self,
        graph: Graph,
        weights: Mapping[str, Any],
        *,
        precision: str = "float32",
        threads: int | None = None,
        device: int | None = None,
        decisions: Mapping[str, Mapping[str, Any]] | None = None,
        graph_replay: bool = True,
    ) -> Executable:
        """A batch-bound graph after this backend's passes -> an executable whose steps are one CUDA graph.

        Args:
            precision: "float32" (IEEE, no tf32), "strict" (float32 without Winograd), "tf32", "float16" or "bfloat16"
                (activations and weights in that type, sums in float32; needs sm_80).
            threads: of no meaning here.
            device: the GPU's number; default CuPy's current one.
            decisions: of an earlier plan (`graph.plan.load_decisions`), to be obeyed.
            graph_replay: False launches the kernels one by one.
        """
        return self._compile(graph, weights, precision, {}, device, decisions, graph_replay)

    def _compile(self, graph, weights, precision, layouts, device=None, decisions=None, graph_replay=True):
        if precision not in PRECISIONS:
            raise UnsupportedError(f"precision {precision!r}: the cuda backend has {', '.join(PRECISIONS)}")
        runtime = self.runtime(device)
        if precision in TENSOR and runtime.target == "sm_75":
            raise UnsupportedError(f"precision {precision!r} needs sm_80 or newer, this device is {runtime.target}")
        converts = CTYPES[precision] != "float"
        graph = add_edges(graph, layouts, layouts, converts=converts)
        external = {name: layouts.get(name, "NCHW") for name in (*graph.inputs, *graph.outputs)}
        lanes = 8 if converts else 4
        views = plan_views(graph, lanes=lanes)
        buffers = Buffers(graph, views, external, CTYPES[precision])
        low = Lowering(graph, views, buffers, precision, runtime.target, runtime.multiprocessors)
        setup: list = []
        plan = make_plan(
            graph,
            weights or {},
            _prepare(low, setup),
            backend=self.name,
            decisions=decisions,
            views=views,
            memory=buffers.memory,
        )
        runner = CudaRunner(plan, runtime, buffers, low, setup, weights, external, graph_replay)
        return CudaExecutable(plan, runner)


class CudaExecutable(Executable):
    """An Executable that also takes and returns device arrays, and of one layer the weights with every call."""

    def eager(self, inputs: Sequence[Any], weights: Mapping[str, Any], out=None) -> tuple[Any, ...]:
        """Run with these weights; nothing is checked."""
        with self._contexts.borrow() as context:
            watch = watching(self.plan.backend)
            return tuple(self._runner.run_eager(context, inputs, weights, None if out is None else [out], watch))

    @property
    def launches(self) -> list:
        """Every launch of a run, in order."""
        return [launch for step in self.steps for launch in step.native or ()]


def _prepare(low: Lowering, setup: list):
    def prepare(node: Node, graph: Graph, weights, decision):
        if is_free(graph, low.views, node):
            return None
        lowered = lower(low, node, decision)
        if lowered is None:
            warn_once(
                ("cuda", node.spec.op), f"{node.spec.op} has no CUDA form for these arguments and runs on the CPU"
            )
            return new_step(node, graph, "numpy", run=reference_run(node.spec))
        setup.extend(lowered.setup)
        return new_step(
            node,
            graph,
            lowered.kernel,
            native=lowered.launches,
            plan=lowered.plan,
            why=lowered.why,
            predicted=predict(lowered.launches),
        )

    return prepare


def _flattened(spec: Spec, arrays: Sequence[Any], out: Any) -> list[Any] | None:
    """Element-wise operations do not care for layout: dense operands of one shape as one line; None where it is not so
    or already done."""
    if not isinstance(spec, (ActivationSpec, AddSpec, MulSpec)) or out is not None or arrays[0].ndim == 1:
        return None
    same = all(a.shape == arrays[0].shape and contiguous(a) for a in arrays)
    return [a.reshape(product(a.shape)) for a in arrays] if same else None
