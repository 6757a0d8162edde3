"""benchmarks/gpu_run.py without a GPU: its stages on the host shim, its processes with scripts in place of the stages.

What a GPU, PyTorch, compute-sanitizer and ncu say there is made up here; what is done with it is the script's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import host
import numpy as np
import pytest
from hostruntime import HostArray, HostRuntime

from cnnkern import backends, models, ops, testing
from cnnkern.backends.cuda import manifest
from cnnkern.backends.null import NullBackend
from cnnkern.measure import schema
from cnnkern.measure.contract import NumberOrNull, TextOrNull

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_run.py"

WHY = {"what": str, "why": str}
CHECKED = {"error": NumberOrNull, "tolerance": (int, float)}
ATTEMPT = {**CHECKED, "kernel": str, "plan": dict, "wrong": str, "us": NumberOrNull, "minimum_us": NumberOrNull}
ROW = {"problem": str, "precision": str, "batch": int, "layers": dict, "depthwise": bool, "theory_gflop": (int, float)}
KEYS = {
    "command": str, "date": str, "commit": TextOrNull, "minutes": (int, float), "quick": bool,
    "stages": [{"name": str, "outcome": str, "budget_s": (int, float), "seconds": (int, float), "restarts": int,
                "items": int, "failures": [{**WHY, "where": str}], "skipped": [WHY]}],
    "info": ({"machine": dict, "kernels": int, "compile_s": (int, float), "load_s": (int, float), "failures": [str],
              "ceilings_tflops": dict, "copy_gbs": NumberOrNull}, type(None)),
    "fixtures": ({"file": str, "size_bytes": int, "rows": [{"case": str, "kernel": str, "wrong": str}]}, type(None)),
    "correctness": ({"rows": [{"what": str, "precision": str, "cases": int, "skipped": int, **CHECKED,
                               "worst_case": str, "failures": [str], "good": bool}]}, type(None)),
    "sanitizers": ({"rows": [{"tool": str, "outcome": str, "exit_code": (int, type(None)), "findings": [str],
                              "tail": str, "seconds": (int, float)}]}, type(None)),
    "convs": ({"rows": [{**ROW, **ATTEMPT, "tflops": NumberOrNull, "cudnn_us": NumberOrNull,
                         "cudnn_minimum_us": NumberOrNull, "ratio": NumberOrNull, "left_out": str,
                         "best_us": NumberOrNull, "candidates": [dict]}],
               "means": [{"kind": str, "precision": str, "batch": (int, type(None)), "layers": int, "timed": int,
                          "wrong": int, "ratio": NumberOrNull, "best_ratio": NumberOrNull, "below": int}]}, type(None)),
    "nets": ({"rows": [{"net": str, "batch": int, "precision": str, "engines": dict, "ratios": dict}],
              "means": [{"precision": str, "batch": int, "nets": int}]}, type(None)),
    "profile": ({"metrics": dict, "rows": [{"problem": str, "precision": str, "kernels": list, "predicted": dict,
                                            "ffma_ratio": NumberOrNull}]}, type(None)),
}  # fmt: skip

on_the_shim = pytest.mark.skipif(host.compiler() is None, reason="no C++ compiler")


def valid(document) -> dict:
    """A document, held against KEYS as `schema.validate` holds the others."""
    assert document["schema"] == "cnnkern.gpu_run/1"
    schema._check(document, {"cnnkern": str, **KEYS}, "gpu_run")
    json.dumps(document, allow_nan=False)
    return document


@pytest.fixture(scope="module")
def gpu_run(script):
    """The script; what it does to sys.path is of use to itself alone."""
    path = list(sys.path)
    yield script("gpu_run")
    sys.path[:] = path


@pytest.fixture(scope="module")
def parts(gpu_run):
    """`parts("convs")`: the modules of benchmarks/gpu."""
    return gpu_run.module


@pytest.fixture
def place(gpu_run, parts, tmp_path):
    """The host shim, a peer that knows the answers, and what an earlier stage has written."""
    from gpu.place import Extent, Place

    runtime = HostRuntime(order=0)
    extent = Extent(
        seeds=(1,), per_op=1, larger=0, checked_nets=(("lenet5", None),), conv_nets=("lenet5",), nets=("lenet5",),
        batches=(1, 2), timed=("float32", "float16"), least_ms=0.0, replays=2, most_launches=4, candidates=2,
        net_ms=0.0, net_rounds=1, profiled=1,
    )  # fmt: skip
    journals = {name: parts("harness").Journal(tmp_path / f"{name}.jsonl") for name in gpu_run.STAGES}
    made = Place(
        runtime, runtime.array, HostArray.get, contextlib.nullcontext, l2_bytes=1 << 10,
        make_peer=lambda: made_up(parts, runtime), out=tmp_path, work=tmp_path, extent=extent,
        earlier=lambda name: journals[name].rows(),
    )  # fmt: skip
    made.journals = journals
    return made


def made_up(parts, runtime):
    """A peer that is right, twice as slow as it says, and has no compiler."""
    peer = parts("torch_peer")

    class Peer(peer.NoPeer):
        def conv(self, spec, arrays, precision, place):
            return parts("ours").Times(200.0, 190.0, 10, 10)

        def eager(self, model, x, precision, place):
            return model(x, backend="reference"), 300.0

        graph = eager

    return Peer("a test has no PyTorch", runtime.array, HostArray.get)


def perform(gpu_run, place, name, seconds=600.0):
    """A stage to its end, and the document of it alone."""
    journal = place.journals[name]
    assert gpu_run.perform(place, name, journal, time.monotonic() + seconds)
    outcome = gpu_run.harness.Outcome(name, seconds, done=True, entries=journal.entries())
    head = {
        "schema": gpu_run.SCHEMA,
        "cnnkern": "0",
        "command": "",
        "date": "",
        "commit": None,
        "minutes": 1,
        "quick": False,
    }
    document = valid(gpu_run.assembled(head, [outcome]))
    for lines in (gpu_run.text.whole(document), gpu_run.text.essence(document)):
        assert name in lines
    return document


# --- the command


def test_without_a_gpu_it_says_why(tmp_path):
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(tmp_path)], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no GPU was run: ") and done.stdout.count("\n") == 1 and not done.stderr
    if backends.available()["cuda"]:
        assert backends.available()["cuda"] in done.stdout
    assert not list(tmp_path.iterdir())


def test_it_needs_no_native_module(tmp_path):
    """Python refuses to import cnnkern._core: the whole of it still imports, from any folder."""
    code = f"""
        import sys
        sys.modules["cnnkern._core"] = None
        sys.argv = ["gpu_run.py"]
        sys.path.insert(0, {str(SCRIPT.parent)!r})
        import gpu_run
        for name in gpu_run.STAGES:
            assert gpu_run.module(name).items
        print("torch" in sys.modules, "cupy" in sys.modules, gpu_run.backends.available()["cpu"] != "")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == ["False", "False", "True"], done.stdout + done.stderr


