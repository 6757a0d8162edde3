"""What converters make of a node: the Specs that have fast kernels, nothing where nothing is to be done, and clear
refusals."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")

from nodecase import Case  # noqa: E402  needs onnx

from cnnkern import ModelError, ops  # noqa: E402
from cnnkern.onnx import convert, loader  # noqa: E402
from cnnkern.onnx.convert.shape import slice_range  # noqa: E402

X = np.ones((2, 4, 6, 8), np.float32)
ROWS = np.ones((3, 5), np.float32)


def const(*values, dtype=np.int64) -> np.ndarray:
    return np.array(values if len(values) != 1 else values[0], dtype)


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def specs(case: Case) -> list[ops.Spec]:
    return [node.spec for node in loader.load(case.model()).graph.nodes if node.spec.op != "reorder"]


FAST = [
    (Case("Clip", [X, number(0), number(6)], constant=[1, 2]), [ops.ActivationSpec("relu6")]),
    (Case("Clip", [X, number(0)], constant=[1]), [ops.ActivationSpec("relu")]),
    (Case("Clip", [X], {"min": 0.0, "max": 3.4028234663852886e38}, opset=7), [ops.ActivationSpec("relu")]),
    (Case("Clip", [X]), []),
    (Case("LeakyRelu", [X], {"alpha": 0.25}), [ops.ActivationSpec("leaky_relu", 0.25)]),
    (Case("PRelu", [X, number(0.25)], constant=[1]), [ops.ActivationSpec("leaky_relu", 0.25)]),
    (Case("HardSigmoid", [X], {"alpha": 1 / 6}), [ops.ActivationSpec("hardsigmoid")]),
    (Case("Gelu", [X]), [ops.ActivationSpec("gelu")]),
    (Case("Mul", [X, number(3)], constant=[1]), [ops.UnarySpec("affine", 3.0, -0.0)]),
    (Case("Add", [number(3), X], constant=[0]), [ops.UnarySpec("affine", 1.0, 3.0)]),
    (Case("Div", [X, number(4)], constant=[1]), [ops.UnarySpec("affine", 0.25, -0.0)]),
    (Case("Div", [X, number(3)], constant=[1]), [ops.BinarySpec("div")]),
    (Case("Pow", [X, number(2)], constant=[1]), [ops.MulSpec()]),
    (Case("Pow", [X, number(0.5)], constant=[1]), [ops.UnarySpec("sqrt")]),
    (Case("Identity", [X]), []),
    (Case("Dropout", [X]), []),
    (Case("Cast", [X], {"to": 1}), []),
    (Case("GlobalAveragePool", [X]), [ops.GlobalPool2dSpec("avg")]),
    (Case("ReduceMean", [X, const(2, 3)], constant=[1]), [ops.GlobalPool2dSpec("avg")]),
    (Case("ReduceMax", [X, const(-1, -2)], constant=[1]), [ops.GlobalPool2dSpec("max")]),
    (
        Case("ReduceMean", [X, const(2, 3)], {"keepdims": 0}, [1]),
        [ops.GlobalPool2dSpec("avg"), ops.FlattenSpec()],
    ),
    (Case("Flatten", [X]), [ops.FlattenSpec()]),
    (Case("Reshape", [X, const(0, -1)], constant=[1]), [ops.FlattenSpec()]),
    (Case("Reshape", [X, const(2, 4, 6, 8)], constant=[1]), []),
    (Case("Transpose", [np.ones((2, 4, 1, 1), np.float32)], {"perm": [0, 2, 3, 1]}), [ops.ReshapeSpec((2, 1, 1, 4))]),
    (
        Case("Slice", [X, const([1]), const([3]), const([1])], constant=[1, 2, 3]),
        [ops.SliceSpec(1, 1, 3)],
    ),
    (
        Case("Slice", [X, const([0]), const([9]), const([2]), const([2])], constant=[1, 2, 3, 4]),
        [ops.StrideSpec(2, 0, 2, 3)],
    ),
    (Case("Slice", [X, const([0]), const([99]), const([2])], constant=[1, 2, 3]), []),
    (Case("Gather", [X, const([1, 2])], {"axis": 1}, [1]), [ops.SliceSpec(1, 1, 3)]),
    (Case("Gather", [X, const([0, 2])], {"axis": 1}, [1]), [ops.StrideSpec(1, 0, 2, 2)]),
    (Case("Pad", [X, const(0, 0, 1, 2, 0, 0, 3, 4)], constant=[1]), [ops.PadSpec(((1, 3), (2, 4)))]),
    (Case("Softmax", [np.ones((2, 9, 1, 1), np.float32)], opset=11), [ops.SoftmaxSpec(1)]),
    (Case("Gemm", [ROWS, np.ones((5, 2), np.float32)], {"alpha": 0.5}, [1]), [ops.LinearSpec()]),
    (Case("MatMul", [ROWS, np.ones((5, 2), np.float32)], {}, [1]), [ops.LinearSpec()]),
]  # fmt: skip


@pytest.mark.parametrize("case, expected", FAST, ids=lambda v: str(v)[:70] if isinstance(v, Case) else "")
def test_fast_specs(case, expected):
    assert specs(case) == expected


def test_resize_is_a_table():
    """Nearest by a whole factor only gathers; linear reads two pixels an output."""
    none = np.zeros(0, np.float32)
    scales = const(1, 1, 2, 2, dtype=np.float32)
    nearest = specs(Case("Resize", [X, none, scales], {"mode": "nearest"}, [1, 2]))
    assert [spec.weight for spec in nearest] == [None, None]
    linear = specs(Case("Resize", [X, none, scales], {"mode": "linear"}, [1, 2]))
    assert [spec.taps for spec in linear] == [2, 2] and {spec.axis for spec in linear} == {2, 3}


def test_weights_are_folded():
    matrix = np.arange(10, dtype=np.float32).reshape(5, 2)
    model = loader.load(Case("Gemm", [ROWS, matrix, number(3)], {"alpha": 2.0, "beta": 0.5}, [1, 2]).model())
    (node,) = model.graph.nodes
    assert np.array_equal(model.weights[node.inputs[1]], 2 * matrix.T)
    assert np.array_equal(model.weights[node.inputs[2]], [1.5, 1.5])
    assert [model.graph.params[name].kind for name in node.inputs[1:]] == ["linear_weight", "bias"]


WEIGHT = np.ones((4, 4, 3, 3), np.float32)
REFUSED = [
    (Case("Conv", [X, WEIGHT], {"pads": [0, 0, -1, 0]}), "pads"),
    (Case("Conv", [X, WEIGHT], {"strides": [0, 1]}), ""),
    (Case("Conv", [X, WEIGHT], {"pads": [1 << 40, 0, 0, 0], "strides": [1 << 40, 1]}), "bytes"),
    (Case("ConvTranspose", [X, WEIGHT], {"output_padding": [5, 0]}), "output_padding"),
    (Case("MaxPool", [X], {"kernel_shape": [9, 9]}), ""),
    (Case("Split", [X], {"axis": 1, "num_outputs": 3}, outputs=2), "num_outputs"),
    (Case("Split", [X, const(1, 2)], {"axis": 1}, [1], outputs=2), ""),
    (Case("LayerNormalization", [X, np.ones(8, np.float32)], {"axis": 4}), "axis must lie in"),
    (Case("LayerNormalization", [X, np.ones(8, np.float32)], {"axis": 1 << 31}), "axis must lie in"),
    (Case("Gather", [X, const([4])], {"axis": 1}, [1]), "indices"),
    (Case("Slice", [X, const([0]), const([1]), const([1]), const([0])], {}, [1, 2, 3, 4]), ""),
    (Case("Resize", [X, None, const(1, 1, -1, 1, dtype=np.float32)], {}, [2]), ""),
    (Case("Pad", [X, const(0, 0, -9, 0, 0, 0, 0, 0)], {}, [1]), ""),
    (Case("Einsum", [ROWS, ROWS], {"equation": "ij,jk->ik"}), ""),
    (Case("LpPool", [X], {"kernel_shape": [2, 2], "p": 0}), "p must be positive"),
    (Case("GlobalLpPool", [X], {"p": -1}), "p must be positive"),
]


@pytest.mark.parametrize("case, words", REFUSED, ids=lambda v: str(v)[:70] if isinstance(v, Case) else "")
def test_refusals_name_the_node(case, words):
    model = case.model_as_it_is()
    with pytest.raises(ModelError, match=f"{case.op}_0.*{words}"):
        loader.load(model).run(case.feeds, backend="reference")


@pytest.mark.parametrize("size", (0, 1, 5))
def test_slices_are_the_specifications(size):
    """Positive steps slice as NumPy does; negative ones too, but for a start before the first element, which counts
    as the first."""
    x = np.arange(size)
    for step in (-3, -1, 1, 2):
        for start in range(-7, 8):
            for end in range(-7, 8):
                first, count = slice_range(start, end, step, size)
                found = [first + i * step for i in range(count)]
                if size and step < 0 and start < -size:
                    start_too = slice(0, end if end >= -size else None, step)
                    assert found == x[start_too].tolist(), (start, end, step)
                else:
                    assert found == x[slice(start, end, step)].tolist(), (start, end, step)


def test_newest_converter_wins():
    assert convert.find("Clip", 7) is not convert.find("Clip", 11)
    assert convert.find("Clip", 13) is convert.find("Clip", 11)
    assert convert.find("NonMaxSuppression", 13) is None
    with pytest.raises(ValueError, match="Relu since opset 1"):
        convert.converter("Relu")(lambda b, n: [])
