"""One network on one backend: checked, counted and timed, in this order. A wrong answer gets no speed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .. import backends
from ..backends import cpu_info
from ..ops.base import Counts
from . import accuracy, counters, peak
from .accounting import ModelAccount, account
from .limit import Best, Limit, Machine, algorithm, best_limits, limits
from .peers.race import Heat
from .pictures import Course
from .timing import Timing, measure

PROFILE_ROUNDS = 20
CLOCK_LOOKS = 8  # probes of the peak while a network is measured
STAGES = ("building", "checking", "counting", "measuring", "profiling")


@dataclass(frozen=True)
class LayerResult:
    """One step of the plan. `rate_gflops` is theory over time, `share_of_peak` executed over time over the FMA peak:
    the first says how useful the time was, the second how busy the machine; Winograd makes them differ. `limit` is what
    the machine's peaks allow (limit.py), `distance` the time over it, `lost_ms` the time beyond it, `best` the limit of
    the best algorithm there is, `algorithm` the one taken."""

    name: str
    op: str
    kernel: str
    output_shape: tuple[int, ...]
    theory: Counts
    executed: Counts | None
    time_ms: float | None
    peak_fma_gflops: float | None
    limit: Limit | None = None
    best: Best | None = None
    algorithm: str | None = None

    @property
    def distance(self) -> float | None:
        return self.time_ms / self.limit.ms if self.limit and self.limit.ms and self.time_ms is not None else None

    @property
    def share_of_limit(self) -> float | None:
        return self.limit.ms / self.time_ms if self.limit and self.time_ms else None

    @property
    def lost_ms(self) -> float | None:
        return self.time_ms - self.limit.ms if self.limit and self.time_ms is not None else None

    @property
    def rate_gflops(self) -> float | None:
        return rate(self.theory, self.time_ms)

    @property
    def executed_gflops(self) -> float | None:
        return rate(self.executed, self.time_ms)

    @property
    def share_of_peak(self) -> float | None:
        return share(self.executed_gflops, self.peak_fma_gflops)

    @property
    def intensity(self) -> float | None:
        """Executed FLOPs per compulsory byte: where the step stands under the machine's roofs."""
        return self.executed.flops / self.theory.bytes if self.executed and self.theory.bytes else None

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "op": self.op,
            "kernel": self.kernel,
            "output_shape": list(self.output_shape),
            **operations(self.theory, self.executed),
            "bytes": self.theory.bytes,
            "intensity": self.intensity,
            "time_ms": self.time_ms,
            "rate_gflops": self.rate_gflops,
            "executed_gflops": self.executed_gflops,
            "share_of_peak": self.share_of_peak,
            "limit_ms": self.limit.ms if self.limit else None,
            "bound": self.limit.bound if self.limit else None,
            "share_of_limit": self.share_of_limit,
            "distance": self.distance,
            "algorithm": self.algorithm,
            "best_limit_ms": self.best.ms if self.best else None,
            "best_algorithm": self.best.algorithm if self.best else None,
            "lost_ms": self.lost_ms,
        }


