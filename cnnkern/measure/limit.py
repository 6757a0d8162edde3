"""How fast a step could be here: the limit that the measured peaks set, what binds, and how far it falls with the best
algorithm there is.

    limit = max( executed arithmetic / FMA peak,  for each memory level: compulsory bytes that live there / its rate )

Compulsory are each input, weight and output once (the Spec's theory), whatever the algorithm moves beside. Where they
live is the nearest level that can hold them from their last use: a step's activations the first that is as large as
they are, its weights the first that is as large as all weights of the network, since one inference passes through all
of them before it comes back. L2 counts once per thread, L3 once; beyond it is DRAM. The terms may overlap, so their
maximum is a bound that no schedule of these operations beats; L1 is too small to keep anything between steps.

What the bound takes for granted, each time in the machine's favour: additions, comparisons and the rest run beside the
multiplications, on pipes of their own that are as fast as the FMAs' (`arithmetic`); a level moves bytes at the better
of two rates, of reading alone and of copying, whether they are read or written; weights and activations in two levels
come at the same time; packing, halos and barriers cost nothing.

The best limit of a convolution is the least one over the plans that its backend could choose from, each with the
operations it is predicted to execute. A step with one way of being done has one limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..ops import LinearSpec
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
class Best:
    """The least limit in milliseconds over the algorithms that serve a step, and the algorithm that has it."""

    ms: float
    algorithm: str


@dataclass(frozen=True)
class Machine:
    """What limits: GFLOP/s, GB/s by level (the best of reading and copying), and the bytes that "L2" (of all threads)
    and "L3" hold."""

    fma_gflops: float | None
    bandwidths_gbs: Mapping[str, float]
    holds_bytes: Mapping[str, int]

    @classmethod
    def measured(
        cls, isa: str | None, threads: int, caches: Mapping[str, int], clock: peak.Clock | None = None
    ) -> Machine:
        """This one, of `caches` as in `cnnkern.cpu_info()["cache_bytes"]`; without an isa nothing is known. The FMA
        peak is the best that was seen, by the probes of `clock` too: a neighbour lowers a peak, nothing raises it."""
        if not isa:
            return cls(None, {}, {})
        holds = {"L2": threads * caches.get("l2", 0), "L3": caches.get("l3", 0)}
        probes = [peak.fma_gflops(isa, threads), *(clock.gflops if clock else ())]
        fastest = max((probe for probe in probes if probe), default=None)
        return cls(fastest, peak.moving_gbs(threads, isa), holds)

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
        terms = {FMA: arithmetic(executed) / self.fma_gflops / 1e6}
        for level, size in moved.items():
            if level not in self.bandwidths_gbs:
                return None
            terms[level] = size / self.bandwidths_gbs[level] / 1e6
        bound = max(terms, key=terms.__getitem__)
        return Limit(terms[bound], bound)


def arithmetic(executed: Counts) -> int:
    """The FLOPs that the FMA peak bounds. Processors have pipes for multiplications, fused or not, and some have others
    for additions or comparisons, none with more of them: what may run at the same time is not added up."""
    return max(2 * executed.fma + executed.mul, executed.add, executed.max, executed.special)


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


def best_limits(
    machine: Machine, backend: Any, isa: str, plan: Any, executed: Iterable[Counts | None]
) -> list[Best | None]:
    """The least limit of each step of a plan that the cpu `backend` made for `isa`, given what each executes."""
    sizes = step_bytes(plan)
    total = sum(weights for weights, _ in sizes)
    found = []
    for step, size, counts in zip(plan.steps, sizes, executed):
        offered = [(algorithm(step), counts), *alternatives(backend, isa, step)]
        rows = [(machine.limit(made, *size, total), name) for name, made in offered]
        known = [Best(limit.ms, name) for limit, name in rows if limit]
        found.append(min(known, key=lambda best: best.ms) if rows[0][0] else None)  # of equals the choice
    return found


def alternatives(backend: Any, isa: str, step: Any) -> Iterator[tuple[str, Counts]]:
    """(algorithm, what it would execute) for every plan that the backend has for a convolution or linear layer; none
    for a step of another kind. Plans of one algorithm differ in their tiles, and so in what they waste."""
    from ..backends.cpu.candidates import Problem
    from ..backends.cpu.predict import predict

    call = _convolution(step)
    if call is None:
        return
    width = peak.vector_width(isa)
    options, x = call.options, call.tensors["x"]
    wanted = "pointwise" if isinstance(step.spec, LinearSpec) else "auto"
    scaled = call.arrays["scale"] is not None
    problem = Problem.of(options["shape"], wanted, "float32", 1, not x.channels_last, scaled)
    for plan in backend.candidates(problem):
        other = replace(call, options={**options, "plan": {**options["plan"], **plan}})
        made = predict([other], isa, width)
        if made is not None:
            yield _name(plan, options["shape"]), made


def algorithm(step: Any) -> str:
    """How a step is done: a convolution's algorithm ("winograd_f4x3"), else its kernel's name without type and ISA."""
    call = _convolution(step)
    if call is not None:
        return _name(call.options["plan"], call.options["shape"])
    return step.kernel.removeprefix("f32_").partition("__")[0]


def _convolution(step: Any) -> Any:
    """The one native call of a step that is a convolution."""
    calls = step.native or ()
    return calls[0] if len(calls) == 1 and calls[0].method == "add_conv" else None


def _name(plan: Mapping[str, Any], shape: Mapping[str, int]) -> str:
    return f"winograd_f{plan['m']}x{shape['r']}" if plan["algo"] == "winograd" else plan["algo"]


def _bytes(shape: tuple[int, ...] | None) -> int:
    return 0 if shape is None else ITEM_BYTES * product(shape)
