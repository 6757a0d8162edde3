"""Every available backend against the float64 reference: operations on random shapes, networks on two pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .. import backends, testing
from ..errors import UnsupportedError
from ..graph import passes
from ..graph.ir import Graph
from ..graph.problem import format_problem
from . import accuracy
from .opcases import CASES, OpCase, cases


@dataclass(frozen=True)
class OpResult:
    """One line of `verify --ops`: `error`, `tolerance` and `worst_case` belong to the case nearest to its tolerance, or
    furthest beyond it. `skipped` cases are those that the backend says it cannot do (a forced algorithm)."""

    label: str
    backend: str
    isa: str | None
    cases: int
    skipped: int
    error: float
    tolerance: float
    worst_case: str
    failures: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not self.failures

    def as_dict(self) -> dict[str, Any]:
        return {
            "op": self.label,
            "backend": self.backend,
            "isa": self.isa,
            "cases": self.cases,
            "skipped": self.skipped,
            "error": self.error,
            "tolerance": self.tolerance,
            "worst_case": self.worst_case,
            "failures": list(self.failures),
            "good": self.good,
        }


@dataclass(frozen=True)
class NetworkVerdict:
    """One line of `verify MODEL`."""

    model: str
    backend: str
    isa: str | None
    errors: accuracy.NetworkErrors
    input_shape: tuple[int, ...]  # of one image
    reduced: bool  # whether that is smaller than the published one

    @property
    def good(self) -> bool:
        return self.errors.ok

    def as_dict(self) -> dict[str, Any]:
        worst, output = self.errors.worst, self.errors.output
        return {
            "model": self.model,
            "backend": self.backend,
            "isa": self.isa,
            "input_shape": list(self.input_shape),
            "reduced": self.reduced,
            "layers": len(self.errors.layers),
            "worst_layer": worst.layer,
            "worst_error": worst.error,
            "worst_tolerance": worst.tolerance,
            "output_error": output.error,
            "output_tolerance": output.tolerance,
            "variation": self.errors.variation,
            "good": self.good,
        }


def verify_ops(backend: str, isa: str | None, seed: int) -> Iterator[OpResult]:
    """Run the cases of `seed` on one backend, an `OpResult` per label; an exception in a case is a failure of it."""
    chosen = backends.get(backend)
    table: dict[str, list[OpCase]] = {label: [] for label in CASES}
    for case in cases(seed):
        table[case.label].append(case)
    for label, group in table.items():
        yield _verify_label(chosen, label, group, isa)


def _verify_label(backend: Any, label: str, group: list[OpCase], isa: str | None) -> OpResult:
    failures, skipped, worst = [], 0, (-1.0, 0.0, 0.0, "")
    for case in group:
        problem = format_problem(case.spec, [None if a is None else a.shape for a in case.arrays])
        try:
            error, tolerance = _compare(backend, case)
        except UnsupportedError:
            skipped += 1
            continue
        except Exception as problem_met:  # a crash of one case must not hide the others
            failures.append(f"{problem}: {type(problem_met).__name__}: {problem_met}")
            continue
        if not error <= tolerance:
            failures.append(f"{problem}: error {error:.2e}, allowed {tolerance:.2e}")
        worst = max(worst, (_closeness(error, tolerance), error, tolerance, problem))
    _, error, tolerance, problem = worst
    return OpResult(label, backend.name, isa, len(group), skipped, error, tolerance, problem, tuple(failures))


def _compare(backend: Any, case: OpCase) -> tuple[float, float]:
    """(error, tolerance) of the output nearest to its tolerance."""
    expected = testing.reference(case.spec, *case.arrays)
    results = backend.call(case.spec, case.arrays)
    pairs = zip(results, expected if isinstance(expected, tuple) else (expected,))
    compared = [testing.compare(mine, theirs, case.spec, case.arrays) for mine, theirs in pairs]
    return max(((c.error, c.tolerance) for c in compared), key=lambda c: _closeness(*c))


def _closeness(error: float, tolerance: float) -> float:
    """How much of its tolerance an error uses up; beyond 1 it is wrong."""
    if math.isnan(error):
        return math.inf
    if tolerance == 0.0:
        return math.inf if error > 0.0 else 0.0
    return error / tolerance


def verify_network(
    name: str,
    model: Any,
    x: Any,
    places: list[tuple[str, str | None]],
    forced: Callable[[str | None], Any],
    on_stage: Callable[[str], None] = lambda text: None,
    reduced: bool = False,
    varies: float | None = None,
) -> Iterator[NetworkVerdict]:
    """Compare a model's layers and output on every (backend, isa) of `places` with the reference, which runs once.

    Args: `x` holds two inputs, whose outputs must differ; `forced(isa)` is a context in which plans are made for that
    ISA; `reduced` is noted in the verdicts; `varies`, how far two outputs lie apart, where `x` holds one input.
    """
    graph = accuracy.bound(model, x)
    on_stage("weights and the float64 reference")
    surviving = set().union(*(_surviving(graph, model.weights, backend) for backend, _ in places))
    reference = accuracy.reference_taps(model, x, surviving.__contains__)
    varies = accuracy.variation(reference[graph.outputs[0]]) if varies is None else varies
    for backend, isa in places:
        on_stage(f"comparing {isa or backend}")
        with forced(isa):
            mine = accuracy.taps(model.compile(input_shape=accuracy.shapes(x), backend=backend), x)
        errors = accuracy.compare_network(graph, mine, reference, varies)
        yield NetworkVerdict(name, backend, isa, errors, model.input_shape, reduced)


def _surviving(graph: Graph, weights: dict, backend: str) -> set[str]:
    """The values that a backend's passes leave, which are those that can be compared."""
    graph, _ = passes.apply(graph, weights, backends.get(backend).passes())
    return {value for node in graph.nodes for value in node.outputs}
