"""The list of architectures. A family file adds its rows here; `cnnkern.models` looks them up."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from ..graph.builder import GraphBuilder
from ..graph.ir import Graph

# (builder, input value, number of classes, include_top) -> output value, or all of them, the scores first
Build = Callable[[GraphBuilder, str, int, bool], str | list[str]]


@dataclass(frozen=True)
class Architecture:
    """One network: how it is built, and what is published about it.

    `params` counts learnable values, `bn_buffers` the running statistics, `macs` the multiply-accumulates of
    convolutions and linear layers for one image of `input_shape` (C, H, W). `num_classes` 0: a module without a
    classifier, whose builder gets 0 where none was asked for. `rename` maps a key of another library's
    state dict to ours, or to None where it is left out on purpose; it gives back what it does not know.
    """

    name: str
    build: Build
    params: int
    macs: int
    bn_buffers: int = 0
    input_shape: tuple[int, int, int] = (3, 224, 224)
    num_classes: int = 1000
    paper: str = ""
    reference: str = "paper"  # "tv:<name>", "timm:<name>": the implementation whose state dicts load
    aliases: tuple[str, ...] = ()  # other libraries' names of the very same network
    rename: Callable[[str], str | None] | None = None
    weights: str | None = None  # a file in cnnkern/data with trained weights, else seeded random ones

    def graph(
        self, num_classes: int | None = None, include_top: bool = True, input_shape: tuple[int, int, int] | None = None
    ) -> Graph:
        """The network as a `Graph` with the symbolic batch "N".

        Without its top it ends in the last feature map, before pooling, flattening and classifier.

        Raises:
            ValueError: an input_shape (C, H, W) that the network cannot take; names the least square that it can.
        """

        def made(shape: tuple[int, int, int]) -> Graph:
            g = GraphBuilder(self.name)
            return g.finish(self.build(g, g.input(shape), num_classes or self.num_classes, include_top))

        shape = tuple(self.input_shape if input_shape is None else input_shape)
        try:
            return made(shape)
        except ValueError as error:
            if shape == self.input_shape or (least := _least(made, shape, max(self.input_shape[1:]))) is None:
                raise
            fitting = f"; of squares ({shape[0]}, {least}, {least}) would do" if min(shape[1:]) < least else ""
            raise ValueError(f"input_shape: {self.name} cannot take {shape}{fitting}: {error}") from None


def _least(made: Callable[[tuple[int, int, int]], Graph], shape: tuple[int, int, int], enough: int) -> int | None:
    """The side of the smallest square that can be built, at most `enough`; None where even that cannot."""

    def fits(side: int) -> bool:
        try:
            made((shape[0], side, side))
        except ValueError:
            return False
        return True

    if len(shape) != 3 or not all(isinstance(size, int) and size > 0 for size in shape) or not fits(enough):
        return None
    return bisect_left(range(1, enough), True, key=fits) + 1


ARCHITECTURES: dict[str, Architecture] = {}
ALIASES: dict[str, str] = {}


def register(architecture: Architecture) -> None:
    """Add an architecture; its name and aliases must be new."""
    for name in (architecture.name, *architecture.aliases):
        if name in ARCHITECTURES or name in ALIASES:
            raise ValueError(f"architecture {name!r} is registered twice")
    ARCHITECTURES[architecture.name] = architecture
    ALIASES.update(dict.fromkeys(architecture.aliases, architecture.name))


def renamed_layers(table: dict[str, str]) -> Callable[[str], str]:
    """A `rename` from a table of layer names: "<theirs>.weight" -> "<ours>.weight"."""

    def rename(key: str) -> str:
        layer, _, leaf = key.rpartition(".")
        return f"{table.get(layer, layer)}.{leaf}"

    return rename
