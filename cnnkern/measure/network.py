"""One network on one backend: checked, counted and timed, in this order. A wrong answer gets no speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..ops.base import Counts
from . import accuracy, peak
from .accounting import ModelAccount, account
from .timing import Timing, measure

PROFILE_ROUNDS = 20
STAGES = ("building", "checking", "counting", "measuring", "profiling")


@dataclass(frozen=True)
class LayerResult:
    """One step of the plan. `rate_gflops` is theory over time, `share_of_peak` executed over time over the peak: the
    first says how useful the time was, the second how busy the machine; Winograd makes them differ."""

    name: str
    op: str
    kernel: str
    output_shape: tuple[int, ...]
    theory: Counts
    executed: Counts | None
    time_ms: float | None
    peak_fma_gflops: float | None

    @property
    def rate_gflops(self) -> float | None:
        return rate(self.theory, self.time_ms)

    @property
    def share_of_peak(self) -> float | None:
        return share(rate(self.executed, self.time_ms), self.peak_fma_gflops)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "op": self.op,
            "kernel": self.kernel,
            "output_shape": list(self.output_shape),
            "theory": asdict(self.theory),
            "executed": asdict(self.executed) if self.executed else None,
            "time_ms": self.time_ms,
            "rate_gflops": self.rate_gflops,
            "share_of_peak": self.share_of_peak,
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
    errors: accuracy.NetworkErrors
    account: ModelAccount
    time: Timing | None
    layers: tuple[LayerResult, ...]
    peak_fma_gflops: float | None
    arena_bytes: int | None
    activation_bytes: int | None

    @property
    def correct(self) -> bool:
        return self.errors.ok

    @property
    def good(self) -> bool:
        return self.correct and self.account.agrees is not False

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
            "error": self.errors.largest,
            "tolerance": self.errors.worst.tolerance,
            "worst_layer": self.errors.worst.layer,
            "correct": self.correct,
            "counts_agree": counts.agrees,
            "faults": counts.faults,
            "theory": asdict(counts.theory),
            "predicted": asdict(counts.predicted) if counts.predicted else None,
            "executed": asdict(counts.executed) if counts.executed else None,
            "build_s": self.build_s,
            "arena_bytes": self.arena_bytes,
            "activation_bytes": self.activation_bytes,
            "layers": [layer.as_dict() for layer in self.layers],
        }


def rate(counts: Counts | None, time_ms: float | None) -> float | None:
    """GFLOP/s of doing `counts` in `time_ms`; None where either is unknown or no time passed."""
    return counts.flops / time_ms / 1e6 if counts is not None and time_ms else None


def share(rate_gflops: float | None, peak_gflops: float | None) -> float | None:
    """`rate_gflops` as a share of the peak, 1.0 being all of it; None where either is unknown."""
    return rate_gflops / peak_gflops if rate_gflops is not None and peak_gflops else None


def bench_network(
    name: str,
    model: Any,
    x: np.ndarray,
    reference: Mapping[str, np.ndarray],
    varies: float,
    *,
    backend: str = "cpu",
    isa: str | None = None,
    threads: int = 1,
    seconds: float = 1.0,
    input_name: str = "",
    on_stage: Callable[[str, float], None] = lambda stage, share: None,
) -> NetworkResult:
    """Build `model` for the shape of `x`, compare it with `reference`, count its operations and time it.

    Args: `reference` maps value names to float64 arrays (`accuracy.reference_taps`) and holds at least the output;
    `varies` is what two different inputs make of it (`accuracy.variation`); `on_stage` hears what begins (one of
    STAGES) and which share of it is done, for a progress line.
    Returns: the figures; without times when the answer is wrong.
    """
    on_stage("building", 0.0)
    start = time.perf_counter()
    executable = model.compile(input_shape=tuple(x.shape), backend=backend, threads=threads)
    build_s = time.perf_counter() - start

    on_stage("checking", 0.0)
    graph = model.graph.bind(x.shape[0])
    start = time.perf_counter()
    output = executable(x)
    slow = time.perf_counter() - start > seconds
    errors = accuracy.compare_network(graph, {graph.outputs[0]: output}, reference, varies)
    on_stage("counting", 0.0)
    counts = account(executable, x)

    timing, rows = None, {}
    if errors.ok:
        on_stage("measuring", 0.0)
        start = time.perf_counter()
        timing = measure(
            lambda: executable(x),
            seconds=seconds,
            warmup_rounds=0 if slow else 3,  # a slow call has warmed up by being checked
            min_rounds=3 if slow else 5,
            on_round=lambda _: on_stage("measuring", min(1.0, (time.perf_counter() - start) / seconds)),
        )
        on_stage("profiling", 0.0)
        rows = {row["name"]: row["ms"] for row in executable.profile(x, rounds=_profile_rounds(timing, seconds))}
    limit = peak.fma_gflops(isa, threads) if isa else None
    return NetworkResult(
        model=name,
        backend=backend,
        isa=isa,
        threads=threads,
        batch=x.shape[0],
        input=input_name,
        build_s=build_s,
        errors=errors,
        account=counts,
        time=timing,
        layers=tuple(
            LayerResult(
                name=step.name,
                op=step.spec.op,
                kernel=layer.kernel,
                output_shape=tuple(step.out_shapes[0]),
                theory=layer.theory,
                executed=layer.executed,
                time_ms=rows.get(step.name),
                peak_fma_gflops=limit,
            )
            for step, layer in zip(executable.steps, counts.layers)
        ),
        peak_fma_gflops=limit,
        arena_bytes=getattr(executable, "arena_bytes", None),
        activation_bytes=getattr(executable, "activation_bytes", None),
    )


def _profile_rounds(timing: Timing, seconds: float) -> int:
    """As many rounds as fit into the time that the whole network was given, few enough to stay pleasant."""
    return int(min(PROFILE_ROUNDS, max(1, 1e3 * seconds / timing.median_ms)))
