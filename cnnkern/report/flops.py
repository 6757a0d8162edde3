"""The tables of `cnnkern flops`: three numbers in three columns, and what lies between the first and the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import RenderableType

from ..measure.accounting import LayerAccount, ModelAccount
from ..ops.base import Counts
from . import text
from .parts import ROOMY, counts_verdict, facts, note, page, place, table

# Heading -> the items it sums. A backend's further items stand under REST; --json has every item on its own.
FAMILIES = {
    "skipped\ntaps": ("skipped padding taps", "unread inputs"),
    "block\npadding": ("block padding", "tile overhang", "merged groups"),
    "\nhalos": ("halos",),
    "algorithm\nsaving": ("algorithm saving", "transforms"),
}
REST = "\nother"
LEGEND = (
    "1 multiply-accumulate = 2 FLOP. theory: the formula of the op. predicted: from shape and plan alone. executed: "
    "counted by running the plan. theory - executed = the sum of the columns after executed."
)

Families = dict[str, Counts]


class _Unit:
    """MFLOP, or kFLOP where a network is tiny."""

    def __init__(self, largest: Counts):
        self.name, self.size = ("MFLOP", 1e6) if largest.flops >= 10**7 else ("kFLOP", 1e3)

    def value(self, counts: Counts | None) -> str:
        return text.ABSENT if counts is None else f"{counts.flops / self.size:,.2f}"

    def difference(self, counts: Counts | None) -> str:
        """Nothing where there is none, so that the eye finds what there is."""
        return "" if counts is None or counts.flops == 0 else self.value(counts)


def flops(name: str, batch: int, backend: str, isa: str | None, account: ModelAccount, width: int) -> RenderableType:
    """A row per layer; exact numbers are in --json, and every disagreement is spelt out below the table.

    `width` is the terminal's, in columns: a narrow one gets the three numbers alone.
    """
    unit, totals = _Unit(account.theory), families(account.itemised)
    shown = list(totals) if width >= ROOMY else []
    kernels = ["\nkernel"] if width >= ROOMY else []
    footer = ["total", *[""] * len(kernels)]
    footer += [unit.value(c) for c in (account.theory, account.predicted, account.executed)]
    footer += [unit.difference(totals[family]) for family in shown] + [text.VERDICTS[account.agrees]]
    columns = ("\nlayer", *kernels, "\ntheory", "\npredicted", "\nexecuted", *shown, "")
    made = table(columns, footer=footer, left=1 + len(kernels))
    for column in made.columns[1:]:
        column.no_wrap = True
    for layer in account.layers:
        made.add_row(*_row(layer, bool(kernels), shown, unit, isa))
    findings = [("counts", counts_verdict(account))]
    if account.itemised:
        findings.append(("items", _items(account.itemised, unit)))
    title = f"{name}  batch {batch}  {place(backend, isa)}  {unit.name}"
    return page(title, made, facts(findings), note(LEGEND))


def _row(layer: LayerAccount, kernel: bool, shown: Sequence[str], unit: _Unit, isa: str | None) -> list[RenderableType]:
    parts = families(layer.itemised or {})
    return [
        text.Tail(layer.name),
        *([layer.kernel.removesuffix(f"__{isa}")] if kernel else []),
        *(unit.value(counts) for counts in (layer.theory, layer.predicted, layer.executed)),
        *(unit.difference(parts.get(family)) for family in shown),
        text.VERDICTS[layer.agrees],
    ]


def flops_all(rows: Sequence[tuple[str, ModelAccount]], batch: int, backend: str, isa: str | None) -> RenderableType:
    """A line per model."""
    unit = _Unit(max((account.theory for _, account in rows), key=lambda counts: counts.flops))
    parts = [families(account.itemised) for _, account in rows]
    shown = [family for family in (*FAMILIES, REST) if any(family in found for found in parts)]
    title = f"{text.plural(len(rows), 'model')}  batch {batch}  {place(backend, isa)}  {unit.name}"
    made = table(("\nmodel", "\nlayers", "\ntheory", "\npredicted", "\nexecuted", "\n%", *shown, ""))
    faults = []
    for (name, account), found in zip(rows, parts):
        share = account.executed.flops / account.theory.flops if account.executed and account.theory.flops else None
        made.add_row(
            name,
            str(len(account.layers)),
            *(unit.value(counts) for counts in (account.theory, account.predicted, account.executed)),
            text.percent(share, 1),
            *(unit.difference(found.get(family)) for family in shown),
            text.VERDICTS[account.agrees],
        )
        if account.agrees is False:
            faults.append((name, counts_verdict(account)))
    return page(title, made, facts(faults), note(LEGEND))


def families(itemised: Mapping[str, Counts]) -> Families:
    """The items summed by family, in the order of the columns; families without an operation are left out."""
    named = {item: family for family, items in FAMILIES.items() for item in items}
    sums: Families = {}
    for item, counts in itemised.items():
        family = named.get(item, REST)
        sums[family] = sums.get(family, Counts()) + counts
    return {family: sums[family] for family in (*FAMILIES, REST) if sums.get(family, Counts()).flops}


def _items(itemised: Mapping[str, Counts], unit: _Unit) -> str:
    """Every item with operations, the largest first."""
    found = sorted(((item, c) for item, c in itemised.items() if c.flops), key=lambda pair: -abs(pair[1].flops))
    return ", ".join(f"{item} {unit.value(counts)}" for item, counts in found) or "none: executed is theory"
