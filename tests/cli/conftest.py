from __future__ import annotations

import json

import numpy as np
import pytest

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
        monkeypatch.setattr("cnnkern.measure.peak.Clock.probe", lambda clock: clock.gflops.append(100.0))
        return fake

    return install
