"""Where every value of a plan lies: slot, offset, sizes and strides, as the native program takes them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...graph.ir import Graph
from ...graph.memory import MemoryPlan, plan_memory, round_up
from ...graph.views import View
from ...ops import Conv2dSpec
from ...ops.base import Shape, product
from ..base import WEIGHTS

PACKED_IF_KNOWN = {"matmul": (1,)}  # inputs that steps pack where they are params, and read where they are values
LANES = 16  # floats that a pixel's channels are rounded up to
ALIASING = 128  # pixels so many floats apart, or a multiple of it, meet in a few sets of L1
ARENA = 0  # the slot of the context's arena; the caller's buffers follow, then the arena of the image at hand
Four = tuple[int, int, int, int]


class Tensor(NamedTuple):
    """(slot, offset, (n, h, w, c), (sn, sh, sw, sc), image) in floats. A matrix (N, F) has h = w = 1 and c = F.

    `image`: where a step runs once for each image, and this is that image's tensor, the way to the next image's.
    """

    slot: int
    offset: int
    sizes: Four
    strides: Four
    image: int = 0

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
        return self.part(3, first, count)

    def part(self, axis: int, first: int, count: int) -> Tensor:
        """[first, first + count) along an axis of (n, h, w, c)."""
        sizes = tuple(count if i == axis else size for i, size in enumerate(self.sizes))
        return self._replace(offset=self.offset + first * self.strides[axis], sizes=sizes)


class Nd(NamedTuple):
    """A tensor of any rank: (slot, offset, sizes, strides, image) in floats, axes as its users see them (NCHW). Strides
    may be negative, or 0 where an axis repeats one element."""

    slot: int
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    image: int = 0

    def broadcast(self, sizes: tuple[int, ...]) -> Nd:
        """The same repeated along axes of size 1, and new ones in front, by NumPy's rules."""
        missing = len(sizes) - len(self.sizes)
        strides = [0 if own == 1 else s for own, s in zip(self.sizes, self.strides)]
        return self._replace(sizes=tuple(sizes), strides=(*(0,) * missing, *strides))

    def axis(self, axis: int, start: int, step: int, count: int) -> Nd:
        """Elements start, start + step, ... along an axis."""
        at = self.strides[axis]
        sizes = (*self.sizes[:axis], count, *self.sizes[axis + 1 :])
        strides = (*self.strides[:axis], at * step, *self.strides[axis + 1 :])
        return self._replace(offset=self.offset + start * at, sizes=sizes, strides=strides)


def rows_of(shape: Shape) -> tuple[int, int]:
    """A value of any rank but 4 as a matrix: its last axis is a row."""
    return product(shape[:-1]), (shape[-1] if shape else 1)


def _windowed(graph: Graph, views: Mapping[str, View]) -> frozenset[str]:
    """The roots of what depthwise convolutions read: windows of pixels, a few channels at a time."""
    found = set()
    for node in graph.nodes:
        if isinstance(node.spec, Conv2dSpec) and 1 < node.spec.groups == graph.shape(node.inputs[0])[1]:
            found.add(views[node.inputs[0]].root)
    return frozenset(found)


def operands(graph: Graph) -> list[str]:
    """The params that steps read as they read values, and do not pack."""
    found = {}
    for node in graph.nodes:
        packed = (*WEIGHTS.get(node.spec.op, ()), *PACKED_IF_KNOWN.get(node.spec.op, ()))
        found.update(dict.fromkeys(n for i, n in enumerate(node.inputs) if n in graph.params and i not in packed))
    return [name for name in found if graph.params[name].dtype == "float32"]


