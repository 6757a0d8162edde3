"""Whole networks on the CUDA backend's kernels, run on the host: each step against the oracle, each count against its
prediction, and a graph's replay against single launches."""

from __future__ import annotations

import numpy as np
import pytest
from engines import cuda_on_host
from hostruntime import HostRuntime

from cnnkern import models, testing
from cnnkern.backends.cuda import CudaBackend
from cnnkern.measure.accuracy import variation

ENGINE = cuda_on_host()

# name -> batch and input shape: smaller than usual, and odd where the network takes it
SIZES = {
    "lenet5": (3, 1, 32, 32),
    "squeezenet1_1": (2, 3, 49, 47),  # concats in place
    "mobilenet_v2": (2, 3, 33, 35),
    "resnet18": (2, 3, 33, 31),
    "densenet121": (1, 3, 33, 32),  # batch norms in front of convolutions
    "shufflenet_v2_x1_0": (1, 3, 33, 32),
    "efficientnet_b0": (1, 3, 33, 32),  # gates that broadcast
    "resnext50_32x4d": (1, 3, 32, 32),  # narrow groups
    "googlenet": (1, 3, 33, 33),
}
COUNTED = ("lenet5", "squeezenet1_1", "mobilenet_v2", "resnet18")


def compiled(name: str, precision: str = "float32", **options):
    model = models.create(name)
    return model.compile(SIZES[name], backend=CudaBackend(HostRuntime(**options)), precision=precision)


@pytest.fixture
def x(request, rng) -> np.ndarray:
    return rng.standard_normal(SIZES[request.getfixturevalue("name")]).astype(np.float32)


@pytest.mark.parametrize("precision", ["float32", "strict", "tf32", "float16", "bfloat16"])
@pytest.mark.parametrize("engine", [ENGINE])
@pytest.mark.parametrize("name", COUNTED)
def test_counts(engine, name, precision, x):
    for row in compiled(name, precision).count(x):
        assert row["predicted"] == row["executed"], (row["name"], row["kernel"])


@pytest.mark.parametrize("engine", [ENGINE])
@pytest.mark.parametrize("name", SIZES)
def test_every_step_against_the_oracle(engine, name, x):
    """Each step on what the steps before it made, as CNNKERN_CHECK=1 does."""
    exe, steps = compiled(name), []

    def check(step, ms, fetch):
        arrays = [fetch(value) for value in step.inputs]
        testing.assert_close(fetch(step.outputs[0]), testing.reference(step.spec, *arrays), step.spec, arrays)
        steps.append(step.name)

    watched = exe.watch(x, check)
    assert steps == [step.name for step in exe.steps]
    assert np.array_equal(watched, exe(x)), "a replay computes what single steps do"


@pytest.mark.parametrize("precision", ["tf32", "float16", "bfloat16"])
@pytest.mark.parametrize("engine", [ENGINE])
@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2", "resnet18"])
def test_lower_precision_against_the_oracle(engine, name, precision, x):
    """Each step within its precision's error on what it was given; the output near the float32 network's."""
    exe = compiled(name, precision)

    def check(step, ms, fetch):
        arrays = [fetch(value) for value in step.inputs]
        theirs = testing.reference(step.spec, *arrays)
        testing.assert_close(fetch(step.outputs[0]), theirs, step.spec, arrays, precision=precision)

    mine = exe.watch(x, check)
    theirs = compiled(name)(x)
    assert variation(theirs) > 0.01, "two inputs must give two outputs"
    assert np.abs(mine - theirs).max() < (0.1 if precision == "bfloat16" else 0.015) * np.ptp(theirs)


@pytest.mark.parametrize("engine", [ENGINE])
def test_decisions_make_the_same_plan_again(engine):
    exe = compiled("resnet18", multiprocessors=132)
    decisions = {name: made for name, made in exe.plan.decisions().items() if made}
    again = models.create("resnet18").compile(
        SIZES["resnet18"], backend=CudaBackend(HostRuntime(multiprocessors=1)), decisions=decisions
    )
    assert [launch.kernel for launch in again.launches] == [launch.kernel for launch in exe.launches]
    with pytest.raises(ValueError, match="tile"):
        models.create("resnet18").compile(
            SIZES["resnet18"], backend=CudaBackend(HostRuntime()), decisions={"layer1.0.conv1": {"tile": [1, 2, 3, 4]}}
        )


@pytest.mark.parametrize("engine", [ENGINE])
def test_concurrent_callers_have_memory_of_their_own(engine, rng):
    from concurrent.futures import ThreadPoolExecutor

    exe = compiled("lenet5")
    inputs = [rng.standard_normal(SIZES["lenet5"]).astype(np.float32) for _ in range(8)]
    expected = [exe(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(a, b) for a, b in zip(pool.map(exe, inputs), expected))
