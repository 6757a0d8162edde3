"""What this machine can do at most: fused multiply-adds per second and bytes per second, measured, never looked up.

The probes are native (`cnnkern._core`); without the native module every function here returns None, which tables show
as "n/a": a share of a peak that nobody measured is not printed.
"""

from __future__ import annotations

from functools import cache

PROBES = 8  # short ones: a neighbour that takes a core for a moment then spoils one of them, not the figure
BANDWIDTH_BYTES = 256 << 20  # well beyond the last-level cache of any current CPU, so that DRAM answers


@cache
def fma_gflops(isa: str, threads: int, seconds: float = 0.05) -> float | None:
    """Peak float32 rate of `threads` threads on `isa`, in GFLOP/s (an fma is two): the best of PROBES short probes.

    Args: `isa` as in `cnnkern.cpu_info()`; `seconds` per probe. Returns None where no probe can run. Measured once
    per process, so every share printed by one command has the same denominator.
    """
    core = _core()
    if core is None or not hasattr(core, "peak_fma"):
        return None
    return max(core.peak_fma(isa, threads, seconds) for _ in range(PROBES))


@cache
def bandwidth_gbs(threads: int, size_bytes: int = BANDWIDTH_BYTES) -> float | None:
    """Read bandwidth of `threads` threads over a buffer of `size_bytes`, in GB/s (1e9 bytes); None without a probe."""
    core = _core()
    if core is None or not hasattr(core, "peak_bandwidth"):
        return None
    return core.peak_bandwidth(size_bytes, threads)


def _core():
    try:
        from .. import _core
    except ImportError:
        return None
    return _core
