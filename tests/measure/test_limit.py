"""What limits a step: the slowest of its operations and of its bytes at each level, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkern import backends, models
from cnnkern.measure import peak
from cnnkern.measure.limit import (
    Limit,
    Machine,
    algorithm,
    alternatives,
    arithmetic,
    best_limits,
    limits,
    step_bytes,
)
from cnnkern.ops.base import Counts, product

KIB = 1 << 10
MACHINE = Machine(100.0, {"L1": 400.0, "L2": 200.0, "L3": 100.0, "DRAM": 10.0}, {"L2": 512 * KIB, "L3": 4096 * KIB})


def of(fma=0, weights=0, activations=0, all_weights=0) -> Limit:
    return MACHINE.limit(Counts(fma=fma), weights, activations, all_weights)


def test_where_bytes_live():
    assert [MACHINE.level(size * KIB) for size in (0, 512, 513, 4096, 4097)] == ["L2", "L2", "L3", "L3", "DRAM"]


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"fma": 50_000_000}, Limit(1.0, "fma")),
        ({"fma": 1, "activations": 200_000}, Limit(0.001, "L2")),
        ({"fma": 1, "activations": 1_000_000}, Limit(0.01, "L3")),
        ({"fma": 1, "activations": 10_000_000}, Limit(1.0, "DRAM")),
        ({"weights": 1_000_000, "all_weights": 5_000_000}, Limit(0.1, "DRAM")),  # few, but the others push them out
        ({"weights": 1_000_000, "all_weights": 1_000_000}, Limit(0.01, "L3")),
        ({"weights": 1_000_000, "all_weights": 1_000_000, "activations": 1_000_000}, Limit(0.02, "L3")),  # one road
        ({"weights": 1_000_000, "all_weights": 5_000_000, "activations": 1_000_000}, Limit(0.1, "DRAM")),  # two roads
    ],
)
def test_the_slowest_binds(given, expected):
    found = of(**given)
    assert found.bound == expected.bound and found.ms == pytest.approx(expected.ms)


def test_without_a_peak_there_is_no_limit():
    assert MACHINE.limit(None, 1, 1, 1) is None
    assert Machine(None, {}, {}).limit(Counts(fma=1), 1, 1, 1) is None
    assert Machine(1.0, {"L2": 1.0}, {"L2": 0}).limit(Counts(fma=1), 0, 1, 0) is None  # it lives where nobody looked
    assert Machine.measured(None, 1, {}) == Machine(None, {}, {})


@pytest.mark.parametrize("name", ["squeezenet1_0", "mobilenet_v2", "shufflenet_v2_x1_0"])
def test_bytes_of_the_steps_add_up(name):
    executable = models.create(name).compile(input_shape=(2, 3, 64, 64), backend="reference")
    sizes = step_bytes(executable.plan)
    assert all(weights >= 0 and activations > 0 for weights, activations in sizes)
    assert [w + a for w, a in sizes] == [step.theory.bytes for step in executable.steps]
    first = executable.steps[0]
    assert sizes[0][1] == 4 * (product(first.in_shapes[0]) + product(first.out_shapes[0]))


def test_a_network_keeps_its_weights_where_all_of_them_fit():
    executable = models.create("lenet5").compile(input_shape=(1, 1, 32, 32), backend="reference")
    counts = [step.theory for step in executable.steps]
    roomy = Machine(1e9, {"L2": 1.0, "L3": 1.0, "DRAM": 1.0}, {"L2": 1 << 30, "L3": 1 << 30})
    tight = Machine(1e9, {"L2": 1.0, "L3": 1.0, "DRAM": 1.0}, {"L2": 1 << 17, "L3": 1 << 17})
    assert {found.bound for found in limits(roomy, executable.plan, counts)} == {"L2"}
    bounds = dict(zip((step.name for step in executable.steps), limits(tight, executable.plan, counts)))
    assert bounds["c5"].bound == "DRAM" and bounds["s2"].bound == "L2"
    assert np.isclose(bounds["c5"].ms, 4 * (120 * 400 + 120) / 1e6)


def test_what_may_run_at_the_same_time_is_not_added_up():
    assert arithmetic(Counts(fma=10, mul=5, add=7, max=3, special=2)) == 25
    assert arithmetic(Counts(fma=1, add=7, max=3)) == 7
    assert arithmetic(Counts(fma=1, add=1, max=30)) == 30
    assert arithmetic(Counts(special=4)) == 4 and arithmetic(Counts(bytes_read=9)) == 0


def test_the_best_peak_that_was_seen_is_the_machines(monkeypatch):
    monkeypatch.setattr(peak, "fma_gflops", lambda isa, threads: 100.0)
    monkeypatch.setattr(peak, "moving_gbs", lambda threads, isa: {"DRAM": 10.0})
    clock = peak.Clock("avx2", 1)
    assert Machine.measured("avx2", 1, {}, clock).fma_gflops == 100.0
    clock.gflops = [90.0, 120.0, 80.0]
    assert Machine.measured("avx2", 1, {}, clock).fma_gflops == 120.0


@pytest.mark.skipif(backends.available()["cpu"] != "", reason=f"no cpu backend: {backends.available()['cpu']}")
class TestBest:
    """On a machine with no wires to speak of, so that operations bind."""

    machine = Machine(100.0, {"L2": 1e9, "L3": 1e9, "DRAM": 1e9}, {"L2": 1 << 20, "L3": 1 << 25})

    def made(self, name="resnet18"):
        executable = models.create(name).compile(input_shape=(1, 3, 64, 64), backend="cpu", threads=1)
        return executable.plan, backends.get("cpu")

    def test_no_limit_is_beaten_by_the_choice_and_none_is_out_of_reach(self):
        plan, backend = self.made()
        predicted = [step.predicted for step in plan.steps]
        best = best_limits(self.machine, backend, backend.isa, plan, predicted)
        for step, counts, chosen, least in zip(plan.steps, predicted, limits(self.machine, plan, predicted), best):
            offered = dict.fromkeys(name for name, _ in alternatives(backend, backend.isa, step))
            assert least.ms <= chosen.ms and least.algorithm in (*offered, algorithm(step))
            operations = [arithmetic(made) for _, made in alternatives(backend, backend.isa, step)]
            assert least.ms == pytest.approx(min([*operations, arithmetic(counts)]) / 1e8)

    def test_a_3x3_convolution_held_to_direct_would_do_better_by_winograd(self, monkeypatch):
        monkeypatch.setenv("CNNKERN_CONV_ALGO", "direct")
        executable = models.create("vgg11").compile(input_shape=(1, 3, 64, 64), backend="cpu", threads=1)
        backend, predicted = backends.get("cpu"), [step.predicted for step in executable.plan.steps]
        chosen = limits(self.machine, executable.plan, predicted)
        best = best_limits(self.machine, backend, backend.isa, executable.plan, predicted)
        [at] = [i for i, step in enumerate(executable.plan.steps) if step.name == "features.3"]
        assert algorithm(executable.plan.steps[at]) == "direct" and best[at].algorithm == "winograd_f4x3"
        assert best[at].ms < 0.6 * chosen[at].ms

    def test_a_candidate_is_predicted_as_it_is_counted(self):
        """The chosen plan stands among the candidates, with the operations that the plan's step predicts."""
        plan, backend = self.made("densenet121")
        convolutions = [step for step in plan.steps if list(alternatives(backend, backend.isa, step))]
        assert convolutions
        for step in convolutions:
            assert (algorithm(step), step.predicted) in list(alternatives(backend, backend.isa, step)), step.name

    def test_other_steps_have_one_way(self):
        plan, backend = self.made()
        pool = next(step for step in plan.steps if "pool" in step.kernel)
        assert list(alternatives(backend, backend.isa, pool)) == []
        assert algorithm(pool).startswith(("pool", "global_pool"))
