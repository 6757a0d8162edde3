"""Where every value of a plan lies: slot, offset, sizes and strides, as the native program takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...graph.ir import Graph
from ...graph.memory import MemoryPlan, round_up
from ...graph.views import View
from ...ops.base import Shape, product

LANES = 16  # floats that a pixel's channels are rounded up to
ARENA = 0  # the slot of the context's arena; the caller's buffers follow
Four = tuple[int, int, int, int]


class Tensor(NamedTuple):
    """(slot, offset, (n, h, w, c), (sn, sh, sw, sc)) in floats. A matrix (N, F) has h = w = 1 and c = F."""

    slot: int
    offset: int
    sizes: Four
    strides: Four

    @property
    def channels_last(self) -> bool:
        return self.strides[3] == 1

    @property
    def flat(self) -> bool:
        """All pixels of the batch lie at the pixel stride."""
        n, h, w, _ = self.sizes
        sn, sh, sw, _ = self.strides
        rows = h <= 1 or sh == w * sw
        return n <= 1 or (rows and sn == h * w * sw) if rows else False

    def channels(self, first: int, count: int) -> Tensor:
        """Channels [first, first + count) of it."""
        return self._replace(offset=self.offset + first * self.strides[3], sizes=(*self.sizes[:3], count))


def rows_of(shape: Shape) -> tuple[int, int]:
    """A value of any rank but 4 as a matrix: its last axis is a row."""
    return product(shape[:-1]), (shape[-1] if shape else 1)


class Buffers:
    """Tensors by value name. External values (graph inputs and outputs) lie densely in slots 1, 2, ... in the layout
    `external` gives them; every other root lies in the arena, rank 4 as NHWC with pixels rounded up to LANES."""

    def __init__(self, graph: Graph, views: Mapping[str, View], external: Mapping[str, str]):
        self._graph = graph
        self._views = views
        self._layout = dict(external)
        self._slot = {name: i + 1 for i, name in enumerate(external)}
        self.memory = MemoryPlan()  # set once planned: sizes are asked for before

    def size_bytes(self, root: str) -> int:
        """What a root takes of the arena."""
        if root in self._slot:
            return 0
        n, _, _, _ = sizes = self._sizes(root)
        return 4 * n * self._strides(root, sizes)[0]

    @property
    def external_floats(self) -> list[int]:
        return [product(self._graph.shape(name)) for name in self._slot]

    def _sizes(self, name: str) -> Four:
        shape = self._graph.shape(name)
        if len(shape) == 4:
            return shape[0], shape[2], shape[3], shape[1]
        rows, length = rows_of(shape)
        return rows, 1, 1, length

    def _strides(self, root: str, sizes: Four) -> Four:
        """Of the buffer of a root."""
        _, h, w, c = sizes
        if self._layout.get(root) == "NCHW" and len(self._graph.shape(root)) == 4:
            return c * h * w, w, 1, h * w
        pixel = c if root in self._slot or len(self._graph.shape(root)) not in (2, 4) else round_up(c, LANES)
        return h * w * pixel, w * pixel, pixel, 1

    def tensor(self, name: str) -> Tensor:
        view = self._views[name]
        root_sizes = self._sizes(view.root)
        strides = self._strides(view.root, root_sizes)
        slot = self._slot.get(view.root, ARENA)
        base = 0 if slot else self.memory.offsets.get(view.root, 0) // 4
        sizes = self._sizes(name)
        if len(self._graph.shape(name)) != 4:  # rows of a matrix: one image of the root each
            strides = (strides[0],) * 3 + (1,)
        return Tensor(slot, base + view.offset, sizes, strides)

    def array(self, name: str, arena: np.ndarray, externals: list[np.ndarray]) -> np.ndarray:
        """The value as a NumPy view of its memory, in its logical (NCHW) shape."""
        t = self.tensor(name)
        shape = self._graph.shape(name)
        memory = arena if t.slot == ARENA else externals[t.slot - 1]
        flat = memory.reshape(-1)[t.offset :]
        if product(shape) == 0:
            return np.zeros(shape, np.float32)
        strides = [4 * s for s in t.strides]
        if len(shape) == 4:
            return as_strided(flat, shape, (strides[0], strides[3], strides[1], strides[2]))
        rows = as_strided(flat, (t.sizes[0], t.sizes[3]), (strides[0], 4))
        return rows if len(shape) == 2 else rows.reshape(shape)
