"""The table of `cnnkern bench --ops`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.markup import escape

from ..measure.opbench import NETWORK, OpRow
from . import text
from .parts import ROOMY, facts, note, page, place, table

# heading, the cell of a row; those in _SPARED stand on ROOMY terminals only
_COLUMNS: dict[str, Callable[[OpRow], RenderableType]] = {
    "problem": lambda row: f"{escape(row.problem.text)}\n[dim]{escape(_how(row))}[/]",
    "executed\nMFLOP": lambda row: text.millions(row.counts.executed and row.counts.executed.flops),
    "of theory\n%": lambda row: text.percent(_of_theory(row)),
    "\nms": lambda row: text.milliseconds(row.time_ms),
    "fastest\nms": lambda row: text.milliseconds(row.time and row.time.minimum_ms),
    "spread\n%": lambda row: text.percent(row.time and row.time.spread),
    "\nGFLOP/s": lambda row: text.gflops(row.rate_gflops),
    "% of\npeak": lambda row: text.percent(row.share_of_peak),
    "\nbound": lambda row: row.limit.bound if row.limit else text.ABSENT,
    "% of\nlimit": lambda row: text.percent(row.share_of_limit),
    "% of\nbest": lambda row: text.percent(row.share_of_best),
    "\nerror": lambda row: text.error(row.error),
    "\n": lambda row: text.VERDICTS[row.good],
}
_SPARED = ("of theory\n%", "fastest\nms", "spread\n%", "% of\nbest")
_SHOWN = 8  # reasons


def opbench(rows: Sequence[OpRow], left_out: Sequence[Mapping[str, Any]], width: int) -> RenderableType:
    """A row per operation, place, algorithm and state of the caches; `left_out` as contract.OP_LEFT_OUT; `width` of the
    terminal, in columns."""
    columns = {name: cell for name, cell in _COLUMNS.items() if width >= ROOMY or name not in _SPARED}
    made = table(list(columns))
    for row in rows:
        made.add_row(*(cell(row) for cell in columns.values()))
    threads = text.plural(rows[0].threads, "thread") if rows else ""
    wrong = sum(not row.good for row in rows)
    title = f"{text.plural(len(rows), 'row')} on {threads}" + (f", [bold red]{wrong} WRONG[/]" if wrong else "")
    return page("operations", made, facts(_findings(rows, left_out, title)), note(_legend(rows)))


def _findings(rows: Sequence[OpRow], left_out: Sequence[Mapping[str, Any]], title: str) -> Iterable[tuple[str, str]]:
    yield "rows", title
    for row in rows:
        if not row.correct:
            figures = f"error {text.error(row.error)}, allowed {text.error(row.tolerance)}"
            yield "[bold red]WRONG[/]", f"{escape(row.problem.text)} ({escape(_how(row))}): {figures}: no time"
        for fault in row.counts.faults:
            yield "[bold red]WRONG[/]", f"{escape(row.problem.text)} ({escape(_how(row))}): {escape(fault)}"
    peaks = {place(row.backend, row.isa): row.peak_fma_gflops for row in rows if row.peak_fma_gflops}
    for where, gflops in peaks.items():
        yield "peak", f"{gflops:,.0f} GFLOP/s of multiply-adds measured here on {where}"
    noisy = sum(row.clock is not None and row.clock.noisy for row in rows)
    if noisy:
        yield "noise", f"[yellow]the FMA peak fell while {text.plural(noisy, 'row')} ran: something else runs here[/]"
    reasons = list(dict.fromkeys(f"{item['algo']} on {_where(item)}: {item['reason']}" for item in left_out))
    for reason in reasons[:_SHOWN]:
        yield "left out", escape(reason)
    if len(reasons) > _SHOWN:
        yield "", f"and {len(reasons) - _SHOWN} more reasons"


def _legend(rows: Sequence[OpRow]) -> str:
    states = {row.caches for row in rows}
    swept = "weights from memory, the input just written, as in a network"
    caches = swept if states == {NETWORK} else f"network: {swept}; warm: all operands near"
    return (
        f"Times are of the plan's step alone, the mean call of each round. Caches: {caches}. GFLOP/s = theory / time; "
        "% of peak = executed / time / FMA peak; bound and limit: FMA peak, or the bandwidth of where the operands "
        "live; best: the least limit over the algorithms that serve. The error is a share of the reference's scale."
    )


def _how(row: OpRow) -> str:
    """The small print below a problem: where, how, by what, whence."""
    words = [place(row.backend, row.isa), row.kernel.split("__")[0]]
    words += [f"algo={row.algo}"] if row.algo != "auto" else []
    words += [row.caches] if row.caches != NETWORK else []
    return ", ".join([*words, *([row.problem.note] if row.problem.note else [])])


def _where(item: Mapping[str, Any]) -> str:
    return place(item["backend"], item["isa"])


def _of_theory(row: OpRow) -> float | None:
    executed, theory = row.counts.executed, row.counts.theory.flops
    return executed.flops / theory if executed is not None and theory else None
