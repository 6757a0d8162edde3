"""What benchmarks/gpu_run.py times, on the host shim: convolutions and their candidates, networks; how it measures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gpurun import on_the_shim, perform

from cnnkern import ops
from cnnkern.backends.cuda import manifest
from cnnkern.backends.null import NullBackend


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


def test_geometric_means(parts):
    convs = parts("convs")
    assert convs.geometric_mean([2.0, None, 0.5]) == pytest.approx(1.0) and convs.geometric_mean([None]) is None
