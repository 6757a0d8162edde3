"""One operation on one backend: checked, counted and timed, in this order. A wrong answer gets no time.

What is timed is the step that the backend's plan has for it, weights packed, through `Executable.profile`: natively
where steps are native. Python, the border of the plan (the caller's NCHW) and the packing of weights are outside. The
plan holds the operation several times over ("calls"), each with weights of its own; a round runs all of them, and what
it says is their mean, so that an operation of a few microseconds is timed over many clock ticks. Caches are

    "network"  as in a network, the default: before each call a sweep passes through its share of twice the last cache,
               so that weights are read from memory; then a step writes the input anew, as the layer before would.
               The input of a first layer (at most CALLER_CHANNELS channels) is the caller's own array, and cold.
    "warm"     as nowhere but in tight loops: the same input again at once, as many calls as fit into L2 together.

Either is a fair question; they differ most for small layers of many weights. A batch is taken as a whole, never image
by image as shallow layers in a network may be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .. import backends, config, testing
from ..backends import cpu_info
from ..errors import UnsupportedError
from ..ops import CONV_ALGOS, Conv2dSpec
from ..ops.base import Counts
from . import peak
from .accounting import LayerAccount, account
from .limit import Best, Limit, Machine, algorithm, alternatives
from .network import operations, rate, share
from .opgraph import CACHES, NETWORK, WARM, arrays_of, calls_of, graph_of, weight_bytes
from .opshapes import OpProblem
from .timing import Timing, summarise

MIN_ROUNDS, MAX_ROUNDS = 9, 500
CLOCK_LOOKS = 4  # probes of the FMA peak while an operation is timed
ALGOS = tuple(name for name in CONV_ALGOS if name not in ("auto", "fft"))  # fft is no step of a plan
STEP = "op"


@dataclass(frozen=True)
class OpRow:
    """The figures of one operation. `rate_gflops` is theory over time, `share_of_peak` executed over time over the FMA
    peak, `share_of_limit` the limit of limit.py over the time; None where it was not counted, measured or is wrong."""

    problem: OpProblem
    backend: str
    isa: str | None
    threads: int
    algo: str  # asked for
    caches: str
    calls: int  # in a round
    kernel: str
    decision: dict[str, Any]
    counts: LayerAccount
    error: float
    tolerance: float
    time: Timing | None
    peak_fma_gflops: float | None
    limit: Limit | None
    best: Best | None = None  # the least limit over the algorithms that serve
    clock: peak.Clock | None = None

    @property
    def correct(self) -> bool:
        return self.error <= self.tolerance  # False for NaN

    @property
    def good(self) -> bool:
        return self.correct and self.counts.agrees is not False

    @property
    def time_ms(self) -> float | None:
        return self.time.median_ms if self.time else None

    @property
    def rate_gflops(self) -> float | None:
        return rate(self.counts.theory, self.time_ms)

    @property
    def executed_gflops(self) -> float | None:
        return rate(self.counts.executed, self.time_ms)

    @property
    def share_of_peak(self) -> float | None:
        return share(self.executed_gflops, self.peak_fma_gflops)

    @property
    def share_of_limit(self) -> float | None:
        return share(self.limit and self.limit.ms, self.time_ms)

    @property
    def share_of_best(self) -> float | None:
        return share(self.best and self.best.ms, self.time_ms)

    def as_dict(self) -> dict[str, Any]:
        """As contract.OP_RESULT has it."""
        counts = self.counts
        return {
            "problem": self.problem.text,
            "note": self.problem.note,
            "op": self.problem.spec.op,
            "backend": self.backend,
            "isa": self.isa,
            "threads": self.threads,
            "algo": self.algo,
            "caches": self.caches,
            "calls": self.calls,
            "kernel": self.kernel,
            "decision": self.decision,
            **operations(counts.theory, counts.executed),
            "predicted": asdict(counts.predicted) if counts.predicted else None,
            "counts_agree": counts.agrees,
            "faults": counts.faults,
            "error": self.error,
            "tolerance": self.tolerance,
            "correct": self.correct,
            "time": asdict(self.time) if self.time else None,
            "rate_gflops": self.rate_gflops,
            "executed_gflops": self.executed_gflops,
            "peak_fma_gflops": self.peak_fma_gflops,
            "share_of_peak": self.share_of_peak,
            "limit_ms": self.limit.ms if self.limit else None,
            "bound": self.limit.bound if self.limit else None,
            "share_of_limit": self.share_of_limit,
            "best_limit_ms": self.best.ms if self.best else None,
            "best_algorithm": self.best.algorithm if self.best else None,
            "share_of_best_limit": self.share_of_best,
            "peak_fma": self.clock.as_dict() if self.clock else None,
        }


class OpCourse:
    """A problem with its arrays and the oracle's answer, made once for all backends, ISAs and algorithms.

    Beyond two images a batch is two images in turns, so that the oracle computes no more than those.
    """

    def __init__(self, problem: OpProblem, seed: int = 0):
        self.problem = problem
        (self.out_shape, *_) = problem.spec.infer(*problem.shapes)
        n = self.out_shape[0] if self.out_shape else 1
        shapes = [problem.shapes[i] for i in problem.activations]
        self._turns = n > 2 and not problem.spec.by_value and all(shape[:1] == (n,) for shape in shapes)
        pair = problem.batched(2) if self._turns else problem
        self._pair = arrays_of(pair, np.random.default_rng(seed))
        self.arrays = list(self._pair)
        for i in problem.activations if self._turns else ():
            self.arrays[i] = self._alternating(self._pair[i])
        self._expected: np.ndarray | None = None

    def _alternating(self, pair: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(pair[np.arange(self.out_shape[0]) % 2])

    def compare(self, mine: np.ndarray, algo: str, precision: str) -> testing.Comparison:
        """The error of an answer to `arrays` by that algorithm, and what it may be."""
        if self._expected is None:
            expected = testing.reference(self.problem.spec, *self._pair)
            expected = expected[0] if isinstance(expected, tuple) else expected
            self._expected = self._alternating(expected) if self._turns else expected
        spec = with_algo(self.problem, algo).spec
        return testing.compare(mine, self._expected, spec, self._pair, precision=precision)


def with_algo(problem: OpProblem, algo: str) -> OpProblem:
    """The problem with that algorithm forced; as it is for "auto".

    Raises UnsupportedError for an operation that has no algorithms.
    """
    if algo == "auto":
        return problem
    if not isinstance(problem.spec, Conv2dSpec):
        raise UnsupportedError(f"algo {algo!r}: only conv2d has algorithms, {problem.spec.op} has one way")
    return replace(problem, spec=replace(problem.spec, algo=algo))


def algorithms(problem: OpProblem) -> tuple[str, ...]:
    """What `--algo all` tries: "auto", and for a convolution that leaves it open, each by name."""
    free = isinstance(problem.spec, Conv2dSpec) and problem.spec.algo == "auto"
    return ("auto", *ALGOS) if free else ("auto",)


class Field:
    """The plan that holds an operation `calls` times; `round` times them, `answer` is what the last one computes."""

    def __init__(self, backend: Any, course: OpCourse, algo: str, threads: int, caches: str, calls: int):
        problem = with_algo(course.problem, algo)
        self._names = [STEP, *(f"{STEP}{i}" for i in range(1, calls))]
        graph, dust = graph_of(problem, self._names, caches, threads)
        given = {f"in{i}": array for i, array in enumerate(course.arrays) if array is not None}
        weights = {name: array for name, array in given.items() if name in graph.params}
        self.inputs = {**{name: array for name, array in given.items() if name not in weights}, **dust}
        self.calls = calls
        self.executable = backend.compile(graph, weights, precision=config.get("precision"), threads=threads)
        steps = {step.name: step for step in self.executable.steps}
        if STEP not in steps:
            raise UnsupportedError(f"{problem.spec.op} is no step of its own here: it only looks at its input")
        self.step = steps[STEP]

    def answer(self) -> np.ndarray:
        result = self.executable(self.inputs)
        return result[0] if isinstance(result, tuple) else result

    def round(self) -> float:
        """Milliseconds of a call, the mean of a round."""
        times = {row["name"]: row["ms"] for row in self.executable.profile(self.inputs)}
        return sum(times[name] for name in self._names) / self.calls

    def counts(self) -> LayerAccount:
        return next(layer for layer in account(self.executable, self.inputs).layers if layer.name == STEP)


class OpRun:
    """An operation on a backend, made, checked and counted; `rounds` times it, `row` gathers the figures.

    Args: `isa` names the one in force (it is not set here), None off the cpu backend.
    Raises: UnsupportedError where the backend cannot do it, or not by that algorithm.
    """

    def __init__(
        self,
        course: OpCourse,
        backend: str = "cpu",
        *,
        isa: str | None = None,
        algo: str = "auto",
        threads: int = 1,
        caches: str = NETWORK,
    ):
        if caches not in CACHES:
            raise ValueError(f"caches: {' and '.join(CACHES)} are accepted, got {caches!r}")
        self.course, self.isa, self.algo, self.threads, self.caches = course, isa, algo, threads, caches
        self._backend, self._clock = backends.get(backend), peak.Clock(isa, threads) if isa else None
        bare = Field(self._backend, course, algo, threads, WARM, 1)
        self._counts, self._step = bare.counts(), bare.step
        found = [course.compare(bare.answer(), algo, config.get("precision"))]
        self._field = None
        if found[0].ok:
            calls = 1 if backend == "reference" else calls_of(course.problem, caches, threads)
            self._field = Field(self._backend, course, algo, threads, caches, calls)
            found.append(course.compare(self._field.answer(), algo, config.get("precision")))
        # The worse of the two; NaN counts as the worst there is.
        self._found = max(found, key=lambda c: c.error if c.error == c.error else float("inf"))

    @property
    def correct(self) -> bool:
        return self._found.ok

    def round(self) -> float:
        """Milliseconds of one call. Raises RuntimeError where the answer was wrong: it gets no time."""
        if not self.correct:
            raise RuntimeError(f"{self.course.problem.text}: a wrong answer is not timed")
        return self._field.round()

    def rounds(self, seconds: float, now: Callable[[], float] = time.perf_counter) -> list[float]:
        """Rounds for about `seconds`, sweeps included; the first one is not kept."""
        begin, times = now(), [self.round()]
        slow = now() - begin > seconds
        looks = 0
        while len(times) <= (3 if slow else MIN_ROUNDS) or (now() - begin < seconds and len(times) <= MAX_ROUNDS):
            if self._clock is not None and looks <= min(1.0, (now() - begin) / seconds) * (CLOCK_LOOKS - 1):
                self._clock.probe()
                looks += 1
            times.append(self.round())
        return times[1:]

    def row(self, times_ms: Sequence[float] = ()) -> OpRow:
        """The figures; without times where there are none."""
        machine = Machine.measured(self.isa, self.threads, cpu_info()["cache_bytes"], self._clock)
        limit = self._limit(machine, self._counts.executed)
        return OpRow(
            problem=self.course.problem,
            backend=self._backend.name,
            isa=self.isa,
            threads=self.threads,
            algo=self.algo,
            caches=self.caches,
            calls=self._field.calls if self._field else 0,
            kernel=self._counts.kernel,
            decision=dict(self._step.plan),
            counts=self._counts,
            error=self._found.error,
            tolerance=self._found.tolerance,
            time=summarise(times_ms) if self.correct and len(times_ms) else None,
            peak_fma_gflops=machine.fma_gflops,
            limit=limit,
            best=self._best(machine, limit),
            clock=self._clock,
        )

    def _limit(self, machine: Machine, executed: Counts | None) -> Limit | None:
        """As `limit.limits`; swept weights live in memory, warm ones where they fit."""
        weights = weight_bytes(self.course.problem)
        everywhere = weights if self.caches == WARM else max(weights, 1 + max(machine.holds_bytes.values(), default=0))
        return machine.limit(executed, weights, self._counts.theory.bytes - weights, everywhere)

    def _best(self, machine: Machine, limit: Limit | None) -> Best | None:
        """As `limit.best_limits`."""
        if limit is None or self.isa is None:
            return None
        found = [Best(limit.ms, algorithm(self._step))]
        for name, executed in alternatives(self._backend, self.isa, self._step):
            other = self._limit(machine, executed)
            found += [Best(other.ms, name)] if other else []
        return min(found, key=lambda best: best.ms)


def bench_op(
    course: OpCourse,
    backend: str = "cpu",
    *,
    isa: str | None = None,
    algo: str = "auto",
    threads: int = 1,
    caches: str = NETWORK,
    seconds: float = 1.0,
) -> OpRow:
    """One operation: its answer compared with the oracle, its operations counted, then timed for about `seconds`.

    Args: as `OpRun`. Returns: the row; without a time where the answer was wrong.
    Raises: UnsupportedError where the backend cannot do it, or not by that algorithm.
    Example:
        >>> (problem,) = opshapes.read_lines("linear 1x512 1000x512 1000")
        >>> bench_op(OpCourse(problem), seconds=0.1).correct
        True
    """
    run = OpRun(course, backend, isa=isa, algo=algo, threads=threads, caches=caches)
    return run.row(run.rounds(seconds) if run.correct else ())
