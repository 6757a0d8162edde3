"""Small models that the tests of sessions share, sessions of both makers on them, and how their answers compare."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import cnnkern  # noqa: E402

CPU = ["CPUExecutionProvider"]


def info(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, constants=None, opset=17, **fields) -> bytes:
    """The bytes of a model; constants by name."""
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers, doc_string="what the graph is")
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="tests", **fields
    )
    return made.SerializeToString()


def two_in_two_out() -> bytes:
    """y = relu(x + w) with x float32 (N, 3, open); z = 2 v with v float32 (2,)."""
    nodes = [
        helper.make_node("Add", ["x", "w"], ["s"], "add"),
        helper.make_node("Relu", ["s"], ["y"], "relu"),
        helper.make_node("Mul", ["v", "two"], ["z"], "mul"),
    ]
    constants = {"w": np.array([[[1], [2], [3]]], np.float32), "two": np.array(2, np.float32)}
    inputs, outputs = [info("x", ["N", 3, None]), info("v", [2])], [info("y", ["N", 3, None]), info("z", [2])]
    made = onnx.load_model_from_string(model(nodes, inputs, outputs, constants, domain="org.tests", model_version=7))
    made.doc_string = "what the model is"
    helper.set_model_props(made, {"made by": "hand"})
    return made.SerializeToString()


def network(rng) -> bytes:
    """A small network of any batch, height and width: convolution, ReLU, global pooling, linear."""
    nodes = [
        helper.make_node("Conv", ["x", "k", "kb"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "m", "mb"], ["scores"], transB=1),
    ]
    shapes = {"k": (8, 3, 3, 3), "kb": (8,), "m": (5, 8), "mb": (5,)}
    constants = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    return model(nodes, [info("x", ["N", 3, "H", "W"])], [info("scores", ["N", 5])], constants)


def feeds(rng) -> dict[str, np.ndarray]:
    return {"x": rng.standard_normal((4, 3, 5), np.float32), "v": rng.standard_normal(2, np.float32)}


def ours(data, *args, **options):
    return cnnkern.InferenceSession(data, *args, **options)


def theirs(data, *args, **options):
    onnxruntime = pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime.InferenceSession(data, *args, **{"providers": CPU, **options})


def both(data, *args, **options):
    return ours(data, *args, **options), theirs(data, *args, **options)


def close(a, b) -> None:
    assert type(a) is np.ndarray and (a.dtype, a.shape) == (b.dtype, b.shape)
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def failure(call):
    try:
        call()
    except Exception as error:
        return error
    return None


def assert_refused(mine, other, names, given, *also) -> str:
    """Both refuse it, in the same class: onnxruntime's own by name, or Python's."""
    a, b = failure(lambda: mine.run(names, given, *also)), failure(lambda: other.run(names, given, *also))
    assert a is not None and b is not None
    kind = type(b).__name__
    assert kind in {c.__name__ for c in type(a).__mro__}, f"{type(a).__mro__} for {b!r}"
    return str(a)
