"""Every script in examples/ runs offline with small settings, and finds what it says it finds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnkern
from cnnkern import data

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
THIS_PACKAGE = {**os.environ, "PYTHONPATH": str(Path(cnnkern.__file__).parents[1])}


def run(name: str, *argv) -> str:
    """What the script prints; it must succeed, and complain of nothing."""
    command = [sys.executable, "-W", "error::RuntimeWarning", EXAMPLES / name, *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=THIS_PACKAGE)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def numbers(pattern: str, text: str) -> list[tuple[float, ...]]:
    """The groups of every match."""
    found = re.findall(pattern, text)
    return [tuple(map(float, groups if isinstance(groups, tuple) else (groups,))) for groups in found]


def need(*modules: str) -> None:
    for module in modules:
        pytest.importorskip(module, reason=f"{module} comes with the extra that the example names")


def is_picture(path: Path) -> bool:
    with Image.open(path) as image:
        return min(image.size) > 300 and len(set(image.convert("L").resize((64, 64)).tobytes())) > 10


SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
IMPORTS = {"train_lenet5_digits.py": ("torch", "sklearn"), "neighbours.py": ("sklearn",), "transfer.py": ("sklearn",)}


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_tells_the_settings(name):
    need(*IMPORTS.get(name, ()))
    assert "usage:" in run(name, "--help")


def test_filters(tmp_path):
    need("matplotlib")
    text = run("filters.py", "--out", tmp_path / "out.png")
    assert "is -1 times it: True" in text
    assert "cross-correlation -8, convolution +8" in text
    assert "found at row 246, column 212, with a correlation of 1.0000" in text
    assert "peaks at a shift of 0, 0" in text
    assert is_picture(tmp_path / "out.png")


def test_multi_crop():
    text = run("multi_crop.py", "--model", "resnet20_cifar", "--scales", 32, 48, "--crops", 5, "--members", 2)
    assert re.search(r"^10 crops:  class \d", text, re.MULTILINE) and "2 networks:" in text
    [(apart,)] = numbers(r"lies ([\d.]+) from the mean", text)
    assert 0 < apart < 1


def test_multi_crop_with_weights_of_ones_own():
    argv = (
        "--weights",
        data.path("lenet5_digits.npz"),
        "--image",
        data.path("digit_7.png"),
        "--model",
        "lenet5-digits",
    )
    text = run("multi_crop.py", *argv, "--scales", 32, 34, "--crops", 5)
    assert "1 crop:  class 7 0.9" in text and "10 crops:  class 7" in text and "networks:" not in text


def test_invariance(tmp_path):
    need("matplotlib")
    argv = ("--model", "squeezenet1_1", "--layers", "input", "features.2", "classifier.3")
    text = run("invariance.py", *argv, "--out", tmp_path / "out.png")
    assert text.count("classifier.3") == 3
    rows = [
        list(map(float, line.split()[1:])) for line in text.splitlines() if re.match("input|features|classif", line)
    ]
    assert len(rows) == 9 and all(min(row) == 0 < max(row) < 2 for row in rows)
    moved = rows[:3]
    assert all(row == sorted(row) for row in moved)  # the further it is moved, the further away
    assert moved[2][2] < moved[0][2]  # behind global pooling a shift matters less than in pixels
    assert is_picture(tmp_path / "out.png")


def test_neighbours(tmp_path):
    need("sklearn", "matplotlib")
    argv = ("--model", "squeezenet1_1", "--layer", "classifier.3", "--piece", 100, "--scans", 100)
    text = run("neighbours.py", *argv, "--out", tmp_path / "out.png")
    shares = [share / 100 for (share,) in numbers(r"\(([\d.]+) %\)", text)]
    chance = numbers(r"by chance (\d+)%", text)[0][0] / 100
    assert len(shares) == 4 and shares[0] > chance and shares[1] > chance
    assert shares[2] > 0.9 and shares[3] > 0.97
    assert is_picture(tmp_path / "out.png")


def test_transfer():
    need("sklearn")
    text = run("transfer.py", "--scans", 400)
    pixels, random, trained = (share / 100 for (share,) in numbers(r"right, ([\d.]+) %", text))
    assert pixels > 0.9 and random > 0.9 and trained > 0.97 and trained > pixels


def test_transfer_takes_another_network_and_its_weights(tmp_path):
    need("sklearn")
    np.savez(tmp_path / "w.npz", **cnnkern.models.create("resnet20_cifar", seed=5).state_dict())
    argv = ("--model", "resnet20_cifar", "--weights", tmp_path / "w.npz", "--size", 24, "--random", "lenet5")
    text = run("transfer.py", *argv, "--scans", 200)
    assert "w.npz" in text and len(numbers(r"right, ([\d.]+) %", text)) == 3
