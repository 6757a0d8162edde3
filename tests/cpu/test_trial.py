"""Candidates, trials and what is kept of them: every candidate right, the best found, kept choices taken or refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cnnkern import models, testing
from cnnkern.ops import Conv2dSpec

core = pytest.importorskip("cnnkern._core", reason="no native module")
from cnnkern.backends.cpu import CpuBackend, kept, trial  # noqa: E402  (needs the native module)
from cnnkern.backends.cpu.candidates import Problem  # noqa: E402

SAME = ((1, 1), (1, 1))
PROBLEMS = {
    "3x3": Problem(Conv2dSpec(padding=SAME), (2, 32, 9, 11), (48, 32, 3, 3), "float32", 2),
    "1x1": Problem(Conv2dSpec(), (1, 31, 7, 7), (70, 31, 1, 1), "float32", 2),
    "stem": Problem(Conv2dSpec(stride=(2, 2)), (1, 3, 15, 15), (17, 3, 7, 7), "float32", 1, planes=True),
    "depthwise": Problem(Conv2dSpec(padding=SAME, groups=17), (1, 17, 8, 8), (17, 1, 3, 3), "float32", 2),
    "grouped": Problem(Conv2dSpec(stride=(2, 1), groups=2), (1, 32, 8, 9), (40, 16, 2, 3), "float32", 2),
    "one pixel": Problem(Conv2dSpec(), (1, 1, 1, 1), (1, 1, 1, 1), "float32", 1),
}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CNNKERN_CACHE", str(tmp_path))
    return tmp_path


def compiled(backend, problem, plan=None):
    graph = trial._graph(problem, ["lane"], (1, 16))
    decisions = plan and {"lane": plan}
    _, weights = trial._arrays(problem)
    return backend.compile(graph, weights, threads=problem.threads, decisions=decisions), weights


@pytest.mark.parametrize("isa", core.available_isas())
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_every_candidate_is_right_and_counts_as_predicted(problem, isa, rng):
    backend = CpuBackend(isa)
    plans = backend.candidates(problem)
    assert 1 <= len(plans) <= 13 and all(plans.count(plan) == 1 for plan in plans)
    x = rng.standard_normal(problem.x, dtype=np.float32)
    seen = x if problem.planes else np.maximum(x, 0)
    for plan in plans:
        executable, weights = compiled(backend, problem, plan)
        inputs = {"x": x, "lane.dust": np.ones((1, 16), np.float32)}
        arrays = (seen, weights["weight"], weights["bias"])
        testing.assert_close(executable(inputs), testing.reference(problem.spec, *arrays), problem.spec, arrays)
        (row,) = [row for row in executable.count(inputs) if row["name"] == "lane"]
        assert row["executed"] == row["predicted"], plan


def test_the_first_candidate_is_the_selectors_own():
    for problem in PROBLEMS.values():
        executable, _ = compiled(CpuBackend(), problem)
        (step,) = [step for step in executable.steps if step.name == "lane"]
        assert CpuBackend().candidates(problem)[0] == step.plan


def test_candidates_keep_to_what_was_asked_for():
    strict = Problem(Conv2dSpec(padding=SAME), (1, 32, 9, 9), (32, 32, 3, 3), "strict", 1)
    assert "winograd" not in {plan["algo"] for plan in CpuBackend().candidates(strict)}
    asked = Problem(Conv2dSpec(padding=SAME, algo="winograd"), (1, 32, 9, 9), (32, 32, 3, 3), "float32", 1)
    assert {plan["algo"] for plan in CpuBackend().candidates(asked)} == {"winograd"}


def test_a_race_times_every_candidate():
    trials = trial.race(CpuBackend(), PROBLEMS["3x3"], seconds=0.0)
    assert all(t.times_ms and not t.wrong for t in trials)
    assert trial.best(trials).ms <= trials[0].ms and len(trials[0].times_ms) >= trial.MIN_ROUNDS


def test_a_wrong_result_gets_no_time(monkeypatch):
    results = trial._Field.results

    def bent(field, x):
        return [(lane, array + (i == 2)) for i, (lane, array) in enumerate(results(field, x))]

    monkeypatch.setattr(trial._Field, "results", bent)
    trials = trial.race(CpuBackend(), PROBLEMS["3x3"], seconds=0.0)
    assert [bool(t.wrong) for t in trials].index(True) == 2 and trials[2].times_ms == []
    assert trial.best(trials) is not trials[2]


def fake(winner: int, gain: float = 0.5):
    """A race that candidate `winner` wins."""

    def race(backend, problem):
        plans = backend.candidates(problem)
        return [trial.Trial(plan, [1 - gain * (i == winner % len(plans))] * 4) for i, plan in enumerate(plans)]

    return race


def test_what_is_kept_is_taken_and_only_for_its_threads():
    backend, problem = CpuBackend(), PROBLEMS["1x1"]
    assert trial.tune(backend, [problem, problem], trial=fake(-1)) == 1
    assert trial.tune(backend, [problem], trial=fake(0)) == 0
    best = backend.candidates(problem)[-1]
    (step,) = [step for step in compiled(backend, problem)[0].steps if step.name == "lane"]
    assert step.plan == best and step.why == "autotuned"
    alone = Problem(problem.spec, problem.x, problem.weight, problem.precision, 1)
    (step,) = [step for step in compiled(backend, alone)[0].steps if step.name == "lane"]
    assert step.why == "the selector's estimate"
    assert trial.tune(backend, [problem], again=True, trial=fake(0)) == 1
    assert compiled(backend, problem)[0].plan.decisions()["lane"] == backend.candidates(problem)[0]


def test_noise_is_no_reason_to_leave_the_selector():
    backend, problem = CpuBackend(), PROBLEMS["1x1"]
    trial.tune(backend, [problem], trial=fake(-1, gain=trial.GAIN / 2))
    assert kept.load(backend.cpu, backend.isa)[problem.key] == backend.candidates(problem)[0]


def test_a_choice_that_is_no_candidate_any_more_is_passed_over():
    backend, problem = CpuBackend(), PROBLEMS["1x1"]
    kept.keep(backend.cpu, backend.isa, {problem.key: {"algo": "pointwise", "ob": 99, "px": 0, "merge": -1}})
    (step,) = [step for step in compiled(backend, problem)[0].steps if step.name == "lane"]
    assert step.why == "the selector's estimate"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1, "choices": {"a": 1}}'])
def test_a_broken_file_is_ignored_with_one_warning(text, monkeypatch):
    monkeypatch.setattr("cnnkern.backends._warned", set())
    file = kept.path("a cpu", "isa")
    file.write_text(text)
    with pytest.warns(RuntimeWarning, match="is ignored") as warned:
        assert kept.load("a cpu", "isa") == kept.load("a cpu", "isa") == {}
    assert len(warned) == 1
    kept.keep("a cpu", "isa", {"problem": {"algo": "direct"}})
    assert kept.load("a cpu", "isa") == {"problem": {"algo": "direct"}}


def test_keeping_adds_and_leaves_no_drafts(cache):
    kept.keep("a cpu", "isa", {"one": {"ob": 1}})
    file = kept.keep("a cpu", "isa", {"two": {"ob": 2}})
    assert json.loads(file.read_text())["choices"] == {"one": {"ob": 1}, "two": {"ob": 2}}
    assert list(cache.iterdir()) == [file]
    assert kept.load("a cpu", "other") == {}


def test_compile_measures_when_asked_to_and_keeps_the_bits(monkeypatch, rng):
    model, shape = models.create("squeezenet1_0"), (1, 3, 64, 64)
    raced = []

    def race(backend, problem):
        raced.append(problem)
        return fake(-1)(backend, problem)

    monkeypatch.setattr(trial.tune, "__kwdefaults__", {**trial.tune.__kwdefaults__, "trial": race})
    plain = model.compile(shape, backend=CpuBackend(), threads=2)
    tuned = model.compile(shape, backend=CpuBackend(), threads=2, autotune=True)
    assert raced and {step.why for step in tuned.steps if step.spec.op == "conv2d"} == {"autotuned"}
    assert tuned.plan.decisions() != plain.plan.decisions()
    count = len(raced)
    assert model.compile(shape, backend=CpuBackend(), threads=2).plan.decisions() == tuned.plan.decisions()
    model.compile(shape, backend=CpuBackend(), threads=2, autotune=True)
    assert len(raced) == count
    x, decisions = rng.standard_normal(shape, dtype=np.float32), tuned.plan.decisions()
    for threads in (1, 3):
        again = model.compile(shape, backend=CpuBackend(), threads=threads, decisions=decisions)
        assert np.array_equal(again(x), tuned(x))
