"""benchmarks/race.py as a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnnkern.measure import older, schema


@pytest.fixture(scope="module")
def race(script):
    return script("race")


def test_end_to_end(race, tmp_path, capsys):
    """Two real engines in processes of their own; the table prints again from the JSON."""
    pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
    pytest.importorskip("onnxruntime", reason="onnxruntime is an extra: pip install 'cnnkern[test]'")
    file = tmp_path / "race.json"
    argv = ["lenet5", "--ours", "reference", "--peers", "onnxruntime", "--rounds", "1", "--threads", "1"]
    assert race.main([*argv, "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    document = json.loads(file.read_text())
    schema.validate(document)
    (heat,) = document["heats"]
    assert heat["correct"] and heat["best_peer"] == "onnxruntime" and heat["best_ratio"] > 0
    assert "benchmarks/race.py lenet5" in document["command"]
    assert "benchmarks/race.py lenet5" in " ".join(printed.split())
    assert race.main(["--show", str(file)]) == 0
    assert capsys.readouterr().out == printed


def test_the_json_is_written_after_every_heat(race, tmp_path, monkeypatch):
    file, found = tmp_path / "race.json", []

    def interrupted(course, task, *rest):
        if task.batch == 2:
            found.append(json.loads(file.read_text()))
            raise KeyboardInterrupt
        return race.Heat(task, [], course.varies)

    monkeypatch.setattr(race.Heat, "as_dict", lambda heat: {**HEAT, "batch": heat.task.batch})
    monkeypatch.setattr(race, "hold", interrupted)
    with pytest.raises(KeyboardInterrupt):
        race.main(["lenet5", "--batch", "1,2", "--peers", "mnn", "--json", str(file)])
    assert [heat["batch"] for heat in found[0]["heats"]] == [1]


def test_images_of_other_sizes(race, tmp_path, capsys):
    file = tmp_path / "race.json"
    argv = [
        "squeezenet1_1",
        "--size",
        "64,80",
        "--ours",
        "reference",
        "--peers",
        "mnn",
        "--rounds",
        "1",
        "--json",
        str(file),
    ]
    assert race.main([*argv, "--json", str(file)]) == 0
    document = json.loads(file.read_text())
    assert [heat["size"] for heat in document["heats"]] == [64, 80] and schema.validate(document) is None
    assert "squeezenet1_1 80x80" in capsys.readouterr().out


HEAT = {
    "model": "lenet5", "batch": 1, "size": None, "threads": 1, "seed": 0, "isa": None, "correct": True,
    "variation": 1.0, "tolerance": 1e-3, "rounds": 1, "neighbours": None, "peak_fma": None, "best_peer": None,
    "best_ratio": None, "engines": [],
}  # fmt: skip


def test_committed_results_print(race, capsys):
    for file in sorted((Path(race.__file__).parent / "results").glob("*.json")):
        document = json.loads(file.read_text())
        document["machine"] = {**older.UNMEASURED, **document["machine"]}  # what keys were added since
        schema.validate(document)
        assert race.main(["--show", str(file)]) == 0
        assert "geometric mean" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["resnet5"],
        ["lenet5", "--peers", "keras"],
        ["lenet5", "--batch", "1,x"],
        ["lenet5", "--rounds", "0"],
        ["lenet5", "--show", "x.json"],
    ],
)
def test_bad_usage(race, argv, capsys):
    with pytest.raises(SystemExit) as caught:
        race.main(argv)
    assert caught.value.code == 2
    assert "race.py" in capsys.readouterr().err
