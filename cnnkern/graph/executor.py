"""Running a plan: `Executable` is what the user calls, a `Runner` is how a backend runs the steps.

The Executable checks arguments, lends a context to each concurrent caller and turns what it watches into profiles,
verbose lines and checks. A Runner only runs: natively in one call, or here, in Python, step by step (`StepRunner`).
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from .. import config
from ..backends.base import Step
from ..errors import UnsupportedError
from ..ops.base import Spec
from .ir import Graph, Value
from .memory import dense_bytes, plan_memory
from .plan import Plan, make_plan, new_step, shape_text
from .views import own_buffers
from .watch import Watch, in_force, watching

FLOAT32 = np.dtype(np.float32)
MAX_CONTEXTS = 8  # concurrent callers beyond it wait for one to return: an arena each is memory, not speed


class Runner(Protocol):
    """How the steps of one plan run. `run` is called by one thread at a time per context."""

    def new_context(self) -> Any:
        """What one concurrent caller needs for itself (an arena, workspaces)."""

    def run(self, context: Any, inputs: Sequence, outputs: Sequence | None, watch: Watch | None) -> Sequence:
        """Run all steps on checked NCHW `inputs` (any strides); fill `outputs` if given; return the output arrays.

        Without `watch` this is the fast road. With it, steps run singly and after each the runner calls
        `watch(step, ms, fetch)`: its time, and `fetch(name)`, the array of any of its inputs (params too) and outputs,
        NCHW-shaped, valid during the call.
        """


class Executable:
    """A compiled graph. Call it; concurrent calls are safe.

    Attributes: `plan` (prints as a table), `steps`, `arena_bytes` (of one context), `activation_bytes` (without reuse).
    A runner may offer more: `profile(context, inputs)`, the ms of each step of one run, where that is truer than
    watching; `count(context, inputs, steps)`, rows as `count` below; `known(step, values)`, the step with a prediction
    from the values, by the name of the op's input, that decide what it does; `takes(array)`, whether it also takes an
    array that is not NumPy's (one on its device; it then copies outputs out at the end, so that they may be inputs).
    """

    def __init__(self, plan: Plan, runner: Runner, *, max_contexts: int = MAX_CONTEXTS):
        self.plan = plan
        self._runner = runner
        self._takes = getattr(runner, "takes", lambda array: False)
        at = {value.name: i for i, value in enumerate(plan.inputs)}
        self._by_value = [  # (which step hangs on values of inputs, {position: which input})
            (i, {position: at[step.inputs[position]] for position in step.spec.by_value})
            for i, step in enumerate(plan.steps)
            if step.spec.by_value and all(step.inputs[position] in at for position in step.spec.by_value)
        ]
        self._contexts = ContextPool(runner.new_context, max_contexts)
        usual = len(plan.inputs) == 1 and not self._by_value and plan.inputs[0].dtype == "float32"
        self._usual = tuple(plan.inputs[0].shape) if usual else None  # of x, where there is nothing else to look at
        self._unwatched: tuple | None = None  # what was in force when nobody watched, the environment read with it

    @property
    def steps(self) -> list[Step]:
        return self.plan.steps

    @property
    def arena_bytes(self) -> int:
        return self.plan.memory.arena_bytes

    @property
    def activation_bytes(self) -> int:
        return self.plan.memory.activation_bytes

    def __call__(self, x, out=None):
        """Run the network.

        Args:
            x: the input, an array of exactly the compiled shape (NCHW, any strides); where the graph has several, a
                mapping by name or a sequence in order.
            out: the array to fill, or a sequence of them; may be x itself where the shapes are the same.
        Returns:
            The output, `out` itself where given; a tuple where the graph has several.
        CNNKERN_VERBOSE and CNNKERN_CHECK are read at the first call; a `with cnnkern.config` counts at each.
        Raises:
            TypeError, ValueError: what is wrong with x or out, before anything runs.
        """
        # A network drives the caches out, so that every object touched here costs a miss: the usual call touches few.
        one = x[0] if type(x) is list and len(x) == 1 else x
        if type(one) is np.ndarray and one.shape == self._usual and one.dtype is FLOAT32:
            inputs = [one]
        else:
            inputs = self._checked_inputs(x)
        outputs = None if out is None else self._checked_outputs(out)
        aliased = outputs is not None and any(_may_share(a, b) for a in outputs for b in inputs)
        watch = None if in_force() == self._unwatched else self._watch()
        context = self._contexts.take()
        try:
            results = self._runner.run(context, inputs, None if aliased else outputs, watch)
        except BaseException:
            self._contexts.drop()
            raise
        self._contexts.give(context)
        if aliased:  # no step may read what another has written already
            for target, result in zip(outputs, results):
                np.copyto(target, result)
            results = outputs
        return results[0] if len(results) == 1 else tuple(results)

    def watch(self, x, watch: Watch):
        """Run the steps singly on `x`; after each, `watch(step, ms, fetch)` hears its time and may fetch its arrays.

        Returns: the output, as calling does. Example, every activation by name:
            >>> taps = {}
            >>> exe.watch(x, lambda step, ms, fetch: taps.update((name, fetch(name).copy()) for name in step.outputs))
        """
        inputs = self._checked_inputs(x)
        with self._contexts.borrow() as context:
            results = self._runner.run(context, inputs, None, watch)
        return results[0] if len(results) == 1 else tuple(results)

    def profile(self, x, rounds: int = 1) -> list[dict[str, Any]]:
        """Time the steps singly: the median over `rounds`.

        Returns: a dict per step: name, op, kernel, shape, ms, gflops (theory over time), theory, predicted.
        """
        if rounds < 1:
            raise ValueError(f"rounds: at least 1 is accepted, got {rounds}")
        inputs = self._checked_inputs(x)
        time_steps = getattr(self._runner, "profile", self._watched_times)
        with self._contexts.borrow() as context:
            times = [time_steps(context, inputs) for _ in range(rounds)]
        return [_profile_row(step, statistics.median(ms)) for step, ms in zip(self.steps, zip(*times))]

    def count(self, x) -> list[dict[str, Any]]:
        """The operations really executed, by running the plan on counting kernels.

        Returns: a dict per step: name, op, kernel, theory, predicted, executed (Counts) and, where the backend itemises
            theory - executed, itemised (a dict of Counts). Sum `executed` for the whole network.
        Raises:
            UnsupportedError: the backend does not count.
        """
        count = getattr(self._runner, "count", None)
        if count is None:
            raise UnsupportedError(f"the backend {self.plan.backend!r} does not count operations; the cpu backend does")
        inputs = self._checked_inputs(x)
        with self._contexts.borrow() as context:
            return [dict(row) for row in count(context, inputs, self._known(inputs))]

    def known(self, x) -> list[Step]:
        """The steps, as `steps`; those whose work hangs on values of `x` with what these say of it, `predicted` too."""
        return self._known(self._checked_inputs(x))

    def _known(self, inputs: Sequence) -> list[Step]:
        know, steps = getattr(self._runner, "known", lambda step, values: step), list(self.steps)
        for i, values in self._values(inputs):
            steps[i] = know(steps[i], {steps[i].spec.inputs[position]: array for position, array in values.items()})
        return steps

    def _values(self, inputs: Sequence) -> Iterator[tuple[int, dict[int, np.ndarray]]]:
        """(which step, the inputs whose values decide what it does, by position, in host memory)."""
        for i, positions in self._by_value:
            arrays = {position: inputs[at] for position, at in positions.items()}
            yield i, {position: a if isinstance(a, np.ndarray) else a.get() for position, a in arrays.items()}

    def _watched_times(self, context, inputs) -> list[float]:
        times: list[float] = []
        self._runner.run(context, inputs, None, lambda step, ms, fetch: times.append(ms))
        return times

    def _watch(self) -> Watch | None:
        """Who watches a call, here and now."""
        key, watch = in_force(), watching(self.plan.backend)
        if watch is None:
            self._unwatched = key
        return watch

    def _checked_inputs(self, x) -> list[np.ndarray]:
        arrays = by_position(x, self.plan.inputs, "x")
        labels = [label("x", value, self.plan.inputs) for value in self.plan.inputs]
        arrays = [_checked(a, v, name, self._takes) for a, v, name in zip(arrays, self.plan.inputs, labels)]
        for i, values in self._values(arrays):
            self.steps[i].spec.check_values(self.steps[i].in_shapes, values)
        return arrays

    def _checked_outputs(self, out) -> list[np.ndarray]:
        arrays = by_position(out, self.plan.outputs, "out")
        for array, value in zip(arrays, self.plan.outputs):
            name = label("out", value, self.plan.outputs)
            _checked(array, value, name, self._takes, exact=True)
            if isinstance(array, np.ndarray) and not array.flags.writeable:
                raise ValueError(f"{name}: the array is read-only; a writeable one is accepted")
        return arrays


class ContextPool:
    """Contexts made when needed, never more than `limit`; the last one returned is lent first (its memory is warm).

    One that is idle is taken and given without a lock: `list.pop` and `append` are atomic.
    """

    def __init__(self, make: Callable[[], Any], limit: int):
        if limit < 1:
            raise ValueError(f"max_contexts: at least 1 is accepted, got {limit}")
        self._make, self._limit = make, limit
        self._idle: list[Any] = []
        self._changed = threading.Condition()
        self._made = self._waiting = 0

    def take(self) -> Any:
        """A context for this caller alone; waits while all are lent. `give` it back, or `drop` it."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._make_or_wait()

    def give(self, context: Any) -> None:
        self._idle.append(context)
        if self._waiting:  # they count themselves before they look for idle ones
            with self._changed:
                self._changed.notify()

    def drop(self) -> None:
        """Instead of `give`: a context whose run failed may be in any state."""
        with self._changed:
            self._made -= 1
            self._changed.notify()

    @contextmanager
    def borrow(self) -> Iterator[Any]:
        """`take`, and `give` or `drop`, around a block."""
        context = self.take()
        try:
            yield context
        except BaseException:
            self.drop()
            raise
        self.give(context)

    def _make_or_wait(self) -> Any:
        with self._changed:
            self._waiting += 1
            try:
                while True:
                    with suppress(IndexError):
                        return self._idle.pop()
                    if self._made < self._limit:
                        break
                    self._changed.wait()
                self._made += 1
            finally:
                self._waiting -= 1
        try:
            return self._make()
        except BaseException:
            self.drop()
            raise


