"""A check that fails makes exit code 1, says what is wrong, and prints no speed."""

from __future__ import annotations

import pytest

from cnnkern.measure import schema
from cnnkern.ops.base import Counts


def test_flops_is_good_when_the_three_numbers_agree(cnnkern, cpu):
    cpu()
    done = cnnkern("flops", "lenet5", "--json", "-")
    schema.validate(done.json)
    assert done.code == 0 and done.json["good"] is True
    [row] = done.json["models"]
    assert row["isa"] == "avx2" and row["executed"] == row["predicted"]
    assert "agree" in cnnkern("flops", "lenet5").out


@pytest.mark.parametrize("kind", ["fma", "add", "max"])
def test_one_operation_too_many_in_one_layer_makes_flops_fail(cnnkern, cpu, kind):
    cpu(extra=Counts(**{kind: 1}))
    done = cnnkern("flops", "lenet5")
    assert done.code == 1
    assert "WRONG" in done.out and "predicted" in done.out and "s2" in done.out
    assert cnnkern("flops", "lenet5", "--json", "-").json["good"] is False


def test_a_layer_that_was_not_counted_makes_flops_fail(cnnkern, cpu):
    cpu(missing=True)
    assert cnnkern("flops", "lenet5").code == 1


def test_a_line_per_model_names_the_one_that_is_wrong(cnnkern, cpu, monkeypatch):
    cpu(extra=Counts(fma=-1))
    monkeypatch.setattr("cnnkern.models.list", lambda pattern="*": ("lenet5", "lenet5-digits"))
    done = cnnkern("flops", "all")
    assert done.code == 1
    assert "2 models" in done.out and done.out.count("WRONG") >= 2


def test_every_isa_can_be_counted(cnnkern, cpu):
    cpu()
    rows = cnnkern("flops", "lenet5", "--isa", "all", "--json", "-").json["models"]
    assert [row["isa"] for row in rows] == ["vec128", "avx2"]


def test_bench_of_a_wrong_answer_prints_no_speed(cnnkern, cpu):
    cpu(bend=1e-2)
    done = cnnkern("bench", "lenet5", "--seconds", 0.01)
    assert done.code == 1
    assert "WRONG" in done.out and "images/s" not in done.out
    [row] = cnnkern("bench", "lenet5", "--seconds", 0.01, "--json", "-").json["results"]
    assert row["correct"] is False and row["time"] is None and row["images_per_s"] is None
    assert all(layer["time_ms"] is None for layer in row["layers"])


def test_bench_of_wrong_counts_fails_and_says_so(cnnkern, cpu):
    cpu(extra=Counts(fma=8))
    done = cnnkern("bench", "lenet5", "--seconds", 0.01)
    assert done.code == 1 and "predicted" in done.out


def test_bench_of_good_counts(cnnkern, cpu):
    cpu()
    done = cnnkern("bench", "lenet5", "--seconds", 0.01)
    assert done.code == 0
    assert "predicted and executed operations agree" in done.out and "cpu (avx2)" in done.out


def test_bench_names_what_binds_and_what_is_lost(cnnkern, cpu):
    cpu()
    [row] = cnnkern("bench", "lenet5", "--seconds", 0.01, "--json", "-").json["results"]
    for layer in row["layers"]:
        assert layer["bound"] in ("fma", "DRAM") and layer["limit_ms"] > 0
        assert layer["lost_ms"] == pytest.approx(layer["time_ms"] - layer["limit_ms"])
        assert layer["share_of_limit"] == pytest.approx(layer["limit_ms"] / layer["time_ms"])
        assert layer["distance"] == pytest.approx(layer["time_ms"] / layer["limit_ms"])
        assert layer["best_limit_ms"] == layer["limit_ms"] and layer["best_algorithm"] == layer["algorithm"]
    c5 = next(layer for layer in row["layers"] if layer["name"] == "c5")
    assert c5["bound"] == "DRAM" and c5["limit_ms"] == pytest.approx(4 * (48120 + 520) / 1e7)  # at 10 GB/s
    assert row["limit_ms"] == pytest.approx(sum(layer["limit_ms"] for layer in row["layers"]))
    assert row["distance"] == pytest.approx(row["time"]["median_ms"] / row["limit_ms"])
    assert row["best_limit_ms"] == pytest.approx(row["limit_ms"]) and row["best_algorithm"] == "as chosen"
    assert row["peak_fma"]["median_gflops"] == 100.0 and not row["peak_fma"]["noisy"]
    table = cnnkern("bench", "lenet5", "--seconds", 0.01).out
    assert "bound" in table and "limit" in table and f"by the best algorithms: {row['best_algorithm']}" in table


