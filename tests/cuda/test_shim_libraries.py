"""The libraries that the host shim compiles: kept by what they are made of, and with every name of the device."""

from __future__ import annotations

import re

import host
import numpy as np
import pytest
from shimkernels import Kernels, floats, on_the_shim

pytestmark = on_the_shim


def test_other_switch_same_results(rng):
    """What serves on other CPUs."""
    kernels = Kernels("correct.cu", ["reverse<float>", "warp_sum<float>"], flags=["-DCNNKERN_UCONTEXT"])
    x = rng.standard_normal((2, 100), floats)
    for order in host.ORDERS:
        y = np.full_like(x, np.nan)
        kernels("reverse<float>", (2,), (128,), x=x, y=y, n=100, shared=400, order=order)
        assert (y == x[:, ::-1]).all()
        with pytest.raises(RuntimeError, match="takes all 32 lanes"):
            kernels("warp_sum<float>", (1,), (8,), x=x, y=y, order=order)


def test_libraries_are_kept_by_what_they_are_made_of(tmp_path):
    (tmp_path / "one.cu").write_text('#include "two.cuh"\nstruct Args { float* y; };\n'
                                     "__global__ void f(const Args a) { store(a.y, VALUE); }\n")  # fmt: skip
    made = set()
    for value in (1, 2, 1):
        (tmp_path / "two.cuh").write_text(f'#include "prims.cuh"\n#define VALUE {value}.f\n')
        module = host.HostModule("one.cu", ["f"], folder=tmp_path)
        y = np.zeros(1, floats)
        module.get_function("f")((1,), (1,), (np.array([y.ctypes.data], np.uint64),))
        assert y == value
        made.add(module.library)
    assert len(made) == 2
    (tmp_path / "two.cuh").write_text("#error no more")
    with pytest.raises(RuntimeError, match="one.cu does not compile for the host:(?s:.)*no more"):
        host.HostModule("one.cu", ["f"], folder=tmp_path)


def test_frames_beyond_a_stack_do_not_compile(tmp_path):
    (tmp_path / "large.cu").write_text(
        '#include "prims.cuh"\nstruct Args { int n; };\n'
        "__global__ void f(const Args a) { volatile float all[1 << 13]; all[a.n] = 0.f; }\n"
    )
    with pytest.raises(RuntimeError, match="frame size"):
        host.HostModule("large.cu", ["f"], folder=tmp_path)


def test_the_host_has_every_name_of_the_device():
    declared = re.compile(r"^(?:DEVICE [^(=;]*?|#define )(\w+)\(", re.MULTILINE)
    device = (host.kernels_folder() / "prims.cuh").read_text().partition("#else")[2]
    shim = "".join(path.read_text() for path in host.SHIM.glob("*.h"))
    names = set(declared.findall(device))
    assert {"fma", "load", "mma_m16n8k16", "SHARED_MEMORY"} <= names
    assert names <= set(declared.findall(shim))
