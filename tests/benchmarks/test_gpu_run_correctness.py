"""What benchmarks/gpu_run.py finds right and wrong, on the host shim: primitives, operations, networks, its judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import host
import numpy as np
import pytest
from gpurun import on_the_shim, perform

from cnnkern import models, ops, testing


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


def test_the_judge_has_the_oracles_tolerance(parts, place, rng):
    """NoPeer's check of two images agrees with cnnkern.testing on all of them."""
    spec, x = ops.Conv2dSpec(), rng.standard_normal((3, 4, 5, 5), np.float32)
    w, b = rng.standard_normal((6, 4, 1, 1), np.float32), rng.standard_normal(6, np.float32)
    y = testing.reference(spec, x, w, b).astype(np.float32)
    error, tolerance = place.peer.check(spec, [place.put(x), w, b], place.put(y), "float32")
    assert error <= tolerance == testing.tolerance(spec, x.shape, w.shape, b.shape)
    y[2, 3, 1, 1] += 0.1
    assert place.peer.check(spec, [place.put(x), w, b], place.put(y), "float32")[0] > tolerance
