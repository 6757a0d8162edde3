"""What this machine can do at most: fused multiply-adds per second and bytes per second, measured, never looked up.

The probes are native (`cnnkern._core`); without the native module every function here returns None, which tables show
as "n/a": a share of a peak that nobody measured is not printed.
"""

from __future__ import annotations

from functools import lru_cache

BANDWIDTH_BYTES = 256 << 20  # well beyond the last-level cache of any current CPU, so that DRAM answers


@lru_cache(maxsize=None)
def fma_gflops(isa: str, threads: int, seconds: float = 0.15) -> float | None:
    """Peak float32 rate of `threads` threads on `isa`, in GFLOP/s (an fma is two), the better of two probes.

    Args: `isa` as in `cnnkern.cpu_info()`; `seconds` per probe. Returns None where no probe can run. Measured once
    per process, so every share printed by one command has the same denominator.
    """
    core = _core()
    if core is None or not hasattr(core, "peak_fma"):
        return None
    probes = [core.peak_fma(isa, threads, seconds) for _ in range(2)]
    return max(float(p["gflops"] if isinstance(p, dict) else p) for p in probes)


@lru_cache(maxsize=None)
def bandwidth_gbs(threads: int, size_bytes: int = BANDWIDTH_BYTES) -> float | None:
    """Memory read bandwidth of `threads` threads, in GB/s (1e9 bytes), over a buffer of `size_bytes`; None without a probe."""
    core = _core()
    if core is None or not hasattr(core, "peak_bandwidth"):
        return None
    probe = core.peak_bandwidth(size_bytes, threads)
    return float(probe["gbs"] if isinstance(probe, dict) else probe)


def _core():
    try:
        from .. import _core
    except ImportError:
        return None
    return _core
