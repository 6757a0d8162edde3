"""The scripts of benchmarks/: they are no package, so they are found by their paths. And a device for gpu_run.py."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path

import pytest
from gpurun import made_up
from hostruntime import HostArray, HostRuntime

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script():
    """`script(name)` is benchmarks/<name>.py as a module."""

    def load(name: str):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


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