class StepRunner:
    """Runs Python steps (`Step.run`) in order and drops every value after its last read."""

    def __init__(self, plan: Plan, weights: Mapping[str, np.ndarray]):
        self._plan = plan
        self._weights = weights
        self._dying = _last_reads(plan)

    def new_context(self) -> None:
        return None

    def run(self, context, inputs: Sequence, outputs: Sequence | None, watch: Watch | None) -> list[np.ndarray]:
        values = dict(zip((value.name for value in self._plan.inputs), inputs))

        def fetch(name: str):
            return None if not name else values[name] if name in values else self._weights[name]

        for step, dying in zip(self._plan.steps, self._dying):
            start = time.perf_counter()
            made = self.call(step, map(fetch, step.inputs), context)
            ms = 1e3 * (time.perf_counter() - start)
            values.update(zip(step.outputs, made))
            if watch is not None:
                watch(step, ms, fetch)
            for name in dying:
                values.pop(name, None)
        results = [fetch(value.name) for value in self._plan.outputs]
        if outputs is None:
            return _unshared(results, [*inputs, *self._weights.values()])
        for target, result in zip(outputs, results):
            np.copyto(target, result)
        return list(outputs)

    def call(self, step: Step, arrays: Iterable[np.ndarray | None], context) -> Sequence[np.ndarray]:
        """The outputs of one step."""
        return step.run(*arrays)


