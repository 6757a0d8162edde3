"""cnnkern.InferenceSession beside onnxruntime's: the same calls, the same answers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
from sessionmodels import (
    CPU,
    TensorProto,
    assert_refused,
    both,
    close,
    feeds,
    helper,
    info,
    model,
    network,
    onnx,
    ours,
    two_in_two_out,
)  # fmt: skip

import cnnkern
from cnnkern import errors

THIS_PACKAGE = {**os.environ, "PYTHONPATH": str(Path(cnnkern.__file__).parents[1])}


# --- what a session says of itself


def test_ports_and_metadata():
    mine, other = both(two_in_two_out())
    for ask in ("get_inputs", "get_outputs", "get_overridable_initializers"):
        found = [[(arg.name, arg.type, arg.shape) for arg in getattr(session, ask)()] for session in (mine, other)]
        assert found[0] == found[1]
        assert list(map(str, getattr(mine, ask)())) == list(map(str, getattr(other, ask)()))
    assert mine.get_inputs()[0].shape == ["N", 3, None]
    names = [
        "producer_name",
        "graph_name",
        "domain",
        "description",
        "graph_description",
        "version",
        "custom_metadata_map",
    ]
    asked = [[getattr(session.get_modelmeta(), name) for name in names] for session in (mine, other)]
    assert asked[0] == asked[1] and asked[0][-1] == {"made by": "hand"}


@pytest.mark.parametrize(
    "kind",
    [TensorProto.BOOL, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT16]
    + [TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.BFLOAT16, TensorProto.STRING],
)
def test_types_are_called_as_there(kind):
    data = model([helper.make_node("Identity", ["x"], ["y"])], [info("x", [2], kind)], [info("y", [2], kind)])
    mine, other = both(data)
    assert mine.get_inputs()[0].type == other.get_inputs()[0].type
    assert mine.get_outputs()[0].type == other.get_outputs()[0].type


def test_the_shape_of_a_scalar_and_of_what_says_nothing(rng):
    bare = onnx.ValueInfoProto(name="x")
    bare.type.tensor_type.elem_type = TensorProto.FLOAT
    for given, x in ((info("x", []), np.array(3, np.float32)), (bare, rng.standard_normal((2, 3), np.float32))):
        mine, other = both(model([helper.make_node("Neg", ["x"], ["y"])], [given], [info("y", None)]))
        assert mine.get_inputs()[0].shape == other.get_inputs()[0].shape == []
        close(mine.run(None, {"x": x})[0], other.run(None, {"x": x})[0])


# --- running


@pytest.mark.parametrize("names", [None, [], ["y"], ["z"], ["z", "y"], ("y",), ["y", "y"], ["z", "y", "z"]])
def test_outputs_by_name_and_order(rng, names):
    mine, other = both(two_in_two_out())
    given = feeds(rng)
    got, expected = mine.run(names, given), other.run(names, given)
    assert type(got) is list and len(got) == len(expected)
    for a, b in zip(got, expected):
        close(a, b)


def fed(rng):
    x, v = rng.standard_normal((4, 3, 5), np.float32), rng.standard_normal(2, np.float32)
    yield {"v": v, "x": x}
    yield types.MappingProxyType({"x": x, "v": v})
    yield {"x": x.transpose(0, 2, 1).copy().transpose(0, 2, 1), "v": v}
    yield {"x": np.repeat(x, 2, axis=2)[:, :, ::2], "v": v[::-1]}
    yield {"x": np.asfortranarray(x), "v": v}
    yield {"x": np.ma.array(x), "v": v}
    yield {"x": x.tolist(), "v": [1.0, 2.0]}
    yield {"x": x, "v": [1, 2]}
    yield {"x": x[:1], "v": v}
    yield {"x": x[:, :, :1], "v": v}
    frozen = x.copy()
    frozen.flags.writeable = False
    yield {"x": frozen, "v": v}


def test_feeds_that_both_take(rng):
    mine, other = both(two_in_two_out())
    for given in fed(rng):
        before = {name: np.array(value) for name, value in given.items()}
        for a, b in zip(mine.run(None, given), other.run(None, given)):
            close(a, b)
        assert all(np.array_equal(before[name], given[name]) for name in given)


def test_results_are_the_callers_own(rng):
    mine, given = ours(two_in_two_out()), feeds(rng)
    first = mine.run(None, given)
    kept = [a.copy() for a in first]
    mine.run(None, feeds(rng))
    assert all(np.array_equal(a, b) for a, b in zip(first, kept))
    assert all(a.flags.writeable and not np.may_share_memory(a, given["x"]) for a in first)


def test_another_order_of_bytes_is_read_right(rng):
    """onnxruntime reads these bytes as they lie, and answers with nonsense."""
    mine, given = ours(two_in_two_out()), feeds(rng)
    swapped = {name: value.astype(value.dtype.newbyteorder(">")) for name, value in given.items()}
    for a, b in zip(mine.run(None, swapped), mine.run(None, given)):
        close(a, b)


def test_a_weight_that_is_also_an_input_may_be_fed(rng):
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    data = model(nodes, [info("x", [2]), info("w", [2])], [info("y", [2])], {"w": np.ones(2, np.float32)})
    mine, other = both(data)
    assert [arg.name for arg in mine.get_inputs()] == ["x"]
    assert [arg.name for arg in mine.get_overridable_initializers()] == ["w"]
    x, w = rng.standard_normal((2, 2), np.float32)
    for given in ({"x": x}, {"x": x, "w": w}, {"w": w, "x": x}):
        close(mine.run(None, given)[0], other.run(None, given)[0])
    assert_refused(mine, other, None, {"x": x, "w": w[:1]})


def test_shapes_change_from_run_to_run(rng):
    mine, other = both(network(rng))
    for n, h, w in ((1, 8, 8), (3, 8, 8), (1, 9, 14), (2, 5, 6), (1, 8, 8)):
        x = rng.standard_normal((n, 3, h, w), np.float32)
        close(mine.run(None, {"x": x})[0], other.run(None, {"x": x})[0])


def test_one_session_and_many_threads(rng):
    mine, other = both(network(rng))
    shapes = [(n, 3, 6 + i, 7 + 2 * n) for i, n in enumerate((1, 2, 1, 3, 2, 1, 4, 2))]
    inputs = [rng.standard_normal(shape, np.float32) for shape in shapes]
    expected = [other.run(None, {"x": x})[0] for x in inputs]
    gate, failures, results = threading.Barrier(8), [], [[] for _ in inputs]

    def work(i: int) -> None:
        try:
            gate.wait()
            for j in range(12):
                which = (i + j) % len(inputs)
                results[which].append(mine.run(["scores"], {"x": inputs[which]})[0])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for found, wanted in zip(results, expected):
        assert len(found) == 12
        for result in found:
            close(result, wanted)
            assert np.array_equal(result, found[0])


def test_a_run_that_goes_on_elsewhere(rng):
    mine, given = ours(two_in_two_out()), feeds(rng)
    heard, done = [], threading.Event()

    def callback(*what):
        heard.append(what)
        done.set()

    assert mine.run_async(["z"], given, callback, "mine") is None and done.wait(60)
    ((z,), data, error) = heard.pop()
    assert (data, error) == ("mine", "") and np.array_equal(z, 2 * given["v"])
    done.clear()
    mine.run_async(["nowhere"], given, callback, None)
    assert done.wait(60) and heard[0][0] == [] and "no output 'nowhere'" in heard[0][2]
    with pytest.raises(errors.InvalidArgument, match="lacks 'v'"):
        mine.run_async(None, {"x": given["x"]}, callback, None)


def test_the_model_may_be_a_path_bytes_or_a_proto(tmp_path, rng):
    data, given = two_in_two_out(), feeds(rng)
    file = tmp_path / "m.onnx"
    file.write_bytes(data)
    expected = ours(data).run(None, given)
    for source in (file, str(file), onnx.load_model_from_string(data)):
        for a, b in zip(ours(source).run(None, given), expected):
            assert np.array_equal(a, b)


def test_nothing_is_imported_before_it_is_asked_for():
    code = (
        "import sys, cnnkern\n"
        "assert not [m for m in sys.modules if m == 'onnx' or m.startswith('cnnkern.onnx.')]\n"
        "assert 'InferenceSession' in dir(cnnkern) and 'InferenceSession' in cnnkern.__all__\n"
        "cnnkern.SessionOptions(), cnnkern.get_available_providers()\n"
        "assert 'onnx' not in sys.modules\n"
        "from cnnkern import *\n"
        "InferenceSession, OrtValue, ExecutionMode, GraphOptimizationLevel, RunOptions, get_device\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=THIS_PACKAGE)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'InferenceSessions'"):
        _ = cnnkern.InferenceSessions
    assert cnnkern.get_available_providers()[-1:] == CPU


def test_without_onnx_the_extra_is_named():
    code = "import sys\nsys.modules['onnx'] = None\nimport cnnkern\ncnnkern.InferenceSession(b'')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=THIS_PACKAGE)
    assert "ImportError: cnnkern.onnx needs the onnx package" in done.stderr
    assert done.stderr.rstrip().endswith("pip install 'cnnkern[onnx]'")


def test_a_session_of_fixed_shapes_is_planned_when_it_is_made(rng, monkeypatch):
    x = rng.standard_normal((1, 3, 8, 8), np.float32)
    fixed = cnnkern.SessionOptions()
    for name, size in zip("NHW", (1, 8, 8)):
        fixed.add_free_dimension_override_by_name(name, size)
    made, backend = [], cnnkern.backends.get("cpu")
    real = backend.compile
    monkeypatch.setattr(backend, "compile", lambda *args, **options: made.append(1) or real(*args, **options))
    data = network(rng)
    session = ours(data, fixed)
    assert len(made) == 1
    session.run(None, {"x": x})
    assert len(made) == 1
    ours(data)
    assert len(made) == 1
