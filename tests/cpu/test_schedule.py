"""Batches image by image: the same numbers as layer by layer, whatever the cut, the team and the batch."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cnnkern import models
from cnnkern.graph.plan import load_decisions
from cnnkern.ops.base import Counts

core = pytest.importorskip("cnnkern._core", reason="no native module")
from cnnkern.backends.cpu import CpuBackend, backend, schedule  # noqa: E402  (needs the native module)

NETWORKS = {"resnet18": 64, "densenet121": 64, "shufflenet_v2_x1_0": 64, "squeezenet1_0": 64}
CUTS = (0.3, 0.7, 1.0)


@pytest.fixture
def compile_cut(monkeypatch):
    """`compile_cut(model, shape, cut, threads)`: first steps, a share of them, go image by image."""

    def compile_at(model, shape, cut, threads=2):
        def first_steps(low, decisions):
            nodes = schedule._candidates(low)
            return frozenset(node.name for node in nodes[: round(cut * len(nodes))])

        monkeypatch.setattr(backend, "image_by_image", first_steps)
        return model.compile(shape, backend=CpuBackend(), threads=threads, precision="strict")

    return compile_at


def by_image(executable) -> list[str]:
    return [step.name for step in executable.steps if step.plan.get("images") == 1]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch", (2, 5))
def test_any_cut_gives_the_bits_of_the_whole_batch(name, batch, compile_cut, rng):
    model = models.create(name)
    shape = (batch, 3, NETWORKS[name], NETWORKS[name])
    x = rng.standard_normal(shape, dtype=np.float32)
    whole = compile_cut(model, shape, 0.0)
    assert not by_image(whole)
    expected = whole(x)
    for cut in CUTS:
        for threads in (1, 2, 3):
            executable = compile_cut(model, shape, cut, threads)
            assert by_image(executable)
            for _ in range(2):  # the second finds the first one's values in the arenas
                assert np.array_equal(executable(x), expected), f"cut {cut}, {threads} threads"


def test_single_steps_show_every_image(compile_cut, rng):
    model = models.create("squeezenet1_0")
    shape = (3, 3, 64, 64)
    x = rng.standard_normal(shape, dtype=np.float32)
    taps = {}
    for cut in (0.0, 0.6):
        found = taps[cut] = {}
        executable = compile_cut(model, shape, cut)

        def keep(step, ms, fetch, found=found):
            found.update((name, fetch(name).copy()) for name in step.outputs)

        last = executable.watch(x, keep)
        assert np.array_equal(last, executable(x))  # and a plain run afterwards is right again
    assert taps[0.0].keys() == taps[0.6].keys()
    for name, expected in taps[0.0].items():
        assert np.array_equal(taps[0.6][name], expected), name


@pytest.mark.parametrize("threads", (1, 2, 3))
def test_counts_agree_and_add_up(threads, compile_cut, rng):
    model = models.create("shufflenet_v2_x1_0")
    shape = (5, 3, 64, 64)
    executable = compile_cut(model, shape, 0.8, threads)
    assert by_image(executable)
    for row in executable.count(rng.standard_normal(shape, dtype=np.float32)):
        assert row["executed"] == row["predicted"], row["name"]
        assert sum(row["itemised"].values(), Counts()) == row["theory"] - row["executed"], row["name"]


def test_profiles_name_every_step(compile_cut, rng):
    model, shape = models.create("squeezenet1_0"), (3, 3, 64, 64)
    executable = compile_cut(model, shape, 0.5)
    rows = executable.profile(rng.standard_normal(shape, dtype=np.float32))
    assert [row["name"] for row in rows] == [step.name for step in executable.steps]
    assert all(row["ms"] >= 0 for row in rows)


def test_a_plan_keeps_its_order(rng):
    """The choice is part of the plan: it prints, serialises, and is obeyed when the plan is made again."""
    model, shape = models.create("mobilenet_v2"), (8, 3, 128, 128)
    first = model.compile(shape, backend=CpuBackend(), threads=2)
    assert by_image(first), "a small network goes image by image"
    decisions = load_decisions(json.dumps(first.plan.to_dict()))
    dropped = {name: {k: v for k, v in plan.items() if k != "images"} for name, plan in decisions.items()}
    again, layers = (model.compile(shape, backend=CpuBackend(), threads=2, decisions=d) for d in (decisions, dropped))
    assert by_image(again) == by_image(first) and not by_image(layers)
    assert again.arena_bytes == first.arena_bytes < layers.arena_bytes
    x = rng.standard_normal(shape, dtype=np.float32)
    assert np.array_equal(first(x), again(x))


def test_one_image_has_no_order():
    model = models.create("mobilenet_v2")
    for batch in (0, 1):
        assert not by_image(model.compile((batch, 3, 64, 64), backend=CpuBackend(), threads=2))
