"""One problem and its data: arrays in awkward memory layouts, with values that the operation is defined on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnnkern import ops
from cnnkern.ops.base import Shape, Spec

MEMORY = ("plain", "channels_last", "strided", "reversed", "read_only")  # what backends take
ODD_MEMORY = (*MEMORY, "unaligned")  # what the functions take


@dataclass(frozen=True)
class Case:
    """One problem. `seed` makes its data; `memory` says how the first input lies in memory."""

    spec: Spec
    shapes: tuple[Shape | None, ...]
    seed: int
    memory: str = "plain"

    def arrays(self) -> list[np.ndarray | None]:
        """float32 inputs, normal with He-like weights; variances positive."""
        rng = np.random.default_rng(self.seed)
        names = self.spec.inputs if len(self.spec.inputs) >= len(self.shapes) else ["x"] * len(self.shapes)
        made = []
        for name, shape in zip(names, self.shapes):
            if shape is None:
                made.append(None)
                continue
            data = rng.standard_normal(shape)
            if name == "weight" and self.spec.op != "batch_norm":
                data *= np.sqrt(2 / max(1, self.spec.reduction(*self.shapes)))
            data = in_domain(self.spec, name, data)
            if name == "var":
                data = np.abs(data) + 0.1
            if name == "rois":
                data = regions(rng, self.spec, self.shapes[0], shape[0])
            made.append(laid_out(data.astype(np.float32), self.memory if not made else "plain"))
        return made


def in_domain(spec: Spec, name: str, data: np.ndarray) -> np.ndarray:
    """Where a function is defined, mostly: positive under roots, logarithms and powers that are no whole numbers."""
    kind = getattr(spec, "kind", "")
    if (spec.op, kind) in (("unary", "log"), ("unary", "sqrt"), ("reduce", "log_sum")):
        return np.asarray(np.abs(data) + 0.1)
    if (spec.op, kind) == ("binary", "pow"):
        return np.where(data < 0, np.round(2 * data), data) if name == "b" else np.asarray(np.abs(data))
    return data


def regions(rng, spec: ops.RoiMaxPoolSpec, x: Shape, count: int) -> np.ndarray:
    """Regions of every kind: in the image and beyond it, on half pixels, with corners swapped, too large for an int."""
    n, _, h, w = x
    corners = rng.uniform(-0.5, 1.5, (count, 4)) * (w, h, w, h)
    corners = np.where(rng.random((count, 4)) < 0.3, np.round(2 * corners) / 2, corners) / spec.spatial_scale
    huge = rng.choice([-3e38, -(2.0**33), 2.0**24, 3e38], (count, 4))
    corners = np.where(rng.random((count, 4)) < 0.05, huge, corners)
    return np.column_stack([rng.integers(0, max(n, 1), count), corners]).astype(np.float32)


def laid_out(a: np.ndarray, memory: str) -> np.ndarray:
    """The same values, lying otherwise in memory."""
    if memory == "channels_last" and a.ndim == 4:
        return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if memory == "strided" and a.ndim:
        wide = np.full((*a.shape[:-1], 2 * a.shape[-1] + 1), np.nan, np.float32)
        wide[..., 1::2] = a
        return wide[..., 1::2]
    if memory == "reversed" and a.ndim:
        return a[(slice(None, None, -1),) * a.ndim].copy()[(slice(None, None, -1),) * a.ndim]
    if memory == "unaligned":
        moved = np.zeros(a.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(a.shape)
        moved[...] = a
        return moved
    if memory == "read_only":
        a = a.copy()
        a.flags.writeable = False
    return a
