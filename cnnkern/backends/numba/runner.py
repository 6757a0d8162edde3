"""Runs the steps of a plan in order, every value at its place in one arena: memory that has been touched before."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ...graph.plan import Plan
from ...graph.watch import Watch
from ...ops.base import product
from .conv import fresh
from .tiles import WIDTH


class NumbaRunner:
    """A `graph.executor.Runner`. Steps are called as run(new, *arrays), new(shape) giving the place of an output.

    Args:
        placed: the values that lie in the arena, float32 all of them.
    """

    def __init__(self, plan: Plan, weights: Mapping[str, np.ndarray], placed: Collection[str]):
        self._plan, self._weights, self._placed = plan, weights, placed

    def new_context(self) -> dict[str, np.ndarray]:
        """The place of every value that has one."""
        arena = np.empty(self._plan.memory.arena_bytes // 4 + WIDTH, np.float32)
        places = {}
        for step in self._plan.steps:
            for name, shape in zip(step.outputs, step.out_shapes):
                offset = self._plan.offset_bytes(name)
                if name in self._placed and offset is not None:
                    places[name] = arena[offset // 4 : offset // 4 + product(shape)].reshape(shape)
        return places

    def run(self, context, inputs: Sequence, outputs: Sequence | None, watch: Watch | None) -> list[np.ndarray]:
        values = dict(zip((value.name for value in self._plan.inputs), inputs))

        def fetch(name: str):
            return None if not name else values[name] if name in values else self._weights[name]

        for step in self._plan.steps:
            start = time.perf_counter()
            place = context.get(step.outputs[0])
            made = step.run(fresh if place is None else lambda shape: place, *map(fetch, step.inputs))  # noqa: B023
            ms = 1e3 * (time.perf_counter() - start)
            values.update(zip(step.outputs, made))
            if watch is not None:
                watch(step, ms, fetch)
        results = [fetch(value.name) for value in self._plan.outputs]
        if outputs is None:
            given = (*inputs, *self._weights.values())
            return [y.copy() if any(np.may_share_memory(y, a) for a in given) else y for y in results]
        for target, result in zip(outputs, results):
            np.copyto(target, result)
        return list(outputs)
