"""What onnx says of one node: the types of its outputs, for inputs of concrete shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from ..errors import ModelError
from ..ops.base import product
from .lowering import Node

TOLD = 4096  # constants of so many elements are told to the inference by value: axes, sizes, shapes
IR_VERSION = 10


@dataclass(frozen=True)
class Typed:
    """A tensor's dtype (NumPy's name) and shape; None where it hangs on values."""

    dtype: str
    shape: tuple[int, ...] | None

    @property
    def nbytes(self) -> int | None:
        if self.shape is None:
            return None
        return product(self.shape) * (8 if self.dtype == "object" else np.dtype(self.dtype).itemsize)

    @staticmethod
    def of(array: np.ndarray) -> Typed:
        return Typed("object" if array.dtype.kind in "US" else str(array.dtype), tuple(array.shape))


def infer(
    node: Node, inputs: Sequence[Typed | None], constants: Mapping[str, np.ndarray], opsets: Mapping[str, int]
) -> list[Typed | None]:
    """A type for every output; None where it is no tensor, or onnx does not say.

    Args:
        inputs: by position, None for an absent one. constants: values of inputs that are known, by name.
    Raises:
        ModelError: onnx refuses the types or shapes.
    """
    _refuse_what_crashes(node, inputs)
    told = {name: a for name, a in constants.items() if a.size <= TOLD and a.dtype != object}
    if node.op == "Range":  # engines take vectors of one element for its numbers, onnx's inference does not
        told = {name: a.reshape(()) if a.size == 1 else a for name, a in told.items()}
    model = one_node(node, inputs, told, opsets)
    try:
        made = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=_propagates(inputs))
    except Exception as error:  # InferenceError, ValidationError, and what its C++ throws on odd attributes
        schema = onnx.defs.get_schema(node.op, node.opset, node.domain)
        if schema.has_type_and_shape_inference_function or not inputs or inputs[0] is None:
            raise ModelError(f"{node.where()}: {_reason(error)}") from error
        # Inferred through the functions that stand for it, which fails for some of onnx's own.
        like = schema.inputs[0].type_str
        return [Typed(inputs[0].dtype, None) if output.type_str == like else None for output in schema.outputs]
    by_name = {info.name: info.type for info in made.graph.output}
    return [_typed(by_name.get(name)) for name in node.outputs]


def _refuse_what_crashes(node: Node, inputs: Sequence[Typed | None]) -> None:
    """ModelError where onnx would read beyond its vectors or turn for ever (found by fuzzing, onnx 1.23)."""
    parts, outputs = node.attr("num_outputs"), len(node.outputs)
    if node.op == "Split" and parts not in (None, outputs):
        raise ModelError(f"{node.where()}: num_outputs must be the number of its outputs, {outputs}, got {parts}")
    skips = node.attr("max_skip_count", 0)
    if node.op == "TfIdfVectorizer" and not (isinstance(skips, int) and skips <= TOLD):  # the evaluator tries each
        raise ModelError(f"{node.where()}: max_skip_count: at most {TOLD} is accepted, got {skips}")
    equation = node.attr("equation", "")
    if node.op == "Einsum" and not (isinstance(equation, str) and re.fullmatch(r"[A-Za-z.,> -]*", equation)):  # hangs
        raise ModelError(f"{node.where()}: equation: letters, ',', '->' and '...' are accepted, got {equation!r}")
    x = inputs[0] if inputs else None
    if node.op in ("LayerNormalization", "RMSNormalization") and x is not None and x.shape is not None:
        rank, axis = len(x.shape), node.attr("axis", -1)
        if not isinstance(axis, int) or not -rank <= axis < rank:
            raise ModelError(f"{node.where()}: axis must lie in [{-rank}, {rank - 1}] for rank {rank}, got {axis}")


def _propagates(inputs: Sequence[Typed | None]) -> bool:
    """Whether onnx follows values too, as functions that stand for a node need: it takes 60 bytes per element of any
    vector for that, known or not."""
    return all(kind is None or not kind.shape or len(kind.shape) > 1 or kind.shape[0] <= TOLD for kind in inputs)


def one_node(
    node: Node, inputs: Sequence[Typed | None], told: Mapping[str, np.ndarray], opsets: Mapping[str, int]
) -> onnx.ModelProto:
    """A model of that node alone."""
    types = {name: kind for name, kind in zip(node.inputs, inputs) if name}
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind.dtype)), kind.shape)
        if kind is not None
        else onnx.ValueInfoProto(name=name)
        for name, kind in types.items()
        if name not in told
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.outputs if name]
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in told.items() if name in types]
    graph = helper.make_graph([node.proto], "node", infos, outputs, initializers)
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


def _typed(kind: Any) -> Typed | None:
    if kind is None or kind.WhichOneof("value") != "tensor_type" or not kind.tensor_type.elem_type:
        return None
    dtype = str(helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type))
    if not kind.tensor_type.HasField("shape"):
        return Typed(dtype, None)
    dims = kind.tensor_type.shape.dim
    known = all(dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0 for dim in dims)
    return Typed(dtype, tuple(dim.dim_value for dim in dims) if known else None)


def _reason(error: BaseException) -> str:
    """The last of onnx's lines that says something: the first ones only say where it was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
