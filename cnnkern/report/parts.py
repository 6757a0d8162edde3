"""What every page of the command line is made of: a title, a table, facts below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..measure.accounting import ModelAccount
from ..measure.counters import AGREE, Hardware
from . import text

ROOMY = 110  # columns; on a narrower terminal the wide tables leave out what can be spared
FAULTS_SHOWN = 10


def page(title: str, body: Table, *rest: RenderableType) -> Group:
    """A title line, the table, a blank line, and whatever follows, blank lines between pages included."""
    heading = [Text(title, style="bold")] if title else []
    return Group(*heading, body, "", *rest, "")


def table(columns: Sequence[str], *, footer: Sequence[str] | None = None, left: int = 1) -> Table:
    """A table whose first `left` columns are words, flush left, and whose others are numbers, flush right."""
    made = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # two spaces between columns, with the box's own one
        pad_edge=False,
        show_edge=False,
        show_footer=footer is not None,
        header_style="dim",
        footer_style="bold",
    )
    for i, column in enumerate(columns):
        made.add_column(
            column,
            justify="left" if i < left else "right",
            no_wrap=i >= left,
            overflow="fold",
            footer=footer[i] if footer else "",
        )
    return made


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Label and sentence, a pair per line."""
    made = Table.grid(padding=(0, 2), pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for label, sentence in rows:
        made.add_row(label, sentence)
    return made


def note(sentence: str) -> Text:
    return Text(sentence, style="dim")


def place(backend: str, isa: str | None) -> str:
    return f"{backend} ({isa})" if isa else backend


def counts_verdict(account: ModelAccount) -> str:
    """Whether what was predicted was executed, and what was not."""
    if account.agrees is None:
        return "not counted: this backend has no counting kernels"
    if not account.agrees:
        shown = [escape(fault) for fault in account.faults[:FAULTS_SHOWN]]
        more = len(account.faults) - len(shown)
        return "[bold red]WRONG[/]: " + "\n".join([*shown, f"and {more:,} more"] if more else shown)
    executed, theory = account.executed.flops, account.theory.flops
    share = f", {text.percent(executed / theory, 1)} % of theory" if theory else ""
    layers = text.plural(len(account.layers), "layer")
    return f"[green]predicted and executed operations agree[/] in {layers}: {executed:,} FLOP{share}"


def hardware_verdict(found: Hardware) -> str:
    """What the processor's counters say of the executed operations, or why they are counted alone."""
    if found.flops is None:
        return f"executed operations are counted alone: {escape(found.reason)}"
    line = f"{found.flops:,} FLOP by {escape(found.source)}"
    if found.running is not None and found.running < 1:
        line += f", scaled up: it counted {text.percent(found.running)} % of the time"
    if found.deviation is None:
        return f"{line}; nothing was counted to hold against it"
    gap = f"{text.percent(abs(found.deviation), 2)} % {'more' if found.deviation > 0 else 'less'}"
    beside = f"{gap} than the {found.seen:,} that it would see of those executed"
    verdict = "[green]agrees[/]" if found.agrees else f"[bold red]WRONG[/], beyond {text.percent(AGREE)} %"
    return f"{verdict}: {line}, {beside}"