def test_bench_lists_the_layers_that_lose_most(cnnkern, cpu):
    cpu()
    done = cnnkern("bench", "lenet5", "lenet5-digits", "--seconds", 0.01, "--worst", 3, "--json", "-")
    assert done.code == 0
    table = cnnkern("bench", "lenet5", "lenet5-digits", "--seconds", 0.01, "--worst", 3).out
    listed = table[table.index("lose most") :]
    assert sum(line.startswith("lenet5") for line in listed.splitlines()) == 3
    assert "GFLOP/s = theory" not in table  # no table per network beside it


def test_bench_flags_a_noisy_run(cnnkern, cpu, monkeypatch):
    cpu()
    figures = iter([100.0, 100.0, 50.0, 50.0] * 10)
    monkeypatch.setattr("cnnkern.measure.peak.Clock.probe", lambda clock: clock.gflops.append(next(figures)))
    assert "a noisy run" in cnnkern("bench", "lenet5", "--seconds", 0.05).out


def test_compare_fails_on_a_regression_alone(cnnkern, cpu, tmp_path):
    import json

    cpu()
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    cnnkern("bench", "lenet5", "--batch", "1,2", "--seconds", 0.01, "--json", old)
    document = json.loads(old.read_text())
    done = cnnkern("bench", "--compare", old, old)
    assert done.code == 0 and "0 of 2 networks slower" in done.out
    document["results"][1]["time"]["median_ms"] *= 100
    new.write_text(json.dumps(document))
    done = cnnkern("bench", "--compare", old, new)
    assert done.code == 1 and "1 of 2 networks slower" in done.out and "SLOWER" in done.out
    assert cnnkern("bench", "--compare", new, old).code == 0
    found = cnnkern("bench", "--compare", old, new, "--json", "-")
    schema.validate(found.json)
    assert found.code == 1 and [row["regression"] for row in found.json["rows"]] == [False, True]


def test_verify_of_a_wrong_network_names_the_layer(cnnkern, cpu):
    cpu(bend=1e-2)
    done = cnnkern("verify", "lenet5", "--json", "-")
    assert done.code == 1
    [row] = [r for r in done.json["models"] if r["backend"] == "cpu"]  # Numba's, where that is there, is good
    assert row["worst_layer"] == "f6" and row["worst_error"] > row["worst_tolerance"]


def test_verify_of_a_wrong_operation_prints_its_problem(cnnkern, cpu):
    cpu(bend=1e-2)
    done = cnnkern("verify", "--ops")
    assert done.code == 1
    assert "linear on avx2" in done.out
    [row] = [r for r in cnnkern("verify", "--ops", "--json", "-").json["ops"] if not r["good"]]
    assert row["op"] == "linear" and row["failures"]


def test_outputs_that_do_not_vary_prove_nothing(cnnkern, monkeypatch):
    """Two pictures with one answer: whatever the error, verify and bench must not call this good."""
    import numpy as np

    from cnnkern.model import Model

    weights = Model.weights.fget

    def dead(self):
        return {name: np.zeros_like(array) if name.startswith("f6") else array for name, array in weights(self).items()}

    monkeypatch.setattr(Model, "weights", property(dead))
    done = cnnkern("verify", "lenet5", "--backend", "reference", "--json", "-")
    assert done.code == 1 and done.json["models"][0]["variation"] == 0.0


def test_cnnkern_backend_is_obeyed(cnnkern, cpu, monkeypatch):
    cpu()
    monkeypatch.setenv("CNNKERN_BACKEND", "reference")
    assert cnnkern("flops", "lenet5", "--json", "-").json["models"][0]["backend"] == "reference"


def test_without_the_cpu_backend_the_reference_takes_over_with_a_word(cnnkern, monkeypatch):
    from cnnkern import backends

    find = backends._find
    monkeypatch.setattr(backends, "_find", lambda name: (None, "it did not build") if name == "cpu" else find(name))
    done = cnnkern("flops", "lenet5")
    assert done.code == 0 and "it did not build" in done.err
    assert cnnkern("flops", "lenet5", "--backend", "cpu").code == 2