@pytest.mark.parametrize("argv", [["--out"], ["--out", "x", "--only", "nothing"], ["--out", "x", "--minutes", "0"]])
def test_bad_usage(gpu_run, argv):
    with pytest.raises(SystemExit) as ended:
        gpu_run.main(argv)
    assert ended.value.code == 2


def test_stages_run_in_order(gpu_run):
    assert gpu_run.arguments(["--out", "x", "--only", "nets,info"]).only == ["info", "nets"]


# --- processes and journals

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


STAGE_ON_THE_SHIM = """
import contextlib, sys, time
sys.path[:0] = {paths!r}
sys.argv = ["gpu_run.py"]
import gpu_run
from pathlib import Path
from hostruntime import HostArray, HostRuntime
from gpu import harness
from gpu.place import Extent, Place
from gpu.torch_peer import NoPeer
runtime, work = HostRuntime(order=0), Path({work!r})
place = Place(runtime, runtime.array, HostArray.get, contextlib.nullcontext, 1 << 10,
              lambda: NoPeer("no PyTorch", runtime.array, HostArray.get), Path({out!r}), work,
              Extent(seeds=(1,), per_op=1, labels=("add", "softmax"), larger=0, checked_nets=()))
good = gpu_run.perform(place, {name!r}, harness.Journal(work / "{name}.jsonl"), time.monotonic() + {seconds})
sys.exit(0 if good else 1)
"""


