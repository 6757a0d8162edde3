"""The primitives of prims.cuh, one by one: on the host shim as NumPy has them, and as a GPU has made them.

What a GPU made lies in fixtures/primitives.npz, written by `benchmarks/gpu_run.py`; until one has run it the shim is
held against NumPy alone.
"""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path

import host
import numpy as np
import pytest
from hostruntime import HostRuntime

from cnnkern.backends.cuda import compiler
from cnnkern.errors import UnsupportedError

FIXTURES = Path(__file__).resolve().parent / "fixtures"
sys.path.insert(0, str(FIXTURES))
import primitives  # noqa: E402

CASES = {case.name: case for case in primitives.CASES}
pytestmark = pytest.mark.skipif(host.compiler() is None, reason="no C++ compiler")


@functools.cache
def fixture_module(source: str) -> host.HostModule:
    """All kernels of a source that a case launches."""
    names = sorted({case.kernel for case in CASES.values() if case.source == source})
    return host.HostModule(source, names, folder=FIXTURES)


class FixtureRuntime(HostRuntime):
    """The host runtime with the fixtures' kernels."""

    def module(self, source: str) -> host.HostModule:
        return fixture_module(Path(source).name)


@pytest.fixture(scope="module")
def runtimes():
    return [FixtureRuntime(order) for order in host.ORDERS]


@pytest.fixture(scope="module")
def of_a_gpu():
    """y by case, and what is known of the GPU; nothing where none has run them."""
    return primitives.load() if primitives.FILE.exists() else ({}, {})


@pytest.mark.parametrize("name", CASES)
def test_the_shim_is_as_numpy_and_as_the_gpu(runtimes, of_a_gpu, name):
    case, (made, about) = CASES[name], of_a_gpu
    expected = case.expected(case.inputs)
    results = [primitives.run(case, runtime) for runtime in runtimes]
    for mine in results:
        assert mine.tobytes() == results[0].tobytes(), "the order of threads shows"
    assert not primitives.wrong(case, results[0], expected)
    if primitives.FILE.exists():
        assert about["inputs"].get(name) == primitives.checksum(case), (
            f"{primitives.FILE.name} is of other cases: benchmarks/gpu_run.py --only fixtures makes it anew"
        )
        assert not primitives.wrong(case, results[0], made[name]), f"the shim is not as {about.get('device')}"


def nvrtc() -> str:
    try:
        return compiler.version()
    except UnsupportedError:
        return ""


@pytest.mark.skipif(not nvrtc(), reason="NVRTC is not installed")
@pytest.mark.parametrize("target", ["sm_75", "sm_80", "sm_90a"])
def test_a_gpu_can_be_given_them(target):
    kernels = {case.kernel: case.instance for case in CASES.values()}
    for kernel in kernels.values():
        if compiler.serves(target, kernel):
            assert compiler.compile_kernel(kernel, target).cubin


def test_every_primitive_has_a_case():
    """A name that prims.cuh gains wants a kernel in primitives.cu."""
    declared = re.compile(r"^(?:DEVICE [^(=;]*?|DEVICE_ONCE [^(=;]*?|#define )(\w+)\(", re.MULTILINE)
    device = (host.kernels_folder() / "prims.cuh").read_text().partition("#else")[2]
    names = set(declared.findall(device))
    assert {"fma", "load_matrix_x4_trans", "copy_async4", "SHARED_MEMORY"} <= names
    sources = "".join((FIXTURES / source).read_text() for source in {case.source for case in CASES.values()})
    used = set(re.findall(r"\w+", re.sub(r"//.*", "", sources)))
    assert names - used == set()


def test_the_cases_see_what_they_look_for(runtimes):
    """One bit, one lane or one rounding that is otherwise."""
    for name, case in CASES.items():
        expected = case.expected(case.inputs)
        at = int(np.argmax(np.isfinite(expected.ravel()) & (expected.ravel() != 0)))
        changed = expected.copy()
        if expected.dtype == np.float32 and "random" not in name and "special" not in name:
            changed.view(np.uint32).ravel()[at] += 1
        elif expected.dtype == np.float32:
            changed.ravel()[at] += np.float32(1e-3)
        else:
            changed.ravel()[at] ^= 1
        assert f"{name}: 1 of " in primitives.wrong(case, changed, expected), name
    wrong = primitives.wrong
    case = CASES["narrow tf32"]
    x = case.inputs["x"]
    truncated = (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    assert wrong(case, truncated, case.expected(case.inputs)), "a rounding that cuts off"
    flushed = np.where(abs(x) < 2.0**-126, np.copysign(np.float32(0), x), case.expected(case.inputs))
    assert wrong(case, flushed.astype(np.float32), case.expected(case.inputs)), "denormals that are flushed"


def test_a_file_of_results_comes_back(tmp_path, runtimes):
    results = {case: primitives.run(case, runtimes[0]) for case in primitives.CASES}
    file = tmp_path / "primitives.npz"
    primitives.save(file, results, {"device": "a shim"})
    made, about = primitives.load(file)
    assert about["device"] == "a shim" and set(about["inputs"]) == set(CASES)
    assert all(made[case.name].tobytes() == y.tobytes() for case, y in results.items())
    assert file.stat().st_size < 1 << 20
