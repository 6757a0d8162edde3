"""Regret: what the choices for convolutions cost against the best that was measured."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import models
from ..backends.cpu import kept
from ..backends.cpu.candidates import Problem
from ..backends.cpu.trial import Trial, best, race
from ..graph import passes
from ..ops import Conv2dSpec

NETWORK_LIMIT = 0.05  # of a network's total time in convolutions
SHAPE_LIMIT = 0.10  # of any one shape, beyond the spread of what was measured
GRAIN_MS = 0.0005  # of a step's time: one plan in two lanes of a trial differs by so much (Zen 5, 2026-11-21)


@dataclass(frozen=True)
class ShapeRegret:
    """One problem: the choice's time against the fastest candidate's."""

    problem: Problem
    trials: tuple[Trial, ...]
    chosen: Trial

    @property
    def best(self) -> Trial:
        return best([self.chosen, *self.trials])

    @property
    def regret(self) -> float:
        return self.chosen.ms / self.best.ms - 1

    @property
    def spread(self) -> float:
        """A share of the best time: how far rounds lie apart, or the clock's grain."""
        return max(self.chosen.spread, self.best.spread, GRAIN_MS / self.best.ms)

    @property
    def good(self) -> bool:
        return self.regret <= SHAPE_LIMIT + self.spread

    def as_dict(self) -> dict[str, Any]:
        """As contract.SHAPE_REGRET has it."""
        return {
            "problem": self.problem.text,
            "precision": self.problem.precision,
            "threads": self.problem.threads,
            "planes": self.problem.planes,
            "scaled": self.problem.scaled,
            "chosen": self.chosen.plan,
            "chosen_ms": self.chosen.ms,
            "best": self.best.plan,
            "best_ms": self.best.ms,
            "regret": self.regret,
            "spread": self.spread,
            "good": self.good,
            "candidates": [
                {"plan": trial.plan, "time_ms": trial.ms, "rounds": len(trial.times_ms), "wrong": trial.wrong}
                for trial in self.trials
            ],
        }


@dataclass(frozen=True)
class NetworkRegret:
    """A network: its convolutions' times, each as often as its problem occurs."""

    model: str
    layers: int
    shapes: int
    chosen_ms: float
    best_ms: float

    @property
    def regret(self) -> float:
        return self.chosen_ms / self.best_ms - 1 if self.best_ms else 0.0

    @property
    def good(self) -> bool:
        return self.regret <= NETWORK_LIMIT

    def as_dict(self) -> dict[str, Any]:
        """As contract.NETWORK_REGRET has it."""
        return {
            "model": self.model,
            "layers": self.layers,
            "shapes": self.shapes,
            "chosen_ms": self.chosen_ms,
            "best_ms": self.best_ms,
            "regret": self.regret,
            "good": self.good,
        }


def network_problems(name: str, backend: Any, batch: int, threads: int) -> Counter[Problem]:
    """The convolutions of a network after the backend's passes -> how often a core meets each in a run."""
    graph = models.create(name).graph.bind(batch)
    weights = {param.name: np.zeros(param.shape, np.float32) for param in graph.params.values()}
    graph, weights = passes.apply(graph, weights, backend.passes())
    found: Counter[Problem] = Counter()
    for _, problem in backend.problems(graph, weights, threads=threads):
        alone = problem.threads < threads and problem.x[0] < batch  # image by image, the images shared out
        found[problem] += -(-batch // threads) if alone else 1
    return found


def random_problems(count: int, batch: int, threads: int, seed: int) -> list[Problem]:
    """Convolutions drawn at random, of sizes that networks have and of sizes that they do not."""
    draw = random.Random(seed)
    found: dict[Problem, None] = {}
    while len(found) < count:
        size = draw.choice((7, 8, 14, 17, 28, 35, 56, draw.randint(5, 80)))
        kernel = draw.choice((1, 1, 3, 3, 3, 5, 7))
        c, k = (draw.choice((16, 32, 64, 96, 128, 256, 512, draw.randint(3, 640))) for _ in range(2))
        spec = Conv2dSpec(stride=(draw.choice((1, 1, 1, 2)),) * 2, padding=((kernel // 2,) * 2,) * 2)
        if size * size * c * k * kernel * kernel <= 2e9:  # no layer of minutes
            found[Problem(spec, (batch, c, size, size), (k, c, kernel, kernel), "float32", threads)] = None
    return list(found)


def shape_regret(
    backend: Any, problem: Problem, *, selector: bool = False, trial: Callable[..., list[Trial]] = race
) -> ShapeRegret:
    """Measure one problem. The choice is what a plan takes here: what is kept, else the selector's; `selector`: that.

    Args: `trial` as `backends.cpu.trial.race`.
    """
    trials = trial(backend, problem)
    plan = None if selector else kept.load(backend.cpu, backend.isa).get(problem.key)
    chosen = next((t for t in trials if t.plan == plan and t.times_ms), trials[0])
    return ShapeRegret(problem, tuple(trials), chosen)


def network_regret(name: str, problems: Mapping[Problem, int], shapes: Iterable[ShapeRegret]) -> NetworkRegret:
    """The sum over a network of what was measured of its problems."""
    found = {shape.problem: shape for shape in shapes}
    return NetworkRegret(
        name,
        sum(problems.values()),
        len(problems),
        sum(times * found[problem].chosen.ms for problem, times in problems.items()),
        sum(times * found[problem].best.ms for problem, times in problems.items()),
    )
