"""benchmarks/gpu_run.py without a GPU: a stage of it, run on the host shim, and what its document must hold.

What a GPU, PyTorch, compute-sanitizer and ncu say in its tests is made up; what is done with it is the script's own.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import host
import pytest
from hostruntime import HostArray

from cnnkern.measure import schema
from cnnkern.measure.contract import NumberOrNull, TextOrNull

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_run.py"

WHY = {"what": str, "why": str}
CHECKED = {"error": NumberOrNull, "tolerance": (int, float)}
ATTEMPT = {**CHECKED, "kernel": str, "plan": dict, "wrong": str, "us": NumberOrNull, "minimum_us": NumberOrNull}
ROW = {"problem": str, "precision": str, "batch": int, "layers": dict, "depthwise": bool, "theory_gflop": (int, float)}
KEYS = {
    "command": str, "date": str, "commit": TextOrNull, "minutes": (int, float), "quick": bool,
    "stages": [{"name": str, "outcome": str, "budget_s": (int, float), "seconds": (int, float), "restarts": int,
                "items": int, "failures": [{**WHY, "where": str}], "skipped": [WHY]}],
    "info": ({"machine": dict, "kernels": int, "compile_s": (int, float), "load_s": (int, float), "failures": [str],
              "ceilings_tflops": dict, "copy_gbs": NumberOrNull}, type(None)),
    "fixtures": ({"file": str, "size_bytes": int, "rows": [{"case": str, "kernel": str, "wrong": str}]}, type(None)),
    "correctness": ({"rows": [{"what": str, "precision": str, "cases": int, "skipped": int, **CHECKED,
                               "worst_case": str, "failures": [str], "good": bool}]}, type(None)),
    "sanitizers": ({"rows": [{"tool": str, "outcome": str, "exit_code": (int, type(None)), "findings": [str],
                              "tail": str, "seconds": (int, float)}]}, type(None)),
    "convs": ({"rows": [{**ROW, **ATTEMPT, "tflops": NumberOrNull, "cudnn_us": NumberOrNull,
                         "cudnn_minimum_us": NumberOrNull, "ratio": NumberOrNull, "left_out": str,
                         "best_us": NumberOrNull, "candidates": [dict]}],
               "means": [{"kind": str, "precision": str, "batch": (int, type(None)), "layers": int, "timed": int,
                          "wrong": int, "ratio": NumberOrNull, "best_ratio": NumberOrNull, "below": int}]}, type(None)),
    "nets": ({"rows": [{"net": str, "batch": int, "precision": str, "engines": dict, "ratios": dict}],
              "means": [{"precision": str, "batch": int, "nets": int}]}, type(None)),
    "profile": ({"metrics": dict, "rows": [{"problem": str, "precision": str, "kernels": list, "predicted": dict,
                                            "ffma_ratio": NumberOrNull}]}, type(None)),
}  # fmt: skip

on_the_shim = pytest.mark.skipif(host.compiler() is None, reason="no C++ compiler")


def valid(document) -> dict:
    """A document, held against KEYS as `schema.validate` holds the others."""
    assert document["schema"] == "cnnkern.gpu_run/1"
    schema._check(document, {"cnnkern": str, **KEYS}, "gpu_run")
    json.dumps(document, allow_nan=False)
    return document


def made_up(parts, runtime):
    """A peer that is right, twice as slow as it says, and has no compiler."""
    peer = parts("torch_peer")

    class Peer(peer.NoPeer):
        def conv(self, spec, arrays, precision, place):
            return parts("ours").Times(200.0, 190.0, 10, 10)

        def eager(self, model, x, precision, place):
            return model(x, backend="reference"), 300.0

        graph = eager

    return Peer("a test has no PyTorch", runtime.array, HostArray.get)


def perform(gpu_run, place, name, seconds=600.0):
    """A stage to its end, and the document of it alone."""
    journal = place.journals[name]
    assert gpu_run.perform(place, name, journal, time.monotonic() + seconds)
    outcome = gpu_run.harness.Outcome(name, seconds, done=True, entries=journal.entries())
    head = {
        "schema": gpu_run.SCHEMA,
        "cnnkern": "0",
        "command": "",
        "date": "",
        "commit": None,
        "minutes": 1,
        "quick": False,
    }
    document = valid(gpu_run.assembled(head, [outcome]))
    for lines in (gpu_run.text.whole(document), gpu_run.text.essence(document)):
        assert name in lines
    return document
