"""The verbs on the real cpu backend, on every ISA of this CPU; skipped where there is no native module."""

from __future__ import annotations

import pytest

from cnnkern import backends, cpu_info, data
from cnnkern.measure import schema

pytestmark = pytest.mark.skipif(
    backends.available()["cpu"] != "", reason=f"no cpu backend: {backends.available()['cpu']}"
)


def test_bench_checks_counts_and_times(cnnkern):
    done = cnnkern("bench", "lenet5", "squeezenet1_1", "--seconds", 0.05, "--json", "-")
    schema.validate(done.json)
    assert done.code == 0 and done.json["good"]
    for row in done.json["results"]:
        assert row["correct"] and row["counts_agree"] is True
        assert row["time"]["median_ms"] > 0 and row["peak_fma_gflops"] > 0
        assert row["share_of_peak"] > 0 and row["isa"] == cpu_info()["isa"]
        assert all(layer["executed"] is not None for layer in row["layers"])
        assert all(layer["limit_ms"] > 0 and layer["bound"] for layer in row["layers"])
        assert row["limit_ms"] > 0 and row["peak_fma"]["probes"] > 1
        assert all(0 < layer["best_limit_ms"] <= layer["limit_ms"] for layer in row["layers"])
        assert all(layer["distance"] > 0 and layer["best_algorithm"] for layer in row["layers"])
        assert 0 < row["best_limit_ms"] <= row["limit_ms"]
        assert row["hardware"]["agrees"] is not False and (row["hardware"]["reason"] == "") is bool(
            row["hardware"]["flops"]
        )
    machine = done.json["machine"]
    assert machine["bandwidths_gbs"]["DRAM"] == machine["peak_bandwidth_gbs"] > 0
    assert list(machine["peaks_fma_gflops"]) == cpu_info()["isas"] and machine["copying_gbs"]["DRAM"] > 0


def test_flops_agree_on_every_isa(cnnkern):
    done = cnnkern("flops", "lenet5", "shufflenet_v2_x1_0", "--isa", "all", "--json", "-")
    schema.validate(done.json)
    assert done.code == 0 and done.json["good"] is True
    assert [row["isa"] for row in done.json["models"]] == [isa for isa in cpu_info()["isas"] for _ in range(2)]
    assert all(layer["itemised"] is not None for row in done.json["models"] for layer in row["layers"])


def test_verify_on_every_isa(cnnkern):
    done = cnnkern("verify", "squeezenet1_1", "--ops", "--isa", "all", "--json", "-")
    schema.validate(done.json)
    assert done.code == 0, [row for row in done.json["ops"] if not row["good"]]
    assert [row["isa"] for row in done.json["models"] if row["backend"] == "cpu"] == cpu_info()["isas"]
    assert {row["isa"] for row in done.json["ops"]} == {*cpu_info()["isas"], None}


def test_cnnkern_isa_is_obeyed(cnnkern, monkeypatch):
    weakest = cpu_info()["isas"][0]
    monkeypatch.setenv("CNNKERN_ISA", weakest)
    [row] = cnnkern("flops", "lenet5", "--json", "-").json["models"]
    assert row["isa"] == weakest and all(layer["kernel"].endswith(f"__{weakest}") for layer in row["layers"])
    info = cnnkern("info", "--json", "-").json["machine"]
    assert info["isa"] == weakest and "CNNKERN_ISA" in info["isa_reason"]


def test_run_agrees_with_the_reference(cnnkern):
    argv = ("run", "lenet5-digits", "--image", data.path("digit_7.png"), "--json", "-")
    mine, theirs = (cnnkern(*argv, "--backend", name).json["top"] for name in ("cpu", "reference"))
    assert [row["index"] for row in mine] == [row["index"] for row in theirs]
    assert mine[0]["name"] == "7"


def test_bench_fits_into_120_columns(cnnkern):
    bench = ["bench", "squeezenet1_1", "--seconds", 0.01]
    for argv in (["info"], bench, [*bench, "--worst", 5], ["flops", "densenet121"]):
        assert max(map(len, cnnkern(*argv).out.splitlines())) <= 120
