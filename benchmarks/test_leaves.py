"""Bare leaves: every tile of the convolutions, single-threaded, on every instruction set; and the peaks they run into.

A tile is called from Python, which costs about a microsecond; a call that multiplies next to nothing says how much, and
`tile_gflops` is without it.
"""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from timed import timer

from cnnkern import cpu_info
from cnnkern.measure import peak

core = pytest.importorskip("cnnkern._core", reason="no native module")
ISAS = core.available_isas()
TILES = [(isa, ob, px) for isa in ISAS for ob, px in core.ukernels.conv_tiles(isa)]
LENGTH = 1152  # of the sums: 3x3 over 128 channels; a panel of weights then fits L2
ITERATIONS, ROUNDS = 50, 40
PROBE_S = 0.01


def operands(ob: int, px: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = (px, length), (length, 16 * ob)
    return tuple(random.standard_normal(shape, dtype=np.float32) for shape in shapes)


@pytest.mark.benchmark(group="leaves")
@pytest.mark.parametrize("isa, ob, px", TILES, ids=[f"conv_tile-{px}x{16 * ob}-{isa}" for isa, ob, px in TILES])
def test_conv_tile(isa, ob, px, benchmark):
    x, w = operands(ob, px, LENGTH)
    wide = x.astype(np.float64), w.astype(np.float64)
    allowed = 2.0**-23 * (LENGTH + 1) * (np.abs(wide[0]) @ np.abs(wide[1]))
    error = np.abs(core.ukernels.conv_tile(isa, ob, px, x, w, 16 * ob) - wide[0] @ wide[1])
    assert (error <= allowed).all(), "a wrong answer gets no time"
    short = operands(ob, px, 1)
    call_ms = peak_free(lambda: core.ukernels.conv_tile(isa, ob, px, *short, 16 * ob))
    benchmark.pedantic(
        core.ukernels.conv_tile, (isa, ob, px, x, w, 16 * ob), iterations=ITERATIONS, rounds=ROUNDS, warmup_rounds=2
    )
    flops = 2 * px * 16 * ob * LENGTH
    top = peak.fma_gflops(isa, 1)
    info = {"isa": isa, "theory_flops": flops, "executed_flops": flops, "peak_fma_gflops": top, "call_ms": call_ms,
            "error": float((error / allowed).max()), "tolerance": 1.0}  # fmt: skip
    if benchmark.enabled:
        tile_ms = 1e3 * benchmark.stats.stats.median - call_ms
        gflops = flops / tile_ms / 1e6 if tile_ms > 0 else None
        info.update(tile_gflops=gflops, share_of_peak=gflops / top if gflops else None, limit_ms=flops / top / 1e6)
    benchmark.extra_info.update(info)


def peak_free(call) -> float:
    """Milliseconds of a call that does next to nothing: the median of rounds of ITERATIONS."""
    import timeit

    return 1e3 * statistics.median(timeit.repeat(call, number=ITERATIONS, repeat=15)) / ITERATIONS


@pytest.mark.benchmark(group="peaks", timer=timer)
@pytest.mark.parametrize("isa", ISAS)
def test_fma_peak(isa, benchmark, native, threads):
    """The time of 1 GFLOP of nothing but fused multiply-adds."""
    times = native(lambda: 1e3 / core.peak_fma(isa, threads, PROBE_S))
    benchmark.extra_info.update(isa=isa, threads=threads, gflops=1e3 / min(times))


@pytest.mark.benchmark(group="peaks", timer=timer)
@pytest.mark.parametrize("level", ["L1", "L2", "L3", "DRAM"])
@pytest.mark.parametrize("isa", ISAS)
def test_bandwidth(isa, level, benchmark, native, threads):
    """The time of reading 1 GB from where it lies."""
    size = peak.probe_sizes(threads, cpu_info()["cache_bytes"]).get(level)
    if size is None:
        pytest.skip(f"the size of {level} is not known here")
    x = np.random.default_rng(0).standard_normal(1 << 14, dtype=np.float32)
    total, additions, read = core.read_sum(isa, x)
    assert abs(total - x.sum(dtype=np.float64)) <= 2.0**-23 * x.size * np.abs(x).sum() and read == x.nbytes
    times = native(lambda: 1e3 / core.peak_bandwidth(isa, size, threads, PROBE_S))
    benchmark.extra_info.update(isa=isa, threads=threads, size_bytes=size, gbs=1e3 / min(times))
