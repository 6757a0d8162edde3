"""`cnnkern bench --ops`: exit codes, the document, the table."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkern import backends
from cnnkern.measure import opgraph, schema

LINE = "conv2d 1x4x6x6 8x4x3x3 8 activation=relu"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(opgraph, "cpu_info", lambda: {"cache_bytes": {"l2": 1 << 15, "l3": 1 << 16}})
    for probe, rates in (("bandwidths_gbs", {"DRAM": 9.0}), ("copying_gbs", {"DRAM": 8.0})):
        monkeypatch.setattr(f"cnnkern.measure.peak.{probe}", lambda threads, isa=None, rates=rates: rates)
    monkeypatch.setattr("cnnkern.measure.peak.fma_gflops", lambda isa, threads: 100.0)


def test_the_document_and_the_table(cnnkern, tmp_path):
    file = tmp_path / "ops.json"
    done = cnnkern("bench", "--ops", LINE, "linear 1x9 5x9", "--batch", "1,3", "--backend", "reference",
                   "--seconds", "0.01", "--json", file)  # fmt: skip
    assert done.code == 0 and max(map(len, done.out.splitlines())) <= 120
    assert "conv2d" in done.out and "reference" in done.out
    alone = cnnkern("bench", "--ops", LINE, "--backend", "reference", "--seconds", "0.01", "--json", "-")
    schema.validate(alone.json)
    (row,) = alone.json["results"]
    assert row["problem"] == LINE and row["executed"] is None and row["time"]["median_ms"] > 0 and alone.json["good"]


@pytest.mark.skipif(backends.available()["cpu"] != "", reason="no cpu backend")
def test_every_isa_and_algorithm(cnnkern):
    asked = ["bench", "--ops", LINE, "--isa", "all", "--algo", "all", "--caches", "network,warm", "--seconds", "0.01"]
    done = cnnkern(*asked, "--json", "-")
    assert done.code == 0
    rows = done.json["results"]
    assert {row["isa"] for row in rows} == set(done.json["machine"]["isas"])
    assert {"auto", "direct", "winograd"} <= {row["algo"] for row in rows} and done.json["left_out"] == []
    assert {row["caches"] for row in rows} == {"network", "warm"}
    assert all(row["predicted"] == row["executed"] and row["counts_agree"] for row in rows)


def test_a_wrong_answer_is_exit_code_1_and_has_no_time(cnnkern, monkeypatch):
    reference = backends.get("reference")

    def bent(spec, arrays, out=None, **options):
        return tuple(y + np.float32(0.01) for y in type(reference).call(reference, spec, arrays, out, **options))

    monkeypatch.setattr(reference, "call", bent)
    asked = ("bench", "--ops", "linear 1x9 5x9", "--backend", "reference", "--seconds", "0.01")
    assert "WRONG" in cnnkern(*asked).out
    done = cnnkern(*asked, "--json", "-")
    assert done.code == 1 and not done.json["good"]
    assert done.json["results"][0]["time"] is None and done.json["results"][0]["rate_gflops"] is None


@pytest.mark.parametrize(
    "argv, words",
    [
        (["resnet50", "--ops"], "--ops MODEL"),
        (["--ops", LINE, "--peers", "all"], "--peers"),
        (["--ops", "nothing_like_it"], "nothing_like_it"),
        (["--ops", "conv2d 1x4x6"], "conv2d"),
        (["--ops", LINE, "--algo", "winogard"], "winograd"),
        (["--ops", LINE, "--caches", "cold"], "network, warm"),
        (["--ops", "linear 1x9 5x9", "--algo", "direct", "--backend", "reference"], "one way"),
        (["--ops", LINE, "--backend", "reference", "--isa", "avx2"], "--isa"),
        (["--ops", "linear 1x9 5x9", "--batch", "0"], "at least 1"),
    ],
)
def test_bad_usage(cnnkern, argv, words):
    done = cnnkern("bench", *argv)
    assert done.code == 2 and words in done.err
