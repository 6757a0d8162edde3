"""Writing a loaded model again: the file it came from, with the weights and the batch that are asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from onnx import numpy_helper

from ..errors import UnsupportedError
from ..ops.checks import as_int

if TYPE_CHECKING:
    from .model import OnnxModel


def save(model: OnnxModel, path: str | os.PathLike[str], batch: int | None) -> None:
    """As `cnnkern.onnx.save` says.

    Raises: UnsupportedError where the file fixes another batch, or holds weights beyond the 2 GiB of one file.
    """
    proto = as_proto(model)
    if batch is not None:
        batch = as_int("batch", batch, 1)
        for info in proto.graph.input:
            dims = info.type.tensor_type.shape.dim
            if not dims or info.name not in {port.name for port in model.inputs}:
                continue
            fixed = dims[0].dim_value if dims[0].WhichOneof("value") == "dim_value" else None
            if fixed is None:
                dims[0].dim_value = batch
            elif fixed != batch and len(dims) == 4:
                raise UnsupportedError(f"{model.name} takes {fixed} images at a time by its file; got batch {batch}")
        if batch != 1:
            del proto.graph.value_info[:]
            for info in proto.graph.output:
                info.type.tensor_type.ClearField("shape")
    try:
        data = proto.SerializeToString()
    except ValueError as error:
        raise UnsupportedError(f"{model.name}: one ONNX file holds at most 2 GiB: {error}") from error
    with open(path, "wb") as file:
        file.write(data)


def as_proto(model: OnnxModel) -> onnx.ModelProto:
    """The file as a ModelProto of its own, with the weights that the model has now, none of them in other files."""
    origin = model.origin
    if isinstance(origin, onnx.ModelProto):
        proto = onnx.ModelProto()
        proto.CopyFrom(origin)
    else:
        proto = onnx.ModelProto.FromString(origin.read_bytes() if isinstance(origin, Path) else origin)
    arrays = model.initializers
    for tensor in proto.graph.initializer:
        if model.changed or tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name], tensor.name))
    return proto