@dataclass(frozen=True)
class NetworkResult:
    """A network's figures. `time` is None when the answer was wrong; `error` is the largest over the taps that were
    compared, a share of the reference's range."""

    model: str
    backend: str
    isa: str | None
    threads: int
    batch: int
    input: str
    build_s: float
    first_ms: float  # the first call: threads started, memory touched
    errors: accuracy.NetworkErrors
    account: ModelAccount
    time: Timing | None
    layers: tuple[LayerResult, ...]
    peak_fma_gflops: float | None
    arena_bytes: int | None
    activation_bytes: int | None
    bandwidths_gbs: Mapping[str, float] = field(default_factory=dict)  # of this ISA and these threads, by level
    clock: peak.Clock | None = None  # the FMA peak between the rounds
    heat: Heat | None = None  # the race against other engines, where one was asked for
    hardware: counters.Hardware = counters.NOT_HERE  # the processor's own count of operations

    @property
    def limit_ms(self) -> float | None:
        """The sum of the layers' limits."""
        known = [layer.limit.ms for layer in self.layers if layer.limit]
        return sum(known) if known and len(known) == len(self.layers) else None

    @property
    def share_of_limit(self) -> float | None:
        return self.limit_ms / self.time.median_ms if self.limit_ms and self.time else None

    @property
    def distance(self) -> float | None:
        return self.time.median_ms / self.limit_ms if self.limit_ms and self.time else None

    @property
    def best_limit_ms(self) -> float | None:
        """The same of the best algorithm for each layer."""
        known = [layer.best.ms for layer in self.layers if layer.best]
        return sum(known) if known and len(known) == len(self.layers) else None

    @property
    def best_algorithm(self) -> str | None:
        """What that would change: "as chosen", or how many layers would go by which algorithm."""
        if self.best_limit_ms is None:
            return None
        changed = Counter(x.best.algorithm for x in self.layers if x.best.algorithm != x.algorithm)
        return ", ".join(f"{times}x {name}" for name, times in changed.most_common()) or "as chosen"

    @property
    def correct(self) -> bool:
        return self.errors.ok

    @property
    def good(self) -> bool:
        raced = self.heat is None or self.heat.correct
        return self.correct and self.account.agrees is not False and self.hardware.agrees is not False and raced

    @property
    def rate_gflops(self) -> float | None:
        return rate(self.account.theory, self.time and self.time.median_ms)

    @property
    def share_of_peak(self) -> float | None:
        return share(rate(self.account.executed, self.time and self.time.median_ms), self.peak_fma_gflops)

    @property
    def images_per_s(self) -> float | None:
        return 1e3 * self.batch / self.time.median_ms if self.time else None

    def as_dict(self) -> dict[str, Any]:
        counts = self.account
        layers_ms = sum(layer.time_ms or 0.0 for layer in self.layers)
        return {
            "model": self.model,
            "backend": self.backend,
            "isa": self.isa,
            "threads": self.threads,
            "batch": self.batch,
            "input": self.input,
            "time": asdict(self.time) if self.time else None,
            "images_per_s": self.images_per_s,
            "rate_gflops": self.rate_gflops,
            "share_of_peak": self.share_of_peak,
            "peak_fma_gflops": self.peak_fma_gflops,
            "bandwidths_gbs": dict(self.bandwidths_gbs),
            "limit_ms": self.limit_ms,
            "share_of_limit": self.share_of_limit,
            "distance": self.distance,
            "best_limit_ms": self.best_limit_ms,
            "best_algorithm": self.best_algorithm,
            "hardware": self.hardware.as_dict(),
            "peak_fma": self.clock.as_dict() if self.clock else None,
            "error": self.errors.largest,
            "tolerance": self.errors.worst.tolerance,
            "worst_layer": self.errors.worst.layer,
            "correct": self.correct,
            "counts_agree": counts.agrees,
            "faults": counts.faults,
            **operations(counts.theory, counts.executed),
            "predicted": asdict(counts.predicted) if counts.predicted else None,
            "build_s": self.build_s,
            "first_ms": self.first_ms,
            "arena_bytes": self.arena_bytes,
            "activation_bytes": self.activation_bytes,
            "layers": [{**layer.as_dict(), "share_of_time": share(layer.time_ms, layers_ms)} for layer in self.layers],
            "race": self.heat.as_dict() if self.heat else None,
        }


def operations(theory: Counts, executed: Counts | None) -> dict[str, Any]:
    """Both counts for a document, their FLOPs, and executed as a share of theory."""
    flops = executed.flops if executed else None
    return {
        "theory": asdict(theory),
        "executed": asdict(executed) if executed else None,
        "theory_flops": theory.flops,
        "executed_flops": flops,
        "executed_of_theory": flops / theory.flops if executed and theory.flops else None,
    }


def rate(counts: Counts | None, time_ms: float | None) -> float | None:
    """GFLOP/s of doing `counts` in `time_ms`; None where either is unknown or no time passed."""
    return counts.flops / time_ms / 1e6 if counts is not None and time_ms else None


def share(part: float | None, whole: float | None) -> float | None:
    """`part` as a share of the whole, 1.0 being all of it; None where either is unknown."""
    return part / whole if part is not None and whole else None


