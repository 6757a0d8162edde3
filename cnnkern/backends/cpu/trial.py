"""Trials: the candidates for a convolution race each other in one program, and the best is kept.

Every candidate is a step of the same program with weights of its own, so that each round runs them in turns. Before
each, a sweep takes its share of the caches and the input is written anew: as in a network, where a layer's weights have
left the caches since the last run, and the layer before has just left its output. The steps are timed singly. A first
lap finds those near the best, which then run in both orders.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...graph.ir import Graph, Node, Param, Value
from ...ops import ActivationSpec
from ...ops.base import Shape
from . import kept
from .candidates import Problem

FIRST_ROUNDS, MIN_ROUNDS = 3, 8
NEAR = 1.4  # times the best of the first lap: what is slower by more than noise makes it is out
COPY_BYTES = 8 << 20  # weights up to so large run in both orders; larger ones are out of every cache by themselves
GAIN = 0.02  # a choice is kept against the selector's where it saves more than this share


@dataclass
class Trial:
    """A candidate: its decision, the times of its rounds in the order they ran, and why it has none if it has none."""

    plan: dict[str, Any]
    times_ms: list[float] = field(default_factory=list)
    wrong: str = ""

    @property
    def ms(self) -> float:
        """The fastest round: neighbours only ever add."""
        return min(self.times_ms, default=float("inf"))

    @property
    def spread(self) -> float:
        """How far the fastest of the even rounds and that of the odd ones lie apart, a share of the faster."""
        halves = self.times_ms[::2], self.times_ms[1::2]
        fastest = [min(half) for half in halves if half]
        return max(fastest) / min(fastest) - 1 if len(fastest) == 2 else 0.0


def best(trials: Sequence[Trial]) -> Trial:
    """The fastest; the selector's own, which is the first, where nothing was timed."""
    return min(trials, key=lambda trial: trial.ms)


def race(
    backend, problem: Problem, seconds: float = 0.3, clock: Callable[[], float] = time.perf_counter
) -> list[Trial]:
    """Time every candidate of `problem`, about `seconds` long, and at least MIN_ROUNDS times those near the best.

    Returns: a `Trial` each, the selector's choice first; a candidate whose result is not the selector's within
        twice the operation's tolerance has no times.
    """
    trials = [Trial(plan) for plan in backend.candidates(problem)]
    x, weights = _arrays(problem)
    first = _Field(backend, problem, trials, weights)
    _judge(first, problem, x)
    for _ in range(FIRST_ROUNDS + 1):
        first.round(x)
    for trial in trials:
        trial.times_ms = [] if trial.wrong else trial.times_ms[1:]  # the first round fetched everything
    limit = NEAR * best(trials).ms
    near = [trial for trial in trials if not trial.wrong and (trial is trials[0] or trial.ms <= limit)]
    if len(near) < 2:
        return trials
    small = 4 * int(np.prod(problem.weight)) <= COPY_BYTES
    second = _Field(backend, problem, [*near, *(reversed(near) if small else ())], weights)
    second.round(x)
    for trial in near:
        trial.times_ms = []
    begin, rounds = clock(), 0
    while rounds < MIN_ROUNDS or clock() - begin < seconds:
        second.round(x)
        rounds += 1
    return trials


def tune(
    backend,
    problems: Iterable[Problem],
    on_problem: Callable[[Problem, list[Trial]], None] | None = None,
    *,
    again: bool = False,
    trial: Callable[..., list[Trial]] = race,
) -> int:
    """Race the candidates of those problems that nothing is kept for, and keep the best of each for this machine.

    Args: `on_problem` hears of each when it is done; `again`: of all problems. Returns: how many were measured.
    """
    known = {} if again else kept.load(backend.cpu, backend.isa)
    missing = [problem for problem in dict.fromkeys(problems) if problem.key not in known]
    for problem in missing:
        trials = trial(backend, problem)
        fastest = best(trials)
        chosen = fastest if fastest.ms < (1 - GAIN) * trials[0].ms else trials[0]
        kept.keep(backend.cpu, backend.isa, {problem.key: chosen.plan})  # at once: a run may be interrupted
        if on_problem is not None:
            on_problem(problem, trials)
    return len(missing)


