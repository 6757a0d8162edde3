"""The door to ONNX. `import cnnkern` does not import onnx; the functions here do when they are called."""

from __future__ import annotations

import os
from typing import Any

from ..ops.checks import as_int

__all__ = ["save"]


def save(m: Any, path: str | os.PathLike[str], batch: int | None = 1) -> None:
    """Write a network and its weights as an ONNX file: node by node as the graph stands, nothing folded or fused.

    Args:
        m: a `cnnkern.model.Model`, built-in or loaded.
        path: the file; one that is there is replaced.
        batch: images per call, fixed in the file; None leaves it open (ONNX's `dim_param` "N"), as the number of
            regions ("R") always is.
    Raises:
        ImportError: onnx is not installed. TypeError, ValueError: what is no Model, or no batch.
        UnsupportedError: a layer that ONNX cannot express, by name. OSError: the file cannot be written.
    Example:
        >>> cnnkern.onnx.save(cnnkern.models.create("resnet18"), "resnet18.onnx", batch=16)
    """
    graph, weights = getattr(m, "graph", None), getattr(m, "weights", None)
    if graph is None or weights is None:
        raise TypeError(f"m must be a cnnkern Model, as models.create returns, got {type(m).__name__}")
    if batch is not None:
        graph = graph.bind({"N": as_int("batch", batch, 1)})
    try:
        from . import exporter
    except ModuleNotFoundError as error:
        raise ImportError(f"cnnkern.onnx needs the onnx package ({error}): pip install 'cnnkern[onnx]'") from error
    model = exporter.to_onnx(graph, weights).SerializeToString()
    with open(path, "wb") as file:
        file.write(model)
