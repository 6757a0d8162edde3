"""The race's referee: wrong answers get no times, turns rotate, a process that spins on is waited for. Nothing here
depends on how long anything takes."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is an extra: pip install 'cnnkern[test]'")

import race  # noqa: E402
import race_report  # noqa: E402
import worker  # noqa: E402
from engines import Task  # noqa: E402

TASK = Task("lenet5", batch=2, threads=1)


class FakeWorker:
    """Answers at once: the input's first values, times `factor`; every call takes `ms`."""

    def __init__(self, engine, task, factor=1.0, ms=1.0, log=None):
        self.engine, self.version, self.built = engine, "1.0", {"build_s": 0.0}
        self.factor, self.ms, self.log = factor, ms, [] if log is None else log

    def run(self, x):
        return np.float32(self.factor) * x.reshape(len(x), -1)[:, 300:400]

    def round(self, iterations, warmups=1):
        self.log.append(self.engine)
        return {"times_ms": [self.ms] * iterations, "spun_ms": 0.0}

    def cpu_s(self):
        return 0.0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def hold(rounds=4, **engines: dict) -> race.Heat:
    said = []
    start = lambda engine, task: FakeWorker(engine, task, **engines[engine])  # noqa: E731
    return race.hold(TASK, list(engines), rounds, lambda text, share: said.append(text), start)


def test_ratio_is_theirs_over_ours():
    heat = hold(ours={"ms": 2.0}, theirs={"ms": 3.0})
    ours, theirs = heat.entries
    assert heat.correct and heat.iterations == race.ROUND_MS // 3 and heat.rounds == 4
    assert heat.ratio(theirs) == heat.ratio(theirs, "minimum_ms") == 1.5
    assert heat.ratio(ours) is None
    assert ours.rounds_ms == [2.0] * 4


def test_who_begins_rotates():
    log = []
    hold(a={"log": log}, b={"log": log}, c={"log": log}, rounds=3)
    assert log[-9:] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


@pytest.mark.parametrize("factor", [1.01, np.nan, 0.0])
def test_no_speed_for_a_wrong_answer(factor):
    heat = hold(ours={"factor": factor}, theirs={})
    assert not heat.correct
    assert [entry.time for entry in heat.entries] == [None, None]


def test_answers_that_do_not_vary_prove_nothing():
    assert not hold(ours={"factor": 0.0}, theirs={"factor": 0.0}).correct


def test_an_answer_that_turns_wrong_while_timed(monkeypatch):
    heats = []

    def spoil(heat, workers, *rest):
        heats.append(heat)
        workers[0].factor = 2.0
        for entry in heat.entries:
            entry.time = object()

    monkeypatch.setattr(race, "time_in_turns", spoil)
    heat = hold(ours={}, theirs={})
    assert heats == [heat] and not heat.correct and heat.entries[0].time is None


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


def test_pictures_of_a_batch_differ():
    x = race.batch_of(Task("mobilenet_v2", 3, 1), (3, 32, 32))
    assert x.shape == (3, 3, 32, 32) and x.dtype == np.float32
    assert min(np.abs(a - b).max() for i, a in enumerate(x) for b in x[:i]) > 0.1


def test_end_to_end(tmp_path, capsys):
    """Two real engines in processes of their own; the table prints again from the JSON."""
    file = tmp_path / "race.json"
    argv = ["lenet5", "--engines", "reference,onnxruntime", "--rounds", "1", "--threads", "1", "--json", str(file)]
    assert race.main(argv) == 0
    printed = capsys.readouterr().out
    document = json.loads(file.read_text())
    (heat,) = document["heats"]
    assert heat["correct"] and heat["engines"][0]["error"] < race.TOLERANCE
    assert "benchmarks/race.py lenet5" in document["command"] and "benchmarks/race.py lenet5" in printed
    race_report.console.output().print(race_report.table(document))
    assert capsys.readouterr().out == printed


def test_an_engine_that_cannot_build_is_reported(tmp_path, capsys):
    with pytest.raises(worker.EngineError, match="onnxruntime: ValueError: unknown architecture") as caught:
        worker.Worker("onnxruntime", Task("no_such_net", 1, 1))
    assert "Traceback" in caught.value.details


@pytest.mark.parametrize(
    "argv",
    [
        ["resnet5"],
        ["lenet5", "--engines", "cnnkern"],
        ["lenet5", "--engines", "cnnkern,cnnkern"],
        ["lenet5", "--engines", "cnnkern,keras"],
        ["lenet5", "--batch", "1,x"],
        ["lenet5", "--rounds", "0"],
    ],
)
def test_bad_usage(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        race.main(argv)
    assert caught.value.code == 2
    assert "race.py" in capsys.readouterr().err
