"""SessionOptions, RunOptions, providers and profiling: what is told is obeyed, or said not to be."""

from __future__ import annotations

import gc
import json
import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import sessionmodels
from sessionmodels import CPU, feeds, network, ours, theirs, two_in_two_out

import cnnkern
from cnnkern import config, errors
from cnnkern.onnx import providers as provided
from cnnkern.onnx import session_options


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch):
    monkeypatch.setattr(session_options, "_warned", set())


def onnxruntime():
    return pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")


@pytest.mark.parametrize("kind", ["SessionOptions", "RunOptions"])
def test_fields_and_their_defaults_are_those_of_onnxruntime(kind):
    mine, other = getattr(cnnkern, kind)(), getattr(onnxruntime(), kind)()
    names = [name for name in dir(other) if not name.startswith("_") and not callable(getattr(other, name))]
    for name in names:
        value = getattr(other, name)
        if name == "execution_order":  # an experiment of onnxruntime's
            continue
        given = getattr(mine, name)
        assert given == (int(value) if hasattr(value, "name") else value), name
        if hasattr(value, "name"):
            assert given.name == value.name
    assert len(names) >= 5


@pytest.mark.parametrize("kind", ["GraphOptimizationLevel", "ExecutionMode"])
def test_enumerations_are_those_of_onnxruntime(kind):
    mine, other = getattr(cnnkern, kind), getattr(onnxruntime(), kind)
    assert {name: int(value) for name, value in other.__members__.items()} == {m.name: m.value for m in mine}


def test_what_a_field_cannot_be():
    options = cnnkern.SessionOptions()
    for name, value, error in (
        ("intra_op_num_threads", "two", TypeError),
        ("intra_op_num_threads", 1.5, TypeError),
        ("intra_op_num_threads", -1, ValueError),
        ("graph_optimization_level", 7, TypeError),
        ("graph_optimization_level", "all", TypeError),
        ("execution_mode", None, TypeError),
        ("enable_profiling", "yes", TypeError),
        ("log_severity_level", 9, ValueError),
        ("logid", 3, TypeError),
        ("profile_file_prefix", 3, TypeError),
    ):
        before = getattr(options, name)
        with pytest.raises(error, match=f"SessionOptions.{name} must be"):
            setattr(options, name, value)
        assert getattr(options, name) == before
    options.graph_optimization_level = 1
    assert options.graph_optimization_level is cnnkern.GraphOptimizationLevel.ORT_ENABLE_BASIC
    assert repr(options) == f"SessionOptions(graph_optimization_level={options.graph_optimization_level!r})"


def test_a_field_nobody_knows_is_kept_and_said_once():
    with pytest.warns(UserWarning, match="SessionOptions has no field 'made_up' here"):
        first = cnnkern.SessionOptions()
        first.made_up = 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = cnnkern.SessionOptions()
        second.made_up = 4
    assert (first.made_up, second.made_up) == (3, 4)
    with pytest.warns(UserWarning, match="InferenceSession has no option 'enable_wonders'"):
        ours(two_in_two_out(), enable_wonders=True)
    second.optimized_model_filepath = "elsewhere.onnx"
    with pytest.warns(UserWarning, match="no optimized model is written"):
        ours(two_in_two_out(), second)


def test_entries():
    for options, add, get in (
        (cnnkern.SessionOptions(), "add_session_config_entry", "get_session_config_entry"),
        (cnnkern.RunOptions(), "add_run_config_entry", "get_run_config_entry"),
    ):
        getattr(options, add)("session.a", "1")
        assert getattr(options, get)("session.a") == "1"
        with pytest.raises(RuntimeError, match="no entry of key 'b'; known: session.a"):
            getattr(options, get)("b")
        with pytest.raises(TypeError, match="value must be a string, got 1"):
            getattr(options, add)("b", 1)


def test_what_is_not_served_says_so():
    options = cnnkern.SessionOptions()
    for call in (
        lambda: options.register_custom_ops_library("my.so"),
        lambda: options.add_initializer("w", None),
        lambda: options.add_external_initializers(["w"], [None]),
        lambda: options.add_free_dimension_override_by_denotation("DATA_BATCH", 1),
        lambda: cnnkern.RunOptions().add_active_adapter(None),
    ):
        with pytest.raises(errors.NotImplemented) as caught:
            call()
        assert isinstance(caught.value, cnnkern.UnsupportedError)


