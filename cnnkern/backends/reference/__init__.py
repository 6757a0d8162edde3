"""The oracle: every operation in obvious NumPy, float64 inside. Slow, short and meant to be read.

`images.py` has the operations on images, `general.py` those on arrays of any rank."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from ... import config
from ...errors import UnsupportedError
from ...graph.ir import Graph
from ...ops import ForeignSpec
from ...ops.base import Spec
from ..trace import print_step
from . import general, images  # noqa: F401  they register their operations
from .images import activate, contrast
from .registry import OPS, Array

__all__ = ["OPS", "ReferenceBackend", "activate", "contrast"]


class ReferenceBackend:
    """NumPy, float64 accumulation. Every op, every shape; `algo` changes nothing here, there is one way.

    Args:
        dtype: what the outputs are cast to; None means the type of the first input. np.float64 makes it the oracle.
    """

    name = "reference"
    precisions = ("float32", "strict")

    def __init__(self, dtype=None):
        self.dtype = None if dtype is None else np.dtype(dtype)

    def available(self) -> str:
        return ""

    def passes(self) -> list:
        return []  # the oracle runs the graph as it stands

    def call(self, spec: Spec, arrays: Sequence[Array | None], out: Array | None = None, precision: str = "float32"):
        """One operation on NCHW-shaped arrays of any strides; float64 results cast to the input's type (or `dtype`).

        Returns a tuple of fresh arrays, or of `out` (operations with one output only), filled.
        Raises ValueError or TypeError for shapes that the Spec refuses, UnsupportedError for a precision below float32.
        """
        if precision not in ("float32", "strict"):
            raise UnsupportedError(f"precision {precision!r} is not available on the reference: 'float32', 'strict'")
        shapes = [None if a is None else a.shape for a in arrays]
        spec.infer(*shapes)
        spec.check_values(shapes, {i: arrays[i] for i in spec.by_value})
        start = time.perf_counter()
        with np.errstate(all="ignore"):  # NaN and inf pass through as IEEE says, silently
            results = (self._foreign if isinstance(spec, ForeignSpec) else self._own)(spec, arrays)
        if out is not None:
            out[...] = results[0]
            results = (out,)
        if config.get("verbose"):
            print_step(self.name, "numpy", spec, shapes, time.perf_counter() - start)
        return results

    def _own(self, spec: Spec, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        dtype = self.dtype or arrays[0].dtype
        results = OPS[spec.op](spec, *(None if a is None else np.asarray(a, np.float64) for a in arrays))
        return tuple(np.array(y, dtype if y.dtype == np.float64 else None, order="C") for y in results)

    def _foreign(self, spec: ForeignSpec, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        """What the function from elsewhere returns, held to what its Spec says; real numbers in this backend's type."""
        dtypes = [self.dtype or dtype if dtype == "float32" else dtype for dtype in spec.dtypes]
        results = tuple(np.array(y, dtype, order="C") for y, dtype in zip(spec.run(*arrays), dtypes))
        if tuple(y.shape for y in results) != spec.shapes:
            raise ValueError(
                f"{spec.kind}: outputs of shapes {spec.shapes} were promised, got {[y.shape for y in results]}"
            )
        return results

    def compile(
        self, graph: Graph, weights: dict, *, precision: str = "float32", threads: int | None = None, **options
    ):
        """A batch-bound graph and its weights -> an Executable whose steps are calls of this backend."""
        from ...graph.executor import compile_steps

        dtype = str(self.dtype or "float32")
        call = partial(self.call, precision=precision)
        return compile_steps(call, graph, weights, backend=self.name, dtype=dtype, **options)
