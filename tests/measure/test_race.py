"""The race's referee: wrong answers get no times, who fails is named, turns rotate, a process that spins on is waited
for. Nothing here depends on how long anything takes."""

from __future__ import annotations

import os

import numpy as np
import pytest
from dying import die

from cnnkern import models
from cnnkern.measure import contract, peers, schema
from cnnkern.measure.peers import Task, race, worker
from cnnkern.measure.pictures import Course

TASK = Task("lenet5", batch=3, threads=1)


@pytest.fixture(scope="module")
def course():
    return Course("lenet5", models.create("lenet5"))


class FakeWorker:
    """Knows the right answers and gives them times `factor`; every call takes `ms`; may fail when asked to `fail`."""

    def __init__(self, engine, course, factor=1.0, ms=1.0, log=None, fail=""):
        self.engine, self.built = engine, {"version": "1.0", "notes": [], "build_s": 0.0}
        self.course, self.factor, self.ms, self.fail = course, factor, ms, fail
        self.log = [] if log is None else log
        self.broken("build")

    def broken(self, what):
        if self.fail == what:
            raise worker.EngineError(self.engine, f"cannot {what}")

    def run(self, x):
        self.broken("run")
        first = int(not np.array_equal(x, self.course.pictures(len(x))))
        return np.float32(self.factor * self.course.answers(len(x), first))

    def round(self, iterations, warmups=1):
        self.broken("round")
        self.log.append(self.engine)
        return {"times_ms": [self.ms] * iterations, "spun_ms": 0.0}

    def cpu_s(self):
        return 0.0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def hold(course, rounds=4, **engines: dict) -> race.Heat:
    start = lambda engine, task: FakeWorker(engine, course, **engines[engine])  # noqa: E731
    heat = race.hold(course, TASK, list(engines), rounds, lambda text, share: None, start)
    schema._check(schema._plain(heat.as_dict()), contract.HEAT, "heat")
    return heat


def test_ratio_is_theirs_over_ours_and_the_best_is_the_fastest_peer(course):
    heat = hold(course, ours={"ms": 2.0}, slow={"ms": 5.0}, fast={"ms": 3.0})
    ours, slow, fast = heat.entries
    assert heat.correct and heat.rounds == 4 and ours.iterations == race.ROUND_MS // 2
    assert heat.ratio(fast) == heat.ratio(fast, "minimum_ms") == 1.5
    assert heat.ratio(ours) is None and heat.best is fast and heat.ratio(heat.best) == 1.5
    assert ours.rounds_ms == [2.0] * 4
    assert heat.as_dict()["best_peer"] == "fast" and heat.as_dict()["best_ratio"] == 1.5


def test_who_begins_rotates(course):
    log = []
    hold(course, a={"log": log}, b={"log": log}, c={"log": log}, rounds=3)
    assert log[-9:] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


@pytest.mark.parametrize("factor", [1.01, np.nan, 0.0])
def test_no_speed_at_all_when_ours_is_wrong(course, factor):
    heat = hold(course, ours={"factor": factor}, theirs={})
    assert not heat.correct
    assert [entry.time for entry in heat.entries] == [None, None]


@pytest.mark.parametrize("factor", [1.01, np.nan, 0.0])
def test_a_wrong_peer_gets_no_time_and_is_named(course, factor):
    heat = hold(course, ours={}, wrong={"factor": factor}, right={"ms": 2.0})
    ours, wrong, right = heat.entries
    assert heat.correct and ours.time and right.time and heat.best is right
    assert wrong.time is None and "wrong answer" in wrong.reason and not wrong.correct


@pytest.mark.parametrize("fail", ["build", "run", "round"])
def test_a_peer_that_fails_is_named_and_the_others_race_on(course, fail):
    heat = hold(course, ours={}, broken={"fail": fail}, right={"ms": 2.0})
    assert heat.correct and heat.best.engine == "right"
    assert heat.entries[1].reason == f"cannot {fail}" and heat.entries[1].time is None


