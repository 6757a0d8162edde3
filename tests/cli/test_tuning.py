"""`cnnkern regret` and `cnnkern autotune`, on known times."""

from __future__ import annotations

import pytest

from cnnkern import backends
from cnnkern.measure import schema

pytestmark = pytest.mark.skipif(
    backends.available()["cpu"] != "", reason=f"no cpu backend: {backends.available()['cpu']}"
)


@pytest.fixture(autouse=True)
def races(monkeypatch, tmp_path):
    """The last candidate takes half the first one's time; no clock is read."""
    from cnnkern.backends.cpu import trial
    from cnnkern.measure import regret

    monkeypatch.setenv("CNNKERN_CACHE", str(tmp_path))
    raced = []

    def race(backend, problem):
        raced.append(problem)
        plans = backend.candidates(problem)
        return [trial.Trial(plan, [0.5 if plan is plans[-1] else 1.0] * 4) for plan in plans]

    for function in (trial.tune, regret.shape_regret):
        monkeypatch.setattr(function, "__kwdefaults__", {**function.__kwdefaults__, "trial": race})
    return raced


def test_regret_fails_where_the_choices_are_slow_and_passes_once_tuned(cnnkern):
    before = cnnkern("regret", "lenet5", "--random", 3, "--json", "-")
    schema.validate(before.json)
    assert before.code == 1 and not before.json["good"]
    assert len(before.json["networks"]) == 1 and len(before.json["shapes"]) > 3
    tuned = cnnkern("autotune", "lenet5", "--json", "-")
    schema.validate(tuned.json)
    assert tuned.code == 0 and len(tuned.json["shapes"]) == tuned.json["problems"]
    after = cnnkern("regret", "lenet5", "--json", "-")
    assert after.code == 0 and after.json["networks"][0]["regret"] == 0
    assert cnnkern("regret", "lenet5", "--selector").code == 1


def test_autotune_measures_once(cnnkern, races):
    first = cnnkern("autotune", "lenet5")
    count = len(races)
    assert count and first.code == 0 and str(count) in first.out
    assert cnnkern("autotune", "lenet5").code == 0 and len(races) == count
    cnnkern("autotune", "lenet5", "--again")
    assert len(races) == 2 * count


def test_tables_fit_a_pipe(cnnkern):
    for argv in (("regret", "squeezenet1_0"), ("autotune", "squeezenet1_0")):
        assert max(map(len, cnnkern(*argv).out.splitlines())) <= 120


@pytest.mark.parametrize(
    "argv, words",
    [
        (["regret", "resnet5"], "resnet50"),
        (["regret", "--isa", "all,x"], "no ISA"),
        (["autotune", "--threads", "0"], "at least 1"),
        (["regret", "--random", "no"], "at least 1"),
    ],
)
def test_bad_usage(cnnkern, argv, words):
    done = cnnkern(*argv)
    assert done.code == 2 and words in done.err