def test_free_dimensions(rng):
    options, other = cnnkern.SessionOptions(), onnxruntime().SessionOptions()
    for each in (options, other):
        each.add_free_dimension_override_by_name("N", 4)
    mine, their = ours(two_in_two_out(), options), theirs(two_in_two_out(), sess_options=other)
    assert mine.get_inputs()[0].shape == their.get_inputs()[0].shape == [4, 3, None]
    given = feeds(rng)
    np.testing.assert_allclose(mine.run(None, given)[0], their.run(None, given)[0], rtol=1e-6)
    with pytest.raises(errors.InvalidArgument, match="dimension 0 must be 4, got 1"):
        mine.run(None, {**given, "x": given["x"][:1]})


def test_a_session_keeps_a_copy_of_its_options():
    options = cnnkern.SessionOptions()
    options.intra_op_num_threads = 2
    session = ours(two_in_two_out(), options)
    options.intra_op_num_threads = 1
    kept = session.get_session_options()
    assert kept.intra_op_num_threads == 2
    kept.intra_op_num_threads = 3
    assert session.get_session_options().intra_op_num_threads == 2


def test_threads_are_those_of_the_session(rng, monkeypatch):
    x = rng.standard_normal((2, 3, 16, 16), np.float32)
    data, seen = network(rng), []
    real = cnnkern.backends.get("cpu").compile

    def compile(*args, **options):
        seen.append(options.get("threads") or config.get_num_threads())
        return real(*args, **options)

    monkeypatch.setattr(cnnkern.backends.get("cpu"), "compile", compile)
    results = []
    with config(num_threads=3):
        for threads in (0, 1, 2):
            options = cnnkern.SessionOptions()
            options.intra_op_num_threads = threads
            results.append(ours(data, options).run(None, {"x": x})[0])
            assert config.get_num_threads() == 3
    assert seen == [3, 1, 2]
    assert all(np.array_equal(result, results[0]) for result in results)


def test_severity_0_prints_the_steps(rng, capfd):
    session, given = ours(two_in_two_out()), feeds(rng)
    session.run(None, given)
    assert capfd.readouterr().err == ""
    wordy = cnnkern.RunOptions()
    wordy.log_severity_level = 0
    session.run(None, given, wordy)
    assert "add" in capfd.readouterr().err
    options = cnnkern.SessionOptions()
    options.log_severity_level = 0
    ours(two_in_two_out(), options).run(None, given)
    assert "add" in capfd.readouterr().err


def test_the_default_severity_is_that_of_options_that_name_none(rng, capfd):
    session, given = ours(two_in_two_out()), feeds(rng)
    try:
        cnnkern.set_default_logger_severity(0)
        session.run(None, given)
        assert "add" in capfd.readouterr().err
        cnnkern.set_default_logger_severity(3)
        session.run(None, given)
        assert not capfd.readouterr().err
    finally:
        cnnkern.set_default_logger_severity(2)
    for wrong in (-1, 5):
        with pytest.raises(ValueError, match="severity"):
            cnnkern.set_default_logger_severity(wrong)


# --- providers


def test_providers(monkeypatch):
    for given in (None, [], CPU, CPU[0], [(CPU[0], {"a": "1"})], tuple(CPU)):
        session = ours(two_in_two_out(), providers=given)
        assert session.get_providers() == CPU
    assert session.get_provider_options() == {CPU[0]: {}}
    assert ours(two_in_two_out(), providers=CPU, provider_options=[{"a": 1}]).get_provider_options() == {
        CPU[0]: {"a": "1"}
    }
    for given, options in (([3], None), ([(CPU[0],)], None), (CPU, [{}, {}]), ([(CPU[0], {})], [{}]), ([b"x"], None)):
        with pytest.raises(errors.InvalidArgument, match="provider"):
            ours(two_in_two_out(), providers=given, provider_options=options)


def test_providers_that_are_not_there_are_said_once(rng):
    with pytest.warns(UserWarning, match="provider 'TensorrtExecutionProvider' is not available here") as caught:
        session = ours(two_in_two_out(), providers=["TensorrtExecutionProvider", *CPU])
        again = ours(two_in_two_out(), providers=["TensorrtExecutionProvider"])
    assert len(caught) == 1 and session.get_providers() == again.get_providers() == CPU
    assert caught[0].filename == sessionmodels.__file__
    assert len(session.run(None, feeds(rng))) == 2
    with pytest.raises(RuntimeError, match="'TensorrtExecutionProvider' is not available here; available: "):
        session.set_providers(["TensorrtExecutionProvider"])
    session.set_providers(CPU)
    assert session.get_providers() == CPU
    with pytest.warns(UserWarning, match="named twice"):
        assert ours(two_in_two_out(), providers=CPU * 2).get_providers() == CPU


