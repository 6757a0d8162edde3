"""What this machine can do at most: fused multiply-adds per second and bytes per second, measured, never looked up.

The probes are native (`cnnkern._core`), but for copying, which is the C library's; without the native module every
function here returns None or nothing, which tables show as "n/a": a share of a peak that nobody measured is not
printed.
"""

from __future__ import annotations

import statistics
import threading
import time
from functools import cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..backends import cpu_info

PROBES = 8  # short ones: a neighbour that takes a core for a moment then spoils one of them, not the figure
BANDWIDTH_PROBES = 4  # each allocates and fills its buffer, which for DRAM takes longer than the probe
WANDER_LIMIT = 0.05  # a peak that falls by more than this share while something is timed: the clock, or a neighbour
CLOCK_PROBES, CLOCK_PROBE_S = 3, 0.003
LINE_BYTES = 64
COPY_BYTES = 8 << 20  # moved by one call, or about as much: the call itself then costs nothing
COPY_REPEATS = 32  # at most, each a line further on, so that the repeats stay in a buffer hardly larger
DRAM_BYTES = 256 << 20  # where the last-level cache is unknown: well beyond that of most CPUs


@cache
def fma_gflops(isa: str, threads: int, seconds: float = 0.05) -> float | None:
    """Peak float32 rate of `threads` threads on `isa`, in GFLOP/s (an fma is two): the best of PROBES short probes.

    Args: `isa` as in `cnnkern.cpu_info()`; `seconds` per probe. Returns None where no probe can run. Measured once
    per process, so every share printed by one command has the same denominator.
    """
    core = _core()
    if core is None:
        return None
    return max(core.peak_fma(isa, threads, seconds) for _ in range(PROBES))


