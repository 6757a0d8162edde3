"""benchmarks/round_trip.py: two small networks, and that it sees what it looks for."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")
import cnnkern  # noqa: E402


@pytest.fixture
def round_trip(script):
    return script("round_trip")


def test_two_networks(round_trip, capsys):
    """The second has numbers of its definition in it, which ONNX counts as parameters."""
    assert round_trip.main(["lenet5", "lenet5_1998"]) == 0
    *lines, total = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [["ok", name, "1x1x32x32"] for name in ("lenet5", "lenet5_1998")]
    assert total.startswith("2 of 2 hold")


def test_other_answers_are_seen(round_trip, monkeypatch, capsys):
    right = round_trip.in_onnxruntime
    monkeypatch.setattr(round_trip, "in_onnxruntime", lambda *args: [1.01 * y for y in right(*args)])
    assert round_trip.main(["lenet5"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("WRONG lenet5") and "errors beyond" in printed and "wrong: lenet5" in printed


def test_other_counts_are_seen(round_trip, monkeypatch, capsys):
    monkeypatch.setattr(round_trip, "beside", lambda graph: (1, 2))
    assert round_trip.main(["lenet5"]) == 1
    printed = capsys.readouterr().out
    assert "MACs 416,520 for 416,521" in printed and "parameters 61,706 for 61,708" in printed


def test_what_onnx_cannot_say_is_wrong_and_the_run_goes_on(round_trip, monkeypatch, capsys):
    right = cnnkern.onnx.save

    def save(model, *args, **options):
        if model.name == "lenet5":
            raise cnnkern.UnsupportedError("lenet5: no such operator")
        right(model, *args, **options)

    monkeypatch.setattr(cnnkern.onnx, "save", save)
    assert round_trip.main(["lenet5", "lenet5_1998"]) == 1
    printed = capsys.readouterr().out
    assert "no ONNX form" in printed and "1 of 2 hold" in printed and "\nok    lenet5_1998" in printed


def test_bad_usage(round_trip, capsys):
    assert round_trip.main(["lenet6"]) == 2
    assert "round_trip.py: " in capsys.readouterr().err
