"""One operation: its answer, its counts, its time; and no time for a wrong answer."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkern import backends, config, cpu_info
from cnnkern.errors import UnsupportedError
from cnnkern.measure import opbench, opgraph, schema
from cnnkern.measure.opbench import CACHES, OpCourse, OpRun, algorithms, bench_op
from cnnkern.measure.opshapes import read_lines
from cnnkern.measure.profile import machine_profile

native = pytest.mark.skipif(backends.available()["cpu"] != "", reason=f"no cpu backend: {backends.available()['cpu']}")
PLACES = [(name, None) for name, reason in backends.available().items() if not reason and name != "cpu"]
if not backends.available()["cpu"]:
    PLACES += [("cpu", isa) for isa in cpu_info()["isas"]]

PROBLEMS = """
conv2d 1x3x17x17 20x3x3x3 20 stride=(2,2) padding=((1,1),(1,1)) activation=relu
conv2d 2x24x9x9 40x24x3x3 40 2x40x9x9 padding=((1,1),(1,1)) activation=relu
conv2d 5x16x7x7 16x1x3x3 padding=((1,1),(1,1)) groups=16
conv2d 3x16x8x8 24x16x1x1
linear 2x33 10x33 10
pool2d 2x17x9x9 kernel=(3,3) stride=(2,2)
global_pool2d 3x20x7x7
batch_norm 1x19x5x5 19 19 19 19 activation=relu
local_response_norm 1x16x5x5 size=5
add 4x8x5x5 4x8x5x5
mul 2x8x5x5 2x8x1x1
activation 1x12x6x6 kind=silu
softmax 3x10
roi_max_pool 2x8x12x12 5x5 output_size=(3,3)
fused_block 1x8x9x9 48x8x1x1 48 48x1x3x3 48 8x48x1x1 8 1x8x9x9 padding=((1,1),(1,1)) expand_activation=relu6
""".strip().splitlines()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Sweeps of a cache of 64 KiB and no probes of peaks: figures do not matter here."""
    info = {"cache_bytes": {"l2": 1 << 15, "l3": 1 << 16}}
    for room in (opbench, opgraph):
        monkeypatch.setattr(room, "cpu_info", lambda: info)
    monkeypatch.setattr("cnnkern.measure.peak.fma_gflops", lambda isa, threads: 100.0)
    monkeypatch.setattr(
        "cnnkern.measure.peak.moving_gbs", lambda threads, isa=None: {"L2": 90.0, "L3": 50.0, "DRAM": 9.0}
    )
    monkeypatch.setattr("cnnkern.measure.peak.Clock.probe", lambda clock: clock.gflops.append(100.0))


@pytest.mark.parametrize("line", PROBLEMS, ids=[line.split()[0] for line in PROBLEMS])
@pytest.mark.parametrize("backend, isa", PLACES)
def test_every_kind_on_every_backend(line, backend, isa):
    (problem,) = read_lines(line)
    course = OpCourse(problem)
    for caches in CACHES:
        with config(isa=isa) if isa else config():
            row = bench_op(course, backend, isa=isa, threads=2, caches=caches, seconds=0.01)
        assert row.good and row.error <= row.tolerance
        assert row.time.rounds >= 3 and row.time.minimum_ms > 0
        counted = backend == "cpu"
        assert (row.counts.executed is not None) == counted == (row.limit is not None) == (row.best is not None)
        assert row.counts.theory == problem.spec.theory(*problem.shapes)
        if counted:
            assert row.counts.predicted == row.counts.executed
            assert row.best.ms <= row.limit.ms and row.limit.bound in ("fma", "L2", "L3", "DRAM")
        body = {"machine": machine_profile(peaks=False).as_dict(), "results": [row.as_dict()], "left_out": []}
        schema.document("bench_ops", command="", date="", commit=None, good=True, **body)


@native
def test_algorithms_are_forced_and_those_that_cannot_say_so():
    (problem,) = read_lines(PROBLEMS[1])
    assert algorithms(problem)[0] == "auto" and "winograd" in algorithms(problem)
    course, met = OpCourse(problem), set()
    for algo in algorithms(problem):
        try:
            row = bench_op(course, "cpu", algo=algo, seconds=0.01)
        except UnsupportedError:
            continue
        met.add(algo)
        assert algo in ("auto", row.decision["algo"]) and row.good
    assert {"auto", "direct", "im2col", "winograd"} <= met and "depthwise" not in met
    (pool,) = read_lines(PROBLEMS[5])
    assert algorithms(pool) == ("auto",)
    with pytest.raises(UnsupportedError, match="pool2d has one way"):
        OpRun(OpCourse(pool), "reference", algo="direct")


def test_a_wrong_answer_gets_no_time(monkeypatch):
    reference = backends.get("reference")

    def bent(spec, arrays, out=None, **options):
        return tuple(y + np.float32(0.01) for y in type(reference).call(reference, spec, arrays, out, **options))

    monkeypatch.setattr(reference, "call", bent)
    (problem,) = read_lines("linear 2x33 10x33 10")
    row = bench_op(OpCourse(problem), "reference", seconds=0.01)
    assert not row.correct and not row.good and row.time is None and row.rate_gflops is None
    with pytest.raises(RuntimeError, match="wrong"):
        OpRun(OpCourse(problem), "reference").round()


@native
def test_a_miscount_is_not_good(monkeypatch):
    from dataclasses import replace

    counts = opbench.Field.counts
    wrong = lambda field: replace(counts(field), predicted=counts(field).predicted * 2)  # noqa: E731
    monkeypatch.setattr(opbench.Field, "counts", wrong)
    (problem,) = read_lines(PROBLEMS[0])
    row = bench_op(OpCourse(problem), "cpu", seconds=0.01)
    assert row.correct and not row.good and row.counts.faults


def test_a_batch_is_two_images_in_turns():
    (problem,) = read_lines("conv2d 5x4x6x6 8x4x3x3")
    course = OpCourse(problem)
    x, weight, *_ = course.arrays
    assert x.shape[0] == 5 and np.array_equal(x[0], x[4]) and not np.array_equal(x[0], x[1])
    assert weight.shape == (8, 4, 3, 3)
    assert bench_op(course, "reference", seconds=0.01).good
    swapped = opbench.Field(backends.get("reference"), course, "auto", 1, "warm", 1).answer()[::-1].copy()
    assert course.compare(swapped, "auto", "float32").ok  # 0 1 0 1 0 backwards is itself
    assert not course.compare(np.roll(swapped, 1, axis=0), "auto", "float32").ok


@native
def test_calls_have_weights_of_their_own_behind_sweeps():
    (problem,) = read_lines("conv2d 1x16x8x8 16x16x3x3 padding=((1,1),(1,1))")
    run = OpRun(OpCourse(problem), "cpu", caches="network")
    ops = [step.spec.op for step in run._field.executable.steps]
    assert run._field.calls == opgraph.MAX_CALLS["network"] == ops.count("conv2d")
    assert ops.count("activation") == 2 * run._field.calls  # a sweep and a writer each
    warm = OpRun(OpCourse(problem), "cpu", caches="warm")
    assert [step.spec.op for step in warm._field.executable.steps].count("activation") <= 1


def test_what_looks_at_its_input_only_is_refused():
    with pytest.raises(ValueError, match="network and warm"):
        OpRun(OpCourse(read_lines("linear 2x33 10x33 10")[0]), "reference", caches="cold")
