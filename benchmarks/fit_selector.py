"""Fit the selector's machine constants to what `cnnkern regret --json` measured.

    cnnkern regret all --random 60 --selector --json two.json
    cnnkern regret all --random 60 --selector --threads 1 --json one.json
    python benchmarks/fit_selector.py two.json one.json

The files hold the times of every candidate of many convolutions. For any constants the selector says which candidate it
would take, so the loss of a set of constants is known without measuring again: the root of the mean square, over all
problems, of the regret beyond the problem's spread. Squares, because one bad choice is worse than many that are nearly
right. Files of several hours help: what members of a team read from each other costs more or less from one hour to the
next where the host moves a virtual machine's cores. From the best of some sets drawn at random the script moves one
constant at a time while the loss falls, and prints what it found: it goes to MachineCosts in csrc/ops/conv.h by hand.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cnnkern import backends
from cnnkern.backends.cpu.candidates import Problem
from cnnkern.cli.common import forced
from cnnkern.graph.problem import parse_problem
from cnnkern.measure import schema
from cnnkern.measure.regret import SHAPE_LIMIT

DRAWS, WIDTH = 100, 0.5  # sets of constants drawn at random, each off by exp(normal(0, WIDTH)) from where we start
BEST = 2  # of them, from which to descend
STEPS = (1.5, 1.2)  # a constant is multiplied and divided by these, the largest first
GAIN = 2e-4  # of the loss, below which a move is not worth a constant that says less than it did

Costs = dict[str, float]


class Measured(NamedTuple):
    """A problem, and the fastest time of each of its candidates."""

    problem: Problem
    times: Mapping[str, float]
    spread: float

    @property
    def best(self) -> float:
        return min(self.times.values())


def key(plan: Mapping[str, Any]) -> str:
    return json.dumps(plan, sort_keys=True)


def load(files: Sequence[Path]) -> tuple[list[Measured], str]:
    """The problems of all files, which must be of one instruction set, and that set."""
    found, isas = [], set()
    for file in files:
        document = json.loads(file.read_text(encoding="utf-8"))
        schema.validate(document)
        isas.add(document["machine"]["isa"])
        for shape in document["shapes"]:
            times = {key(c["plan"]): c["time_ms"] for c in shape["candidates"] if c["time_ms"] is not None}
            spec, (x, weight, *_) = parse_problem(shape["problem"])
            how = (shape["precision"], shape["threads"], shape["planes"], shape["scaled"])
            if times:
                found.append(Measured(Problem(spec, x, weight, *how), times, shape["spread"]))
    if len(isas) != 1:
        raise SystemExit(f"fit_selector: files of one instruction set are needed, received {', '.join(sorted(isas))}")
    return found, isas.pop()


def kind(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plan.items() if name not in ("ob", "px")}


class Loss:
    """What sets of constants lose, remembered."""

    def __init__(self, backend, measured: Sequence[Measured]):
        self._backend, self._measured = backend, measured
        self._known: dict[tuple[float, ...], float] = {}

    def regret(self, row: Measured, costs: Costs) -> float:
        """Of the choice; where only other tile widths of it were measured, of the best of those."""
        plan = self._backend.candidates(row.problem, costs)[0]
        if key(plan) in row.times:
            return row.times[key(plan)] / row.best - 1
        alike = [ms for known, ms in row.times.items() if kind(json.loads(known)) == kind(plan)]
        return min(alike) / row.best - 1 if alike else SHAPE_LIMIT

    def __call__(self, costs: Costs) -> float:
        at = tuple(costs.values())
        if at not in self._known:
            lost = (max(0.0, self.regret(row, costs) - row.spread) for row in self._measured)
            self._known[at] = math.sqrt(sum(loss**2 for loss in lost) / len(self._measured))
        return self._known[at]

    def summary(self, costs: Costs) -> str:
        regrets = [(self.regret(row, costs), row.spread) for row in self._measured]
        bad = sum(regret > SHAPE_LIMIT + spread for regret, spread in regrets)
        mean = sum(regret for regret, _ in regrets) / len(regrets)
        return f"loss {self(costs):.5f}, mean regret {100 * mean:.2f} %, {bad} of {len(regrets)} shapes beyond 10 %"


def descend(loss: Loss, costs: Costs, free: Sequence[str]) -> Costs:
    """Coordinate descent from `costs` along those named."""
    for step in STEPS:
        moved = True
        while moved:
            moved = False
            for name in free:
                for factor in (step, 1 / step):
                    tried = {**costs, name: costs[name] * factor}
                    if loss(tried) < loss(costs) - GAIN:
                        costs, moved = tried, True
    return costs


def fit(loss: Loss, start: Costs, free: Sequence[str], seed: int) -> Costs:
    """The best constants found from `start` and from random ones around it."""
    draw = random.Random(seed)
    drawn = [{**start, **{name: start[name] * math.exp(draw.gauss(0, WIDTH)) for name in free}} for _ in range(DRAWS)]
    found = []
    for costs in [start, *sorted(drawn, key=loss)[:BEST]]:
        found.append(descend(loss, costs, free))
        print(f"  {loss.summary(found[-1])}", flush=True)
    return min(found, key=loss)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="fit_selector.py", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="of `cnnkern regret --selector --json`")
    parser.add_argument("--keep", nargs="+", default=[], metavar="NAME", help="constants to leave as they are")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the sets drawn at random; default: 0")
    args = parser.parse_args(argv)
    measured, isa = load(args.files)
    with forced(isa):
        backend = backends.get("cpu")
        loss, start = Loss(backend, measured), backend.costs()
        print(f"as built: {loss.summary(start)}")
        found = fit(loss, start, [name for name in start if name not in args.keep], args.seed)
        print(f"fitted: {loss.summary(found)}")
    print("\n".join(f"{name:20} {start[name]:8.3g} -> {value:8.3g}" for name, value in found.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
