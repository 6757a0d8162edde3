"""What cnnkern.InferenceSession refuses: in onnxruntime's classes, and in clearer words."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sessionmodels import (
    TensorProto,
    assert_refused,
    both,
    close,
    failure,
    feeds,
    helper,
    info,
    model,
    onnx,
    ours,
    theirs,
    two_in_two_out,
)  # fmt: skip

import cnnkern
from cnnkern import errors


def spoilt(rng):
    """(output names, what is fed, a pattern of our message)"""
    x, v = rng.standard_normal((4, 3, 5), np.float32), rng.standard_normal(2, np.float32)
    good = {"x": x, "v": v}
    yield None, {"x": x}, "lacks 'v'; it has 'x'"
    yield ["y"], {"x": x}, "lacks 'v'"
    yield None, {}, "lacks 'x', 'v'; it has none"
    yield None, {**good, "q": x}, "no input 'q'; its inputs are 'x', 'v'"
    yield None, {**good, "w": x}, "no input 'w'"
    yield ["nowhere"], good, "no output 'nowhere'; its outputs are 'y', 'z'"
    yield ["y", "s"], good, "no output 's'"
    yield "y", good, "sequence of names or None, got 'y'"
    yield (
        None,
        {"x": x.astype(np.float64), "v": v},
        r"'x': dtype float32 \(tensor\(float\)\).*got float64 \(tensor\(dou",
    )
    yield None, {"x": x.astype(np.float16), "v": v}, r"got float16 \(tensor\(float16\)\); convert .*astype\('float32'\)"
    yield None, {"x": x.astype(np.int32), "v": v}, "got int32"
    yield None, {"x": x[0], "v": v}, r"'x': 3 dimensions \(N, 3, \?\) are accepted, got 2: \(3, 5\)"
    yield None, {"x": x[None], "v": v}, "got 4"
    yield (
        None,
        {"x": x[:, :2], "v": v},
        r"shape \(N, 3, \?\) is accepted, got \(4, 2, 5\): dimension 1 must be 3, got 2",
    )
    yield None, {"x": x, "v": v[:1]}, r"'v': shape \(2,\) is accepted, got \(1,\)"
    yield None, {"x": x, "v": 3.0}, "'v': a NumPy array is accepted, got float; np.asarray it"
    yield None, {"x": x, "v": np.float32(3)}, "got float32"
    yield None, {"x": x, "v": "ab"}, "got str"
    yield None, {"x": x, "v": (1.0, 2.0)}, "got tuple"
    yield None, {"x": x, "v": ["a", "b"]}, r"a list of tensor\(float\)'s values"
    yield None, {"x": x, "v": [[1.0], [1.0, 2.0]]}, "the list is no array"
    yield None, {"x": x, "v": [1.0, 2.0, 3.0]}, r"got \(3,\)"


def test_what_is_refused_and_in_which_words(rng):
    mine, other = both(two_in_two_out())
    for names, given, words in spoilt(rng):
        message = assert_refused(mine, other, names, given)
        assert re.search(words, message, re.DOTALL), f"{words!r} not in {message!r}"
        assert len(message) < 400


def test_what_is_no_mapping_no_options_no_session_options(rng):
    mine, given = ours(two_in_two_out()), feeds(rng)
    for bad in (None, list(given.values()), 3, given["x"]):
        with pytest.raises(TypeError, match="input_feed must be a mapping"):
            mine.run(None, bad)
    with pytest.raises(TypeError, match=r"run_options must be a cnnkern.RunOptions, got int"):
        mine.run(None, given, 3)
    with pytest.raises(TypeError, match="sess_options must be a cnnkern.SessionOptions, got dict"):
        ours(two_in_two_out(), {})
    with pytest.raises(errors.InvalidArgument, match="no input 1; its inputs are 'x', 'v'"):
        mine.run(None, {**given, 1: given["x"]})
    with pytest.raises(errors.InvalidArgument, match="got NoneType"):
        mine.run(None, {**given, "v": None})


def test_a_run_that_is_told_to_end(rng):
    mine, other = both(two_in_two_out())
    import onnxruntime

    stopped = [package.RunOptions() for package in (cnnkern, onnxruntime)]
    for options in stopped:
        options.terminate = True
    found = [failure(lambda s=s, o=o: s.run(None, feeds(rng), o)) for s, o in zip((mine, other), stopped)]
    assert [type(error).__name__ for error in found] == ["Fail", "Fail"]


def test_exceptions_are_what_python_and_cnnkern_call_them_too():
    assert issubclass(errors.InvalidArgument, ValueError) and issubclass(errors.InvalidArgument, RuntimeError)
    assert issubclass(errors.NoSuchFile, FileNotFoundError)
    for kind in (errors.Fail, errors.InvalidGraph, errors.InvalidProtobuf):
        assert issubclass(kind, cnnkern.ModelError)
    assert issubclass(errors.NotImplemented, cnnkern.UnsupportedError)


def broken():
    """(what is wrong, the file)"""

    def changed(change) -> bytes:
        made = onnx.load_model_from_string(two_in_two_out())
        change(made)
        return made.SerializeToString()

    whole = two_in_two_out()
    yield "garbage", b"garbage"
    yield "truncated", whole[: len(whole) // 2]
    yield "unknown operation", changed(lambda m: setattr(m.graph.node[0], "op_type", "Foo"))
    yield "unknown domain", changed(lambda m: setattr(m.graph.node[0], "domain", "my.own"))
    yield "an input too many", changed(lambda m: m.graph.node[1].input.append("x"))
    yield "a cycle", changed(lambda m: m.graph.node[0].input.__setitem__(0, "y"))
    yield "a name twice", changed(lambda m: m.graph.node[0].output.__setitem__(0, "y"))
    yield "an output from nowhere", changed(lambda m: setattr(m.graph.output[0], "name", "nowhere"))
    yield "a newer opset", changed(lambda m: setattr(m.opset_import[0], "version", 999))
    yield "a short initialiser", changed(lambda m: setattr(m.graph.initializer[0], "raw_data", b"1234"))


@pytest.mark.parametrize(("what", "data"), list(broken()), ids=lambda value: value if isinstance(value, str) else "")
def test_models_that_neither_loads(what, data, tmp_path):
    a, b = failure(lambda: ours(data)), failure(lambda: theirs(data))
    assert a is not None and b is not None
    assert type(b).__name__ in {kind.__name__ for kind in type(a).__mro__}, f"{type(a)} for {b!r}"
    assert isinstance(a, (cnnkern.ModelError, cnnkern.UnsupportedError))
    file = tmp_path / "broken.onnx"
    file.write_bytes(data)
    assert type(failure(lambda: ours(file))) is type(a) and str(file) in str(failure(lambda: ours(file)))


def test_what_is_wrong_inside_is_said_when_shapes_are_known(rng):
    """With fixed shapes when the session is made, as onnxruntime does; with open ones by the first run."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"], "sum")]
    for shape in ([2], ["N"]):
        data = model(nodes, [info("x", shape, TensorProto.STRING)], [info("y", shape, TensorProto.STRING)])
        assert type(failure(lambda d=data: theirs(d))).__name__ == "InvalidGraph"
        with pytest.raises(errors.Fail, match="'sum'") as caught:
            ours(data).run(None, {"x": np.array(["a", "b"], object)})
        assert (type(caught.value) is errors.InvalidGraph) is (shape == [2])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "product")]
    mine, other = both(model(nodes, [info("x", ["N", "M"]), info("w", ["M", "N"])], [info("y", ["N", "N"])]))
    x, w = rng.standard_normal((2, 3), np.float32), rng.standard_normal((3, 4), np.float32)
    close(mine.run(None, {"x": x, "w": w})[0], other.run(None, {"x": x, "w": w})[0])  # a symbol may differ
    assert "product" in assert_refused(mine, other, None, {"x": x, "w": w[:2]})


