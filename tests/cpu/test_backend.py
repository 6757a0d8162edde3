"""The cpu backend as a whole: the same bits for every team, plans obeyed, layouts, concurrent callers, fallbacks."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref

import numpy as np
import pytest

import cnnkern
from cnnkern import models, ops
from cnnkern.graph import passes
from cnnkern.graph.builder import GraphBuilder
from cnnkern.graph.plan import load_decisions
from cnnkern.random_weights import random_weights

core = pytest.importorskip("cnnkern._core", reason="no native module")
from cnnkern.backends.cpu import CpuBackend  # noqa: E402  (needs the native module)
from cnnkern.backends.cpu.lower import LOWERINGS  # noqa: E402

ISAS = core.available_isas()
isas = pytest.mark.parametrize("isa", ISAS)
SMALL = {"resnet18": 64, "mobilenet_v2": 64, "densenet121": 64, "shufflenet_v2_x1_0": 64, "googlenet": 64, "lenet5": 32}


def small(name: str):
    model = models.create(name)
    return model, (2, model.input_shape[0], SMALL[name], SMALL[name])


def error(mine, theirs) -> float:
    return float(np.abs(mine - theirs).max() / np.ptp(theirs))


@isas
@pytest.mark.parametrize("name", SMALL)
def test_a_plan_gives_the_same_bits_for_every_team(isa, name, rng):
    model, shape = small(name)
    x = rng.standard_normal(shape, dtype=np.float32)
    first = model.compile(shape, backend=CpuBackend(isa), threads=1)(x)
    for threads in (2, 3, 5):
        again = model.compile(shape, backend=CpuBackend(isa), threads=threads)(x)
        assert np.array_equal(first, again), f"{threads} threads"


@isas
@pytest.mark.parametrize("name", SMALL)
def test_whole_networks_agree_with_the_reference(isa, name, rng):
    model, shape = small(name)
    x = rng.standard_normal(shape, dtype=np.float32)
    x[1] *= np.linspace(-2, 3, shape[-1], dtype=np.float32)  # two images of noise alone look alike to a deep network
    mine, theirs = (model.compile(shape, backend=backend)(x) for backend in (CpuBackend(isa), "reference"))
    assert error(mine, theirs) < 1e-4
    assert error(mine[:1], mine[1:]) > 1e-2, "two images give the same: nothing was tested"


@pytest.mark.parametrize("left_out", [p.__name__ for p in CpuBackend().passes()])
@pytest.mark.parametrize("name", ["resnet18", "densenet121", "shufflenet_v2_x1_0"])
def test_every_pass_may_be_off(name, left_out, rng):
    model, shape = small(name)
    x = rng.standard_normal(shape, dtype=np.float32)
    with_all = model.compile(shape, backend="cpu")(x)
    graph = (model if name == "lenet5" else models.create(name, input_shape=shape[1:])).graph.bind(shape[0])
    graph, weights = passes.apply(graph, model.weights, [p for p in CpuBackend().passes() if p.__name__ != left_out])
    assert error(CpuBackend().compile(graph, weights)(x), with_all) < 1e-4


def test_a_plan_is_made_again_from_its_json(rng):
    model, shape = small("resnet18")
    x = rng.standard_normal(shape, dtype=np.float32)
    first = model.compile(shape, backend="cpu")
    again = model.compile(shape, backend="cpu", decisions=load_decisions(first.plan.to_json()))
    assert again.plan.decisions() == first.plan.decisions()
    assert np.array_equal(first(x), again(x))


def test_strict_has_no_winograd():
    model, shape = small("resnet18")
    kernels = {p: [s.kernel for s in model.compile(shape, "cpu", p).steps] for p in ("float32", "strict")}
    assert any("winograd" in kernel for kernel in kernels["float32"])
    assert not any("winograd" in kernel for kernel in kernels["strict"])


def test_other_precisions_are_refused():
    with pytest.raises(cnnkern.UnsupportedError, match="bfloat16.*float32, strict"):
        models.create("lenet5").compile(backend="cpu", precision="bfloat16")


def test_concurrent_callers_get_their_own_answers(rng):
    model, shape = small("mobilenet_v2")
    exe = model.compile(shape, backend="cpu", threads=1)
    inputs = [rng.standard_normal(shape, dtype=np.float32) for _ in range(4)]
    expected, wrong = [exe(x) for x in inputs], []

    def call(i: int) -> None:
        for _ in range(5):
            if not np.array_equal(exe(inputs[i]), expected[i]):
                wrong.append(i)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(len(inputs))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_out_and_strides(rng):
    model, shape = small("resnet18")
    exe = model.compile(shape, backend="cpu")
    x = rng.standard_normal(shape, dtype=np.float32)
    expected = exe(x)
    wide = np.zeros((shape[0], 2000), np.float32)
    assert exe(np.asfortranarray(x), out=wide[:, ::2]).base is not None
    assert np.array_equal(wide[:, ::2], expected) and not wide[:, 1::2].any()
    x.flags.writeable = False
    assert np.array_equal(exe(x), expected), "a read-only input is only read"


def test_feature_maps_come_out_nchw(rng):
    model, shape = small("resnet18")
    x = rng.standard_normal(shape, dtype=np.float32)
    names = ["layer1", "layer3.0.conv1", "avgpool"]
    mine, theirs = (model.features(x, names, backend=backend) for backend in ("cpu", "reference"))
    for name in names:
        assert mine[name].shape == theirs[name].shape
        assert error(mine[name], theirs[name]) < 1e-4


def test_what_has_no_native_form_falls_back_inside_a_plan(rng, monkeypatch):
    """A softmax over rows of pixels, its kernel taken away: between convolutions, on the reference, said once."""
    monkeypatch.delitem(LOWERINGS, ops.SoftmaxSpec)
    builder = GraphBuilder("islands")
    x = builder.conv(builder.input((3, 9, 7)), "first", 17, 3, padding=1)
    x = builder.softmax(x, axis=2)
    graph = builder.finish([builder.conv(x, "second", 5, 1)]).bind(2)
    weights = random_weights(graph, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exe = CpuBackend().compile(graph, weights)
    assert [step.kernel == "numpy" for step in exe.steps].count(True) == 1
    image = rng.standard_normal((2, 3, 9, 7), dtype=np.float32)
    theirs = cnnkern.backends.get("reference").compile(graph, weights)(image)
    assert error(exe(image), theirs) < 1e-5
    assert len(exe.profile(image)) == len(exe.steps)


def test_the_arena_is_smaller_than_the_activations():
    model, shape = small("densenet121")
    exe = model.compile(shape, backend="cpu")
    assert 0 < exe.arena_bytes < exe.activation_bytes


def test_nothing_is_allocated_after_the_first_run_but_the_output(rng):
    """With `out=`, not that either: the process does not grow over a thousand runs."""
    import resource

    model, shape = small("lenet5")
    exe = model.compile(shape, backend="cpu")
    x, out = rng.standard_normal(shape, dtype=np.float32), np.empty((2, 10), np.float32)
    exe(x, out=out)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1000):
        exe(x, out=out)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024, "KiB"


def test_originals_of_packed_weights_can_be_freed():
    """Whoever allows it and drops the model has its memory back; the executable goes on, but is not checked."""
    model = models.create("squeezenet1_1", num_classes=10)
    executable = model.compile((1, 3, 64, 64), backend="cpu", free_weights=True)
    x = np.random.default_rng().standard_normal((1, 3, 64, 64), np.float32)
    expected = executable(x)
    held = [weakref.ref(array) for array in model.weights.values()]
    del model
    gc.collect()
    assert held and not any(ref() is not None for ref in held)
    np.testing.assert_array_equal(executable(x), expected)
    with cnnkern.config(check=True), pytest.raises(cnnkern.UnsupportedError, match="freed"):
        executable(x)