@pytest.mark.parametrize("fail", ["build", "run", "round"])
def test_when_ours_fails_so_does_the_heat(course, fail):
    with pytest.raises(worker.EngineError, match=f"ours: cannot {fail}"):
        hold(course, ours={"fail": fail}, theirs={})


def test_answers_that_do_not_vary_prove_nothing(course, monkeypatch):
    monkeypatch.setattr(course, "varies", 0.0)
    assert not hold(course, ours={}, theirs={}).correct


def test_an_answer_that_turns_wrong_while_timed(course, monkeypatch):
    timed = race.time_in_turns

    def spoil(heat, workers, *rest):
        timed(heat, workers, *rest)
        workers[1].factor = 2.0

    monkeypatch.setattr(race, "time_in_turns", spoil)
    heat = hold(course, ours={}, theirs={})
    assert heat.correct and heat.ours.time and heat.entries[1].time is None


def test_settle_waits_until_the_threads_rest():
    now, used = [0.0], [0.0]

    def sleep(seconds):
        now[0] += seconds
        used[0] += seconds if now[0] < 0.1 else 0.0  # one thread spins for a tenth of a second

    spun = worker.settle(cpu=lambda: used[0], wall=lambda: now[0], sleep=sleep)
    assert 0.05 < spun <= 0.1 and now[0] >= 0.1


def test_settle_gives_up():
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    with pytest.raises(TimeoutError, match="busy"):
        worker.settle(cpu=lambda: now[0], wall=lambda: now[0], sleep=sleep)


def test_pictures_take_turns(course):
    x, answers = course.pictures(3), course.answers(3)
    assert x.shape == (3, 1, 32, 32) and x.dtype == np.float32 and answers.dtype == np.float64
    assert np.array_equal(x[0], x[2]) and np.abs(x[0] - x[1]).max() > 0.1
    assert np.array_equal(course.pictures(2, first=1), x[[1, 0]])
    assert np.array_equal(course.answers(2, first=1), answers[[1, 0]])


def test_peers_by_name():
    assert peers.chosen("all") == [name for name in peers.PEERS if name != "tvm"]
    assert peers.chosen("tvm,litert") == ["tvm", "litert"]
    assert peers.chosen("mnn,ncnn,mnn") == ["mnn", "ncnn"]
    with pytest.raises(ValueError, match="'keras'.*openvino"):
        peers.chosen("mnn,keras")


def test_a_missing_peer_is_named_with_its_extra(course, monkeypatch):
    find = peers.find_spec
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name == "MNN" else find(name))
    assert "cnnkern[peers]" in peers.missing("mnn")
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name in ("MNN", "tvm") else find(name))
    assert peers.missing("tvm") == "not installed: apache-tvm (pip install apache-tvm)"
    heat = race.hold(
        course, TASK, ["reference", "mnn"], 1, lambda *_: None, lambda engine, task: FakeWorker(engine, course)
    )
    assert heat.correct and "not installed: MNN" in heat.entries[1].reason


def test_an_isa_limit_is_for_the_process_alone():
    before = dict(os.environ)
    with worker._environment({"ONEDNN_MAX_CPU_ISA": "AVX2", "PATH": "/nowhere"}):
        assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX2" and os.environ["PATH"] == "/nowhere"
    assert dict(os.environ) == before


def test_a_process_that_dies_leaves_its_last_words():
    with pytest.raises(worker.EngineError, match="exit code 3") as caught:
        worker.Worker("reference", TASK, die)
    assert "last words" in caught.value.details


def test_an_engine_that_cannot_build_is_reported():
    with pytest.raises(worker.EngineError, match="reference: ValueError: unknown architecture") as caught:
        worker.Worker("reference", Task("no_such_net", 1, 1))
    assert "Traceback" in caught.value.details
