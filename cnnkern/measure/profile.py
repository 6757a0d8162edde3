"""The machine a figure was measured on: without it a time means nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from . import peak


@dataclass(frozen=True)
class MachineProfile:
    """A CPU and its measured limits. `caches` are bytes by level ("l1d", "l2", "l3"), 0 where unknown; a peak is None
    where it was not measured."""

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
    peak_bandwidth_gbs: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "isas": list(self.isas)}


def machine_profile(*, threads: int | None = None, isa: str | None = None, peaks: bool = True) -> MachineProfile:
    """Describe this machine; with `peaks`, measure its limits for `threads` threads on `isa` (default: those in use)."""
    import cnnkern

    info: Mapping[str, Any] = getattr(cnnkern, "cpu_info", dict)()
    threads = threads or int(info.get("threads") or os.cpu_count() or 1)
    isa = isa or info.get("isa") or None
    return MachineProfile(
        cpu=str(info.get("cpu") or info.get("name") or platform.processor() or platform.machine()),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        cores=_usable_cores(),
        threads=threads,
        isa=isa,
        isas=tuple(info.get("isas") or info.get("isas_available") or ()),
        isa_reason=str(info.get("why") or info.get("reason") or ""),
        caches=_cache_bytes(info),
        peak_fma_gflops=peak.fma_gflops(isa, threads) if peaks and isa else None,
        peak_bandwidth_gbs=peak.bandwidth_gbs(threads) if peaks else None,
    )


def _usable_cores() -> int:
    """Cores this process may run on, which a container or taskset makes fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity call
        return os.cpu_count() or 1


def _cache_bytes(info: Mapping[str, Any]) -> dict[str, int]:
    caches = info.get("caches") or info.get("cache_sizes") or {}
    return {level: int(size) for level, size in dict(caches).items()}
