"""The exceptions of cnnkern's own."""

from __future__ import annotations


class ModelError(ValueError):
    """A model or weight file, or a state dict, that cannot be used; the message names it and the reason."""


class UnsupportedError(NotImplementedError):
    """What no available backend can do; the message says what can."""


class CompileError(RuntimeError):
    """A kernel source that the CUDA compiler refuses; the message names kernel and target and has its first errors."""


class DeviceMemoryError(MemoryError):
    """A GPU has too little memory; the message names what for, how much that needs, and how much is free."""


# The classes of `onnxruntime.capi.onnxruntime_pybind11_state` that a session raises (`cnnkern.InferenceSession`), by
# their names there; each is also what cnnkern and Python call such a thing, so that scripts may catch either.


class InvalidArgument(ValueError, RuntimeError):
    """A feed, an output's name or an option that the model does not take. onnxruntime raises RuntimeError for some of
    these (what cannot be made a tensor, io bindings) and ValueError for others (a missing input)."""


class Fail(ModelError, RuntimeError):
    """A model that cannot be prepared, or a run that ended."""


class InvalidGraph(Fail):
    """A model whose graph breaks ONNX's rules: an unknown operation, wrong types, dangling names."""


class InvalidProtobuf(ModelError):
    """Bytes that are no ONNX model."""


class NoSuchFile(FileNotFoundError):
    """No such model file."""


class NotImplemented(UnsupportedError):  # noqa: A001  onnxruntime's name
    """What onnxruntime offers, or ONNX allows, and cnnkern does not."""
