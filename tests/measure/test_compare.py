"""Before and after: what is a regression, what is noise, and what cannot be compared."""

from __future__ import annotations

import pytest

from cnnkern.measure import contract, schema
from cnnkern.measure.compare import LEAST_NOISE, compare


def row(ms, spread=0.0, **changes):
    time = None if ms is None else {"median_ms": ms, "spread": spread}
    return {"model": "m", "batch": 1, "threads": 2, "isa": "avx2", "backend": "cpu", "time": time, **changes}


def bench(*rows):
    return {"schema": "cnnkern.bench/1", "results": list(rows)}


@pytest.mark.parametrize(
    "before, after, regression, improvement",
    [
        (row(1.0), row(1.0), False, False),
        (row(1.0), row(1.0 + 2 * LEAST_NOISE), True, False),
        (row(1.0), row(1.0 + LEAST_NOISE / 2), False, False),
        (row(1.0, 0.03), row(1.049, 0.04), False, False),  # noise: 5 %
        (row(1.0, 0.03), row(1.051, 0.04), True, False),
        (row(1.0, 0.03), row(0.9, 0.04), False, True),
        (row(1.0), row(None), True, False),  # its answer is wrong now
    ],
)
def test_beyond_the_noise(before, after, regression, improvement):
    found = compare(bench(before), bench(after))
    (only,) = found.rows
    assert (only.regression, only.improvement, found.good) == (regression, improvement, not regression)
    schema._check(only.as_dict(), contract.COMPARED, "row")


@pytest.mark.parametrize("key, other", [("model", "n"), ("batch", 16), ("threads", 1), ("isa", None), ("backend", "x")])
def test_rows_are_matched_by_all_of_their_key(key, other):
    same, mine = row(1.0), row(9.0, **{key: other})
    found = compare(bench(same, row(1.0, **{key: other})), bench(same))
    assert len(found.rows) == 1 and found.good and len(found.only_old) == 1 and not found.only_new
    found = compare(bench(same), bench(mine, same))
    assert len(found.rows) == 1 and found.good and len(found.only_new) == 1
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(bench(same), bench(mine))


def test_a_race_is_compared_by_our_own_times():
    heat = {"model": "m", "batch": 1, "threads": 2, "isa": None}
    entries = [{"engine": "cnnkern", "time": {"median_ms": 2.0, "spread": 0.0}}, {"engine": "mnn", "time": None}]
    race = {"schema": "cnnkern.race/1", "machine": {"isa": "avx2"}, "heats": [{**heat, "engines": entries}]}
    assert compare(race, bench(row(2.0))).good
    assert not compare(bench(row(1.0)), race).good


@pytest.mark.parametrize(
    "document",
    [[], {}, {"schema": "cnnkern.info/1"}, {"schema": "cnnkern.bench/1"}, bench({}), bench(row(1.0, time={}))],
)
def test_what_is_no_such_document(document):
    with pytest.raises(ValueError, match="NEW"):
        compare(bench(row(1.0)), document)


def test_what_was_never_timed_cannot_become_slower():
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(bench(row(None)), bench(row(1.0)))
