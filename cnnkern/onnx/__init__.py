"""The door to ONNX. `import cnnkern` does not import onnx; the functions here do when they are called."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..ops.checks import as_int

if TYPE_CHECKING:
    from .model import OnnxModel

__all__ = ["load", "save"]


def load(
    source: str | os.PathLike[str] | bytes | Any,
    *,
    sizes: Mapping[str, int] | None = None,
    memory_limit_bytes: int = 2**34,
) -> OnnxModel:
    """A network from an ONNX file, with what every `cnnkern.model.Model` can do, and `run` for any inputs and outputs.

    Opsets 7 to the newest that the installed onnx knows; older ones are converted by onnx first. Shape arithmetic is
    folded; what cnnkern has no kernel for runs on onnx's reference evaluator, op by op (`OnnxModel.fallbacks` lists it,
    verbose=1 says it once). Float16, bfloat16 and double models are computed in float32, and take and return what they
    declare.

    Args:
        source: a path, the file's bytes, or an `onnx.ModelProto`. Weights in other files are read where these lie in
            the folder of the path, or below.
        sizes: of dimensions that the file leaves open, by symbol ({"height": 224}), or "x[2]" for a nameless one of the
            input x: what `summary`, `graph` and `compile()` go by. A first dimension is 1 without it. Running asks for
            none: each set of shapes gets a plan of its own, and the last few are kept.
        memory_limit_bytes: the most that activations may take at a time.
    Returns:
        An `OnnxModel`.
    Raises:
        ImportError: onnx is not installed. FileNotFoundError: no such file. TypeError: what is no model. ModelError: a
        file that is truncated, corrupt or no model; an operation, opset or control flow that is not supported; names
        that dangle or form a cycle; weights outside the folder. Node and reason are named.
    Example:
        >>> m = cnnkern.onnx.load("resnet50.onnx")
        >>> m(np.zeros((1, 3, 224, 224), np.float32)).shape
        (1, 1000)
    """
    try:
        from . import loader
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return loader.load(source, sizes=sizes, memory_limit_bytes=memory_limit_bytes)


def save(m: Any, path: str | os.PathLike[str], batch: int | None = 1) -> None:
    """Write a network and its weights as an ONNX file: node by node as the graph stands, nothing folded or fused.

    Args:
        m: a `cnnkern.model.Model`, built-in or loaded; one that came from an ONNX file is written as that file was,
            with the weights that it has now.
        path: the file; one that is there is replaced.
        batch: images per call, fixed in the file; None leaves it open (ONNX's `dim_param` "N"), as the number of
            regions ("R") always is.
    Raises:
        ImportError: onnx is not installed. TypeError, ValueError: what is no Model, or no batch.
        UnsupportedError: a layer that ONNX cannot express, by name. OSError: the file cannot be written.
    Example:
        >>> cnnkern.onnx.save(cnnkern.models.create("resnet18"), "resnet18.onnx", batch=16)
    """
    if hasattr(m, "origin"):  # loaded from a file: that is what it is
        from . import rewrite

        return rewrite.save(m, path, batch)
    graph, weights = getattr(m, "graph", None), getattr(m, "weights", None)
    if graph is None or weights is None:
        raise TypeError(f"m must be a cnnkern Model, as models.create returns, got {type(m).__name__}")
    if batch is not None:
        graph = graph.bind({"N": as_int("batch", batch, 1)})
    try:
        from . import exporter
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    model = exporter.to_onnx(graph, weights).SerializeToString()
    with open(path, "wb") as file:
        file.write(model)


def __getattr__(name: str) -> Any:
    """`cnnkern.onnx.backend`, imported when it is first asked for."""
    if name != "backend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return importlib.import_module(".backend", __name__)
    except ModuleNotFoundError as error:
        raise _missing(error) from error


def _missing(error: ModuleNotFoundError) -> ImportError:
    return ImportError(f"cnnkern.onnx needs the onnx package ({error}): pip install 'cnnkern[onnx]'")
