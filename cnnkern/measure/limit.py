"""How fast a step could be here: the limit that the measured peaks set, and what binds.

    limit = max( executed FLOPs / FMA peak,  for each memory level: compulsory bytes that live there / its bandwidth )

Compulsory are each input, weight and output once (the Spec's theory), whatever the algorithm moves beside. Where they
live is the nearest level that can hold them from their last use: a step's activations the first that is as large as
they are, its weights the first that is as large as all weights of the network, since one inference passes through all
of them before it comes back. L2 counts once per thread, L3 once; beyond it is DRAM. The terms may overlap, so their
maximum is a bound that no schedule of these operations beats; L1 is too small to keep anything between steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..ops.base import Counts, product
from . import peak

ITEM_BYTES = 4
FMA = "fma"


@dataclass(frozen=True)
class Limit:
    """The least milliseconds of a step, and what binds: "fma" or the memory level."""

    ms: float
    bound: str


@dataclass(frozen=True)
class Machine:
    """What limits: GFLOP/s, GB/s by level, and the bytes that "L2" (of all threads) and "L3" hold."""

    fma_gflops: float | None
    bandwidths_gbs: Mapping[str, float]
    holds_bytes: Mapping[str, int]

    @classmethod
    def measured(cls, isa: str | None, threads: int, caches: Mapping[str, int]) -> Machine:
        """This one, of `caches` as in `cnnkern.cpu_info()["cache_bytes"]`; without an isa nothing is known."""
        if not isa:
            return cls(None, {}, {})
        holds = {"L2": threads * caches.get("l2", 0), "L3": caches.get("l3", 0)}
        return cls(peak.fma_gflops(isa, threads), peak.bandwidths_gbs(threads, isa), holds)

    def level(self, size_bytes: int) -> str:
        """The nearest level that holds so much."""
        return next((level for level, size in self.holds_bytes.items() if size_bytes <= size), "DRAM")

    def limit(self, executed: Counts | None, weights: int, activations: int, all_weights: int) -> Limit | None:
        """The limit of a step that executes so many operations on so many bytes; None where a peak is not known."""
        if executed is None or not self.fma_gflops or not self.bandwidths_gbs:
            return None
        moved: dict[str, int] = {}
        for size, lives in ((weights, self.level(all_weights)), (activations, self.level(activations))):
            if size:
                moved[lives] = moved.get(lives, 0) + size
        terms = {FMA: executed.flops / self.fma_gflops / 1e6}
        for level, size in moved.items():
            if level not in self.bandwidths_gbs:
                return None
            terms[level] = size / self.bandwidths_gbs[level] / 1e6
        bound = max(terms, key=terms.__getitem__)
        return Limit(terms[bound], bound)


def step_bytes(plan: Any) -> list[tuple[int, int]]:
    """(bytes of weights, bytes of activations) of each step of a plan. Weights are what no step makes."""
    made = {value.name for value in plan.inputs} | set(plan.views)
    made |= {name for step in plan.steps for name in step.outputs}
    found = []
    for step in plan.steps:
        weights = sum(_bytes(shape) for name, shape in zip(step.inputs, step.in_shapes) if name and name not in made)
        found.append((weights, step.theory.bytes - weights))
    return found


def limits(machine: Machine, plan: Any, executed: Iterable[Counts | None]) -> list[Limit | None]:
    """The limit of each step of a plan, given what each executes."""
    sizes = step_bytes(plan)
    total = sum(weights for weights, _ in sizes)
    return [machine.limit(counts, *size, total) for size, counts in zip(sizes, executed)]


def _bytes(shape: tuple[int, ...] | None) -> int:
    return 0 if shape is None else ITEM_BYTES * product(shape)