def test_where_the_class_is_another_on_purpose():
    """What onnxruntime calls an invalid argument though the file is at fault: nothing in it, and a dangling name."""
    made = onnx.load_model_from_string(two_in_two_out())
    made.graph.node[1].input[0] = "dangling"
    for data, kind in ((b"", errors.InvalidProtobuf), (made.SerializeToString(), errors.InvalidGraph)):
        assert type(failure(lambda d=data: theirs(d))).__name__ == "InvalidArgument"
        found = failure(lambda d=data: ours(d))
        assert type(found) is kind and isinstance(found, ValueError)


def test_files_that_are_not_there(tmp_path):
    for source in (tmp_path / "none.onnx", str(tmp_path / "none.onnx")):
        a, b = failure(lambda s=source: ours(s)), failure(lambda s=source: theirs(s))
        assert type(a).__name__ == type(b).__name__ == "NoSuchFile"
        assert isinstance(a, FileNotFoundError) and "none.onnx" in str(a) and a.filename
    a, b = failure(lambda: ours(tmp_path)), failure(lambda: theirs(tmp_path))
    assert type(a).__name__ == type(b).__name__ == "InvalidProtobuf" and "folder" in str(a)
    for bad in (5, None, [1]):
        assert isinstance(failure(lambda b=bad: ours(b)), TypeError)
