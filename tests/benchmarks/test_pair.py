"""benchmarks/pair.py as a command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cnnkern._core", reason="no native module")
import cnnkern  # noqa: E402

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "pair.py"
TREE = str(Path(cnnkern.__file__).resolve().parents[1])


def pair(*argv: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(FILE), *argv], capture_output=True, text=True, timeout=120)


def test_a_build_against_itself():
    done = pair(TREE, TREE, "lenet5", "--batch", "1,2", "--threads", "1", "--rounds", "2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[1:]
    assert [line.split()[:3] for line in lines] == [["lenet5", "batch", "1"], ["lenet5", "batch", "2"]]
    assert all(float(line.split("before / after ")[1].split()[0]) > 0 for line in lines)


def test_a_build_that_fails_is_named_so():
    done = pair(TREE, TREE, "no_such_model", "--rounds", "1")
    assert done.returncode == 1 and "pair: a build ended" in done.stderr
