"""The processes of benchmarks/gpu_run.py: what a crash, a hang or a lack of time costs, and those on CuPy's device."""

from __future__ import annotations

import json
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from gpurun import SCRIPT

# --- scripts in place of the stages: processes and journals

CHILD = """
import os, sys, time
sys.path.insert(0, {folder!r})
from gpu import harness
journal = harness.Journal({journal!r} and __import__("pathlib").Path({journal!r}))
def die():
    os.kill(os.getpid(), 11)
def fail():
    raise ValueError("this one is wrong")
def skip():
    raise harness.Skip("not here")
jobs = {{"good": lambda: {{"n": 1}}, "dies": die, "fails": fail, "skips": skip, "hangs": lambda: time.sleep(60),
        "long": lambda: time.sleep(60),
        "slow": lambda: time.sleep(1.0), "last": lambda: [{{"n": 2}}, {{"n": float("nan")}}]}}
limits = {{"hangs": 1.0}}
items = [harness.Item(name, jobs[name], limits.get(name, 60.0)) for name in {names!r}]
broken = {{"broken": lambda: "gone"}} if {breaks!r} else {{}}
good = harness.work_through(items, journal, time.monotonic() + float(sys.argv[1]), **broken)
sys.exit(0 if good else 1)
"""


@pytest.fixture
def stage(gpu_run, tmp_path):
    """`stage(names, seconds)` runs a stage of these items in processes."""

    def run(names, seconds, breaks=False):
        journal = tmp_path / "stage.jsonl"
        code = CHILD.format(folder=str(SCRIPT.parent), journal=str(journal), names=names, breaks=breaks)
        ticks = []
        outcome = gpu_run.harness.run_stage(
            "stage", lambda left: [sys.executable, "-c", code, str(left)], gpu_run.harness.Journal(journal), seconds,
            tmp_path / "log", on_tick=ticks.append,
        )  # fmt: skip
        assert ticks
        return outcome, gpu_run.harness.rows(outcome.entries), outcome.as_dict()

    return run


def test_a_crash_and_a_hang_lose_themselves_alone(stage):
    outcome, rows, said = stage(["good", "dies", "fails", "skips", "hangs", "last"], 60.0)
    assert rows == {"good": [{"n": 1}], "skips": [], "last": [{"n": 2}, {"n": None}]}
    assert [(f["what"], f["why"]) for f in said["failures"]] == [
        ("dies", "its process ended with signal 11"),
        ("fails", "ValueError: this one is wrong"),
        ("hangs", "took longer than 1 s"),
    ]
    assert "in fail" in said["failures"][1]["where"]
    assert said["skipped"] == [{"what": "skips", "why": "not here"}]
    assert (said["outcome"], said["restarts"], said["items"]) == ("a part", 2, 6)


def test_what_no_time_is_left_for_is_listed(stage):
    outcome, rows, said = stage(["good", "slow", "last"], 0.5)
    assert outcome.done and set(rows) == {"good", "slow"}
    assert said["skipped"] == [{"what": "last", "why": "no time was left"}]


def test_an_item_beyond_the_stages_time_is_ended(stage, gpu_run, monkeypatch):
    monkeypatch.setattr(gpu_run.harness, "GRACE_S", 0.5)
    outcome, rows, said = stage(["good", "long", "last"], 2.0)
    assert rows == {"good": [{"n": 1}], "long": []} and not said["failures"] and outcome.done
    assert said["skipped"] == [
        {"what": "long", "why": "the stage's time was up before it ended"},
        {"what": "last", "why": "no time was left"},
    ]


def test_a_lost_device_ends_the_process(stage):
    outcome, rows, said = stage(["good", "fails", "last"], 60.0, breaks=True)
    assert outcome.restarts == 1 and rows["last"] and len(said["failures"]) == 1


