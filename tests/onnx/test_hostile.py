"""Files that nobody should load: each is refused with a ModelError that names node and reason, in bounded memory and
time, by a process that lives on (hostile.py)."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")

from hostile import Trial  # noqa: E402  beside this file
from hostile_models import CASES, FLOAT, constant, model, node, value  # noqa: E402

X = {"x": np.ones((1, 3, 8, 8), np.float32)}
QUICK, LIMIT = 10.0, 1 << 27  # seconds; bytes of memory, as `load` is told
SMALL = 6 * LIMIT  # what the process may take: a value, what it is made from, copies meanwhile, and all else


@pytest.fixture(scope="module")
def trial():
    with Trial() as trial:
        yield trial


def small_network() -> bytes:
    rng = np.random.default_rng(5)
    weights = [constant(n, rng.standard_normal(s), np.float32) for n, s in (("w", (4, 3, 3, 3)), ("b", (4,)))]
    nodes = [node("Conv", "x w b", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"), node("GlobalAveragePool", "r")]
    return model(nodes, weights).SerializeToString()


def refused(outcome, words: str = "") -> None:
    assert outcome.what == "raised", str(outcome)
    assert "ModelError" in outcome.error or "UnsupportedError" in outcome.error, str(outcome)
    assert re.search(words, outcome.text, re.DOTALL), str(outcome)
    assert outcome.seconds < QUICK and outcome.peak_bytes < SMALL, str(outcome)


def test_the_trial_sees_what_it_looks_for(trial, tmp_path):
    """A model that is fine runs; one that takes memory that is not there, or that cannot be, says so."""
    assert trial(small_network(), X).what == "ok"
    grown = model([node("Concat", " ".join(["x"] * 64), axis=0)]).SerializeToString()
    big = {"x": np.ones((1, 3, 8, 8), np.float32)}
    assert trial(grown, big).what == "ok"
    assert trial(str(tmp_path / "nothing.onnx")).error[0] == "FileNotFoundError"
    assert trial(3).error[0] == "TypeError"


@pytest.mark.parametrize("case", CASES)
def test_hostile_models(case, trial):
    make, words = CASES[case]
    data = make().SerializeToString()
    assert len(data) < 1 << 21
    feeds = X if [value.name for value in make().graph.input] == ["x"] else None
    refused(trial(data, feeds, memory_limit_bytes=LIMIT), words)


@pytest.mark.parametrize("case", ["expand to terabytes", "constant of terabytes", "pad to terabytes", "doubling"])
def test_as_it_is_loaded_by_default(case, trial):
    """Terabytes are refused without any limit being set."""
    refused(trial(CASES[case][0]().SerializeToString(), X), CASES[case][1])


@pytest.mark.parametrize("size", [5, 6, 7, 1000, 1 << 31, (1 << 63) - 1])
def test_a_window_of_billions_of_channels(size, trial):
    """It is all of them: nothing of that size is made, or counted through."""
    outcome = trial(model([node("LRN", "x", size=size)]).SerializeToString(), X)
    assert outcome.what == "ok" and outcome.seconds < QUICK, str(outcome)


# --- bytes


def test_truncated(trial):
    """At every length of the first bytes, at the ends, and at a hundred places between."""
    data = small_network()
    lengths = {*range(40), *range(len(data) - 40, len(data)), *np.linspace(40, len(data) - 40, 100).astype(int)}
    for length in sorted(lengths):
        outcome = trial(data[:length], X)
        if outcome.what != "ok":  # what is cut off at a field's end may be a model still
            refused(outcome)


def test_flipped_bits(trial, rng):
    data = small_network()
    for place in rng.integers(0, 8 * len(data), 150):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << (place % 8)
        outcome = trial(bytes(flipped), X, memory_limit_bytes=LIMIT)
        kinds = {"ModelError", "UnsupportedError", "ValueError", "TypeError"}
        assert outcome.what == "ok" or kinds & set(outcome.error), f"bit {place}: {outcome}"


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\x08", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"{}", b"\xff" * 4096, b"\x3a" * 4096, b"<html>"]
)
def test_no_model_at_all(data, trial, tmp_path):
    refused(trial(data), "truncated, corrupt or no ONNX model")
    (tmp_path / "file.onnx").write_bytes(data)
    refused(trial(str(tmp_path / "file.onnx")), "file.onnx.*truncated, corrupt or no ONNX model")


# --- data in other files


def external(location: str, path, **entries: str) -> str:
    """A model file at `path` whose weight lies at `location`."""
    weight = onnx.TensorProto(name="w", dims=[4], data_type=FLOAT, data_location=onnx.TensorProto.EXTERNAL)
    for key, text in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=text)
    path.write_bytes(model([node("Mul", "x w")], [weight], [value("x", [4])]).SerializeToString())
    return str(path)


def test_external_data_stays_in_the_folder(trial, tmp_path):
    folder, outside = tmp_path / "model", tmp_path / "secret.bin"
    (folder / "inner").mkdir(parents=True)
    outside.write_bytes(np.arange(4, dtype=np.float32).tobytes())
    for name in ("here.bin", "inner/there.bin"):
        (folder / name).write_bytes(outside.read_bytes())
    (folder / "link.bin").symlink_to(outside)
    (folder / "linked").symlink_to(tmp_path)
    (folder / "loop.bin").symlink_to(folder / "loop.bin")
    os.mkfifo(folder / "pipe.bin")
    file, feeds = folder / "m.onnx", {"x": np.ones(4, np.float32)}
    for good in ("here.bin", "inner/there.bin", "./here.bin"):
        assert trial(external(good, file), feeds).what == "ok", good
    for bad in (
        str(outside), "/etc/passwd", "../secret.bin", "inner/../../secret.bin", "link.bin", "linked/secret.bin",
        "loop.bin", "pipe.bin", "inner", ".", "", "nothing.bin", "here.bin\0.txt", "..\\secret.bin", "C:\\secret.bin",
        "//host/secret.bin", "/dev/zero", "/proc/self/mem", "~/secret.bin", "file:///etc/passwd", "a" * 5000,
    ):  # fmt: skip
        refused(trial(external(bad, file), feeds), "'w'")


def test_external_data_of_a_wrong_size(trial, tmp_path):
    (tmp_path / "data.bin").write_bytes(bytes(24))
    file, feeds = tmp_path / "m.onnx", {"x": np.ones(4, np.float32)}
    assert trial(external("data.bin", file, offset="8", length="16"), feeds).what == "ok"
    for entries in (
        {"offset": "12"}, {"offset": "-8"}, {"offset": "1e3"}, {"offset": str(1 << 62)}, {"offset": "9" * 400},
        {"length": "8"}, {"length": "-16"}, {"length": str(1 << 62)}, {"length": ""}, {"offset": "٣"},
    ):  # fmt: skip
        refused(trial(external("data.bin", file, **entries), feeds), "'w'")


def test_external_data_of_bytes(trial, tmp_path):
    """A model that came as bytes has no folder: no file is read for it."""
    (tmp_path / "data.bin").write_bytes(bytes(16))
    with open(external("data.bin", tmp_path / "m.onnx"), "rb") as file:
        refused(trial(file.read()), "'w'")
