"""Running a native plan: stretches of native steps in one call each, steps that fell back to the reference between
them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from ...backends.base import Step
from ...errors import UnsupportedError
from ...graph.ir import Value
from ...graph.plan import Plan
from ...graph.watch import Watch
from ...ops.base import Counts
from .buffers import Buffers


class _Run(NamedTuple):
    """What one run works on."""

    context: Any
    arrays: list[np.ndarray]  # the program's external buffers, in slot order
    values: dict[str, np.ndarray]  # those that no kernel sees, by name


class NativeRunner:
    """A `graph.executor.Runner` over a `_core.Program`.

    Args:
        layouts: of the caller's rank 4 outputs, by name.
    """

    def __init__(self, plan: Plan, program, buffers: Buffers, weights: Mapping[str, np.ndarray], layouts):
        self._plan, self._program, self._buffers, self._weights = plan, program, buffers, weights
        self._layouts = layouts
        self._constants = [_dense_constant(weights[name]) for name in buffers.constants]
        self._spans: dict[str, tuple[int, int]] = {}
        at = 0
        for step in plan.steps:
            self._spans[step.name] = (at, at + len(step.native or ()))
            at += len(step.native or ())
        native = [(step.run is None, step) for step in plan.steps]
        self._stretches = [(key, [s for _, s in group]) for key, group in groupby(native, key=lambda pair: pair[0])]
        self._usual = self._slots()

    def _slots(self) -> tuple[list, list] | None:
        """Where all is native: the layouts of the inputs, and (shape in memory, whether NHWC) of the outputs."""
        ends = (*self._plan.inputs, *self._plan.outputs)
        if [key for key, _ in self._stretches] != [True] or any(self._buffers.in_python(v.name) for v in ends):
            return None
        layouts = [self._layouts.get(value.name) for value in self._plan.inputs]
        nhwc = [len(v.shape) == 4 and self._layouts.get(v.name) == "NHWC" for v in self._plan.outputs]
        shapes = [
            tuple(v.shape[axis] for axis in (0, 2, 3, 1)) if last else tuple(v.shape)
            for v, last in zip(self._plan.outputs, nhwc)
        ]
        return layouts, list(zip(shapes, nhwc))

    def new_context(self):
        return self._program.new_context()

    def run(self, context, inputs: Sequence, outputs: Sequence | None, watch: Watch | None) -> list[np.ndarray]:
        if watch is None and outputs is None and self._usual is not None:
            return self._run_all(context, inputs)
        run, results, late = self._begin(context, inputs, outputs)
        if watch is not None:
            self._watched(run, watch)
        else:
            for native, steps in self._stretches:
                if native:
                    begin, end = self._spans[steps[0].name][0], self._spans[steps[-1].name][1]
                    self._program.run(context, run.arrays, begin, end)
                else:
                    for step in steps:
                        self._fall_back(step, run)
        for target, made in late:
            np.copyto(target, made)
        return [self._result(value, given, run) for value, given in zip(self._plan.outputs, results)]

    def _run_all(self, context, inputs: Sequence) -> list[np.ndarray]:
        """The same where all is native and nobody watches, with few objects touched: the caches are cold of them."""
        layouts, outputs = self._usual
        arrays, results = [_dense(array, layout) for array, layout in zip(inputs, layouts)], []
        arrays += self._constants
        for shape, nhwc in outputs:
            buffer = np.empty(shape, np.float32)
            arrays.append(buffer)
            results.append(buffer.transpose(0, 3, 1, 2) if nhwc else buffer)
        self._program.run(context, arrays)
        return results

    def profile(self, context, inputs: Sequence) -> list[float]:
        """Milliseconds of every step, timed natively where steps are."""
        run, _, _ = self._begin(context, inputs, None)
        times = []
        for native, steps in self._stretches:
            if native:
                first = self._spans[steps[0].name][0]
                ms = self._program.profile(context, run.arrays, first, self._spans[steps[-1].name][1])
                times += [sum(ms[b - first : e - first]) for b, e in (self._spans[step.name] for step in steps)]
                continue
            for step in steps:
                start = time.perf_counter()
                self._fall_back(step, run)
                times.append(1e3 * (time.perf_counter() - start))
        return times

    def known(self, step: Step, values: Mapping[str, np.ndarray]) -> Step:
        """The step with what these values, which decide what it does, say of it."""
        from .predict import predict

        calls = [replace(call, arrays={**call.arrays, **values}) for call in step.native or ()]
        predicted = predict(calls, self._program.isa, self._program.width) if calls else None
        return replace(step, native=calls, predicted=predicted)

    def count(self, context, inputs: Sequence, steps: Sequence[Step]) -> list[dict[str, Any]]:
        """What each step executes, on the counting kernels; a step that fell back is left uncounted (executed None)."""
        from .itemise import itemise

        run, _, _ = self._begin(context, inputs, None)
        rows = []
        for step in steps:
            executed = None
            if step.run is None:
                begin, end = self._spans[step.name]
                made = self._program.count(context, run.arrays, begin, end)
                executed = sum((Counts(*c) for c in made), Counts())
            else:
                self._fall_back(step, run)
            rows.append(
                {
                    "name": step.name,
                    "op": step.spec.op,
                    "kernel": step.kernel,
                    "shape": step.out_shapes[0],
                    "theory": step.theory,
                    "predicted": step.predicted,
                    "executed": executed,
                    "itemised": itemise(step, self._program.isa, self._program.width) if executed is not None else {},
                }
            )
        return rows

    def _begin(self, context, inputs: Sequence, outputs: Sequence | None):
        """The run; the arrays to return; and (array, buffer) pairs to copy at the end, for outputs whose strides no
        buffer has. The program's buffers are dense, in slot order: inputs, constants, outputs."""
        values = {v.name: a for v, a in zip(self._plan.inputs, inputs) if self._buffers.in_python(v.name)}
        arrays = [
            _NOTHING if v.name in values else _dense(a, self._layouts.get(v.name))
            for a, v in zip(inputs, self._plan.inputs)
        ]
        arrays += self._constants
        results, late = [], []
        for i, value in enumerate(self._plan.outputs):
            target = None if outputs is None else outputs[i]
            if self._buffers.in_python(value.name):
                arrays.append(_NOTHING)
                results.append(target)
                continue
            nhwc = len(value.shape) == 4 and self._layouts.get(value.name) == "NHWC"
            seen = target.transpose(0, 2, 3, 1) if nhwc and target is not None else target
            if target is not None and seen.flags.c_contiguous:
                buffer = seen
            else:
                shape = [value.shape[axis] for axis in (0, 2, 3, 1)] if nhwc else value.shape
                buffer = np.empty(shape, np.float32)
                made = buffer.transpose(0, 3, 1, 2) if nhwc else buffer
                if target is None:
                    target = made
                else:
                    late.append((target, made))
            arrays.append(buffer)
            results.append(target)
        return _Run(context, arrays, values), results, late

    def _result(self, value: Value, given: np.ndarray | None, run: _Run) -> np.ndarray:
        """What the caller gets for an output: the array it gave, or one made for it."""
        if not self._buffers.in_python(value.name):
            return given
        made = self._fetch(value.name, run)
        if given is None:
            return made.copy()
        np.copyto(given, made)
        return given

    def _fetch(self, name: str, run: _Run):
        if not name or name in run.values:
            return run.values.get(name)
        if name in self._weights:
            return self._weights[name]
        if name not in self._buffers:
            raise UnsupportedError(f"{name}: the weights were freed after packing (free_weights=True)")
        return self._buffers.array(name, run.context, run.arrays)

    def _fall_back(self, step: Step, run: _Run) -> None:
        made = step.run(*(self._fetch(name, run) for name in step.inputs))
        for name, array in zip(step.outputs, made):
            if self._buffers.in_python(name):
                run.values[name] = array
            else:
                np.copyto(self._fetch(name, run), array)

    def _watched(self, run: _Run, watch: Watch) -> None:
        for step in self._plan.steps:
            if step.run is not None:
                start = time.perf_counter()
                self._fall_back(step, run)
                ms = 1e3 * (time.perf_counter() - start)
            else:
                ms = sum(self._program.profile(run.context, run.arrays, *self._spans[step.name]))
            watch(step, ms, lambda name: self._fetch(name, run))


_NOTHING = np.empty(0, np.float32)


def _dense_constant(array: np.ndarray) -> np.ndarray:
    """A constant operand as its slot holds it: images channels last."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1) if array.ndim == 4 else array, np.float32)


def _dense(array: np.ndarray, layout: str | None) -> np.ndarray:
    """The array's memory in C order of its layout, copied only where it is not."""
    if array.ndim == 4 and layout == "NHWC":
        array = array.transpose(0, 2, 3, 1)
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else np.require(array, requirements=("C", "ALIGNED"))
