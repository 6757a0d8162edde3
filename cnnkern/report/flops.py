"""The tables of `cnnkern flops`: three numbers in three columns, and what lies between the first and the last."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ..measure.accounting import LayerAccount, ModelAccount
from ..ops.base import Counts
from . import text
from .tables import _facts, _place, _table, counts_verdict

UNIT = "MFLOP"
LEGEND = (
    "MFLOP; 1 multiply-accumulate = 2. theory: the formula of the op. predicted: from shape and plan alone. "
    "executed: counted by running the plan. theory - executed = the columns after it."
)


def flops(name: str, batch: int, backend: str, isa: str | None, account: ModelAccount) -> RenderableType:
    """A row per layer; exact numbers are in --json, and every disagreement is spelt out below the table."""
    items = list(account.itemised)
    columns = ("layer", "kernel", "theory", "predicted", "executed", *map(_heading, items), "")
    footer = ("total", "", *_cells(account.theory, account.predicted, account.executed))
    footer += (*(_signed(account.itemised[item]) for item in items), text.VERDICTS[account.agrees])
    title = f"{name}  batch {batch}  {_place(backend, isa)}"
    made = _table(title, columns, footer=footer, left=2)
    for layer in account.layers:
        made.add_row(*_row(layer, items, isa))
    return Group(made, _facts([("counts", counts_verdict(account))]), Text(LEGEND, style="dim"), "")


def _row(layer: LayerAccount, items: Sequence[str], isa: str | None) -> list[str]:
    parts = layer.itemised or {}
    return [
        layer.name,
        layer.kernel.removesuffix(f"__{isa}"),
        *_cells(layer.theory, layer.predicted, layer.executed),
        *(_signed(parts.get(item)) for item in items),
        text.VERDICTS[layer.agrees],
    ]


def flops_all(rows: Sequence[tuple[str, ModelAccount]], batch: int, backend: str, isa: str | None) -> RenderableType:
    """A line per model."""
    items: dict[str, None] = {}
    for _, account in rows:
        items.update(dict.fromkeys(account.itemised))
    columns = ("model", "layers", "theory", "predicted", "executed", "%", *map(_heading, items), "")
    made = _table(f"{text.plural(len(rows), 'model')}  batch {batch}  {_place(backend, isa)}", columns)
    faults = []
    for name, account in rows:
        share = account.executed.flops / account.theory.flops if account.executed and account.theory.flops else None
        made.add_row(
            name,
            str(len(account.layers)),
            *_cells(account.theory, account.predicted, account.executed),
            text.percent(share, 1),
            *(_signed(account.itemised.get(item)) for item in items),
            text.VERDICTS[account.agrees],
        )
        if account.agrees is False:
            faults.append((name, counts_verdict(account)))
    return Group(made, _facts(faults), Text(LEGEND, style="dim"), "")


def _heading(item: str) -> str:
    """ "skipped taps" on two lines, so that its column is no wider than its numbers."""
    return item.replace("_", " ").replace(" ", "\n", 1)


def _cells(*counts: Counts | None) -> tuple[str, ...]:
    return tuple(text.millions(c.flops if c is not None else None, 3) for c in counts)


def _signed(counts: Counts | None) -> str:
    """A difference: nothing where there is none, so that the eye finds what there is."""
    return "" if counts is None or counts.flops == 0 else text.millions(counts.flops, 3)
