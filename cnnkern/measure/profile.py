"""The machine a figure was measured on: without it a time means nothing."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from typing import Any

from .. import config
from ..backends import cpu_info
from . import peak


@dataclass(frozen=True)
class MachineProfile:
    """A CPU and its measured limits, on `threads` threads. `caches` are bytes by level ("l1d", "l2", "l3"), 0 where
    unknown; a peak is None where it was not measured. `bandwidths_gbs`: of reading, by level ("L1", "L2", "L3",
    "DRAM"), those measured; `copying_gbs`: bytes read and written of copying; `peaks_fma_gflops`: of every ISA."""

    cpu: str
    system: str
    python: str
    cores: int
    threads: int
    isa: str | None  # the ISA that kernels run on; None without the native module
    isas: tuple[str, ...] = ()
    isa_reason: str = ""
    caches: dict[str, int] = field(default_factory=dict)
    peak_fma_gflops: float | None = None
    peak_bandwidth_gbs: float | None = None  # of DRAM
    bandwidths_gbs: dict[str, float] = field(default_factory=dict)
    peaks_fma_gflops: dict[str, float] = field(default_factory=dict)
    copying_gbs: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "isas": list(self.isas)}


def machine_profile(*, threads: int | None = None, isa: str | None = None, peaks: bool = True) -> MachineProfile:
    """Describe this machine and, with `peaks`, measure what `threads` threads on `isa` can do; default: as set."""
    info = cpu_info()
    threads = threads or info["threads"]
    isa = isa or info["isa"] or None
    bandwidths = peak.bandwidths_gbs(threads, isa) if peaks and isa else {}
    return MachineProfile(
        cpu=info["name"] or platform.processor() or platform.machine(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        cores=config.usable_cpus(),
        threads=threads,
        isa=isa,
        isas=tuple(info["isas"]),
        isa_reason=_isa_reason(isa, info),
        caches=dict(info["cache_bytes"]),
        peak_fma_gflops=peak.fma_gflops(isa, threads) if peaks and isa else None,
        peak_bandwidth_gbs=bandwidths.get("DRAM"),
        bandwidths_gbs=bandwidths,
        peaks_fma_gflops=peak.fma_peaks_gflops(threads) if peaks and isa else {},
        copying_gbs=peak.copying_gbs(threads) if peaks and isa else {},
    )


def _isa_reason(isa: str | None, info: dict[str, Any]) -> str:
    if isa is None:
        return ""
    if config.get("isa"):
        return "forced by CNNKERN_ISA"
    best = info["isas"][-1]
    return "the best that this CPU has" if isa == best else f"asked for; the best here is {best}"
