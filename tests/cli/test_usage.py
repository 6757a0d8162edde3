"""Exit codes, and errors as one clear line on standard error."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "argv, words",
    [
        (["benhc"], "did you mean bench?"),
        (["bench", "resnet5"], "resnet50"),
        (["flops", "mobilnet_v2"], "mobilenet_v2"),
        (["summary", "vgg61"], "vgg16"),
        (["models", "resnt*"], "resnet"),
        (["models", "zzz"], "cnnkern models"),
        (["bench", "--backend", "cpuu"], "did you mean cpu"),
        (["verify", "--backend", "reference", "--isa", "avx2"], "the backend here is 'reference'"),
        (["verify", "--seed", "-1"], "--seed"),
        (["bench", "--batch", "0"], "at least 1"),
        (["bench", "--batch", "1,x"], "'x'"),
        (["bench", "--threads", "two"], "'two'"),
        (["bench", "--seconds", "nan"], "'nan'"),
        (["bench", "--peers", "openvin"], "openvino"),
        (["bench", "--worst", "0"], "at least 1"),
        (["bench", "--compare", "old.json"], "2 arguments"),
        (["bench", "--compare", "old.json", "new.json"], "old.json: No such file"),
        (["bench", "--compare", __file__, __file__], "not a JSON document"),
        (["bench", "lenet5", "--compare", "old.json", "new.json"], "measures nothing"),
        (["run", "lenet5"], "--image"),
        (["run", "lenet5", "--image", "missing.jpg", "--backend", "reference"], "missing.jpg: No such file"),
        (["run", "lenet5", "--image", __file__, "--backend", "reference"], "not a picture"),
        (["summary"], "MODEL"),
        (["models", "--jsn", "-"], "--jsn"),
        (["models", "--json", "/nonexistent/folder/out.json"], "No such file"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(cnnkern, argv, words):
    done = cnnkern(*argv)
    assert done.code == 2
    assert words in done.err
    assert done.err.count("\n") == 1 and done.err.startswith("cnnkern")
    assert "Traceback" not in done.err
    assert done.out == "" or argv[0] == "models"


def test_bad_weights_are_bad_usage(cnnkern, tmp_path):
    truncated = tmp_path / "weights.npz"
    truncated.write_bytes(b"PK\x03\x04 not all of it")
    done = cnnkern("run", "lenet5", "--image", _digit(), "--weights", truncated, "--backend", "reference")
    assert done.code == 2 and "weights.npz" in done.err and done.err.count("\n") == 1


def test_an_isa_this_cpu_lacks_names_those_it_has(cnnkern, cpu):
    cpu()
    done = cnnkern("flops", "lenet5", "--isa", "avx512")
    assert done.code == 2 and "vec128, avx2" in done.err


def test_no_verb_shows_the_verbs(cnnkern):
    done = cnnkern()
    assert done.code == 2 and "bench" in done.err and "verify" in done.err


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["bench", "--help"]])
def test_asking_for_help_is_good(cnnkern, argv):
    done = cnnkern(*argv)
    assert done.code == 0 and "cnnkern" in done.out and done.err == ""


def test_every_verb_has_help(cnnkern):
    from cnnkern.cli import VERBS

    for verb in VERBS:
        done = cnnkern(verb, "--help")
        assert done.code == 0 and "--json" in done.out, verb


def test_an_internal_error_is_one_line_too_and_can_be_traced(cnnkern, monkeypatch):
    def broken(*_):
        raise KeyError("conv1")

    monkeypatch.setattr("cnnkern.models.list", broken)
    done = cnnkern("models")
    assert done.code == 1
    assert "internal error: KeyError" in done.err and done.err.count("\n") == 1
    with pytest.raises(KeyError):
        cnnkern("--traceback", "models")


def test_interruption_is_no_traceback(cnnkern, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cnnkern.models.list", interrupted)
    done = cnnkern("models")
    assert done.code == 130 and done.err == "cnnkern: interrupted\n"


def _digit():
    from cnnkern import data

    return data.path("digit_7.png")
