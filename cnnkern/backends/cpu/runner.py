"""Running a native plan: stretches of native steps in one call each, steps that fell back to the reference between
them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from ...backends.base import Step
from ...errors import UnsupportedError
from ...graph.plan import Plan
from ...graph.watch import Watch
from ...ops.base import Counts
from .buffers import Buffers


class NativeRunner:
    """A `graph.executor.Runner` over a `_core.Program`.

    Args:
        layouts: of the caller's rank 4 outputs, by name.
    """

    def __init__(self, plan: Plan, program, buffers: Buffers, weights: Mapping[str, np.ndarray], layouts):
        self._plan, self._program, self._buffers, self._weights = plan, program, buffers, weights
        self._layouts = layouts
        self._spans: dict[str, tuple[int, int]] = {}
        at = 0
        for step in plan.steps:
            self._spans[step.name] = (at, at + len(step.native or ()))
            at += len(step.native or ())
        native = [(step.run is None, step) for step in plan.steps]
        self._stretches = [(key, [s for _, s in group]) for key, group in groupby(native, key=lambda pair: pair[0])]

    def new_context(self):
        return self._program.new_context()

    def run(self, context, inputs: Sequence, outputs: Sequence | None, watch: Watch | None) -> list[np.ndarray]:
        arrays, results, late = self._externals(inputs, outputs)
        if watch is not None:
            self._watched(context, arrays, watch)
        elif len(self._stretches) == 1 and self._stretches[0][0]:
            self._program.run(context, arrays)
        else:
            for native, steps in self._stretches:
                if native:
                    begin, end = self._spans[steps[0].name][0], self._spans[steps[-1].name][1]
                    self._program.run(context, arrays, begin, end)
                else:
                    for step in steps:
                        self._fall_back(step, context, arrays)
        for target, made in late:
            np.copyto(target, made)
        return results

    def profile(self, context, inputs: Sequence) -> list[float]:
        """Milliseconds of every step, timed natively where steps are."""
        arrays, _, _ = self._externals(inputs, None)
        times = []
        for native, steps in self._stretches:
            if native:
                first = self._spans[steps[0].name][0]
                ms = self._program.profile(context, arrays, first, self._spans[steps[-1].name][1])
                times += [sum(ms[b - first : e - first]) for b, e in (self._spans[step.name] for step in steps)]
                continue
            for step in steps:
                start = time.perf_counter()
                self._fall_back(step, context, arrays)
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

        arrays, _, _ = self._externals(inputs, None)
        rows = []
        for step in steps:
            executed = None
            if step.run is None:
                begin, end = self._spans[step.name]
                made = self._program.count(context, arrays, begin, end)
                executed = sum((Counts(*c) for c in made), Counts())
            else:
                self._fall_back(step, context, arrays)
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

    def _externals(self, inputs: Sequence, outputs: Sequence | None):
        """The buffers a run takes (dense, in slot order), the arrays to return, and (array, buffer) pairs to copy at
        the end, for outputs whose strides no buffer has."""
        arrays = [_dense(a, self._layouts.get(v.name)) for a, v in zip(inputs, self._plan.inputs)]
        results, late = [], []
        for i, value in enumerate(self._plan.outputs):
            nhwc = len(value.shape) == 4 and self._layouts.get(value.name) == "NHWC"
            target = None if outputs is None else outputs[i]
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
        return arrays, results, late

    def _fetch(self, name: str, context, arrays):
        if not name:
            return None
        if name in self._weights:
            return self._weights[name]
        if name not in self._buffers:
            raise UnsupportedError(f"{name}: the weights were freed after packing (free_weights=True)")
        return self._buffers.array(name, context, arrays)

    def _fall_back(self, step: Step, context, arrays) -> None:
        made = step.run(*(self._fetch(name, context, arrays) for name in step.inputs))
        for name, array in zip(step.outputs, made):
            np.copyto(self._fetch(name, context, arrays), array)

    def _watched(self, context, arrays, watch: Watch) -> None:
        for step in self._plan.steps:
            if step.run is not None:
                start = time.perf_counter()
                self._fall_back(step, context, arrays)
                ms = 1e3 * (time.perf_counter() - start)
            else:
                ms = sum(self._program.profile(context, arrays, *self._spans[step.name]))
            watch(step, ms, lambda name: self._fetch(name, context, arrays))


def _dense(array: np.ndarray, layout: str | None) -> np.ndarray:
    """The array's memory in C order of its layout, copied only where it is not."""
    if array.ndim == 4 and layout == "NHWC":
        array = array.transpose(0, 2, 3, 1)
    return np.require(array, requirements=("C", "ALIGNED"))
