"""The probes: what they read, which level answers, and a clock that wanders. No figure depends on the machine."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkern.measure import peak

CACHES = {"l1d": 32 << 10, "l2": 1 << 20, "l3": 32 << 20}


def test_sizes_lie_well_inside_the_level_they_probe():
    sizes = peak.probe_sizes(2, CACHES)
    assert sizes == {"L1": 32 << 10, "L2": 1 << 20, "L3": 16 << 20, "DRAM": peak.DRAM_BYTES}
    assert peak.probe_sizes(1, {**CACHES, "l3": 1 << 30})["DRAM"] == 4 << 30
    assert peak.probe_sizes(4, {}) == {"DRAM": peak.DRAM_BYTES}


def test_without_the_native_module_nothing_is_known(monkeypatch):
    monkeypatch.setattr(peak, "_core", lambda: None)
    clock = peak.Clock("avx2", 1)
    clock.probe()
    assert clock.gflops == [] and clock.as_dict()["median_gflops"] is None and not clock.noisy
    assert peak.bandwidths_gbs.__wrapped__(1, "avx2") == {}
    assert peak.fma_gflops.__wrapped__("avx2", 1) is None
    assert peak.copying_gbs.__wrapped__(1) == {}


def test_every_instruction_set_has_its_peak(monkeypatch):
    monkeypatch.setattr(peak, "cpu_info", lambda: {"isas": ["vec128", "avx2"]})
    monkeypatch.setattr(peak, "fma_gflops", lambda isa, threads: {"vec128": 10.0, "avx2": 40.0}[isa] * threads)
    assert peak.fma_peaks_gflops.__wrapped__(3) == {"vec128": 30.0, "avx2": 120.0}
    monkeypatch.setattr(peak, "fma_gflops", lambda isa, threads: None)
    assert peak.fma_peaks_gflops.__wrapped__(3) == {}


def test_a_level_moves_what_it_moved_at_its_best(monkeypatch):
    reading = {"L1": 300.0, "L2": 200.0, "L3": 80.0, "DRAM": 20.0}
    monkeypatch.setattr(peak, "bandwidths_gbs", lambda threads, isa: reading)
    monkeypatch.setattr(peak, "copying_gbs", lambda threads: {"L2": 180.0, "L3": 90.0, "DRAM": 15.0})
    assert peak.moving_gbs(2, "avx2") == {"L1": 300.0, "L2": 200.0, "L3": 90.0, "DRAM": 20.0}


@pytest.mark.parametrize("size", [1, 256, 257, 4096, 100_000, 1 << 20, (64 << 20) + 7])
def test_copies_stay_in_their_buffers(size):
    """Every row lies in its buffer, the two buffers apart, each at a line, and all of it in about `size` bytes."""
    target, source = peak._copies(size)
    assert target.shape == source.shape and target.strides == source.strides == (64, 4)
    repeats, floats = target.shape
    span = 64 * (repeats - 1) + 4 * floats
    assert 1 <= repeats <= peak.COPY_REPEATS and floats >= 1 and 2 * span <= max(size, 256) + 128
    assert target.ctypes.data % 64 == 0 and source.ctypes.data - target.ctypes.data == span
    source.fill(3.0)
    target[:] = 0
    np.copyto(target, source)
    assert (target == 3.0).all()


def test_a_clock_that_falls_is_noise_and_one_outlier_is_not():
    clock = peak.Clock("avx2", 1)
    assert clock.wander is None
    clock.gflops = [100.0] * 12
    assert clock.wander == 0.0
    clock.gflops[3] = 50.0
    assert not clock.noisy
    clock.gflops[6:] = [80.0] * 6
    assert clock.noisy and clock.wander == pytest.approx(0.2)


class TestNative:
    core = pytest.importorskip("cnnkern._core", reason="no native module")

    @pytest.mark.parametrize("isa", core.available_isas())
    @pytest.mark.parametrize("n", [0, 1, 3, 4, 15, 16, 17, 31, 128, 129, 1000])
    def test_every_float_is_read_once(self, isa, n):
        x = np.arange(n + 2, dtype=np.float32)
        x[n:] = np.nan  # beyond the end
        total, adds, read = self.core.read_sum(isa, x[:n])
        assert total == n * (n - 1) / 2 and read == 4 * n
        width = self.core.ukernels.width(isa)
        chains, tail = n // (8 * width) * 8, -(-(n % (8 * width)) // width)
        assert adds == width * (chains + tail + 7) + width - 1

    @pytest.mark.parametrize("isa", core.available_isas())
    @pytest.mark.parametrize("threads, size", [(1, 4096), (3, 4096 + 64), (2, 1 << 20)])
    def test_bandwidth_is_a_rate(self, isa, threads, size):
        assert 0.01 < self.core.peak_bandwidth(isa, size, threads, 0.001) < 1e5

    def test_a_team_larger_than_the_buffer(self):
        assert self.core.peak_bandwidth("", 4096, 100, 0.001) > 0

    @pytest.mark.parametrize("arguments", [("", 4095, 1), ("", 1 << 40, 1), ("mmx", 4096, 1)])
    def test_bad_arguments(self, arguments):
        with pytest.raises(ValueError):
            self.core.peak_bandwidth(*arguments, 0.001)

    def test_the_levels_of_this_machine(self):
        found = peak.bandwidths_gbs(1, None, 0.001)
        assert "DRAM" in found and all(value > 0 for value in found.values())

    @pytest.mark.parametrize("threads", [1, 3])
    def test_copying_is_a_rate_of_every_level_but_the_first(self, threads):
        found = peak.copying_gbs.__wrapped__(threads, 0.001)
        assert "DRAM" in found and "L1" not in found and all(0.01 < value < 1e5 for value in found.values())

    def test_vectors_have_a_width(self):
        assert peak.vector_width("vec128") == 4

    def test_the_clock_is_probed(self):
        clock = peak.Clock(None, 1)
        clock.probe()
        clock.probe()
        assert len(clock.gflops) == 2 and min(clock.gflops) > 0 and 0 <= clock.wander < 1