def test_a_stage_that_cannot_begin_is_a_failure(gpu_run, tmp_path):
    outcome = gpu_run.harness.run_stage(
        "stage", lambda left: [sys.executable, "-c", "raise SystemExit('no such device')"],
        gpu_run.harness.Journal(tmp_path / "j"), 1.0, tmp_path / "log",
    )  # fmt: skip
    assert not outcome.done and "no such device" in outcome.as_dict()["failures"][-1]["where"]


def test_a_journal_outlives_half_a_line(gpu_run, tmp_path):
    journal = gpu_run.harness.Journal(tmp_path / "j")
    journal.add(begin="a", limit_s=1.0)
    with open(journal.path, "a") as file:
        file.write('{"end": "a", "ro')
    assert journal.entries() == [{"begin": "a", "limit_s": 1.0}]
    journal.add(begin="b", limit_s=1.0)
    assert [entry["begin"] for entry in journal.entries()] == ["a", "b"]
    assert gpu_run.harness.Journal(journal.path).entries() == journal.entries()


# --- those that have CuPy's device


@pytest.fixture
def cupy(monkeypatch, tmp_path):
    """A stand-in whose launches do nothing; what it was asked for."""
    from test_device import COMPILED, FakeArray, fake_cupy

    from cnnkern.backends.cuda import cache, compiler

    events = []
    made = fake_cupy(events)
    properties = made.cuda.runtime.getDeviceProperties
    made.cuda.runtime.getDeviceProperties = lambda number: properties(number) | {"l2CacheSize": 60 << 20}
    made.cuda.set_allocator = lambda allocator: events.append(f"allocator {allocator}")
    made.cuda.profiler = SimpleNamespace(start=lambda: events.append("start"), stop=lambda: events.append("stop"))
    made.asarray, made.asnumpy = lambda array: array.view(FakeArray), lambda array: np.array(array)
    monkeypatch.setitem(sys.modules, "cupy", made)
    monkeypatch.setattr(compiler, "version", lambda: "13.0.88")
    monkeypatch.setattr(cache, "load", lambda kernel, target: COMPILED)
    monkeypatch.setattr(cache, "compile_all", lambda kernels, target: None)
    monkeypatch.setattr(signal, "alarm", lambda seconds: events.append(f"alarm {seconds}"))
    return events


def test_the_process_of_a_stage(gpu_run, parts, cupy, tmp_path):
    argv = ["--stage", "fixtures", "--out", str(tmp_path), "--work", str(tmp_path), "--seconds", "60"]
    assert gpu_run.main(argv) == 0
    journal = gpu_run.harness.Journal(tmp_path / "fixtures.jsonl")
    found = parts("fixtures").section(journal.rows())
    assert len(found["rows"]) == len(parts("fixtures").primitives().CASES) and found["file"]
    assert all(row["wrong"] for row in found["rows"]), "nothing was computed, and it shows"
    assert gpu_run.main([*argv[:-1], "0"]) == 0 and journal.entries()[-1] == {"done": True}


def test_the_process_that_sanitizers_watch(gpu_run, parts, cupy, capsys):
    assert gpu_run.main(["--tiny"]) == 0
    assert f"{len(parts('sanitizers').TINY)} operations ran" in capsys.readouterr().out
    assert "alarm 110" in cupy and "allocator None" in cupy, "it ends by itself; every piece of memory is its own"


def test_the_process_that_ncu_watches(gpu_run, cupy, capsys):
    asked = {"problem": "conv2d 2x8x9x9 16x8x3x3 16 activation=relu", "precision": "float16"}
    assert gpu_run.main(["--layer", json.dumps(asked)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["predicted"]["fma"] >= 2 * 49 * 16 * 72 and "conv" in said["kernel"]
    seen = cupy[cupy.index("start") : cupy.index("stop")]
    launches = [event for event in seen if isinstance(event, tuple)]
    assert launches and len(launches) < len([event for event in cupy if isinstance(event, tuple)])
