"""Regret from known times."""

from __future__ import annotations

import pytest

from cnnkern.measure import schema

pytest.importorskip("cnnkern._core", reason="no native module")
from cnnkern.backends.cpu import CpuBackend, kept  # noqa: E402
from cnnkern.backends.cpu.trial import Trial  # noqa: E402
from cnnkern.measure import regret  # noqa: E402


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CNNKERN_CACHE", str(tmp_path))


def timed(*times_ms):
    def race(backend, problem):
        return [Trial({"algo": "direct", "ob": i}, list(times)) for i, times in enumerate(times_ms)]

    return race


def measured(*times_ms, **options):
    (problem,) = regret.random_problems(1, 1, 2, 0)
    return regret.shape_regret(CpuBackend(), problem, trial=timed(*times_ms), **options)


def test_regret_is_the_choice_against_the_best():
    shape = measured([1.2, 1.3, 1.2], [1.0, 1.5, 1.0, 1.0], [])
    assert shape.regret == pytest.approx(0.2) and shape.best.plan["ob"] == 1
    assert shape.spread == pytest.approx(1.3 / 1.2 - 1) and not measured([1.2], [1.0]).good
    assert measured([1.09], [1.0]).good and measured([1.0], [1.2]).regret == 0


def test_what_spreads_so_far_is_no_regret():
    assert measured([1.3, 1.6], [1.0, 1.0]).good


def test_the_choice_is_what_is_kept():
    (problem,) = regret.random_problems(1, 1, 2, 0)
    backend = CpuBackend()
    kept.keep(backend.cpu, backend.isa, {problem.key: {"algo": "direct", "ob": 1}})
    assert measured([1.2], [1.0]).regret == 0
    assert measured([1.2], [1.0], selector=True).regret == pytest.approx(0.2)


def test_a_network_weighs_its_shapes_by_how_often_they_occur():
    one, two = regret.random_problems(2, 1, 2, 0)
    backend = CpuBackend()
    shapes = [
        regret.shape_regret(backend, one, trial=timed([2.0], [1.0])),
        regret.shape_regret(backend, two, trial=timed([10.0], [10.0])),
    ]
    total = regret.network_regret("net", {one: 3, two: 1}, shapes)
    assert (total.layers, total.shapes) == (4, 2)
    assert (total.chosen_ms, total.best_ms) == (16.0, 13.0) and not total.good
    schema.document(
        "regret", machine=MACHINE, good=False, shapes=[s.as_dict() for s in shapes], networks=[total.as_dict()]
    )


def test_random_shapes_are_repeatable_and_distinct():
    shapes = regret.random_problems(20, 2, 1, 7)
    assert shapes == regret.random_problems(20, 2, 1, 7) != regret.random_problems(20, 2, 1, 8)
    assert len(set(shapes)) == 20
    for problem in shapes:
        problem.spec.infer(problem.x, problem.weight, problem.weight[:1])


def test_problems_of_a_network_cover_its_convolutions():
    problems = regret.network_problems("squeezenet1_0", CpuBackend(), 1, 2)
    assert sum(problems.values()) == 26
    shared_out = regret.network_problems("mobilenet_v2", CpuBackend(), 8, 2)
    assert {times for problem, times in shared_out.items() if problem.threads == 1} >= {4}


MACHINE = {
    "cpu": "a cpu", "system": "", "python": "", "cores": 1, "threads": 1, "isa": None, "isas": [], "isa_reason": "",
    "caches": {}, "peak_fma_gflops": None, "peak_bandwidth_gbs": None, "bandwidths_gbs": {},
    "copying_gbs": {}, "peaks_fma_gflops": {},
}  # fmt: skip
