"""`load`: the door through which ONNX files come in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..ops.checks import as_int
from .model import OnnxModel
from .reader import read

MEMORY_LIMIT_BYTES = 2**34


def load(
    source: str | os.PathLike[str] | bytes | Any,
    *,
    sizes: Mapping[str, int] | None = None,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
) -> OnnxModel:
    """As `cnnkern.onnx.load` says."""
    sizes = {name: as_int(f"sizes[{name!r}]", size, 0) for name, size in (sizes or {}).items()}
    limit_bytes = as_int("memory_limit_bytes", memory_limit_bytes, 1)
    made, origin = read(source)
    return OnnxModel(made, origin, sizes, limit_bytes)
