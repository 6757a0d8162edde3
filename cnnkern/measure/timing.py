"""Timing a call: warm-up, rounds, and the few numbers that tell whether to believe them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

DRIFT_LIMIT = 0.05  # a series whose second half is slower or faster by more than this share is not steady


@dataclass(frozen=True)
class Timing:
    """What a series of times says.

    `median_ms` is the figure to quote and `minimum_ms` what the machine can do undisturbed. `spread` is the
    interquartile range over the median. `drift` is the median of the second half over that of the first, minus one: a
    machine that heats up, or a neighbour that arrives, shows here and not in the median.
    """

    median_ms: float
    minimum_ms: float
    spread: float
    drift: float
    rounds: int

    @property
    def drifting(self) -> bool:
        """True when the times wander: something else ran, or the machine heated up; worth a second run."""
        return abs(self.drift) > DRIFT_LIMIT


def summarise(times_ms: Sequence[float]) -> Timing:
    """The `Timing` of measured rounds, in the order they ran.

    Raises ValueError on an empty series. Example: `summarise([2.0, 2.1, 2.0]).median_ms == 2.0`.
    """
    times = [float(t) for t in times_ms]
    if not times:
        raise ValueError("times_ms is empty: at least one round is needed")
    median = statistics.median(times)
    half = len(times) // 2
    early, late = (statistics.median(times[:half]), statistics.median(times[-half:])) if half else (median, median)
    return Timing(
        median_ms=median,
        minimum_ms=min(times),
        spread=_interquartile_range(times) / median if median > 0 else 0.0,
        drift=late / early - 1.0 if early > 0 else 0.0,
        rounds=len(times),
    )


def measure(
    call: Callable[[], object],
    *,
    warmup_rounds: int = 3,
    seconds: float = 1.0,
    min_rounds: int = 5,
    max_rounds: int = 300,
    on_round: Callable[[int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Call `call` until `seconds` of measured time or `max_rounds` are reached, never fewer than `min_rounds`.

    Args: `on_round` hears the number of rounds done so far, outside the timed region; `clock` returns seconds.
    Returns: the `Timing` of the rounds after `warmup_rounds` unmeasured ones.
    Raises: ValueError when a count is negative or there would be no round at all.
    """
    if warmup_rounds < 0 or min_rounds < 1 or max_rounds < min_rounds:
        raise ValueError(
            f"warmup_rounds={warmup_rounds}, min_rounds={min_rounds}, max_rounds={max_rounds}: "
            "expected warmup_rounds >= 0 and 1 <= min_rounds <= max_rounds"
        )
    for _ in range(warmup_rounds):
        call()
    times: list[float] = []
    total = 0.0
    while len(times) < min_rounds or (total < seconds and len(times) < max_rounds):
        start = clock()
        call()
        elapsed = clock() - start
        total += elapsed
        times.append(1e3 * elapsed)
        if on_round is not None:
            on_round(len(times))
    return summarise(times)


def _interquartile_range(times: Sequence[float]) -> float:
    if len(times) < 2:
        return 0.0
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return high - low