def compile_steps(
    call: Callable[[Spec, Sequence], Sequence[np.ndarray]],
    graph: Graph,
    weights: Mapping[str, np.ndarray],
    *,
    backend: str,
    dtype: str = "float32",
    max_contexts: int = MAX_CONTEXTS,
) -> Executable:
    """An Executable of Python steps, each an eager call: for a backend that has no more than `call` (the reference).

    Args:
        call: `call(spec, arrays)` -> the outputs, as `Backend.call`.
        graph, weights: batch-bound, after the backend's passes.
        dtype: of inputs, values and outputs; "float64" makes the network an oracle, which takes float32 inputs too.
    """

    def prepare(node, graph, weights, decision):
        def run(*arrays):
            with config(verbose=0):  # the runner prints the step's line, with the layer's name
                return call(node.spec, arrays)

        return new_step(node, graph, "numpy", run=run)

    graph = _with_dtype(graph, dtype)
    weights = {name: np.asarray(a, dtype if a.dtype == np.float32 else None) for name, a in weights.items()}
    size_bytes = {name: dense_bytes(value.shape, value.dtype) for name, value in graph.values.items()}
    memory = plan_memory(graph, own_buffers(graph), size_bytes.__getitem__)
    plan = make_plan(graph, weights, prepare, backend=backend, memory=memory)
    return Executable(plan, StepRunner(plan, weights), max_contexts=max_contexts)