def bench_network(
    course: Course,
    batch: int,
    *,
    backend: str = "cpu",
    isa: str | None = None,
    threads: int = 1,
    seconds: float = 1.0,
    input_name: str = "",
    on_stage: Callable[[str, float], None] = lambda stage, share: None,
) -> NetworkResult:
    """Build the model of `course` for `batch` images, compare it with the reference, count its operations and time it.

    Args: `isa` names the one in force (it is not set here), None off the cpu backend; `on_stage` hears what begins (one
    of STAGES) and which share of it is done, for a progress line.
    Returns: the figures; without times when the answer is wrong.
    """
    model, x = course.model, course.pictures(batch)
    on_stage("building", 0.0)
    start = time.perf_counter()
    executable = model.compile(input_shape=accuracy.shapes(x), backend=backend, threads=threads)
    build_s = time.perf_counter() - start

    on_stage("checking", 0.0)
    start = time.perf_counter()
    result = executable(x)
    first_s = time.perf_counter() - start
    output = result[0] if isinstance(result, tuple) else result  # the first alone is looked at
    graph, answers = accuracy.bound(model, x), {course.output: course.answers(batch)}
    errors = accuracy.compare_network(graph, {course.output: output}, answers, course.varies)
    on_stage("counting", 0.0)
    counts = account(executable, x)
    hardware = counters.measure(executable, x, counters.whole(counts.layers)) if isa else counters.NOT_HERE

    timing, clock, rows = None, None, {}
    if errors.ok:
        timing, clock = _timed(lambda: executable(x), isa, threads, seconds, first_s > seconds, on_stage)
        on_stage("profiling", 0.0)
        rows = {row["name"]: row["ms"] for row in executable.profile(x, rounds=_profile_rounds(timing, seconds))}
    machine = Machine.measured(isa, threads, cpu_info()["cache_bytes"], clock)
    return NetworkResult(
        model=course.name,
        backend=backend,
        isa=isa,
        threads=threads,
        batch=batch,
        input=input_name,
        build_s=build_s,
        first_ms=1e3 * first_s,
        errors=errors,
        account=counts,
        time=timing,
        layers=_layers(executable, counts, rows, machine, isa),
        peak_fma_gflops=machine.fma_gflops,
        arena_bytes=getattr(executable, "arena_bytes", None),
        activation_bytes=getattr(executable, "activation_bytes", None),
        bandwidths_gbs=machine.bandwidths_gbs,
        clock=clock,
        hardware=hardware,
    )


def _layers(
    executable: Any, counts: ModelAccount, times_ms: Mapping[str, float], machine: Machine, isa: str | None
) -> tuple[LayerResult, ...]:
    plan, executed = executable.plan, [layer.executed for layer in counts.layers]
    found, best = limits(machine, plan, executed), [None] * len(executed)
    if isa:
        best = best_limits(machine, backends.get("cpu"), isa, plan, executed)
    return tuple(
        LayerResult(
            name=step.name,
            op=step.spec.op,
            kernel=layer.kernel,
            output_shape=tuple(step.out_shapes[0]),
            theory=layer.theory,
            executed=layer.executed,
            time_ms=times_ms.get(step.name),
            peak_fma_gflops=machine.fma_gflops,
            limit=limit,
            best=least,
            algorithm=algorithm(step) if isa else None,
        )
        for step, layer, limit, least in zip(executable.steps, counts.layers, found, best)
    )


def _timed(
    call: Callable[[], Any],
    isa: str | None,
    threads: int,
    seconds: float,
    slow: bool,
    on_stage: Callable[[str, float], None],
) -> tuple[Timing, peak.Clock | None]:
    """The rounds of `call`, and the machine's peak between them."""
    clock = peak.Clock(isa, threads) if isa else None
    on_stage("measuring", 0.0)
    start = time.perf_counter()

    def on_round(_: int) -> None:
        share = min(1.0, (time.perf_counter() - start) / seconds)
        on_stage("measuring", share)
        if clock is not None and len(clock.gflops) <= share * (CLOCK_LOOKS - 1):
            clock.probe()

    timing = measure(
        call,
        seconds=seconds,
        warmup_rounds=0 if slow else 3,  # a slow call has warmed up by being checked
        min_rounds=3 if slow else 5,
        on_round=on_round,
    )
    return timing, clock


def _profile_rounds(timing: Timing, seconds: float) -> int:
    """As many rounds as fit into the time that the whole network was given, few enough to stay pleasant."""
    return int(min(PROFILE_ROUNDS, max(1, 1e3 * seconds / timing.median_ms)))
