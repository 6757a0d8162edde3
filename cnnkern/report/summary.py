"""The table of `cnnkern summary`: Keras's columns, then what a layer costs and how much of the picture it sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from . import text
from .parts import ROOMY, facts, note, page, table

if TYPE_CHECKING:
    from ..summary import Summary

SPARED = ("statistics", "activations", "jump")  # what a narrow terminal does without
LEGEND = (
    "param #: learnable values and running statistics, as Keras counts; statistics: those of them not trained. field: "
    "how many input pixels an output sees across, padding included; jump: how far on those of the next one lie."
)


def summary(found: Summary, width: int) -> RenderableType:
    """A row per layer and the totals; `width` is the terminal's, in columns."""
    columns = [column for column in found.columns() if width >= ROOMY or column not in SPARED]
    *rows, sums = found.rows(columns)
    made = table(columns, footer=sums)
    for name, *cells in rows:
        made.add_row(text.Tail(name), *map(Text, cells))  # as Text: nothing to parse, for networks of 4,000 layers
    return page(found.title, made, facts(found.totals()), note(LEGEND))
