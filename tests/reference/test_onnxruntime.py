"""The oracle against onnxruntime, a second referee: float32, so within float32's tolerance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from opcases import PROBLEMS, Case, cases, examples

from cnnkern import ops, testing

onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
# Before 1.25 it divided averages over one-sided padding by the wrong count.
onnxruntime = pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")
helper = onnx.helper

OPSET = 22  # from 19 on ceil_mode's overhang is not counted as padding


def pads(padding):
    (top, bottom), (left, right) = padding
    return [top, left, bottom, right]


def conv2d(spec):
    return [
        ("Conv", {"strides": spec.stride, "pads": pads(spec.padding), "dilations": spec.dilation, "group": spec.groups})
    ]


def pool2d(spec):
    common = {
        "kernel_shape": spec.kernel, "strides": spec.stride, "pads": pads(spec.padding), "dilations": spec.dilation,
        "ceil_mode": int(spec.ceil_mode),
    }  # fmt: skip
    if spec.kind == "max":
        return [("MaxPool", common)]
    return [("AveragePool", {**common, "count_include_pad": int(spec.count_include_pad)})]


ACTIVATIONS = {
    "relu": ("Relu", {}), "leaky_relu": ("LeakyRelu", None), "sigmoid": ("Sigmoid", {}), "tanh": ("Tanh", {}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}), "hardswish": ("HardSwish", {}), "gelu": ("Gelu", {}),
}  # fmt: skip


def activation(spec):
    name, attributes = ACTIVATIONS[spec.kind]
    return [(name, {"alpha": spec.param} if attributes is None else attributes)]


NODES = {
    "conv2d": conv2d,
    "linear": lambda spec: [("Gemm", {"transB": 1})],
    "pool2d": pool2d,
    "global_pool2d": lambda spec: [("GlobalAveragePool" if spec.kind == "avg" else "GlobalMaxPool", {})],
    "roi_max_pool": lambda spec: [
        ("MaxRoiPool", {"pooled_shape": spec.output_size, "spatial_scale": spec.spatial_scale})
    ],
    "local_response_norm": lambda spec: [
        ("LRN", {"size": spec.size, "alpha": spec.alpha, "beta": spec.beta, "bias": spec.k})
    ],
    "activation": activation,
    "add": lambda spec: [("Add" if spec.op == "add" else "Mul", {})],
    "mul": lambda spec: [("Mul" if spec.op == "mul" else "Add", {})],
    "softmax": lambda spec: [("LogSoftmax" if spec.log else "Softmax", {"axis": spec.axis})],
    "concat": lambda spec: [("Concat", {"axis": spec.axis})],
    "transpose": lambda spec: [("Transpose", {"perm": spec.axes})],
}


def run_onnx(node: str, attributes: dict, arrays, outputs: int = 1):
    """One node on arrays, as onnxruntime computes it."""
    names = [f"x{i}" if a is not None else "" for i, a in enumerate(arrays)]
    while names and not names[-1]:
        names.pop()
    results = [f"y{i}" for i in range(outputs)]
    kinds = [onnx.TensorProto.FLOAT, onnx.TensorProto.INT64]
    graph = helper.make_graph(
        [helper.make_node(node, names, results, **attributes)],
        "one",
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, a.shape) for n, a in zip(names, arrays) if n],
        [helper.make_tensor_value_info(n, kind, None) for n, kind in zip(results, kinds)],
    )
    opset = 21 if node == "MaxRoiPool" else OPSET  # onnxruntime has the former's first form alone
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {n: np.array(a) for n, a in zip(names, arrays) if n})


def comparable(case: Case) -> bool:
    """What onnx and onnxruntime can express: no empty batch, no fused activation or residual, odd LRN windows,
    pooling windows wider than their padding, regions whose corners are ints."""
    spec = case.spec
    return not (
        any(s is not None and 0 in s for s in case.shapes)
        or getattr(spec, "activation", None)
        or (spec.op == "conv2d" and any(case.shapes[3:]))
        or (spec.op == "pool2d" and spec.kind == "sum")
        or (spec.op == "pool2d" and any(k <= p for k, p in zip(spec.kernel, np.max(spec.padding, 1))))
        or (spec.op == "local_response_norm" and (spec.alpha_is_sum or spec.size % 2 == 0))
        or (spec.op == "activation" and spec.kind not in ACTIVATIONS)
        or (spec.op == "roi_max_pool" and np.abs(case.arrays()[1]).max() > 2**24)
    )


@pytest.mark.parametrize("op", NODES)
@examples(15)
@given(data=st.data())
def test_oracle_equals_onnxruntime(op, data):
    case = data.draw(cases(PROBLEMS[op], memory=("plain",)))
    assume(comparable(case))
    arrays = case.arrays()
    mine = testing.reference(case.spec, *arrays)
    mine = mine if isinstance(mine, tuple) else (mine,)
    ((node, attributes),) = NODES[op](case.spec)
    theirs = run_onnx(node, attributes, arrays[:3] if op == "conv2d" else arrays, len(mine))
    testing.assert_close(theirs[0], mine[0], case.spec, arrays)
    if len(mine) > 1:  # onnx counts through all planes, we within one
        plane = np.prod(case.shapes[0][2:], dtype=np.int64)
        np.testing.assert_array_equal(theirs[1] % plane, mine[1])


@examples(10)
@given(case=cases(PROBLEMS["batch_norm"], memory=("plain",)))
def test_batch_norm_equals_onnxruntime(case):
    x, mean, var, weight, bias = case.arrays()
    assume(x.size and case.spec.activation is None)
    ones, zeros = np.ones_like(mean), np.zeros_like(mean)
    full = (x, ones if weight is None else weight, zeros if bias is None else bias, mean, var)
    (theirs,) = run_onnx("BatchNormalization", {"epsilon": case.spec.eps}, full)
    testing.assert_close(theirs, testing.reference(case.spec, x, mean, var, weight, bias), case.spec, case.arrays())


def test_relu6_and_flatten(rng):
    x = 9 * rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    (theirs,) = run_onnx("Clip", {}, (x, np.float32(0), np.float32(6)))
    np.testing.assert_array_equal(theirs, testing.reference("relu6", x).astype(np.float32))
    (theirs,) = run_onnx("Flatten", {}, (x,))
    np.testing.assert_array_equal(theirs, testing.reference(ops.FlattenSpec(), x))