@on_the_shim
def test_a_whole_run(gpu_run, tmp_path, monkeypatch, capsys):
    """From the command to the files, with stages that have a process each and the shim for a device."""
    here = Path(host.__file__).resolve().parent

    def command(asked, work, name, seconds):
        paths = [str(SCRIPT.parent), str(here), str(SCRIPT.parents[1])]
        code = STAGE_ON_THE_SHIM.format(paths=paths, work=str(work), out=str(asked.out), name=name, seconds=seconds)
        return [sys.executable, "-c", code]

    monkeypatch.setattr(gpu_run, "stage_command", command)
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):  # the run sets them where they are not
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(gpu_run.backends, "available", lambda: {"cuda": ""})
    out = tmp_path / "out"
    assert gpu_run.main(["--out", str(out), "--minutes", "2", "--only", "correctness,profile"]) == 0
    document = valid(json.loads((out / "gpu.json").read_text()))
    assert [s["name"] for s in document["stages"]] == ["correctness", "profile"]
    assert document["stages"][0]["outcome"] == "all of it" and document["convs"] is None
    assert {row["what"] for row in document["correctness"]["rows"]} == {"add", "softmax"}
    assert all(row["good"] for row in document["correctness"]["rows"])
    printed = capsys.readouterr().out
    assert printed.startswith("[") and "correct float32" in printed and len(printed) < 12_000
    assert {f.name for f in out.iterdir()} == {"gpu.json", "gpu.txt", "log.txt"}


# --- the parts of it that have CuPy's device


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


# --- the stages


@on_the_shim
def test_fixtures(gpu_run, parts, place):
    """The file that the shim's own test reads, from a run of the stage on another device."""
    cases = parts("fixtures").primitives()
    modules = {}
    for source in {case.source for case in cases.CASES}:
        names = sorted({case.kernel for case in cases.CASES if case.source == source})
        modules[source] = host.HostModule(source, names, folder=cases.FOLDER)
    place.runtime.module = lambda source: modules[Path(source).name]
    found = perform(gpu_run, place, "fixtures")["fixtures"]
    assert len(found["rows"]) == len(cases.CASES) and not any(row["wrong"] for row in found["rows"])
    made, about = cases.load(place.out / found["file"])
    assert set(made) == {case.name for case in cases.CASES} and about["target"] == "sm_90a"
    assert found["size_bytes"] < 1 << 20


@on_the_shim
def test_correctness(gpu_run, parts, place):
    """Every operation once, every tile, a network and its repetitions."""
    place.extent = replace(place.extent, larger=0, precisions=("float32", "float16"))
    document = perform(gpu_run, place, "correctness")
    rows = {(row["what"], row["precision"]): row for row in document["correctness"]["rows"]}
    assert {what for what, _ in rows} > {"conv2d", "conv2d winograd", "softmax", "lenet5"}
    bad = [row for row in rows.values() if row["failures"]]
    assert not bad and not document["stages"][0]["failures"]
    assert not rows["conv2d winograd", "float16"]["good"], "what is never served is not good"
    assert rows["lenet5 the same bits", "float16"]["cases"] == 4
    assert rows["lenet5", "float32"]["cases"] > 5


@on_the_shim
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_every_tile_on_one_problem(parts, place, precision):
    correctness = parts("correctness")
    row = correctness.tiles(place, *correctness.TILED[3], precision)
    assert row["cases"] == {"float32": 14, "float16": 20}[precision] and not row["failures"] and not row["skipped"]


@on_the_shim
def test_a_larger_problem(parts, place):
    spec, shapes = ops.Conv2dSpec(padding=1), ((1, 20, 9, 9), (24, 20, 3, 3), None)
    rows = parts("correctness").larger(place, spec, shapes)
    assert len(rows) == 5 and not any(row["failures"] for row in rows)


