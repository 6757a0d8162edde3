"""Runs the steps of a plan in order, every value at its place in one arena: memory that has been touched before."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from ...graph.executor import StepRunner
from ...graph.plan import Plan
from ...ops.base import product
from ..base import Step
from .conv import fresh
from .tiles import WIDTH


class NumbaRunner(StepRunner):
    """Steps are called as run(new, *arrays), new(shape) giving the place of an output.

    Args:
        placed: the values that lie in the arena, float32 all of them.
    """

    def __init__(self, plan: Plan, weights: Mapping[str, np.ndarray], placed: Collection[str]):
        super().__init__(plan, weights)
        self._placed = placed

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

    def call(self, step: Step, arrays: Iterable[np.ndarray | None], context) -> Sequence[np.ndarray]:
        place = context.get(step.outputs[0])
        return step.run(fresh if place is None else lambda shape: place, *arrays)
