"""benchmarks/onnx_suite.py: as a command on a handful of tests, its verdicts, its workers, its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import unittest
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")
import cnnkern  # noqa: E402

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "onnx_suite.py"
TREE = str(Path(cnnkern.__file__).resolve().parents[1])
NAMES = ("add", "relu", "softmax_axis_0")


@pytest.fixture(scope="module")
def onnx_suite(script):
    return script("onnx_suite")


@pytest.fixture
def made_up(onnx_suite, monkeypatch):
    """`made_up(cnnkern="failed", ...)`: the command on two tests, of which the second ends so on each engine."""
    # What main sets for its workers ends with the test.
    monkeypatch.setattr(os, "environ", dict(os.environ))
    names = [("Node", "test_one_cpu"), ("Simple", "test_two_cpu")]
    monkeypatch.setattr(onnx_suite, "Suite", lambda engine, *rest: SimpleNamespace(engine=engine, names=names))

    def run(*argv: str, **ends: str) -> int:
        def run_all(suite, names, jobs, timeout):
            return dict(zip(names, map(outcome, ("passed", ends[suite.engine]))))

        monkeypatch.setattr(onnx_suite, "run_all", run_all)
        return onnx_suite.main(["--engines", ",".join(ends), *argv])

    return run


def outcome(status: str) -> dict:
    return {"status": status, "reason": "so it is", "seconds": 0.0, "fallbacks": [], "reference": ["fft"]}


def test_a_handful(tmp_path):
    file = tmp_path / "suite.json"
    argv = ["--match", f"^test_({'|'.join(NAMES)})_cpu$", "--jobs", "2", "--backend", "reference", "--json", str(file)]
    command, env = [sys.executable, str(FILE), *argv], {**os.environ, "PYTHONPATH": TREE}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert f"Node{' 3 of 3, 0, 0' * 2}" in rows and f"all{' 3 of 3, 0, 0' * 2}" in rows
    found = json.loads(file.read_text())
    assert found["schema"] == "cnnkern.onnx_suite/1"
    assert found["counts"] == {"cnnkern": {"passed": 3}, "onnxruntime": {"passed": 3}}
    assert [test["name"] for test in found["tests"]] == [f"test_{name}" for name in NAMES]
    for test in found["tests"]:
        assert test["cnnkern"]["seconds"] > 0 and test["cnnkern"]["fallbacks"] == []


def test_fewer_than_another_engine_is_an_error(made_up, capsys):
    assert made_up(cnnkern="passed", onnxruntime="passed") == 0
    assert made_up(cnnkern="passed", onnxruntime="failed") == 0
    assert made_up(onnxruntime="failed") == 0
    capsys.readouterr()
    assert made_up(cnnkern="refused", onnxruntime="passed") == 1
    printed = capsys.readouterr().out
    assert "left to the reference: fft in 2 tests" in printed
    assert "  refused  test_two: so it is   (onnxruntime passes)" in printed
    assert made_up("--failures", "0", cnnkern="failed", onnxruntime="passed") == 1
    assert "... and 1 more" in capsys.readouterr().out


def test_bad_usage(made_up, capsys):
    assert made_up("--match", "no such test", cnnkern="passed") == 2
    assert "no test is called like 'no such test'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        made_up(cnnkern="passed", tflite="passed")
    assert left.value.code == 2 and "tflite is none of cnnkern, onnxruntime" in capsys.readouterr().err


def test_verdicts(onnx_suite):
    class Node(unittest.TestCase):
        def passes(self):
            pass

        def fails(self):
            self.assertEqual(1, 2, "one too few")

        def breaks(self):
            raise IndexError("beyond the end")

        def refuses(self):
            raise onnx_suite.Refused("no such operator")

    suite = object.__new__(onnx_suite.Suite)
    suite.backend, suite.classes = SimpleNamespace(last=None), {"Node": Node}
    for name, status, reason in (
        ("passes", "passed", ""),
        ("fails", "failed", "AssertionError: 1 != 2 : one too few"),
        ("breaks", "failed", "IndexError: beyond the end"),
        ("refuses", "refused", "no such operator"),
    ):
        found = suite.run("Node", name)
        assert found["status"] == status and found["reason"].endswith(reason) and found["seconds"] >= 0


class Bad:
    """A suite whose tests are named after what they do to their process."""

    def run(self, category: str, name: str) -> dict:
        if name == "dies":
            os._exit(3)
        if name == "hangs":
            time.sleep(60)
        if name == "raises":
            raise RuntimeError("beside the test")
        return outcome("passed")


def test_a_run_survives_its_tests(onnx_suite):
    names = [("Node", name) for name in ("dies", "fine", "hangs", "raises", "fine too")]
    begin = time.monotonic()
    found = onnx_suite.run_all(Bad(), names, jobs=2, timeout=1.0)
    assert time.monotonic() - begin < 30
    assert {name: found["Node", name]["status"] for _, name in names} == {
        "dies": "failed",
        "fine": "passed",
        "hangs": "failed",
        "raises": "failed",
        "fine too": "passed",
    }
    reasons = [found["Node", name]["reason"] for name in ("dies", "hangs", "raises")]
    assert reasons == ["the process died, exit code 3", "no answer in time", "RuntimeError('beside the test')"]
