"""What every benchmark has: the machine's threads and backends, and a clock that kernels are timed by.

    pytest benchmarks --benchmark-only              # leaves, operations, networks
    pytest benchmarks -k "conv and avx2"            # by op, kind, instruction set, algorithm

An operation of ten microseconds cannot be timed around a Python call. Its native times, measured in the plan's own run
(cnnkern/measure/opbench.py), are put on a clock that pytest-benchmark reads: its statistics are the kernel's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cnnkern import get_num_threads

sys.path.insert(0, str(Path(__file__).parent))  # timed.py
from timed import MAX_ROUNDS, MIN_ROUNDS, NATIVE, SECONDS  # noqa: E402


@pytest.fixture(scope="session")
def threads() -> int:
    return get_num_threads()


@pytest.fixture
def native(benchmark) -> Callable[[Callable[[], float]], list[float]]:
    """`native(call)`: benchmark `call`, which returns the milliseconds that it took as it measured them itself, for
    about SECONDS; returns these. For tests marked with `timer=timer`."""

    def run(call: Callable[[], float]) -> list[float]:
        begin = time.perf_counter()
        call()  # touches memory, wakes threads
        wall = time.perf_counter() - begin
        times: list[float] = []

        def once() -> None:
            times.append(call())
            NATIVE.advance(times[-1])

        benchmark.pedantic(once, rounds=int(min(MAX_ROUNDS, max(MIN_ROUNDS, SECONDS / max(wall, 1e-9)))))
        return times

    return run
