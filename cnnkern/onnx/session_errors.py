"""What goes wrong in a session, by onnxruntime's names (cnnkern/errors.py)."""

from __future__ import annotations

import os
from typing import Any

from ..errors import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    ModelError,
    NoSuchFile,
    NotImplemented,
    UnsupportedError,
)  # fmt: skip

_OURS = (Fail, InvalidArgument, InvalidProtobuf, NoSuchFile, NotImplemented)


class load_errors:
    """`with load_errors(path_or_bytes): ...`: what loading raises leaves under onnxruntime's name for it."""

    def __init__(self, source: Any):
        self._source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, _OURS):
            return
        source = f"{self._source}: " if isinstance(self._source, (str, os.PathLike)) else ""
        if isinstance(error, ModelError):
            raise (InvalidProtobuf if _unreadable(error) else InvalidGraph)(str(error)) from error
        if isinstance(error, UnsupportedError):
            raise NotImplementedError(str(error)) from error
        if isinstance(error, FileNotFoundError):
            raise NoSuchFile(error.errno, error.strerror or "no such file", error.filename or self._source) from None
        if isinstance(error, IsADirectoryError):
            raise InvalidProtobuf(f"{source}an ONNX file is accepted, got a folder") from None
        if isinstance(error, OSError):
            raise Fail(f"{source}the file cannot be read: {error}") from error


class _RunErrors:
    """`with run_errors: ...`: the same for what a run raises. Inputs were checked before; what is left does not go
    together inside the model."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, _OURS):
            return
        if isinstance(error, UnsupportedError):
            raise NotImplementedError(str(error)) from error
        if isinstance(error, ModelError):
            raise Fail(str(error)) from error
        if isinstance(error, (TypeError, ValueError)):
            raise InvalidArgument(str(error)) from error


run_errors = _RunErrors()


def _unreadable(error: ModelError) -> bool:
    """Whether it is the bytes: protobuf could not make a model of them, or made one of nothing."""
    module = type(error.__cause__).__module__ if error.__cause__ is not None else ""
    return module.startswith("google.protobuf") or "no ONNX model" in str(error)