def probe_sizes(threads: int, caches: dict[str, int]) -> dict[str, int]:
    """Level -> bytes that `threads` threads read together so that it answers: half of L1 and L2 per core, half of L3,
    four times L3 for DRAM. A level whose size is unknown is left out; DRAM never is.

    Args: `caches` as in `cnnkern.cpu_info()["cache_bytes"]`.
    """
    l1, l2, l3 = (caches.get(level, 0) for level in ("l1d", "l2", "l3"))
    sizes = {"L1": threads * l1 // 2, "L2": threads * l2 // 2, "L3": l3 // 2, "DRAM": max(4 * l3, DRAM_BYTES)}
    return {level: size for level, size in sizes.items() if size}


@cache
def bandwidths_gbs(threads: int, isa: str | None = None, seconds: float = 0.03) -> dict[str, float]:
    """Read bandwidth by level, "L1", "L2", "L3", "DRAM", of `threads` threads together, in GB/s (1e9 bytes).

    Args: `isa` to read with, None: the one in use; `seconds` per probe, of which BANDWIDTH_PROBES are made.
    Returns: the levels whose sizes are known (`probe_sizes`); {} without a probe. Measured once per process.
    """
    core, info = _core(), cpu_info()
    if core is None:
        return {}
    isa = isa or info["isa"]
    sizes = probe_sizes(threads, info["cache_bytes"])
    return {
        level: max(core.peak_bandwidth(isa, size, threads, seconds) for _ in range(BANDWIDTH_PROBES))
        for level, size in sizes.items()
    }


@cache
def fma_peaks_gflops(threads: int) -> dict[str, float]:
    """`fma_gflops` of every instruction set of this CPU, weakest first; {} without a probe. Half a second each."""
    found = {isa: fma_gflops(isa, threads) for isa in cpu_info()["isas"]}
    return {isa: value for isa, value in found.items() if value is not None}


@cache
def copying_gbs(threads: int, seconds: float = 0.03) -> dict[str, float]:
    """Bytes read and written together per second where `threads` threads copy, by level: "L2", "L3", "DRAM", in GB/s.

    Ordinary or streaming stores, as the C library's memcpy chooses. Reading and writing have wires of their own in some
    processors, so that both together may be faster than reading alone (Zen 5, L3: a tenth). L1 is left out: a call from
    Python is no probe of it. {} without the native module, as for every limit. Measured once per process.
    """
    if _core() is None:
        return {}
    sizes = probe_sizes(threads, cpu_info()["cache_bytes"])
    return {level: _copy_rate(size, threads, seconds) for level, size in sizes.items() if level != "L1"}


def moving_gbs(threads: int, isa: str | None = None) -> dict[str, float]:
    """The most bytes a second that a level was seen to move, by level: reading alone, or copying where that is more."""
    reading, copying = bandwidths_gbs(threads, isa), copying_gbs(threads)
    return {level: max(rate, copying.get(level, 0.0)) for level, rate in reading.items()}


def vector_width(isa: str) -> int:
    """Floats in a vector of an instruction set; it needs the native module."""
    return _core().ukernels.width(isa)


def _copy_rate(size_bytes: int, threads: int, seconds: float) -> float:
    """GB/s, read and written, of threads that copy half of their share of so many bytes onto the other half: the best
    of BANDWIDTH_PROBES."""
    pairs = [_copies(size_bytes // threads) for _ in range(threads)]
    rates, together = np.zeros((BANDWIDTH_PROBES, threads)), threading.Barrier(threads)

    def work(rank: int) -> None:
        target, source = pairs[rank]
        source.fill(1)  # by the one who reads it, so that it lies near
        np.copyto(target, source)
        for probe in range(BANDWIDTH_PROBES):
            together.wait()
            start, took, moved = time.perf_counter(), 0.0, 0
            while took < seconds:
                np.copyto(target, source)
                moved += 2 * target.nbytes
                took = time.perf_counter() - start
            rates[probe, rank] = moved / took

    workers = [threading.Thread(target=work, args=(rank,)) for rank in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return float(rates.sum(axis=1).max()) / 1e9


def _copies(share_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Views (repeats, floats) of two buffers in so many bytes, at lines of their own. A row lies a line beyond the one
    before, so that one call of NumPy, without its lock, copies nearly the same bytes again and again."""
    line = LINE_BYTES // 4
    half = max(2, share_bytes // 2 // LINE_BYTES) * line
    repeats = min(COPY_REPEATS, max(1, COPY_BYTES // (4 * half)), half // line - 1)
    raw = np.empty(2 * half + line, np.float32)
    first = -raw.ctypes.data % LINE_BYTES // 4
    buffers = raw[first : first + half], raw[first + half : first + 2 * half]
    shape = repeats, half - (repeats - 1) * line
    target, source = (as_strided(buffer, shape, (LINE_BYTES, 4)) for buffer in buffers)
    return target, source


class Clock:
    """The FMA peak probed again and again while something else is timed: does the machine stay the same?"""

    def __init__(self, isa: str | None, threads: int):
        self.isa, self.threads = isa or cpu_info()["isa"], threads
        self.gflops: list[float] = []

    def probe(self) -> None:
        """The best of a few very short probes; nothing without the native module."""
        core = _core()
        if core is not None and self.isa:
            probes = (core.peak_fma(self.isa, self.threads, CLOCK_PROBE_S) for _ in range(CLOCK_PROBES))
            self.gflops.append(max(probes))

    @property
    def wander(self) -> float | None:
        """How far the slowest quarter of the probes lies below the fastest one, a share of it; None without two."""
        if len(self.gflops) < 2:
            return None
        slow = sorted(self.gflops)[: max(1, len(self.gflops) // 4)]
        return 1.0 - statistics.median(slow) / max(self.gflops)

    @property
    def noisy(self) -> bool:
        return self.wander is not None and self.wander > WANDER_LIMIT

    def as_dict(self) -> dict[str, Any]:
        """As contract.CLOCK has it."""
        median = statistics.median(self.gflops) if self.gflops else None
        return {"probes": len(self.gflops), "median_gflops": median, "wander": self.wander, "noisy": self.noisy}


def _core():
    try:
        from .. import _core
    except ImportError:
        return None
    return _core
