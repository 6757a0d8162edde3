"""Whole networks on the Numba backend: each step against the oracle; the same bits for every number of threads."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from engines import numba
from opcases import regions

from cnnkern import UnsupportedError, config, models, ops, testing
from cnnkern.measure.accuracy import variation

ENGINE = numba()

# name -> batch and input shape, or those of all inputs: smaller than usual, and odd where the network takes it. Between
# them they have every operation that an architecture has.
SIZES = {
    "lenet5": (3, 1, 32, 32),
    "lenet5_1998": (2, 1, 32, 32),  # tanh, and a filter as large as its image
    "alexnet_227": (1, 3, 99, 97),  # groups, local response normalisation
    "googlenet": (1, 3, 65, 63),  # concats
    "squeezenet1_1": (2, 3, 49, 47),
    "mobilenet_v2": (2, 3, 33, 35),
    "resnet18": (2, 3, 33, 31),
    "resnext50_32x4d": (1, 3, 32, 32),  # narrow groups
    "densenet121": (1, 3, 33, 32),  # batch norms in front of convolutions
    "shufflenet_v2_x1_0": (1, 3, 33, 32),
    "efficientnet_b0": (1, 3, 33, 32),  # gates that broadcast
    "inception_v3": (1, 3, 79, 75),
    "xception": (1, 3, 71, 71),
    "deepface": (1, 3, 72, 72),  # locally connected layers
    "fast_rcnn_vgg16": ((1, 3, 65, 97), (6, 5)),  # regions
}
LARGE_MACS = 2_000_000_000  # of what is drawn besides: the oracle's time


def created(name: str):
    shapes = SIZES[name]
    return models.create(name, input_shape=(shapes[0] if isinstance(shapes[0], tuple) else shapes)[1:])


def run_checked(model, x) -> int:
    """Each step on what the steps before it made, as CNNKERN_CHECK=1 does; how many there were."""
    exe, steps = model.compile(tuple(a.shape for a in x) if isinstance(x, tuple) else x.shape, backend="numba"), []

    def check(step, ms, fetch):
        arrays = [fetch(value) for value in step.inputs]
        testing.assert_close(fetch(step.outputs[0]), testing.reference(step.spec, *arrays), step.spec, arrays)
        steps.append(step.name)

    watched = exe.watch(x, check)
    plain = exe(x)
    for a, b in zip(*(y if isinstance(y, tuple) else (y,) for y in (watched, plain))):
        assert np.array_equal(a, b)
    assert steps == [step.name for step in exe.steps]
    return len(steps)


def inputs(name: str, model, rng):
    shapes = SIZES.get(name, (1, *model.input_shape))
    if not isinstance(shapes[0], tuple):
        return rng.standard_normal(shapes).astype(np.float32)
    image = rng.standard_normal(shapes[0]).astype(np.float32)
    return image, regions(rng, ops.RoiMaxPoolSpec((7, 7), 1 / 16), (1, 512, 4, 6), shapes[1][0])


@pytest.mark.parametrize("engine", [ENGINE])
@pytest.mark.parametrize("name", SIZES)
def test_every_step_against_the_oracle(engine, name, rng):
    model = created(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a step that fell back says so
        assert run_checked(model, inputs(name, model, rng)) > 5


@pytest.mark.parametrize("engine", [ENGINE])
def test_some_others_against_the_oracle(engine, rng):
    """A few more, drawn anew each time, at their own size. (`cnnkern verify all --backend numba` has them all.)"""
    others = [name for name in models.list() if name not in SIZES and models.get(name).macs < LARGE_MACS]
    for name in rng.choice(others, 3, replace=False):
        print(name)
        model = models.create(name)
        run_checked(model, inputs(name, model, rng))


@pytest.mark.parametrize("engine", [ENGINE])
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "alexnet_227"])
def test_same_bits_for_every_number_of_threads(engine, name, rng):
    model = created(name)
    x = inputs(name, model, rng)
    made = [model.compile(x.shape, backend=engine, threads=threads)(x) for threads in (1, 2, 5)]
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])
    assert np.array_equal(made[0], model(x, backend=engine))


@pytest.mark.parametrize("engine", [ENGINE])
def test_concurrent_callers_have_memory_of_their_own(engine, rng):
    exe = models.create("lenet5").compile(SIZES["lenet5"], backend=engine, threads=2)
    several = [rng.standard_normal(SIZES["lenet5"]).astype(np.float32) for _ in range(16)]
    expected = [exe(x) for x in several]
    assert variation(np.concatenate(expected)) > 0.01
    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(a, b) for a, b in zip(pool.map(exe, several), expected))
    kept = [y.copy() for y in expected]
    exe(several[0])
    assert all(np.array_equal(a, b) for a, b in zip(expected, kept)), "a result is its caller's"


@pytest.mark.parametrize("engine", [ENGINE])
def test_plans_say_what_runs(engine):
    exe = models.create("mobilenet_v2").compile(SIZES["mobilenet_v2"], backend=engine)
    kernels = {step.kernel for step in exe.steps}
    assert {"numba_conv_direct", "numba_conv_depthwise", "numba_conv_pointwise", "numba_linear"} <= kernels
    with config(conv_algo="im2col"):
        forced = models.create("lenet5").compile(SIZES["lenet5"], backend=engine)
    assert {step.kernel for step in forced.steps if step.spec.op == "conv2d"} == {"numba_conv_im2col"}
    with config(conv_algo="winograd"), pytest.raises(UnsupportedError, match="winograd.*direct"):
        models.create("resnet18").compile(SIZES["resnet18"], backend=engine)
    with pytest.raises(UnsupportedError, match="float16.*float32"):
        models.create("lenet5").compile(SIZES["lenet5"], backend=engine, precision="float16")
    with pytest.raises(UnsupportedError, match="does not count"):
        exe.count(np.zeros(SIZES["mobilenet_v2"], np.float32))