class Buffers:
    """Tensors by value name. External values (graph inputs, constant operands, graph outputs) lie densely in slots
    1, 2, ... in the layout `external` gives them; every other root lies in an arena, rank 4 as NHWC with pixels rounded
    up to LANES: in the context's, or, where one image after the other comes through (`own`), in the image's own.

    Values of other types than float32 pass between steps in Python alone: no kernel sees them, no arena holds them."""

    def __init__(
        self, graph: Graph, views: Mapping[str, View], external: Mapping[str, str], own: Container[str] = frozenset()
    ):
        self._graph = graph
        self._views = views
        self.constants = operands(graph)
        self._layout = {**external, **dict.fromkeys(self.constants, "NHWC")}
        order = (*graph.inputs, *self.constants, *graph.outputs)
        self._slot = {name: i + 1 for i, name in enumerate(order)}
        self._own = own
        self._windowed = _windowed(graph, views)
        self.shared = plan_memory(graph, views, lambda root: 0 if root in own else self._size_bytes(root))
        self.each = plan_memory(graph, views, lambda root: self._size_bytes(root, 1) if root in own else 0)
        self.images = next((shape[0] for shape in map(graph.shape, graph.inputs) if shape), 1)

    def __contains__(self, name: str) -> bool:
        """Whether it is a value of the graph; params are none."""
        return name in self._views

    def memory(self, threads: int) -> MemoryPlan:
        """Of a context whose team has so many members."""
        offsets = {root: at for root, at in self.shared.offsets.items() if root not in self._own}
        every_image = self.images * self.each.activation_bytes
        return MemoryPlan(
            offsets,
            self.shared.arena_bytes + threads * self.each.arena_bytes,
            self.shared.activation_bytes + every_image,
        )

    def _size_bytes(self, root: str, images: int | None = None) -> int:
        """What a root takes of an arena."""
        if root in self._slot or self.in_python(root):
            return 0
        n, _, _, _ = sizes = self._sizes(root)
        return 4 * (n if images is None else images) * self._strides(root, sizes)[0]

    def in_python(self, name: str) -> bool:
        """Whether no kernel sees it: its type is not float32."""
        value = self._graph.values.get(name) or self._graph.params[name]
        return value.dtype != "float32"

    @property
    def external_floats(self) -> list[int]:
        return [0 if self.in_python(name) else product(self._graph.shape(name)) for name in self._slot]

    @property
    def read_only(self) -> int:
        """How many of the external values, the first ones, are only read."""
        return len(self._graph.inputs) + len(self.constants)

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
        if root in self._windowed and root not in self._slot and pixel % ALIASING == 0:
            pixel += LANES
        return h * w * pixel, w * pixel, pixel, 1

    def tensor(self, name: str) -> Tensor:
        """The value of the whole batch."""
        view = self._views.get(name) or View(name, 0, 1)  # a constant is its own root
        root_sizes = self._sizes(view.root)
        strides = self._strides(view.root, root_sizes)
        sizes = self._sizes(name)
        slot, base = self._slot.get(view.root, ARENA), 0
        if view.root in self._own:
            slot, base = self.own_slot, self.each.offsets[view.root] // 4
            strides = (self.each.arena_bytes // 4, *strides[1:])
        elif slot == ARENA:
            base = self.shared.offsets.get(view.root, 0) // 4
        if len(self._graph.shape(name)) != 4:  # rows of a matrix: one image of the root each
            strides = (strides[0],) * 3 + (1,)
        return Tensor(slot, base + view.offset, sizes, strides)

    def image_tensor(self, name: str) -> Tensor:
        """The value of one image, for a step that runs once for each."""
        t = self.tensor(name)
        image = 0 if t.slot == self.own_slot or t.sizes[0] == 1 else t.strides[0]  # one for all: a constant
        return t._replace(sizes=(1, *t.sizes[1:]), image=image)

    def nd(self, name: str, image: bool = False) -> Nd:
        """The value with an axis for each of its dimensions: of the batch, or of one image of it."""
        t, shape = (self.image_tensor if image else self.tensor)(name), self._graph.shape(name)
        if len(shape) == 4:
            order = (0, 3, 1, 2)
            sizes, strides = (tuple(of[i] for i in order) for of in (t.sizes, t.strides))
            return Nd(t.slot, t.offset, sizes, strides, t.image)
        strides, row = [t.strides[3]] * bool(shape), t.strides[0]
        for size in reversed(shape[1:-1]):
            strides.insert(0, row)
            row *= size
        if len(shape) > 1:
            strides.insert(0, row)
        sizes = (1, *shape[1:]) if image and shape[:1] == (self.images,) else tuple(shape)
        return Nd(t.slot, t.offset, sizes, tuple(strides), row if t.image and len(shape) > 1 else t.image)

    @property
    def own_slot(self) -> int:
        """The slot of the arena of the image at hand."""
        return len(self._slot) + 1

    def array(self, name: str, context, externals: list[np.ndarray]) -> np.ndarray:
        """The value as a NumPy view of its memory, in its logical (NCHW) shape.

        Args:
            context: of the program; where it holds one image's values at a time, those of a run of single steps.
        """
        t = self.tensor(name)
        shape = self._graph.shape(name)
        slots = {ARENA: lambda: context.arena, self.own_slot: lambda: context.own}
        memory = slots[t.slot]() if t.slot in slots else externals[t.slot - 1]
        flat = memory.reshape(-1)[t.offset :]
        if product(shape) == 0:
            return np.zeros(shape, np.float32)
        strides = [4 * s for s in t.strides]
        if len(shape) == 4:
            return as_strided(flat, shape, (strides[0], strides[3], strides[1], strides[2]))
        rows = as_strided(flat, (t.sizes[0], t.sizes[3]), (strides[0], 4))
        return rows if len(shape) == 2 else rows.reshape(shape)
