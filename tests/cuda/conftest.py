"""Fixtures of the shim's own tests: correct kernels, and memory that kernels may touch."""

from __future__ import annotations

import host
import pytest
from shimkernels import CORRECT, Kernels


@pytest.fixture
def apart():
    """What other tests have registered does not forbid these their arrays."""
    with host.apart():
        yield


@pytest.fixture(scope="module")
def correct():
    return Kernels("correct.cu", CORRECT)


@pytest.fixture
def memory():
    """Registers arrays for as long as the test lasts; returns its last argument."""
    registered = []

    def register(*arrays):
        for array in arrays:
            host.register_memory(array.ctypes.data, array.nbytes)
            registered.append(array.ctypes.data)
        return arrays[-1]

    yield register
    for address in registered:
        host.unregister_memory(address)