def by_position(given, values: Sequence[Value], what: str, things: str = "arrays") -> list:
    """Arrays, or other `things`, in the order of `values` from one array, a sequence or a mapping by name."""
    names = [value.name for value in values]
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise ValueError(
                f"{what}: {things} named {', '.join(names)} are accepted, got {', '.join(map(str, given)) or 'none'}"
            )
        return [given[name] for name in names]
    if isinstance(given, (list, tuple)):
        if len(given) != len(names):
            raise ValueError(f"{what}: {len(names)} {things} ({', '.join(names)}) are accepted, got {len(given)}")
        return list(given)
    if len(names) != 1:
        raise TypeError(
            f"{what}: {len(names)} {things} ({', '.join(names)}) are accepted, got one {type(given).__name__}"
        )
    return [given]


def label(what: str, value: Value, values: Sequence[Value]) -> str:
    """What messages call one of several arrays."""
    return what if len(values) == 1 else f"{what}[{value.name!r}]"


def _may_share(a, b) -> bool:
    return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.may_share_memory(a, b)


def _checked(array, value: Value, label: str, takes: Callable[[Any], bool], exact: bool = False) -> np.ndarray:
    """`array` if it has the value's dtype and shape; an oracle's float64 input may be given as float32."""
    if not isinstance(array, np.ndarray) and not takes(array):
        raise TypeError(f"{label}: a NumPy array is accepted, got {type(array).__name__}")
    widened = not exact and value.dtype == "float64" and array.dtype == np.float32
    if array.dtype != np.dtype(value.dtype) and not widened:
        raise TypeError(f"{label}: dtype {value.dtype} is accepted, got {array.dtype}")
    if array.shape != tuple(value.shape):
        accepted = shape_text(value.shape)
        raise ValueError(f"{label}: the compiled shape {accepted} is accepted, got {shape_text(array.shape)}")
    return array.astype(value.dtype) if widened else array


def _profile_row(step: Step, ms: float) -> dict[str, Any]:
    return {
        "name": step.name,
        "op": step.spec.op,
        "kernel": step.kernel,
        "shape": step.out_shapes[0],
        "ms": ms,
        "gflops": step.theory.flops / ms / 1e6 if ms > 0 else 0.0,
        "theory": step.theory,
        "predicted": step.predicted,
    }


def _last_reads(plan: Plan) -> list[list[str]]:
    """Per step, the values that nobody needs after it."""
    kept = {value.name for value in plan.outputs}
    last = {}
    for i, step in enumerate(plan.steps):
        last.update(dict.fromkeys((*step.outputs, *step.inputs), i))
    dying: list[list[str]] = [[] for _ in plan.steps]
    for name, i in last.items():
        if name and name not in kept:
            dying[i].append(name)
    return dying


def _unshared(results: list[np.ndarray], others: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The results, copied where they are views of the caller's arrays, of weights or of each other."""
    fresh: list[np.ndarray] = []
    for result in results:
        shared = any(np.may_share_memory(result, other) for other in (*others, *fresh))
        fresh.append(result.copy() if shared else result)
    return fresh


def _with_dtype(graph: Graph, dtype: str) -> Graph:
    """The graph with its float32 values in another dtype."""
    result = graph.copy()
    result.values = {n: replace(v, dtype=dtype) if v.dtype == "float32" else v for n, v in graph.values.items()}
    return result