def test_larger_problems_are_problems(parts):
    correctness = parts("correctness")
    for spec, shapes in (*correctness.LARGER, *correctness.TILED):
        arrays = correctness.arrays_of(spec, shapes)
        assert spec.infer(*(None if a is None else a.shape for a in arrays))
        assert spec.theory(*(None if a is None else a.shape for a in arrays)).fma < 2e9, "the oracle takes seconds"


@on_the_shim
def test_what_is_wrong_is_found(gpu_run, parts, place):
    """A kernel that adds 1 % to one value."""
    place.extent = replace(place.extent, labels=("linear", "add"), precisions=("float32",), checked_nets=())
    call = place.backend.call

    def off(spec, arrays, out=None, *, precision):
        (y,) = call(spec, arrays, out, precision=precision)
        y = y.copy()
        y.flat[-1] += 0.01 * abs(y).max() if spec.op == "linear" else 0
        return (y,)

    place.backend.call = off
    rows = {row["what"]: row for row in perform(gpu_run, place, "correctness")["correctness"]["rows"]}
    assert rows["add"]["good"] and not rows["linear"]["good"] and "allowed" in rows["linear"]["failures"][0]


@on_the_shim
def test_other_bits_are_found(parts, place, monkeypatch):
    place.extent = replace(place.extent, precisions=("float32",), checked_nets=(("lenet5", None),))
    x = np.zeros((2, 1, 32, 32), np.float32)
    monkeypatch.setattr(parts("correctness"), "_network", lambda name, size: (models.create("lenet5"), x, {}))
    record = place.runtime.record
    (row,) = parts("correctness").repeated(place, "lenet5", None)
    assert row["cases"] == 4 and not row["failures"]
    place.runtime.record = lambda run: record(lambda: None)  # a graph that does nothing
    (row,) = parts("correctness").repeated(place, "lenet5", None)
    assert row["failures"]


@on_the_shim
def test_convolutions(gpu_run, parts, place):
    place.extent = replace(place.extent, timed=("float32",), batches=(1,))
    document = perform(gpu_run, place, "convs")
    rows = document["convs"]["rows"]
    assert len(rows) == len(parts("convs").convolutions(place, 1)) and not document["stages"][0]["failures"]
    for row in rows:
        assert row["us"] > 0 and row["cudnn_us"] == 200.0 and row["ratio"] == pytest.approx(200 / row["us"])
        assert row["error"] <= row["tolerance"] and row["best_us"] <= row["us"]
        assert len(row["candidates"]) == 2 and all(c["us"] for c in row["candidates"])
        assert row["candidates"][0]["plan"].items() >= row["candidates"][0]["asked"].items()
        assert row["plan"] not in [candidate["plan"] for candidate in row["candidates"]]
    total = next(m for m in document["convs"]["means"] if m["batch"] is None)
    assert total["layers"] == total["timed"] == len(rows) and total["ratio"] <= total["best_ratio"]


@on_the_shim
def test_a_wrong_convolution_gets_no_time(parts, place, monkeypatch):
    convs = parts("convs")
    monkeypatch.setattr(type(place.peer), "check", lambda *arguments: (0.5, 0.1))
    conv = convs.Conv(ops.Conv2dSpec(), ((1, 4, 5, 5), (8, 4, 1, 1), (8,)))
    row = convs.chosen(place, conv, "float32", {"a": 1})
    assert row["us"] is None and row["ratio"] is None and "allowed" in row["wrong"] and row["cudnn_us"] == 200.0