def test_the_cpu_provider_is_the_backend_that_the_settings_name(rng):
    data, given = two_in_two_out(), feeds(rng)
    with config(backend="reference"):
        session = ours(data)
    assert session._providers.backend.name == "reference"
    assert np.array_equal(session.run(["z"], given)[0], 2 * given["v"])
    if not cnnkern.backends.available()["cpu"]:
        assert ours(data)._providers.backend.name == "cpu"


def test_available_providers_follow_the_backends(monkeypatch):
    for why, names, device in (("no GPU", CPU, "CPU"), ("", ["CUDAExecutionProvider", *CPU], "GPU")):
        monkeypatch.setattr(provided.backends, "available", lambda why=why: {"cpu": "", "cuda": why})
        assert cnnkern.get_available_providers() == names and cnnkern.get_device() == device


# --- profiling


def profiled(prefix):
    options = cnnkern.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(prefix)
    return options


def test_a_profile_is_a_trace_of_every_step(tmp_path, rng):
    data = network(rng)
    plain, session = ours(data), ours(data, profiled(tmp_path / "mine"))
    assert session.get_profiling_start_time_ns() > 0
    x = rng.standard_normal((2, 3, 16, 16), np.float32)
    for _ in range(3):
        assert np.array_equal(session.run(None, {"x": x})[0], plain.run(None, {"x": x})[0])
    name = session.end_profiling()
    assert name.startswith(f"{tmp_path / 'mine'}_") and name.endswith(".json")
    events = json.loads(Path(name).read_text())
    assert all(event["ph"] == "X" and event["pid"] == os.getpid() for event in events)
    assert all(event["ts"] >= 0 and event["dur"] >= 0 for event in events)
    runs = [event for event in events if event["name"] == "model_run"]
    steps = [event for event in events if event["cat"] == "Node"]
    assert len(runs) == 3 and "model_loading" in {event["name"] for event in events}
    convolutions = [event for event in steps if event["args"]["op_name"] == "conv2d"]
    assert len(convolutions) == 3 and len(steps) % 3 == 0
    assert convolutions[0]["args"]["input_shape"][0] == [2, 3, 16, 16]
    assert convolutions[0]["args"]["flops"] > 2 * 2 * 8 * 27 * 16 * 16 * 0.9
    for run in runs:
        inside = [s for s in steps if run["ts"] - 1 <= s["ts"] and s["ts"] + s["dur"] <= run["ts"] + run["dur"] + 1]
        assert len(inside) == len(steps) // 3
    assert session.end_profiling() == ""
    assert np.array_equal(session.run(None, {"x": x})[0], plain.run(None, {"x": x})[0])
    assert (plain.end_profiling(), plain.get_profiling_start_time_ns()) == ("", 0)


def test_threads_of_a_profiled_session_are_told_apart(tmp_path, rng):
    session = ours(network(rng), profiled(tmp_path / "p"))
    x = rng.standard_normal((1, 3, 8, 8), np.float32)
    threads = [threading.Thread(target=session.run, args=(None, {"x": x})) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = json.loads(Path(session.end_profiling()).read_text())
    assert len([event for event in events if event["name"] == "model_run"]) == 3
    assert len({event["tid"] for event in events if event["name"] == "model_run"}) >= 1


def test_a_trace_that_cannot_be_written_says_so(tmp_path, rng):
    session = ours(two_in_two_out(), profiled(tmp_path / "no" / "such" / "folder"))
    session.run(None, feeds(rng))
    with pytest.raises(FileNotFoundError):
        session.end_profiling()
    (tmp_path / "no" / "such").mkdir(parents=True)
    assert len(json.loads(Path(session.end_profiling()).read_text())) > 3


def test_a_trace_is_written_when_its_session_goes(tmp_path, rng):
    session = ours(two_in_two_out(), profiled(tmp_path / "p"))
    session.run(None, feeds(rng))
    del session
    gc.collect()
    (file,) = tmp_path.iterdir()
    assert "model_run" in file.read_text()
    session = ours(two_in_two_out(), profiled(tmp_path / "none" / "p"))
    with pytest.warns(UserWarning, match="the session's profile is lost"):
        del session
        gc.collect()
