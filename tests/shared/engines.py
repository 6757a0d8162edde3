"""Who is tested: every available backend as a pytest parameter, for the op suite and for networks."""

from __future__ import annotations

import host
import pytest
from hostruntime import host_backend

from cnnkern import backends, config, cpu_info
from cnnkern.backends.reference import ReferenceBackend

WITHOUT_CUDA = {  # operations that have no CUDA kernel: there they run on the CPU
    "unary", "binary", "reduce", "matmul", "stride", "pad_nd", "expand", "tile", "depth_to_space", "space_to_depth",
    "resample", "conv_transpose2d",
}  # fmt: skip


def engines(native_only: bool = False) -> list:
    """Every available backend as a pytest parameter, the cpu once per instruction set, CUDA on the host shim; a missing
    one is a visible skip, or a failure where CNNKERN_REQUIRE_NATIVE says that it must be there."""
    found = [] if native_only else [pytest.param(ReferenceBackend(), id="reference")]
    found += [cuda_on_host(), numba()]
    reason = backends.available()["cpu"]
    if reason and config.get("require_native"):
        raise RuntimeError(f"CNNKERN_REQUIRE_NATIVE is set, but the cpu backend is not available: {reason}")
    if reason:
        return [*found, pytest.param(None, id="cpu", marks=pytest.mark.skip(reason=f"no cpu backend: {reason}"))]
    from cnnkern.backends.cpu import CpuBackend

    return found + [pytest.param(CpuBackend(isa=isa), id=f"cpu-{isa}") for isa in cpu_info()["isas"]]


def numba():
    """The Numba backend; a visible skip without it."""
    reason = backends.available()["numba"]
    if reason:
        return pytest.param(None, id="numba", marks=pytest.mark.skip(reason=f"no numba backend: {reason}"))
    return pytest.param(backends.get("numba"), id="numba")


def cuda_on_host(target: str = "sm_90a"):
    """The CUDA backend, its kernels run from their sources by tests/cuda/shim."""
    name = "cuda-host" if target == "sm_90a" else f"cuda-host-{target}"
    if host.compiler() is None:
        return pytest.param(None, id=name, marks=pytest.mark.skip(reason="no C++ compiler"))
    return pytest.param(host_backend(target=target), id=name)
