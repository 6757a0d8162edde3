"""What the lowering functions write into: a graph of cnnkern's under construction, and what each ATen value became."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from ..graph.builder import GraphBuilder
from ..graph.ir import Graph, Node, Param, Value
from ..ops import ReshapeSpec
from ..ops.base import Spec
from .errors import Decline


class Emitter:
    """One piece of an ATen graph on its way to a `Graph`.

    Args:
        name: of the graph.
        constants: ATen node -> its tensor, for weights and what follows from weights alone.
        labels: ATen node -> the name its tensor has in the module ("layer1.0.conv1.weight"), where it has one.

    Attributes: `env`, ATen node -> the name of its value (a tuple of them where it has several results).
    """

    def __init__(self, name: str, constants: Mapping[fx.Node, Any], labels: Mapping[fx.Node, str]):
        self._builder = GraphBuilder(name)
        self._constants, self._labels = constants, labels
        self._params: dict[tuple, str] = {}
        self._held: list[torch.Tensor] = []  # so that no address in `_params` is given to another tensor
        self.producer: dict[str, Node] = {}
        self.weights: dict[str, np.ndarray] = {}
        self.env: dict[fx.Node, Any] = {}

    @property
    def graph(self) -> Graph:
        return self._builder.graph

    # --- what a node's arguments are

    def input(self, node: fx.Node, shape: Sequence[int]) -> str:
        """A value that comes from outside the piece."""
        name = self._fresh("input" if node.op == "placeholder" else f"{node.name}.in")
        self.graph.values[name] = Value(name, tuple(int(size) for size in shape))
        self.graph.inputs.append(name)
        self.env[node] = name
        return name

    def is_constant(self, argument: Any) -> bool:
        return isinstance(argument, fx.Node) and argument in self._constants

    def value(self, argument: Any) -> str:
        """The name of a computed value, or of a constant read as a plain operand."""
        if self.is_constant(argument):
            return self.constant(argument, "constant")
        if not isinstance(argument, fx.Node):
            raise Decline(f"a tensor is expected, got {argument!r}")
        name = self.env[argument]
        if not isinstance(name, str):
            raise Decline("it reads several results at once")
        return name

    def tensor(self, argument: Any) -> torch.Tensor:
        """The tensor of a constant."""
        if not self.is_constant(argument):
            raise Decline("its weight is computed by the network")
        return self._constants[argument]

    def constant(self, argument: Any, kind: str, change: Callable | None = None) -> str:
        """A weight as a param, or "" for None; `change` makes another tensor of it first (a view, where it can)."""
        if argument is None:
            return ""
        tensor = self.tensor(argument)
        if tensor.dtype != torch.float32:
            raise Decline(f"its weight is {tensor.dtype}; float32 is lowered")
        label = self._labels.get(argument, f"constant.{argument.name}")
        return self.param(tensor if change is None else change(tensor), label, kind)

    def param(self, tensor: torch.Tensor, label: str, kind: str) -> str:
        """Any tensor as a param; its memory is shared where it is dense."""
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), kind)
        if key in self._params:
            return self._params[key]
        name = self._fresh(label if "." in label else f"module.{label}")  # layers' own names have no dot
        array = np.ascontiguousarray(tensor.detach().cpu().numpy()).view()
        array.flags.writeable = False
        self.graph.params[name] = Param(name, tuple(array.shape), kind)
        self.weights[name] = array
        self._params[key] = name
        self._held.append(tensor)
        return name

    def label(self, argument: Any) -> str | None:
        """The layer that a weight belongs to: its name without the last part."""
        layer = self._labels.get(argument, "").rpartition(".")[0]
        return layer or None

    def shape(self, name: str) -> tuple[int, ...]:
        return self.graph.shape(name)

    def rank(self, name: str) -> int:
        return len(self.shape(name))

    # --- what it becomes

    def emit(self, spec: Spec, *inputs: str, layer: str | None = None) -> str:
        """One operation; returns the name of its (first) output."""
        taken = layer is not None and self._taken(layer)
        made = self._builder.emit(spec, inputs, None if taken else layer)
        self.producer[made] = self.graph.nodes[-1]
        return made

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """The same elements in another shape."""
        before, shape = self.shape(x), tuple(int(size) for size in shape)
        if before == shape:
            return x
        if math.prod(before) == 0 and any(s == 0 and before[i : i + 1] != (0,) for i, s in enumerate(shape)):
            raise Decline(f"nothing of shape {before} is reshaped to {shape}")
        return self.emit(ReshapeSpec(shape), x)

    def _taken(self, name: str) -> bool:
        graph = self.graph
        return name in graph.values or name in graph.params or any(node.name == name for node in graph.nodes)

    def _fresh(self, name: str) -> str:
        made, number = name, 0
        while self._taken(made):
            number += 1
            made = f"{name}_{number}"
        return made


def pair(values: Any) -> tuple[int, int]:
    """ATen's one or two ints as two."""
    values = [values] if isinstance(values, int) else list(values)
    if not all(isinstance(v, int) for v in values):
        raise Decline(f"its sizes are not known numbers: {values}")
    if len(values) not in (1, 2):
        raise Decline(f"it works along {len(values)} axes; two are lowered")
    return (values[0], values[-1])


def sides(values: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """A padding of both sides."""
    vertical, horizontal = pair(values)
    return (vertical, vertical), (horizontal, horizontal)


def image(e: Emitter, x: str) -> str:
    """x, if it has rank 4."""
    if e.rank(x) != 4:
        raise Decline(f"it works on shape {e.shape(x)}; images (N, C, H, W) are lowered")
    return x
