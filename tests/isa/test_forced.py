"""CNNKERN_ISA: the set that was asked for is the one that runs, and asking for one that is not there says what is."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnnkern

core = pytest.importorskip("cnnkern._core", reason="the native module was not built")

CONV = (
    "import numpy as np, cnnkern\n"
    "y = cnnkern.conv2d(np.ones((1, 5, 9, 9), 'f4'), np.ones((7, 5, 3, 3), 'f4'), padding=1, backend='cpu')\n"
    "assert y[0, 0, 4, 4] == 45\n"
)


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    env = {k: v for k, v in os.environ.items() if not k.startswith("CNNKERN_")} | environment
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)


@pytest.mark.parametrize("isa", core.available_isas())
def test_forced_isa_is_the_one_that_runs_eagerly(isa):
    done = run(CONV, CNNKERN_ISA=isa, CNNKERN_VERBOSE="1")
    assert done.returncode == 0, done.stderr
    named = set(re.findall(r"__(vec128|avx2|avx512)\b", done.stdout + done.stderr))
    assert named == {isa}


@pytest.mark.parametrize("isa", core.available_isas())
def test_forced_isa_is_the_one_that_runs_in_a_plan(isa):
    with cnnkern.config(isa=isa):
        assert cnnkern.cpu_info()["isa"] == isa
        model = cnnkern.models.create("lenet5")
        exe = model.compile(input_shape=(1, *model.input_shape), backend="cpu")
        exe(np.zeros((1, *model.input_shape), np.float32))
    named = {step.kernel.rpartition("__")[2] for step in exe.steps if "__" in step.kernel}
    assert named == {isa}


def test_the_best_is_the_default():
    with cnnkern.config(isa=None):
        assert cnnkern.cpu_info()["isa"] == core.available_isas()[-1]


@pytest.mark.parametrize("isa", ["sse9", "AVX2 ", "neon"])
def test_forcing_what_is_not_there_lists_what_is(isa):
    done = run(CONV, CNNKERN_ISA=isa)
    assert done.returncode != 0
    message = done.stderr.strip().splitlines()[-1]
    assert "Error" in message and isa.strip() in message
    assert all(name in message for name in core.available_isas()), message
    with pytest.raises(ValueError, match=", ".join(core.available_isas())):
        core.resolve_isa(isa)


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists(), reason="reads /proc/cpuinfo of an x86 CPU"
)
def test_detection_agrees_with_the_kernel():
    flags = set(re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE).group(1).split())
    needed = {"vec128": set(), "avx2": {"avx2", "fma"}}
    needed["avx512"] = needed["avx2"] | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
    assert core.available_isas() == [isa for isa, wanted in needed.items() if wanted <= flags]
