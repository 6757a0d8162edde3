from __future__ import annotations

import json

import numpy as np
import pytest
from benchdocs import COUNTS

from cnnkern import backends
from cnnkern.backends.reference import ReferenceBackend
from cnnkern.cli import main
from cnnkern.ops.base import Counts


class Run:
    """One call of the command line: its exit code and what it wrote."""

    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> dict:
        return json.loads(self.out)


@pytest.fixture
def cnnkern(capsys):
    """`cnnkern("models", "resnet*")` runs the command line in this process."""

    def run(*argv) -> Run:
        capsys.readouterr()
        code = main([str(word) for word in argv])
        return Run(code, *capsys.readouterr())

    return run


NOTHING = Counts()


class CountingCpu(ReferenceBackend):
    """The reference in the place of the cpu backend, with counts that say what a test wants them to say."""

    name = "cpu"

    def __init__(self, *, extra: Counts = NOTHING, missing: bool = False, bend: float = 0.0):
        super().__init__()
        self.extra, self.missing, self.bend = extra, missing, bend

    def call(self, spec, arrays, out=None, precision="float32"):
        results = super().call(spec, arrays, out, precision)
        if self.bend and spec.op == "linear":
            results = tuple(y + np.float32(self.bend) * np.arange(y.shape[-1], dtype=np.float32) for y in results)
        return results

    def compile(self, graph, weights, **options):
        executable = super().compile(graph, weights, **options)
        steps = executable.steps

        def count(x):
            rows = []
            for step in steps[1:] if self.missing else steps:
                executed = step.theory + (self.extra if step is steps[2] else NOTHING)
                gap = step.theory - executed
                items = {"skipped taps": gap} if gap.flops else {}
                rows.append({"name": step.name, "predicted": step.theory, "executed": executed, "itemised": items})
            return rows

        executable.count = count
        return executable


@pytest.fixture
def cpu(monkeypatch):
    """`cpu(extra=Counts(fma=1))` puts a `CountingCpu` in the place of the cpu backend."""
    find = backends._find

    def install(**wrongs) -> CountingCpu:
        fake = CountingCpu(**wrongs)
        monkeypatch.setattr(backends, "_find", lambda name: (fake, "") if name == "cpu" else find(name))
        info = {"name": "a cpu", "isa": "avx2", "isas": ["vec128", "avx2"], "threads": 1, "cache_bytes": {}}
        for room in ("cnnkern", "cnnkern.measure.profile", "cnnkern.measure.network", "cnnkern.measure.peak"):
            monkeypatch.setattr(f"{room}.cpu_info", lambda: info)
        monkeypatch.setattr("cnnkern.measure.peak.fma_gflops", lambda isa, threads: 100.0)
        monkeypatch.setattr("cnnkern.measure.peak.bandwidths_gbs", lambda threads, isa=None: {"DRAM": 10.0})
        monkeypatch.setattr("cnnkern.measure.peak.fma_peaks_gflops", lambda threads: {"vec128": 50.0, "avx2": 100.0})
        monkeypatch.setattr("cnnkern.measure.peak.copying_gbs", lambda threads: {"DRAM": 9.0})
        monkeypatch.setattr("cnnkern.measure.peak.Clock.probe", lambda clock: clock.gflops.append(100.0))
        return fake

    return install


@pytest.fixture
def layer(rng):
    """`layer(name, fma=..., executed=...)`: a row of contract.LAYER_RESULT, its time random."""

    def make(name, op="conv2d", kernel="f32_conv_direct_14x32__avx2", fma=1_000_000, executed=900_000, timed=True):
        ms = float(rng.uniform(0.1, 5.0)) if timed else None
        read, written = (int(n) for n in rng.integers(1000, 10**7, 2))
        return {
            "name": name,
            "op": op,
            "kernel": kernel,
            "output_shape": [1, 8, 4, 4],
            "theory": {**COUNTS, "fma": fma, "bytes_read": read, "bytes_written": written},
            "executed": None if executed is None else {**COUNTS, "fma": executed},
            "time_ms": ms,
            "rate_gflops": ms and 2e-6 * fma / ms,
            "share_of_peak": ms and 0.25,
            "limit_ms": None if executed is None else 0.0625,
            "bound": None if executed is None else "fma",
            "share_of_limit": ms and 0.0625 / ms,
            "lost_ms": ms and ms - 0.0625,
        }

    return make


@pytest.fixture
def several(layer):
    """Layers of every family."""
    kernels = [f"f32_conv_{name}__avx2" for name in ("winograd_f4x3", "direct_6x16", "pointwise_6x16", "depthwise")]
    made = [layer(f"conv{i}", kernel=kernel) for i, kernel in enumerate([*kernels, "f32_im2col"])]
    made += [layer("fc", op="linear"), layer("pool", op="pool2d"), layer("block", op="fused_block")]
    return [*made, layer("flat", op="flatten", fma=0, executed=0)]
