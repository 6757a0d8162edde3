"""benchmarks/fit_selector.py on made-up times."""

from __future__ import annotations

import json

import pytest

from cnnkern.measure import schema
from cnnkern.measure.profile import machine_profile

pytest.importorskip("cnnkern._core", reason="no native module")
from cnnkern import backends  # noqa: E402
from cnnkern.measure import regret  # noqa: E402


@pytest.fixture(scope="module")
def fit(script):
    return script("fit_selector")


def document(backend, costs, slower):
    """Problems whose candidates all take 1 ms, but `slower` the one chosen under `costs`."""
    shapes = []
    for problem in regret.random_problems(8, 1, 2, 0):
        chosen, *others = backend.candidates(problem, costs)
        rows = [{"plan": plan, "time_ms": 1.0, "rounds": 9, "wrong": ""} for plan in others]
        rows.insert(0, {"plan": chosen, "time_ms": slower, "rounds": 9, "wrong": ""})
        shapes.append(
            {
                "problem": problem.text, "precision": "float32", "threads": 2, "planes": False, "scaled": False,
                "chosen": chosen, "chosen_ms": slower, "best": rows[-1]["plan"], "best_ms": 1.0,
                "regret": slower - 1, "spread": 0.0, "good": False, "candidates": rows,
            }
        )  # fmt: skip
    machine = machine_profile(threads=2, isa=backend.isa, peaks=False).as_dict()
    return schema.document("regret", machine=machine, good=False, shapes=shapes, networks=[])


def test_costs_move_away_from_bad_choices(fit, tmp_path, capsys, monkeypatch):
    """Where what is built chooses badly everywhere, other constants are found that lose less."""
    backend = backends.get("cpu")
    file = tmp_path / "regret.json"
    file.write_text(json.dumps(document(backend, backend.costs(), 1.5)))
    monkeypatch.setattr(fit, "DRAWS", 5)
    assert fit.main([str(file)]) == 0
    printed = capsys.readouterr().out
    before, after = (float(line.split("loss ")[1].split(",")[0]) for line in printed.splitlines() if ":" in line)
    assert after < before
    assert all(name in printed for name in backend.costs())


def test_what_is_chosen_costs_what_was_measured(fit, tmp_path):
    backend = backends.get("cpu")
    file = tmp_path / "regret.json"
    file.write_text(json.dumps(document(backend, None, 1.25)))
    measured, isa = fit.load([file])
    assert isa == backend.isa and len(measured) == 8
    assert all(fit.Loss(backend, measured).regret(row, backend.costs()) == pytest.approx(0.25) for row in measured)


def test_costs_are_checked():
    backend = backends.get("cpu")
    (problem,) = regret.random_problems(1, 1, 2, 0)
    for costs in ({"nonsense": 1.0}, {"tile_cycles": -1.0}, {"tile_cycles": float("nan")}):
        with pytest.raises(ValueError, match="cost"):
            backend.candidates(problem, costs)
