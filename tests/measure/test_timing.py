from __future__ import annotations

import pytest

from cnnkern.measure.timing import measure, summarise


class Clock:
    """Time that only passes when told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_figures_of_a_series():
    timing = summarise([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (timing.median_ms, timing.minimum_ms, timing.rounds) == (3.0, 1.0, 5)
    assert timing.spread == pytest.approx(2.0 / 3.0)  # quartiles 2 and 4


def test_steady_times_do_not_drift_and_rising_ones_do():
    assert not summarise([1.0, 1.01, 0.99, 1.0] * 5).drifting
    rising = summarise([1.0] * 10 + [1.3] * 10)
    assert rising.drift == pytest.approx(0.3)
    assert rising.drifting


def test_a_single_round_is_a_figure_too():
    timing = summarise([7.0])
    assert (timing.median_ms, timing.spread, timing.drift) == (7.0, 0.0, 0.0)


def test_empty_series_is_refused():
    with pytest.raises(ValueError, match="times_ms"):
        summarise([])


def test_warm_up_is_not_measured_and_rounds_follow_the_budget():
    clock, costs = Clock(), iter([9.0, 9.0, 9.0] + [0.25] * 100)

    def call():
        clock.now += next(costs)

    heard = []
    timing = measure(
        call, warmup_rounds=3, seconds=2.0, min_rounds=2, max_rounds=50, on_round=heard.append, clock=clock
    )
    assert timing.rounds == 8
    assert timing.median_ms == timing.minimum_ms == 250.0
    assert heard == list(range(1, 9))


def test_a_slow_call_still_gets_its_least_rounds():
    clock = Clock()

    def call():
        clock.now += 10.0

    assert measure(call, warmup_rounds=0, seconds=1.0, min_rounds=3, clock=clock).rounds == 3


@pytest.mark.parametrize("bad", [{"min_rounds": 0}, {"warmup_rounds": -1}, {"min_rounds": 5, "max_rounds": 4}])
def test_bad_counts_are_refused(bad):
    with pytest.raises(ValueError, match="min_rounds"):
        measure(lambda: None, **bad)
