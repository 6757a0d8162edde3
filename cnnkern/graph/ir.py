"""The graph: values, nodes and parameters, in execution order. Plain data; shapes may hold "N", the batch, and "R", the
number of regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..ops.base import Spec

Dim = int | str


@dataclass(frozen=True)
class Value:
    """A tensor that flows: its name, shape (ints or symbols such as "N") and dtype."""

    name: str
    shape: tuple[Dim, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Param:
    """A weight: its name (the state-dict name), shape, what it is (`kind`, which decides its random initial values
    and whether it is trainable) and its dtype.

    Kinds: conv_weight, linear_weight, bias, bn_weight, bn_bias, bn_mean, bn_var; constant for an eager call's arrays
    and for numbers that belong to the network's definition: `value`, which no state dict holds and nobody counts."""

    name: str
    shape: tuple[int, ...]
    kind: str
    dtype: str = "float32"
    value: float | tuple | None = None  # broadcasts to the shape

    @property
    def trainable(self) -> bool:
        return self.kind not in ("bn_mean", "bn_var", "constant")

    @property
    def statistic(self) -> bool:
        return self.kind in ("bn_mean", "bn_var")


@dataclass(frozen=True)
class Node:
    """One operation. `inputs` name values or params by position, "" where an optional one is absent."""

    name: str
    spec: Spec
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def with_(self, **changes) -> Node:
        return replace(self, **changes)


@dataclass
class Graph:
    """Nodes in execution order over named values and params. Passes return a new Graph and leave theirs alone.

    `dropped` notes which values training drops a share of; nothing that runs looks at it."""

    name: str
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)
    dropped: dict[str, float] = field(default_factory=dict)

    def copy(self) -> Graph:
        parts = (self.inputs, self.outputs, self.nodes), (self.values, self.params, self.dropped)
        return Graph(self.name, *map(list, parts[0]), *map(dict, parts[1]))

    def shape(self, name: str):
        """The shape of a value or a param; None for the absent input ""."""
        if not name:
            return None
        return self.values[name].shape if name in self.values else self.params[name].shape

    def producer(self) -> dict[str, Node]:
        return {out: node for node in self.nodes for out in node.outputs}

    def consumers(self) -> dict[str, list[Node]]:
        """Value or param name -> the nodes that read it (a node once per read)."""
        table: dict[str, list[Node]] = {name: [] for name in (*self.values, *self.params)}
        for node in self.nodes:
            for name in node.inputs:
                if name:
                    table.setdefault(name, []).append(node)
        return table

    def bind(self, sizes: int | Mapping[str, int]) -> Graph:
        """The same graph with symbols replaced by numbers everywhere: the batch "N", the number of regions "R".

        Args:
            sizes: a number for all of them, or by symbol; those that it leaves out stay.
        """
        bound, named = self.copy(), isinstance(sizes, Mapping)

        def number(dim: Dim) -> Dim:
            return dim if not isinstance(dim, str) else sizes.get(dim, dim) if named else sizes

        bound.values = {name: replace(v, shape=tuple(map(number, v.shape))) for name, v in self.values.items()}
        return bound
