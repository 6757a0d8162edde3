"""Stages ready to run: an executable per stage, and the walk from one to the next."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ModelError
from ..graph import passes
from ..graph.recent import Recent
from .evaluate import inside
from .lowering import FLOATS
from .stages import Stage, Staging
from .typed import Typed

_serials = itertools.count()  # an executable's key outlives its program


class Program:
    """A stage, its executables, and the stages that followed it."""

    def __init__(self, staging: Staging, stage: Stage):
        self.staging, self.stage = staging, stage
        self.outputs = tuple(stage.graph.outputs)
        self._serial, self._next = next(_serials), Recent()

    def compiled(self, outputs: Sequence[str], backend: Any, precision: str, threads: int | None, **options: Any):
        """The stage's graph, with these of its values as outputs, planned by a backend; nothing is kept."""
        graph, weights = self.stage.graph, self.stage.weights
        if tuple(outputs) != self.outputs:
            graph = graph.copy()
            graph.outputs = list(outputs)
            graph, weights = passes.dead_code(graph, weights)
        graph, weights = passes.apply(graph, weights, backend.passes())
        return backend.compile(graph, weights, precision=precision, threads=threads, **options)

    def executable(self, outputs: tuple[str, ...], backend: Any, settings: tuple) -> Any:
        """As `compiled`, kept for the next call. settings: precision first."""

        def make() -> Any:
            try:
                return self.compiled(outputs, backend, settings[0], None)
            except ModelError:
                raise
            except (ValueError, OverflowError) as error:  # a kernel that refuses such a window, say
                raise ModelError(f"{self.stage.graph.name}: {backend.name} has no plan for it: {error}") from error

        return self.staging.executables.get_or_make((self._serial, outputs, backend, settings), make)

    def fallbacks(self) -> list[tuple[str, str, str]]:
        """The stage's, and those of the stages that have followed it."""
        return [*self.stage.fallbacks, *(step for program in self._next.values() for step in program.fallbacks())]

    def following(self, types: Mapping[str, Typed]) -> Program:
        """What comes behind, for values of these types."""
        key = tuple((name, types[name]) for node in self.stage.pending for name in node.outputs if name)
        return self._next.get_or_make(key, lambda: Program(self.staging, self.staging.after(self.stage, types)))


def run_stages(program: Program, env: dict[str, Any], backend: Any, settings: tuple) -> dict[str, Any]:
    """Run stage after stage; `env`, the inputs by name, then holds every output that is no constant of the last.

    What later stages read is in its declared dtype.
    """
    while True:
        stage = program.stage
        if stage.gives:
            executable = program.executable(program.outputs, backend, settings)
            results = executable([held(env[name]) for name in stage.feeds])
            results = results if len(stage.gives) > 1 else (results,)
            env.update((name, declared(array, dtype)) for (name, dtype), array in zip(stage.gives, results))
        if stage.is_last:
            return env
        for node in stage.pending:
            arrays = [None if not name else env[name] if name in env else stage.constants[name] for name in node.inputs]
            made = program.staging.evaluator(node).checked(arrays)
            env.update(zip((name for name in node.outputs if name), map(_tensor, made)))
        program = program.following({name: _type(value) for name, value in env.items()})


def _tensor(value: Any) -> Any:
    """What the evaluator made, scalars and strings as arrays of the kind that ONNX's values are."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = np.asarray(value)
        return value.astype(object) if value.dtype.kind in "US" else value
    return value


def held(array: np.ndarray) -> np.ndarray:
    """A value as the graph holds it."""
    dtype = str(array.dtype)
    if dtype == "float32" or dtype not in FLOATS:
        return array
    with np.errstate(all="ignore"):
        return array.astype(inside(dtype))


def declared(array: np.ndarray, dtype: str) -> np.ndarray:
    """A value of the graph as the model declares it."""
    if str(array.dtype) == dtype:
        return array
    with np.errstate(all="ignore"):
        return array.astype(np.dtype(dtype))


def _type(value: Any) -> Typed:
    return Typed.of(value) if isinstance(value, np.ndarray) else Typed(type(value).__name__, None)