@on_the_shim
def test_inputs_rotate_beyond_the_cache(parts, place, rng):
    """Each launch on the next copy, and every copy gives the same output."""
    place.l2_bytes = 10_000
    ours, spec = parts("ours"), ops.Conv2dSpec(padding=1, activation="relu")
    shapes = ((1, 8, 6, 6), (8, 8, 3, 3), (8,))
    x = place.put(rng.standard_normal(shapes[0], np.float32))
    layer = ours.Layer(place, spec, [x, *ours.random_weights(spec, shapes, 1), None], "float32", {"algo": "direct"})
    expected = layer.run().get()
    copies = layer.spread()
    touched = sum(memory.size_bytes for memory in layer.rotated.values())
    assert copies >= 2 and copies * touched > 2 * place.l2_bytes
    assert {slot.partition(":")[0] for slot in layer.rotated} >= {"arena"}
    assert len({tuple(sorted(a.items())) for a in layer._addresses}) == copies
    reads = []
    launch = layer._runner._launch
    layer._runner._launch = lambda launches, addresses: (reads.append(addresses["arena"]), launch(launches, addresses))
    times = layer.time()
    assert times.replays == 2 and times.minimum_us <= times.median_us
    assert len(set(reads)) == copies
    np.testing.assert_array_equal(layer.run().get(), expected)


def test_copies_beyond_the_cache(parts):
    copies = parts("ours").copies_beyond
    assert copies(100, 1000) == 1 and copies(100, 100) == 3 and copies(100, 1) == 201 and copies(1 << 30, 1) == 256


def test_a_measurement_lasts_long_enough(parts, place):
    """As many calls in a graph as take the time that is asked for, in rounds through the copies."""
    place.extent = replace(place.extent, least_ms=2.0, replays=3, most_launches=50)
    calls, clock = [], [0.0]

    def record(run):
        run()
        count, calls[:] = len(calls), []
        return lambda: clock.__setitem__(0, clock[0] + 0.1 * count)  # 0.1 ms a call

    def timed(run):
        start = clock[0]
        run()
        return clock[0] - start

    found = parts("ours").measure(record, timed, calls.append, 4, place)
    assert found.launches == 20 and found.median_us == pytest.approx(100) and found.replays == 3


@pytest.mark.parametrize("net", ["resnet50", "mobilenet_v2", "vgg16"])
@pytest.mark.parametrize("precision", ["float32", "tf32", "float16"])
def test_every_candidate_can_be_planned(parts, place, net, precision):
    """Of every convolution of the real run; the plan obeys."""
    convs, ours = parts("convs"), parts("ours")
    backend, known = NullBackend(), set(manifest.kernels())
    place.extent = replace(place.extent, conv_nets=(net,), conv_size=None)
    for conv in convs.convolutions(place, 32):
        found = convs.candidates(conv, precision, 132, "sm_90a")
        algos = {plan["algo"] for plan in found}
        assert conv.depthwise == ("depthwise" in algos) and (conv.depthwise or algos & {"implicit_gemm", "pointwise"})
        winograd = precision == "float32" and conv.shapes[1][2:] == (3, 3) and conv.spec.stride == (1, 1)
        assert ("winograd" in algos) == (winograd and not conv.depthwise)
        arrays = [np.broadcast_to(np.float32(0), shape) for shape in conv.shapes]
        graph, weights, _ = ours.one_node(conv.spec, [*arrays, None])
        for plan in found[:12]:
            made = backend.compile(graph, weights, precision=precision, decisions={ours.NAME: plan})
            (step,) = [step for step in made.steps if step.name == ours.NAME]
            assert step.plan.items() >= plan.items() and known.issuperset(launch.kernel for launch in step.native)


@on_the_shim
def test_networks(gpu_run, place):
    place.extent = replace(place.extent, timed=("float32",), batches=(2,))
    document = perform(gpu_run, place, "nets")
    (row,) = document["nets"]["rows"]
    assert row["engines"]["ours"]["us"] > 0 and row["engines"]["ours"]["replay_us"] > 0
    assert row["ratios"]["eager"] == pytest.approx(300 / row["engines"]["ours"]["us"])
    assert row["ratios"]["graph"] == pytest.approx(300 / row["engines"]["ours"]["replay_us"])
    assert row["ratios"]["compiled"] is None
    assert document["stages"][0]["skipped"] == [
        {"what": "lenet5 batch 2 float32 compiled", "why": "a test has no PyTorch"}
    ]


