"""Launch plans, arenas and graphs of every architecture, without a device."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from cnnkern import UnsupportedError, backends, models
from cnnkern.backends.cuda import CudaBackend
from cnnkern.backends.cuda.launch import Launch, Pointer, struct
from cnnkern.backends.cuda.manifest import kernels
from cnnkern.backends.cuda.runner import check_pointers
from cnnkern.backends.null import NullBackend, NullRuntime

# What the null backend plans for: an old card, the one with the least shared memory, the one that is aimed at.
TARGETS = ("sm_75", "sm_86", "sm_90a")


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("name", models.list())
def test_every_architecture_plans(name, precision):
    m = models.create(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a step that fell back says so
        exe = m.compile(backend=NullBackend(), precision=precision)
    x = [np.zeros(value.shape, np.float32) for value in exe.plan.inputs]
    assert all(step.run is None for step in exe.steps)
    assert all(step.predicted is not None for step in exe.known(x))
    assert sum(step.theory.fma for step in exe.steps) == exe.plan.theory.fma > 0
    known = {(kernel.source, kernel.name) for kernel in kernels()}
    runner = exe._runner
    for launch in (*runner._setup, *exe.launches):
        assert (launch.kernel.source, launch.kernel.name) in known, "not in the manifest: the gate has not compiled it"
    y = exe(x)  # bound, launched and recorded
    arrays = y if isinstance(y, tuple) else (y,)
    assert [array.shape for array in arrays] == [tuple(value.shape) for value in exe.plan.outputs]
    assert runner._runtime.recorded == 1, "one graph"
    assert len(runner._runtime.launched) == len(runner._setup) + len(exe.launches)


@pytest.mark.parametrize("target", TARGETS)
def test_other_targets(target):
    for precision in ("float32",) if target == "sm_75" else ("float32", "tf32"):
        m = models.create("mobilenet_v2")
        m.compile((2, *m.input_shape), backend=NullBackend(target), precision=precision)


def test_old_targets_say_what_they_lack():
    m = models.create("lenet5")
    with pytest.raises(UnsupportedError, match="float16.*sm_80"):
        m.compile((1, *m.input_shape), backend=NullBackend("sm_75"), precision="float16")


def test_arena_buffers_that_live_together_do_not_overlap():
    """From the launches alone: what a launch reads was written last by the step that should have."""
    m = models.create("densenet121")
    exe = m.compile((1, *m.input_shape), backend=NullBackend())
    spans = {}
    for step in exe.steps:
        for name in step.outputs:
            root = exe.plan.views[name].root if name in exe.plan.views else name
            spans.setdefault(root, []).append(step.name)
    offsets, arena = exe.plan.memory.offsets, exe.plan.memory.arena_bytes
    assert offsets and all(0 <= offset < arena and offset % 256 == 0 for offset in offsets.values())
    assert arena < exe.plan.memory.activation_bytes / 2, "memory is used again"


def test_struct_matches_c():
    """Pointers, ints, floats and arrays of them, as a C compiler aligns them."""
    made = struct("x:p n:i scale:f strides:i3 y:p")
    assert [made.fields[name][1] for name in made.names] == [0, 8, 12, 16, 32] and made.itemsize == 40


def test_a_launch_that_cannot_be_is_refused():
    kernel = next(kernel for kernel in kernels() if kernel.name == "activation<float, 1>")
    args = {"x": Pointer("arena"), "y": Pointer("arena"), "rows": 1, "c": 1, "x_stride": 1, "y_stride": 1, "act": 0,
            "param": 0.0}  # fmt: skip
    with pytest.raises(ValueError, match="grid"):
        Launch(kernel, (1, 70000, 1), args)
    with pytest.raises(TypeError, match="rows"):
        Launch(kernel, (1, 1, 1), {k: v for k, v in args.items() if k != "rows"})
    with pytest.raises(NotImplementedError, match="rows is too large"):
        Launch(kernel, (1, 1, 1), {**args, "rows": 2**31})
    runtime = NullRuntime("sm_86")
    with pytest.raises(ValueError, match="shared memory"):
        runtime.function(kernel)((1, 1, 1), (256, 1, 1), (np.zeros(1),), shared_mem=100 << 10)


def test_a_pointer_beyond_its_slot_is_refused():
    kernel = next(kernel for kernel in kernels() if kernel.name == "activation<float, 1>")
    args = {"x": Pointer("arena", 64), "y": Pointer("arena"), "rows": 1, "c": 1, "x_stride": 1, "y_stride": 1, "act": 0,
            "param": 0.0}  # fmt: skip
    check_pointers(Launch(kernel, (1, 1, 1), args), {"arena": 128})
    with pytest.raises(ValueError, match="x points to byte 64 of arena"):
        check_pointers(Launch(kernel, (1, 1, 1), args), {"arena": 64})


def test_null_is_asked_for_by_name_alone():
    assert "null" not in backends.available() and backends.get("null").name == "null"
    assert isinstance(backends.get("null"), CudaBackend)
