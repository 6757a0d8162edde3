"""cnnkern.onnx.backend beside what onnx.backend.base asks of a backend; the suite itself is test_backend_suite.py."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
from onnx import TensorProto, helper  # noqa: E402
from onnx.backend.base import Backend, BackendRep  # noqa: E402

import cnnkern  # noqa: E402
import cnnkern.onnx.backend as backend  # noqa: E402


def two_by_two(weight=(2.0, 3.0)) -> onnx.ModelProto:
    """sum = a + b, scaled = a * w; w is an initialiser that stands among the inputs too, as in old files."""
    a, b, w = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("a", [2]), ("b", [2]), ("w", [2])))
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("sum", "the scaled")]
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Mul", ["a", "w"], ["the scaled"])]
    initial = helper.make_tensor("w", TensorProto.FLOAT, [2], weight)
    return helper.make_model(helper.make_graph(nodes, "two", [a, b, w], outputs, [initial]))


A, B = np.array([1, 2], np.float32), np.array([10, 20], np.float32)


def test_the_interface():
    assert issubclass(backend.CnnkernBackend, Backend)
    for name in ("prepare", "run_model", "run_node", "supports_device", "is_compatible"):
        assert callable(getattr(backend, name)), name
    assert isinstance(backend.prepare(two_by_two()), BackendRep)


def test_reached_by_attribute_and_only_then_imported():
    code = (
        "import sys, cnnkern; assert 'onnx' not in sys.modules\n"
        "assert callable(cnnkern.onnx.backend.prepare); assert 'onnx' in sys.modules\n"
        "try: cnnkern.onnx.nothing\nexcept AttributeError as error: assert 'nothing' in str(error)\nelse: assert 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_onnx_the_extra_is_named():
    code = (
        "import sys; sys.modules['onnx'] = None\nimport cnnkern\n"
        "try: cnnkern.onnx.backend\nexcept ImportError as error: assert \"pip install 'cnnkern[onnx]'\" in str(error)\n"
        "else: assert 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("form", ["proto", "bytes", "path"])
def test_prepare_and_run(form, tmp_path):
    model = two_by_two()
    if form != "proto":
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        model = tmp_path / "m.onnx" if form == "path" else model.SerializeToString()
    rep = backend.prepare(model, device="CPU")
    for inputs in ([A, B], (A, B), {"b": B, "a": A}):
        result = rep.run(inputs)
        assert isinstance(result, tuple)
        for found, expected in ((result[0], A + B), (result.sum, A + B), (result["the scaled"], A * [2, 3])):
            assert found.dtype == np.float32 and np.array_equal(found, expected)
    assert np.array_equal(rep.run({"a": A, "b": B, "w": B})[1], A * B)  # a caller may bring what has a default
    assert np.array_equal(backend.run_model(model, [A, B])[0], A + B)


def test_one_input_alone():
    x = np.array([[1, -1], [-2, 2]], np.float32)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])
    model = helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one", [value], [made]))
    for inputs in (x, [x], {"x": x}):
        assert np.array_equal(backend.run_model(model, inputs)[0], np.maximum(x, 0))


def test_wrong_inputs():
    rep = backend.prepare(two_by_two())
    for inputs, error, words in (
        ([A], ValueError, r"2 arrays \(a, b\), got 1"),
        ([A, B, A], ValueError, "got 3"),
        ({"a": A}, ValueError, "'b'"),
        ({"a": A, "b": B, "c": B}, ValueError, "'c'"),
        ([A, B.astype(np.float64)], TypeError, "'b'.*float64"),
        ([A, B[:1]], ValueError, "'b'"),
        ([A, None], TypeError, "'b'"),
    ):
        with pytest.raises(error, match=words):
            rep.run(inputs)
    with pytest.raises(TypeError, match="'speed'"):
        rep.run([A, B], speed=3)
    with pytest.raises(TypeError, match="'speed'"):
        backend.prepare(two_by_two(), speed=3)


def test_devices():
    assert backend.supports_device("CPU")
    assert backend.supports_device("CUDA") == (not cnnkern.backends.available()["cuda"])
    for name in ("TPU", "", "cpu", "CPU:one", "CUDA:9999", None):
        assert not backend.supports_device(name), name
    for name in ("TPU", "CPU:one"):
        with pytest.raises(ValueError, match="device must be 'CPU', 'CUDA'"):
            backend.prepare(two_by_two(), device=name)
    if not backend.supports_device("CUDA"):
        with pytest.raises(cnnkern.UnsupportedError, match="cuda"):
            backend.prepare(two_by_two(), device="CUDA")
    assert backend.prepare(two_by_two(), backend="reference").backend.name == "reference"
    with cnnkern.config(backend="reference"):
        assert backend.prepare(two_by_two(), device="CPU").backend.name == "reference"


def test_is_compatible():
    assert backend.is_compatible(two_by_two())
    assert not backend.is_compatible(two_by_two(), device="CUDA") or backend.supports_device("CUDA")
    assert not backend.is_compatible(b"no model")
    unknown = two_by_two()
    unknown.graph.node[0].op_type = "Sum2"
    assert not backend.is_compatible(unknown)


def test_run_node():
    x = np.array([[-1, 2, -3]], np.float32)
    relu = helper.make_node("Relu", ["x"], ["y"])
    assert np.array_equal(backend.run_node(relu, [x])["y"], np.maximum(x, 0))
    assert np.array_equal(backend.run_node(relu, {"x": x}).y, np.maximum(x, 0))
    assert np.array_equal(backend.run_node(relu, x, outputs_info=[(np.float32, (1, 3))])[0], np.maximum(x, 0))
    with pytest.raises(cnnkern.ModelError, match=r"'y' is float32 \(1, 3\), outputs_info says float64 \(1, 3\)"):
        backend.run_node(relu, [x], outputs_info=[(np.float64, (1, 3))])
    with pytest.raises(ValueError, match=r"1 arrays \(x\), got 2"):
        backend.run_node(relu, [x, x])
    with pytest.raises(TypeError, match="NodeProto"):
        backend.run_node("Relu", [x])
    with pytest.raises(cnnkern.ModelError, match="Nonsense"):
        backend.run_node(helper.make_node("Nonsense", ["x"], ["y"]), [x])


def test_run_node_optional_inputs_opsets_and_types():
    x = np.array([[-1, 2, -3]], np.float32)
    clip = helper.make_node("Clip", ["x", "", "top"], ["y"])
    for inputs in ([x, np.float32(1)], [x, None, np.float32(1)], {"x": x, "top": np.array(1, np.float32)}):
        assert np.array_equal(backend.run_node(clip, inputs)[0], np.minimum(x, 1))
    old = helper.make_node("Clip", ["x"], ["y"], min=0.0)  # its bounds were attributes before opset 11
    assert np.array_equal(backend.run_node(old, [x], opset_version=6)[0], np.maximum(x, 0))
    with pytest.raises(cnnkern.ModelError, match="min"):
        backend.run_node(old, [x])
    twice = helper.make_node("Mul", ["x", "x"], ["y"])
    assert np.array_equal(backend.run_node(twice, [x, x])[0], x * x)
    top = backend.run_node(helper.make_node("TopK", ["x", "k"], ["value", "where"]), [x, np.array([1])])
    assert len(top) == 2 and top["where"].dtype == np.int64 and top["where"].tolist() == [[1]]
    reshaped = backend.run_node(helper.make_node("Reshape", ["x", "s"], ["y"]), [x, np.array([3, -1])])
    assert reshaped[0].shape == (3, 1)
    feature = helper.make_node("Binarizer", ["x"], ["y"], domain="ai.onnx.ml", threshold=1.0)
    assert backend.run_node(feature, [x])[0].tolist() == [[0, 1, 0]]