@on_the_shim
def test_a_wrong_network_gets_no_time(gpu_run, place, parts):
    place.extent = replace(place.extent, timed=("float32",), batches=(2,))
    type(place.peer).eager = lambda self, model, x, precision, place: (np.zeros((2, 10), np.float32), 300.0)
    (row,) = perform(gpu_run, place, "nets")["nets"]["rows"]
    assert row["engines"]["eager"] == {**row["engines"]["eager"], "us": None, "correct": False}
    assert row["ratios"]["eager"] is None and row["engines"]["ours"]["correct"]


def test_the_most_telling_networks_come_first(parts, place):
    place.extent = type(place.extent)()
    keys = [item.key for item in parts("nets").items(place)]
    assert len(keys) == len(set(keys)) == 6 * 3 * 3 * 4
    first = [key for key in keys if key.endswith("compiled")][:2]
    assert first == ["resnet50 batch 32 float16 compiled", "mobilenet_v2 batch 32 float16 compiled"]
    assert all(key.split()[0] in ("resnet50", "mobilenet_v2") for key in keys[: keys.index(first[0])])


# --- tools


@on_the_shim
def test_tiny_operations_reach_every_source(parts, place):
    used, function = set(), place.runtime.function

    def noted(kernel):
        used.add(kernel.source)
        return function(kernel)

    place.runtime.function = noted
    assert parts("sanitizers").tiny(place) == len(parts("sanitizers").TINY)
    assert used == {kernel.source for kernel in manifest.kernels()}


def tool(folder: Path, name: str, code: str) -> str:
    file = folder / name
    file.write_text(f"#!{sys.executable}\n{code}")
    file.chmod(0o755)
    return str(file)


def test_sanitizers(gpu_run, parts, place, monkeypatch):
    """A tool that finds something, one that does not, one that is not made for this device and one that hangs."""
    sanitizers = parts("sanitizers")
    program = tool(place.work, "compute-sanitizer", """if True:
        import sys, time
        tool = sys.argv[2]
        assert sys.argv[-1] == "--tiny" and "--error-exitcode" in sys.argv
        if tool == "synccheck":
            time.sleep(60)
        if tool == "initcheck":
            print("========= Error: Target application returned an error"); sys.exit(255)
        print("32 operations ran")
        print(f"========= ERROR SUMMARY: {int(tool == 'racecheck')} errors")
        sys.exit(9 if tool == "racecheck" else 0)
    """)  # fmt: skip
    place.command = lambda *words: ["python3", "gpu_run.py", *words]
    monkeypatch.setattr(sanitizers, "find_tool", lambda name: program)
    monkeypatch.setattr(sanitizers, "LIMIT_S", 2.0)
    rows = {row["tool"]: row for row in perform(gpu_run, place, "sanitizers")["sanitizers"]["rows"]}
    assert [rows[name]["outcome"] for name in sanitizers.TOOLS] == [
        "clean", "found something", "did not work: exit code 255", "did not end within 2 s",
    ]  # fmt: skip
    assert rows["racecheck"]["findings"] == ["ERROR SUMMARY: 1 errors"]
    assert (place.out / "sanitizers.txt").read_text().count("---") == 4


def test_without_tools(gpu_run, place, parts, monkeypatch):
    for name in ("sanitizers", "profile"):
        monkeypatch.setattr(parts(name), "find_tool", lambda name: None)
        document = perform(gpu_run, place, name)
        assert document[name]["rows"] == [] and "there is no" in document["stages"][0]["skipped"][0]["why"]


NCU = """if True:
    import json, sys
    if "--query-metrics" in sys.argv:
        print("Device NVIDIA H200 (GH100)")
        print("gpu__time_duration            Counter         ns")
        print("sm__throughput                Throughput      %")
        print("smsp__sass_thread_inst_executed_op_ffma_pred_on  Counter  inst")
        print("sm__ops_path_tensor_src_fp16_dst_fp32  Counter  op")
        sys.exit()
    names = sys.argv[sys.argv.index("--metrics") + 1].split(",")
    asked = json.loads(sys.argv[-1])
    assert sys.argv[-2] == "--layer" and asked["precision"] == "float32" and asked["problem"]
    print("==PROF== Connected to process 1")
    print(json.dumps({"predicted": {"fma": 1000}, "kernel": "k"}))
    print(",".join(['"ID"', '"Kernel Name"', *(f'"{name}"' for name in names)]))
    print(",".join(['""', '""', *('"inst"' for name in names)]))
    for i in range(2):
        print(",".join([f'"{i}"', '"a(b, c)"', *('"510"' if "ffma" in name else '"1,024.5"' for name in names)]))
    print("==PROF== Disconnected")
"""


