"""Small ONNX models by hand, and what onnxruntime and onnx's reference evaluator make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 17


def port(name: str, shape: Sequence[Any] | None, dtype: Any = "float32") -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, shape)


def anything(name: str) -> onnx.ValueInfoProto:
    """An output of which nothing is declared but the name."""
    return onnx.ValueInfoProto(name=name)


def node(op: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> onnx.NodeProto:
    """`inputs` and `outputs` in one string, "-" for an absent one."""

    def names(text: str) -> list[str]:
        return ["" if word == "-" else word for word in text.split()]

    return helper.make_node(op, names(inputs), names(outputs), name or f"{op}_of_{outputs.split()[0]}", **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[Any],
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = OPSET,
    ir_version: int = 8,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    made = [anything(output) if isinstance(output, str) else output for output in outputs]
    graph = helper.make_graph(list(nodes), "by_hand", list(inputs), made, tensors)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(*pair) for pair in (domains or {}).items())]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version, functions=list(functions))


def conv_relu(shape: Sequence[Any] = ("N", 3, "H", "W"), dtype: Any = "float32", opset: int = OPSET) -> onnx.ModelProto:
    """Convolution, ReLU and the mean over the picture, for pictures of any size."""
    rng = np.random.default_rng(3)
    constants = {"w": rng.standard_normal((4, 3, 3, 3)).astype(dtype), "b": rng.standard_normal(4).astype(dtype)}
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("GlobalAveragePool", "r", "g"),
        node("Flatten", "g", "y"),
    ]
    return model(nodes, [port("x", shape, dtype)], [port("y", ("N", 4), dtype)], constants, opset=opset)