class _Field:
    """The program in which `runners` run in turns; the same one may run several times a round."""

    def __init__(self, backend, problem: Problem, runners: Sequence[Trial], weights: dict[str, np.ndarray]):
        self._lanes = {f"lane{i}": trial for i, trial in enumerate(runners)}
        decisions = {name: trial.plan for name, trial in self._lanes.items()}
        # All sweeps of a round together are twice the last cache: what a round reads is gone when the next begins.
        floats = max(backend.cache_bytes[0], 2 * backend.cache_bytes[1] // len(runners)) // 4
        dust = np.ones((len(runners), problem.threads, floats // problem.threads), np.float32)
        self._dust = {f"{name}.dust": swept for name, swept in zip(self._lanes, dust)}
        graph = _graph(problem, list(self._lanes), dust.shape[1:])
        options = {"precision": problem.precision, "threads": problem.threads, "decisions": decisions}
        self._run = backend.compile(graph, weights, **options)

    def round(self, x: np.ndarray) -> None:
        for row in self._run.profile({"x": x, **self._dust}):
            if row["name"] in self._lanes:
                self._lanes[row["name"]].times_ms.append(row["ms"])

    def results(self, x: np.ndarray) -> Iterable[tuple[Trial, np.ndarray]]:
        found = {}

        def keep(step, ms, fetch):
            if step.name in self._lanes:
                found[step.name] = fetch(step.outputs[0]).copy()

        self._run.watch({"x": x, **self._dust}, keep)
        return [(self._lanes[name], array) for name, array in found.items()]


def _judge(lanes: _Field, problem: Problem, x: np.ndarray) -> None:
    """Say what is wrong with results that are not the first one's."""
    from ...testing import compare

    (_, expected), *others = lanes.results(x)
    for trial, mine in others:
        found = compare(mine, expected, problem.spec, (problem.x, problem.weight), precision=problem.precision)
        if not found.error <= 2 * found.tolerance:  # each of the two may be off by one
            trial.wrong = f"error {found.error:.2g}, allowed {2 * found.tolerance:.2g}"


def _graph(problem: Problem, names: list[str], dust: Shape) -> Graph:
    """All of `names` as convolutions, each behind a sweep over its dust, and of an input just written."""
    graph = Graph("trial")
    graph.values = {"x": Value("x", problem.x), **{f"{name}.dust": Value(f"{name}.dust", dust) for name in names}}
    graph.inputs = list(graph.values)
    graph.params = {
        "weight": Param("weight", problem.weight, "conv_weight"),
        "bias": Param("bias", problem.weight[:1], "bias"),
    }
    (shape,) = problem.spec.infer(problem.x, problem.weight, problem.weight[:1])
    constants = ["weight", "bias"]
    if problem.scaled:
        constants += ["", "scale", "shift"]
        graph.params |= {name: Param(name, problem.x[1:2], "constant") for name in ("scale", "shift")}

    def relu(source: str, name: str) -> str:
        graph.values[name] = Value(name, graph.shape(source))
        graph.nodes.append(Node(name, ActivationSpec("relu"), (source,), (name,)))
        return name

    for name in names:
        relu(f"{name}.dust", f"{name}.sweep")
        x = "x" if problem.planes else relu("x", f"{name}.x")
        graph.values[name] = Value(name, shape)
        graph.nodes.append(Node(name, problem.spec, (x, *constants), (name,)))
    graph.outputs = names[-1:]
    return graph


def _arrays(problem: Problem) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The input and the weights."""
    random = np.random.default_rng(0)
    scale = np.float32((2 / max(1, np.prod(problem.weight[1:]))) ** 0.5)
    weight = random.standard_normal(problem.weight, np.float32) * scale
    bias = random.standard_normal(problem.weight[0], np.float32)
    weights = {"weight": weight, "bias": bias}
    if problem.scaled:
        weights |= {name: random.standard_normal(problem.x[1], np.float32) for name in ("scale", "shift")}
    return random.standard_normal(problem.x, np.float32), weights
