"""What each verb prints and what its --json holds, on the reference, which is everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cnnkern
from cnnkern import data, models
from cnnkern.measure import schema

PROCESS = [sys.executable, "-c", "import sys; from cnnkern.cli import main; sys.exit(main())"]
THIS_PACKAGE = {**os.environ, "PYTHONPATH": str(Path(cnnkern.__file__).parents[1])}
ON_REFERENCE = ("--backend", "reference")


def test_info(cnnkern):
    done = cnnkern("info", "--json", "-")
    schema.validate(done.json)
    assert done.code == 0
    assert {row["name"] for row in done.json["backends"]} >= {"reference", "cpu"}
    assert all(row["available"] is (row["reason"] == "") for row in done.json["backends"])
    table = cnnkern("info")
    assert table.code == 0 and "reference" in table.out and "CNNKERN_ISA" in table.out


def test_models_takes_a_pattern_and_makes_no_weights(cnnkern, monkeypatch):
    monkeypatch.setattr("cnnkern.model.random_weights", None)
    done = cnnkern("models", "resnet*", "--json", "-")
    schema.validate(done.json)
    rows = {row["name"]: row for row in done.json["models"]}
    assert set(rows) == set(models.list("resnet*"))
    assert rows["resnet50"]["parameters"] == 25_557_032
    assert rows["resnet50"]["macs"] == 4_089_184_256
    assert rows["resnet50"]["input_shape"] == [3, 224, 224]
    table = cnnkern("models", "resnet*").out
    assert "4,089,184,256" in table
    assert table.index("resnet18") < table.index("resnet101")


def test_summary(cnnkern, monkeypatch):
    monkeypatch.setattr("cnnkern.model.random_weights", None)
    document = cnnkern("summary", "lenet5", "--json", "-").json
    schema.validate(document)
    assert document["parameters"] == 61_706
    assert sum(layer["macs"] for layer in document["layers"]) == document["macs"] == 416_520
    assert models.create("lenet5").summary().title in cnnkern("summary", "lenet5").out


def test_run_recognises_a_handwritten_digit(cnnkern):
    argv = ("run", "lenet5-digits", "--image", data.path("digit_7.png"), *ON_REFERENCE)
    document = cnnkern(*argv, "--top", 3, "--json", "-").json
    schema.validate(document)
    assert document["top"][0]["name"] == "7" and document["top"][0]["probability"] > 0.9
    assert len(document["top"]) == 3
    table = cnnkern(*argv)
    assert table.code == 0 and "probability" in table.out


def test_run_says_that_random_weights_mean_nothing(cnnkern):
    done = cnnkern("run", "keras_mnist_convnet", "--image", data.path("digit_7.png"), *ON_REFERENCE)
    assert "random weights" in done.out


def test_run_takes_weights_from_a_file(cnnkern, tmp_path):
    import numpy as np

    weights = tmp_path / "weights.npz"
    np.savez(weights, **models.create("lenet5-digits").state_dict())
    argv = ("--image", data.path("digit_7.png"), *ON_REFERENCE, "--json", "-")
    shipped = cnnkern("run", "lenet5-digits", *argv).json["top"]
    assert cnnkern("run", "lenet5-digits", "--weights", weights, *argv).json["top"] == shipped


def test_verify_ops_on_the_reference_is_good(cnnkern):
    done = cnnkern("verify", "--ops", "--seed", 5, *ON_REFERENCE, "--json", "-")
    schema.validate(done.json)
    assert done.code == 0 and done.json["good"] and done.json["seed"] == 5
    assert {row["op"] for row in done.json["ops"]} > {"conv2d", "linear", "softmax"}


def test_verify_prints_its_seed(cnnkern):
    assert "seed 5" in cnnkern("verify", "--ops", "--seed", 5, *ON_REFERENCE).out


def test_verify_a_model(cnnkern):
    done = cnnkern("verify", "lenet5", *ON_REFERENCE, "--json", "-")
    schema.validate(done.json)
    [row] = done.json["models"]
    assert done.code == 0 and row["good"] and row["variation"] > 0.01 and row["layers"] > 5
    assert done.json["ops"] == []
    assert "lenet5" in cnnkern("verify", "lenet5", *ON_REFERENCE).out


def test_flops_without_counting_kernels_is_theory_alone(cnnkern):
    done = cnnkern("flops", "lenet5", *ON_REFERENCE, "--json", "-")
    schema.validate(done.json)
    [row] = done.json["models"]
    assert done.code == 0 and done.json["good"] is None and row["executed"] is None
    assert sum(layer["theory"]["fma"] for layer in row["layers"]) == 416_520


def test_bench_checks_and_times(cnnkern):
    argv = ("bench", "lenet5", "--batch", "1,3", "--seconds", 0.02, *ON_REFERENCE)
    document = cnnkern(*argv, "--json", "-").json
    schema.validate(document)
    assert [row["batch"] for row in document["results"]] == [1, 3]
    for row in document["results"]:
        assert row["correct"] and row["time"]["median_ms"] > 0
        assert all(layer["time_ms"] >= 0 for layer in row["layers"])
    table = cnnkern(*argv)
    assert table.code == 0
    assert "correct" in table.out and "GFLOP/s" in table.out and "grace_hopper.jpg" in table.out


def test_bench_races_and_names_who_is_missing(cnnkern, monkeypatch):
    pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
    pytest.importorskip("onnxruntime", reason="onnxruntime is an extra: pip install 'cnnkern[test]'")
    from cnnkern.measure import peers

    find = peers.find_spec
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name == "MNN" else find(name))
    argv = ("bench", "lenet5", "--peers", "onnxruntime,mnn", "--rounds", 1, "--seconds", 0.02, *ON_REFERENCE)
    done = cnnkern(*argv, "--json", "-")
    schema.validate(done.json)
    assert done.code == 0 and done.err == ""
    heat = done.json["results"][0]["race"]
    assert heat["best_peer"] == "onnxruntime" and heat["best_ratio"] > 0
    assert [entry["engine"] for entry in heat["engines"]] == ["reference", "onnxruntime", "mnn"]
    assert "not installed: MNN" in heat["engines"][2]["reason"]
    table = cnnkern(*argv).out
    assert "best peer onnxruntime, ratio" in table and "not installed: MNN" in table


def test_json_to_a_file_leaves_the_table_on_the_screen(cnnkern, tmp_path):
    file = tmp_path / "models.json"
    done = cnnkern("models", "vgg*", "--json", file)
    assert "vgg16" in done.out
    assert len(json.loads(file.read_text())["models"]) == len(models.list("vgg*"))


def test_tables_fit_into_120_columns(cnnkern, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    for argv in (["models"], ["info"], ["flops", "resnet18", *ON_REFERENCE], ["verify", "lenet5", *ON_REFERENCE]):
        lines = cnnkern(*argv).out.splitlines()
        assert max(map(len, lines)) <= 120, argv


@pytest.mark.parametrize("argv", [["models", "resnet50"], ["bench", "lenet5", "--seconds", "0.01", *ON_REFERENCE]])
def test_as_a_process_without_a_terminal_nothing_but_the_answer_is_written(argv):
    done = subprocess.run([*PROCESS, *argv], capture_output=True, text=True, timeout=120, env=THIS_PACKAGE)
    assert (done.returncode, done.stderr) == (0, "")
    assert argv[1] in done.stdout and "\x1b" not in done.stdout


def test_progress_shows_on_a_terminal():
    pty = pytest.importorskip("pty")
    argv = ["bench", "lenet5", "--seconds", "0.2", *ON_REFERENCE]
    ours, theirs = pty.openpty()
    done = subprocess.Popen([*PROCESS, *argv], stdout=subprocess.DEVNULL, stderr=theirs, env=THIS_PACKAGE)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # Linux reports the end of a pty so
        pass
    os.close(ours)
    assert done.wait(timeout=60) == 0
    assert b"lenet5" in shown and b"measuring" in shown
