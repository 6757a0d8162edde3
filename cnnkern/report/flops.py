"""The tables of `cnnkern flops`: three numbers in three columns, and what lies between the first and the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.markup import escape

from ..measure.accounting import LayerAccount, ModelAccount
from ..measure.counters import NOT_HERE, Hardware
from ..ops.base import Counts
from . import text
from .parts import ROOMY, counts_verdict, facts, hardware_verdict, note, page, place, table

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

    def flops(self, flops: int | None) -> str:
        return text.ABSENT if flops is None else f"{flops / self.size:,.2f}"

    def difference(self, counts: Counts | None) -> str:
        """Nothing where there is none, so that the eye finds what there is."""
        return "" if counts is None or counts.flops == 0 else self.value(counts)


def flops(
    name: str,
    batch: int,
    backend: str,
    isa: str | None,
    account: ModelAccount,
    width: int,
    hardware: Hardware = NOT_HERE,
) -> RenderableType:
    """A row per layer; exact numbers are in --json, and every disagreement is spelt out below the table.

    `width` is the terminal's, in columns: a narrow one gets the three numbers alone, and the `hardware`'s where it has
    any. Without those the column of executed operations says that it was counted.
    """
    unit, totals = _Unit(account.theory), families(account.itemised)
    shown = list(totals) if width >= ROOMY else []
    kernels = ["\nkernel"] if width >= ROOMY else []
    footer = ["total", *[""] * len(kernels)]
    footer += [unit.value(c) for c in (account.theory, account.predicted, account.executed)]
    read = ["\nhardware"] if hardware.flops is not None else []
    footer += [unit.flops(hardware.flops) for _ in read]
    footer += [unit.difference(totals[family]) for family in shown] + [text.VERDICTS[account.agrees]]
    executed = "\nexecuted" if read or account.executed is None else "executed,\ncounted"
    columns = ("\nlayer", *kernels, "\ntheory", "\npredicted", executed, *read, *shown, "")
    made = table(columns, footer=footer, left=1 + len(kernels))
    for column in made.columns[1:]:
        column.no_wrap = True
    for layer in account.layers:
        seen = [unit.flops(hardware.layers.get(layer.name)) for _ in read]
        made.add_row(*_row(layer, bool(kernels), seen, shown, unit, isa))
    findings = [("counts", counts_verdict(account)), ("hardware", hardware_verdict(hardware))]
    if account.itemised:
        findings.append(("items", _items(account.itemised, unit)))
    title = f"{name}  batch {batch}  {place(backend, isa)}  {unit.name}"
    return page(title, made, facts(findings), note(LEGEND))


def _row(
    layer: LayerAccount, kernel: bool, seen: Sequence[str], shown: Sequence[str], unit: _Unit, isa: str | None
) -> list[RenderableType]:
    """`seen`: the cells of the hardware's column, where there is one."""
    parts = families(layer.itemised or {})
    return [
        text.Tail(layer.name),
        *([layer.kernel.removesuffix(f"__{isa}")] if kernel else []),
        *(unit.value(counts) for counts in (layer.theory, layer.predicted, layer.executed)),
        *seen,
        *(unit.difference(parts.get(family)) for family in shown),
        text.VERDICTS[layer.agrees],
    ]


def flops_all(
    rows: Sequence[tuple[str, ModelAccount, Hardware]], batch: int, backend: str, isa: str | None
) -> RenderableType:
    """A line per model."""
    unit = _Unit(max((account.theory for _, account, _ in rows), key=lambda counts: counts.flops))
    parts = [families(account.itemised) for _, account, _ in rows]
    read = ["\nhardware"] if any(account.executed is not None for _, account, _ in rows) else []
    shown = [family for family in (*FAMILIES, REST) if any(family in found for found in parts)]
    title = f"{text.plural(len(rows), 'model')}  batch {batch}  {place(backend, isa)}  {unit.name}"
    made = table(("\nmodel", "\nlayers", "\ntheory", "\npredicted", "\nexecuted", *read, "\n%", *shown, ""))
    faults = []
    for (name, account, hardware), found in zip(rows, parts):
        share = account.executed.flops / account.theory.flops if account.executed and account.theory.flops else None
        made.add_row(
            name,
            str(len(account.layers)),
            *(unit.value(counts) for counts in (account.theory, account.predicted, account.executed)),
            *("counted" if hardware.flops is None else unit.flops(hardware.flops) for _ in read),
            text.percent(share, 1),
            *(unit.difference(found.get(family)) for family in shown),
            text.VERDICTS[account.agrees],
        )
        if account.agrees is False:
            faults.append((name, counts_verdict(account)))
        if hardware.agrees is False:
            faults.append((name, hardware_verdict(hardware)))
    reasons = dict.fromkeys(hardware.reason for _, _, hardware in rows if hardware.reason and read)
    faults += [("hardware", f"counted alone: {escape(reason)}") for reason in reasons]
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
