"""What the lowering functions look at, what they return, and what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...graph.ir import Graph, Node
from ...graph.memory import round_up
from ...graph.views import View
from ...ops.base import product
from .launch import Kernel, Launch, Pointer
from .tensors import ALIGN_BYTES, Buffers, Tensor, dense

THREADS = 256  # of a block that walks a line of elements


@dataclass
class Lowered:
    """The launches of one step, and what is said of it. `setup` runs once, when the weights are there."""

    launches: list[Launch]
    kernel: str
    setup: list[Launch] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)
    why: str = ""


class Region:
    """Memory handed out from the front, piece by piece."""

    def __init__(self, slot: str):
        self._slot, self._taken, self.size_bytes = slot, 0, 0

    def take(self, size_bytes: int) -> Pointer:
        pointer = Pointer(self._slot, self._taken)
        self._taken += round_up(size_bytes, ALIGN_BYTES)
        self.size_bytes = max(self.size_bytes, self._taken)
        return pointer

    def clear(self) -> None:
        """All of it is free again: the next step's."""
        self._taken = 0


@dataclass
class Lowering:
    """What the lowering functions look at."""

    graph: Graph
    views: Mapping[str, View]
    buffers: Buffers
    precision: str
    target: str
    multiprocessors: int
    weights: Region = field(default_factory=lambda: Region("weights"))  # packed once; zeros to begin with
    workspace: Region = field(default_factory=lambda: Region("workspace"))  # of one step at a time
    own: Mapping[str, Tensor] = field(default_factory=dict)  # values that a step keeps to itself

    @property
    def ctype(self) -> str:
        """What activations are kept as."""
        return CTYPES[self.precision]

    def tensor(self, name: str) -> Tensor:
        """A value, or a weight as users give it: float32, dense."""
        if name in self.own:
            return self.own[name]
        if name in self.graph.params:
            return dense(Pointer(f"param:{name}"), self.graph.shape(name))
        return self.buffers.tensor(name)

    def inputs(self, node: Node) -> list[Tensor | None]:
        """By position, None where absent; as many as the op can have."""
        names = [*node.inputs, *("",) * (len(node.spec.inputs) - len(node.inputs))]
        return [self.tensor(name) if name else None for name in names]

    def output(self, node: Node) -> Tensor:
        return self.tensor(node.outputs[0])

    def constant(self, node: Node, *positions: int) -> bool:
        """Whether those inputs are weights, or absent."""
        names = (node.inputs[i] for i in positions if i < len(node.inputs))
        return all(not name or name in self.graph.params for name in names)

    def scratch(self, sizes: Sequence[int], ctype: str | None = None) -> Tensor:
        """A tensor that lives as long as the step: an image as NHWC with pixels of whole 16-byte words, else dense."""
        ctype = ctype or self.ctype
        item = dense(Pointer(""), (1,), ctype).item_bytes
        sizes = tuple(sizes)
        if len(sizes) != 4:
            return dense(self.workspace.take(item * product(sizes)), sizes, ctype)
        n, c, h, w = sizes
        pixel = round_up(c, 16 // item)
        strides = (h * w * pixel, 1, w * pixel, pixel)
        return Tensor(self.workspace.take(item * n * h * w * pixel), sizes, strides, ctype)


CTYPES = {"float32": "float", "strict": "float", "tf32": "float", "float16": "f16", "bfloat16": "bf16"}


def line(kernel: Kernel, threads: int, args: Mapping[str, Any]) -> Launch:
    """A launch with a thread for each of so many things."""
    block = kernel.block[0]
    return Launch(kernel, (-(-threads // block), 1, 1), args)


def as_node(node: Node, **changes: Any) -> Node:
    """The node with another spec, inputs or outputs: what a step made of several ops hands to their lowerings."""
    return replace(node, **changes)
