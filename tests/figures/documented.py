"""What the documents print, and what the library says: a `Figure` holds both and the verdict on the first.

Rows are those of table B of the project's list of architectures; "000" to "004" name the documents. Every true value is
computed by the library's own functions, and compared to the unit with the one written down here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Number
from typing import Any

import pytest

from cnnkern import models
from cnnkern.graph.builder import GraphBuilder
from cnnkern.model import Model
from cnnkern.ops.base import product
from cnnkern.summary import Layer, Summary

WEIGHTED = ("conv2d", "linear", "locally_connected2d")


@dataclass(frozen=True)
class Figure:
    """One figure. `true` is what `compute` must give; `verdict` says how `printed`, the document's number, follows:

    right: it is the true one. rounded, truncated: the true one to the digits printed. wrong: neither. misleading,
    inconsistent: another number than the one meant. derived: the document prints none.
    """

    row: str
    document: str
    quoted: str
    printed: Any
    verdict: str
    true: Any
    compute: Callable[[], Any]

    def check(self) -> None:
        found = self.compute()
        assert found == self.true, f"{self.row}: the library says {found}, the true value is {self.true}"
        assert follows(self.verdict, self.printed, self.true), (
            f"{self.row}: {self.printed} is not {self.verdict} beside {self.true}"
        )


def each(figures: Sequence[Figure]):
    """A test for every figure, named by its row and by what the document prints."""
    return pytest.mark.parametrize("figure", figures, ids=lambda f: f"{f.row} {f.quoted}")


def follows(verdict: str, printed: Any, true: Any) -> bool:
    """Does the printed figure stand to the true one as the verdict says?"""
    if verdict == "derived":
        return printed is None
    if verdict in ("misleading", "inconsistent"):
        return printed != true
    if verdict == "right":
        return printed == true
    if isinstance(printed, tuple):
        return len(printed) == len(true) and all(follows(verdict, a, b) for a, b in zip(printed, true))
    unit = last_digit(printed)
    rounded, truncated = abs(true - printed) <= unit / 2, printed <= true < printed + unit
    return {"rounded": rounded, "truncated": truncated, "wrong": not rounded and not truncated}[verdict]


def last_digit(number: Number) -> Number:
    """What the last digit that is no trailing zero counts: 62_000_000 -> 1_000_000, 2.39 -> 0.01."""
    if isinstance(number, float):
        return 10.0 ** -len(repr(number).partition(".")[2])
    unit = 1
    while number and number % (10 * unit) == 0:
        unit *= 10
    return unit


# --- the library's own numbers


@cache
def model(name: str, include_top: bool = True) -> Model:
    return models.create(name, include_top=include_top)


@cache
def summary(name: str, include_top: bool = True) -> Summary:
    return model(name, include_top).summary()


def layer(name: str, wanted: str) -> Layer:
    return next(row for row in summary(name).layers if row.name == wanted)


def volume(name: str, wanted: str) -> tuple[int, ...]:
    """A layer's output as the documents print it: height, width, channels."""
    channels, *hw = layer(name, wanted).output_shape
    return (*hw, channels)


def values(name: str, wanted: str) -> int:
    return layer(name, wanted).activation_bytes // 4


def kernels(name: str, wanted: str) -> int:
    """A layer's parameters without its bias."""
    return product(model(name).graph.params[f"{wanted}.weight"].shape)


def weighted(name: str) -> list[Layer]:
    return [row for row in summary(name).layers if row.op in WEIGHTED]


def depth(name: str, ops: Sequence[str] = WEIGHTED) -> int:
    """The layers of these kinds on the longest way from the input to the scores."""
    graph = model(name).graph
    longest = dict.fromkeys(graph.inputs, 0)
    for node in graph.nodes:
        longest[node.outputs[0]] = max(longest.get(value, 0) for value in node.inputs) + (node.spec.op in ops)
    return longest[graph.outputs[0]]


def stack(kernel_sizes: Sequence[int], channels: int, size: int = 32) -> Summary:
    """Convolutions of stride 1 one behind the other, all of them on `channels` channels, without biases."""
    g = GraphBuilder("stack")
    x = g.input((channels, size, size))
    for i, kernel in enumerate(kernel_sizes):
        x = g.conv(x, f"conv{i}", channels, kernel, padding=kernel // 2, bias=False)
    return Model(g.finish(x)).summary()