def test_profile(gpu_run, parts, place, monkeypatch):
    """The layer that is furthest behind, and the multiply-adds that ncu has counted over those predicted."""
    program = tool(place.work, "ncu", NCU)
    monkeypatch.setattr(parts("profile"), "find_tool", lambda name: program)
    place.command = lambda *words: ["python3", "gpu_run.py", *words]
    for key, ratio in (("a", 0.9), ("b", 0.4), ("c", None)):
        row = {"problem": f"conv2d {key}", "precision": "float32", "us": 5.0, "ratio": ratio}
        place.journals["convs"].add(end=key, row=row)
    found = perform(gpu_run, place, "profile")["profile"]
    (row,) = found["rows"]
    assert row["problem"] == "conv2d b" and row["executed_ffma"] == 1020 and row["ffma_ratio"] == pytest.approx(1.02)
    assert len(row["kernels"]) == 2 and row["kernels"][0]["kernel"] == "a(b, c)"
    assert row["kernels"][0]["counters"]["gpu__time_duration.sum"] == 1024.5
    assert "sm__warps_active.avg.pct_of_peak_sustained_active" in found["metrics"]["unknown"]
    assert "op_ffma" in (place.out / "ncu.txt").read_text()


def test_profile_without_times(parts, place):
    """Where no convolution was timed, the first ones are looked at."""
    (row,) = parts("profile").furthest_behind(place)
    assert row == {"problem": next(iter(parts("convs").convolutions(place, 1))).key, "precision": "float16"}


# --- the table


def test_the_essence_stays_short(gpu_run, parts):
    """However much there is to say."""
    row = {
        "problem": "conv2d " + "x" * 80, "precision": "float16", "batch": 1, "layers": {}, "depthwise": False,
        "theory_gflop": 1.0, "tflops": None, "cudnn_us": 1.0, "cudnn_minimum_us": 1.0, "ratio": None, "left_out": "",
        "candidates": [], "best_us": None, "error": 0.0, "tolerance": 1.0, "kernel": "k" * 40, "plan": {},
        "wrong": "w" * 300, "us": None, "minimum_us": None,
    }  # fmt: skip
    head = {"schema": gpu_run.SCHEMA, "cnnkern": "0", "command": "", "date": "", "commit": None, "minutes": 1}
    convs = {"rows": [row] * 600, "means": parts("convs").means([row])}
    document = {**head, "quick": False, **dict.fromkeys(gpu_run.STAGES), "stages": [], "convs": convs}
    valid(document)
    assert len(gpu_run.text.essence(document)) < 12_000 < len(gpu_run.text.whole(document))


def test_geometric_means(parts):
    convs = parts("convs")
    assert convs.geometric_mean([2.0, None, 0.5]) == pytest.approx(1.0) and convs.geometric_mean([None]) is None


def test_the_judge_has_the_oracles_tolerance(parts, place, rng):
    """NoPeer's check of two images agrees with cnnkern.testing on all of them."""
    spec, x = ops.Conv2dSpec(), rng.standard_normal((3, 4, 5, 5), np.float32)
    w, b = rng.standard_normal((6, 4, 1, 1), np.float32), rng.standard_normal(6, np.float32)
    y = testing.reference(spec, x, w, b).astype(np.float32)
    error, tolerance = place.peer.check(spec, [place.put(x), w, b], place.put(y), "float32")
    assert error <= tolerance == testing.tolerance(spec, x.shape, w.shape, b.shape)
    y[2, 3, 1, 1] += 0.1
    assert place.peer.check(spec, [place.put(x), w, b], place.put(y), "float32")[0] > tolerance
