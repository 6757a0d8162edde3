"""A script written for onnxruntime runs after changing only its import, and says the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cnnkern
from cnnkern import data

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "classify_onnx.py"
OURS, THEIRS = "import cnnkern as ort  # was: import onnxruntime as ort\n", "import onnxruntime as ort\n"
THIS_PACKAGE = {**os.environ, "PYTHONPATH": str(Path(cnnkern.__file__).parents[1])}


def run(script: Path, *argv) -> list[str]:
    """The lines that the script prints; it must succeed, and complain of nothing."""
    command = [sys.executable, "-W", "error::RuntimeWarning", script, *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=THIS_PACKAGE)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout.splitlines()


def rows(lines: list[str]) -> list[tuple[int, float]]:
    return [(int(i), float(p)) for line in lines for i, p in re.findall(r"^class +(\d+) +([\d.]+)$", line)]


@pytest.mark.parametrize(
    ("name", "batch", "picture"),
    [
        ("lenet5-digits", 1, "digit_7.png"),
        ("lenet5-digits", None, "digit_7.png"),
        ("squeezenet1_1", 1, "grace_hopper.jpg"),
    ],
)
def test_only_the_import_changes(tmp_path, name, batch, picture):
    pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
    pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")
    source = SCRIPT.read_text()
    code = source.split('"""', 2)[2]
    assert code.count(OURS) == 1 and "cnnkern" not in code.replace(OURS, "")
    theirs = tmp_path / "theirs.py"
    theirs.write_text(source.replace(OURS, THEIRS))
    model = tmp_path / "model.onnx"
    cnnkern.onnx.save(cnnkern.models.create(name), model, batch=batch)

    argv = (model, data.path(picture), "--top", 5, "--threads", 1)
    ours, expected = run(SCRIPT, *argv), run(theirs, *argv)
    assert ours[0] == expected[0] == "model.onnx: input input tensor(float), CPUExecutionProvider"
    assert len(rows(ours)) == len(rows(expected)) == 5
    assert [i for i, _ in rows(ours)] == [i for i, _ in rows(expected)]
    assert all(abs(p - q) <= 2e-4 for (_, p), (_, q) in zip(rows(ours), rows(expected)))
    if name == "lenet5-digits":
        assert rows(ours)[0][0] == 7 and rows(ours)[0][1] > 0.9
