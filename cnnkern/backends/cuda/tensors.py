"""Where every value of a plan lies on the device: slot, byte offset, strides, type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...errors import UnsupportedError
from ...graph.ir import Graph
from ...graph.memory import MemoryPlan, plan_memory, round_up
from ...graph.views import View
from ...ops import ReorderSpec
from ...ops.base import Shape, product
from .launch import Pointer

ALIGN_BYTES = 256  # of roots in the arena: whole lines and sectors
LOAD_BYTES = 16  # the widest load of a thread
ITEM_BYTES = {"float": 4, "f16": 2, "bf16": 2, "tf32": 4, "i64": 8}
WIDEST = {name: LOAD_BYTES // ITEM_BYTES[name] for name in ("float", "f16", "bf16")}  # values of the widest load
NHWC = (0, 2, 3, 1)


def vectors(ctype: str) -> list[int]:
    """The values that one load may take."""
    return [v for v in (1, 2, 4, 8) if v <= WIDEST[ctype]]


class Tensor(NamedTuple):
    """A value in device memory. Sizes and strides are in the logical order (NCHW), strides in elements.

    `zeros`: so many channels behind the last hold zeros and may be read as if they were channels.
    """

    pointer: Pointer
    sizes: Shape
    strides: tuple[int, ...]
    ctype: str = "float"  # as kernels call it: "float", "f16", "bf16", "i64"
    zeros: int = 0

    @property
    def item_bytes(self) -> int:
        return ITEM_BYTES[self.ctype]

    @property
    def rank(self) -> int:
        return len(self.sizes)

    @property
    def nhwc_strides(self) -> list[int]:
        """(image, row, pixel): what a kernel that knows its channels to be neighbours wants."""
        sn, _, sh, sw = self.strides
        return [sn, sh, sw]

    @property
    def channels_last(self) -> bool:
        return self.rank == 4 and (self.strides[1] == 1 or self.sizes[1] == 1)

    @property
    def flat(self) -> bool:
        """Whether all pixels of the batch lie at the pixel stride."""
        n, _, h, w = self.sizes
        sn, _, sh, sw = self.strides
        rows = h <= 1 or sh == w * sw
        return rows and (n <= 1 or sn == h * w * sw)

    def channels(self, first: int, count: int) -> Tensor:
        """Channels [first, first + count) of an image or columns of a matrix."""
        sizes = (self.sizes[0], count, *self.sizes[2:])
        return self._replace(pointer=self.pointer + first * self.strides[1] * self.item_bytes, sizes=sizes, zeros=0)

    def vector(self, *others: Tensor, extra: int = 0) -> int:
        """The widest load along the channels that this tensor and `others` of its channels allow: a power of two of
        elements, at most 16 bytes, that divides the channels (zeros behind them included, and `extra` if not 0), the
        offset and the other strides."""
        widest = LOAD_BYTES // max(t.item_bytes for t in (self, *others))
        for t in (self, *others):
            along = 1 if t.rank > 1 else 0
            if t.strides[along] != 1 and t.sizes[along] != 1:
                return 1
            strides = [s for i, (s, n) in enumerate(zip(t.strides, t.sizes)) if i != along and n > 1]
            for value in (t.pointer.offset_bytes // t.item_bytes, t.sizes[along] + t.zeros, *strides, extra):
                while value % widest:
                    widest //= 2
        return widest


def dense(pointer: Pointer, sizes: Shape, ctype: str = "float", order: tuple[int, ...] | None = None) -> Tensor:
    """A tensor without gaps, its axes laid down in `order` (the last is the innermost; default as they come)."""
    strides, step = [0] * len(sizes), 1
    for axis in reversed(order or range(len(sizes))):
        strides[axis] = step
        step *= sizes[axis]
    return Tensor(pointer, tuple(sizes), tuple(strides), ctype)


def size_bytes(tensor: Tensor) -> int:
    """From its first element to behind its last."""
    if not product(tensor.sizes):
        return 0
    return (sum((n - 1) * s for n, s in zip(tensor.sizes, tensor.strides)) + 1) * tensor.item_bytes


class Buffers:
    """Tensors by value name.

    Graph inputs and outputs lie densely in slots of their own ("input:x"), in float32 and the layout `external` gives
    them. Every other root lies in the arena: images as NHWC whose pixels are a multiple of 16 bytes apart, matrices as
    rows likewise, anything else densely; in `ctype`, the precision that the network keeps its activations in.
    """

    def __init__(self, graph: Graph, views: Mapping[str, View], external: Mapping[str, str], ctype: str):
        self._graph, self._views, self._layout, self._ctype = graph, views, dict(external), ctype
        self._slots = {name: f"input:{name}" for name in graph.inputs}
        self._slots.update({name: f"output:{name}" for name in graph.outputs})
        # What the first reorder writes into NHWC gets zeros behind its channels: a stem then loads 16 bytes a pixel.
        self._zeroed = {
            node.outputs[0]
            for node in graph.nodes
            if isinstance(node.spec, ReorderSpec) and views[node.outputs[0]].root == node.outputs[0]
        }
        self.memory: MemoryPlan = plan_memory(graph, views, self._root_bytes, ALIGN_BYTES)
        for name in graph.values:
            if product(graph.shape(name)) >= 2**31:
                raise UnsupportedError(
                    f"{name} of shape {graph.shape(name)} has 2^31 elements or more; split the batch"
                )

    @property
    def lanes(self) -> int:
        """Channels that a pixel's are rounded up to."""
        return LOAD_BYTES // ITEM_BYTES[self._ctype]

    def external(self, name: str) -> Tensor:
        """A graph input or output as the caller has it."""
        shape = self._graph.shape(name)
        ctype = "i64" if self._graph.values[name].dtype == "int64" else "float"
        order = NHWC if self._layout.get(name) == "NHWC" and len(shape) == 4 else None
        return dense(Pointer(self._slots[name]), shape, ctype, order)

    def _root(self, name: str) -> Tensor:
        if name in self._slots:
            return self.external(name)
        shape, pointer = self._graph.shape(name), Pointer("arena")
        if len(shape) == 4:
            n, c, h, w = shape
            pixel = round_up(c, self.lanes)
            zeros = pixel - c if name in self._zeroed else 0
            return Tensor(pointer, shape, (h * w * pixel, 1, w * pixel, pixel), self._ctype, zeros)
        if len(shape) == 2:
            return Tensor(pointer, shape, (round_up(shape[1], self.lanes), 1), self._ctype)
        return dense(pointer, shape, self._ctype)

    def _root_bytes(self, name: str) -> int:
        root = self._root(name)
        if root.pointer.slot != "arena" or not product(root.sizes):
            return 0
        return root.sizes[0] * root.strides[0] * root.item_bytes if root.rank else root.item_bytes

    def tensor(self, name: str) -> Tensor:
        view, shape = self._views[name], self._graph.shape(name)
        root = self._root(view.root)
        if root.pointer.slot == "arena":
            root = root._replace(pointer=Pointer("arena", self.memory.offsets.get(view.root, 0)))
        if view.root == name:
            return root
        pointer = root.pointer + view.offset * root.item_bytes
        if len(shape) == 4:
            row = root.strides[0]  # of a matrix that is looked at as images of one pixel
            return Tensor(pointer, shape, root.strides if root.rank == 4 else (row, 1, row, row), root.ctype)
        return Tensor(pointer, shape, (root.strides[0], 1), root.ctype)
