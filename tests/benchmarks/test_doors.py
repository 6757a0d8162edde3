"""benchmarks/doors.py: which doors are open, who is asked when, and what the rows say."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import cnnkern


@pytest.fixture
def doors(script, monkeypatch):
    """The script without PyTorch, whose threads are its own."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(cnnkern, "set_num_threads", lambda n: None)
    return script("doors")


def test_rows(doors):
    times = {"built-in": [2.0, 1.0, 3.0], "near": [2.0, 2.05, 2.1], "far": [1.9, 2.5, 2.5], "dynamo": [0.04, 0.04]}
    found = {row["door"]: row for row in doors.rows(times)}
    assert list(found) == list(times)
    assert found["built-in"]["median_ms"] == 2.0 and found["built-in"]["over_median_us"] == 0
    assert found["near"]["over_median_us"] == pytest.approx(50) and found["near"]["within"]
    assert found["far"]["over_median_us"] == pytest.approx(500) and not found["far"]["within"]
    assert found["far"]["minimum_ms"] == 1.9 and found["far"]["over_minimum_us"] == pytest.approx(900)
    # There is no network in it: it is what it costs.
    assert found["dynamo"]["over_median_us"] == pytest.approx(40) and found["dynamo"]["within"]


def test_small_networks_may_cost_fifty_microseconds(doors):
    rows = doors.rows({"built-in": [0.1], "near": [0.149], "far": [0.152]})
    assert [row["within"] for row in rows] == [True, True, False]


def test_every_door_gets_its_turns(doors):
    calls = []
    names = ("built-in", "onnx.load", "dynamo")
    times = doors.time_doors({name: lambda name=name: calls.append(name) for name in names}, rounds=2)
    assert {name: len(ms) for name, ms in times.items()} == dict.fromkeys(names, 2 * (doors.CALLS - 1))
    assert all(ms >= 0 for found in times.values() for ms in found)
    after = ["dynamo", *["built-in", "dynamo"] * (doors.CALLS - 1)]  # as the network leaves the caches
    others = [name for name in names[:2] for _ in range(doors.CALLS)]
    assert calls == [*after, *others[::-1], *others, *after]


def test_one_network(doors, monkeypatch, tmp_path, capsys):
    pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
    monkeypatch.setattr(doors, "time_doors", lambda found, rounds: {name: [1.0] * rounds for name in found})
    file = tmp_path / "doors.json"
    assert doors.main(["lenet5", "--threads", "1", "--batch", "2", "--rounds", "3", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("batch 2, 1 threads") and "PyTorch is left out: ModuleNotFoundError" in printed
    document = json.loads(file.read_text())
    assert document["schema"] == "cnnkern.doors/1" and "benchmarks/doors.py lenet5" in document["command"]
    (network,) = document["networks"].values()
    assert [row["door"] for row in network["doors"]] == ["built-in", "onnx.load", "InferenceSession.run"]
    assert all(row["median_ms"] == 1.0 and row["within"] for row in network["doors"])
    assert list(network["left_out"]) == ["PyTorch"]


def test_no_time_for_another_answer(doors, monkeypatch, tmp_path):
    def bent(model, x, threads, folder):
        return {"onnx.load": lambda: model(x), "InferenceSession.run": lambda: model(x) + np.float32(0.1)}

    monkeypatch.setattr(doors, "onnx_doors", bent)
    found, shut = doors.doors("lenet5", 1, 1, str(tmp_path))
    assert list(found) == ["built-in", "onnx.load"]
    assert "another answer" in shut["InferenceSession.run"]


def test_without_onnx_the_built_in_model_is_left(doors, monkeypatch, tmp_path):
    def missing(*args):
        raise ImportError("cnnkern.onnx needs the onnx package")

    monkeypatch.setattr(doors, "onnx_doors", missing)
    found, shut = doors.doors("lenet5", 1, 1, str(tmp_path))
    assert list(found) == ["built-in"] and shut["ONNX"] == "ImportError: cnnkern.onnx needs the onnx package"
