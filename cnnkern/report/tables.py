"""One function per table of the command line: measured things in, something rich can print out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..measure.accounting import ModelAccount
from ..measure.network import NetworkResult
from ..measure.profile import MachineProfile
from . import text

FAULTS_SHOWN = 10
OFFERED = "[green]available[/]"


def _table(title: str, columns: Sequence[str], *, footer: Sequence[str] | None = None, left: int = 1) -> Table:
    """A table whose first `left` columns are words, flush left, and whose others are numbers, flush right."""
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # two spaces between columns, with the box's own one
        pad_edge=False,
        show_edge=False,
        show_footer=footer is not None,
        header_style="dim",
        footer_style="bold",
    )
    for i, column in enumerate(columns):
        words = i < left
        made.add_column(
            column,
            justify="left" if words else "right",
            no_wrap=not words,
            overflow="fold",
            footer=footer[i] if footer else "",
        )
    return made


def _facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Label and sentence, a pair per line."""
    made = Table.grid(padding=(0, 2), pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for label, sentence in rows:
        made.add_row(label, sentence)
    return made


def _place(backend: str, isa: str | None) -> str:
    return f"{backend} ({isa})" if isa else backend


# --- info, models, run


def info(
    machine: MachineProfile, backends: Mapping[str, str], settings: Mapping[str, tuple[Any, str]]
) -> RenderableType:
    """Label and finding, line by line. `settings`: variable -> (its value, what it does)."""
    from .. import __version__

    others = [isa for isa in machine.isas if isa != machine.isa]
    chosen = machine.isa or "none: the native module is not there"
    rows = [
        ("cnnkern", f"{__version__}, Python {machine.python}, {machine.system}"),
        ("cpu", escape(machine.cpu)),
        ("isa", f"[bold]{chosen}[/]" + (f"; also {', '.join(others)}" if others else "")),
        ("", escape(machine.isa_reason)),
        ("threads", f"{machine.threads} of {text.plural(machine.cores, 'usable core')}"),
        ("caches", ", ".join(f"{level} {text.size(size)}" for level, size in machine.caches.items() if size)),
        ("peak fma", _peak(machine.peak_fma_gflops, "GFLOP/s", machine)),
        ("peak memory", _peak(machine.peak_bandwidth_gbs, "GB/s", machine)),
    ]
    states = [f"{name:<10} " + (f"[yellow]no:[/] {escape(why)}" if why else OFFERED) for name, why in backends.items()]
    width = max(map(len, settings), default=0)
    values = [
        f"{name:<{width}}  {'unset' if value is None else escape(str(value)):<7}  [dim]{help_text}[/]"
        for name, (value, help_text) in settings.items()
    ]
    for label, lines in (("backends", states), ("settings", values)):
        rows += zip([label] + [""] * len(lines), lines)
    return _facts(row for row in rows if row[1])


def _peak(value: float | None, unit: str, machine: MachineProfile) -> str:
    if value is None:
        return "n/a: there is no native module to measure it"
    return f"{value:,.0f} {unit} on {text.plural(machine.threads, 'thread')}, measured just now"


def models(architectures: Sequence[Any]) -> RenderableType:
    made = _table("", ("model", "parameters", "MACs", "input", "classes", "paper"))
    made.title = None
    made.columns[5].justify = "left"
    made.columns[5].no_wrap = False
    for a in sorted(architectures, key=lambda a: text.natural(a.name)):
        made.add_row(
            f"[bold]{a.name}[/]",
            f"{a.params:,}",
            f"{a.macs:,}",
            text.shape(a.input_shape),
            str(a.num_classes),
            escape(a.paper.split("://")[-1]),
        )
    return Group(made, "", Text(text.plural(len(architectures), "model"), style="dim"))


def run(model: str, image: str, weights: str, backend: str, rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    named = any(row["name"] for row in rows)
    columns = ("class", "name", "probability", "") if named else ("class", "probability", "")
    made = _table(f"{model} on {image}", columns)
    made.columns[-1].justify = "left"
    for row in rows:
        bar = "\u2588" * round(30 * row["probability"])
        cells = [str(row["index"]), row["name"] or "", f"{row['probability']:.4f}", f"[cyan]{bar}[/]"]
        made.add_row(*(cells if named else cells[:1] + cells[2:]))
    note = f"weights {weights}, backend {backend}"
    if weights == "random":
        note = f"random weights, so the classes mean nothing: give --weights FILE; backend {backend}"
    return Group(made, "", Text(note, style="dim"))


# --- bench


def bench(result: NetworkResult) -> RenderableType:
    """A row per layer, the totals, and what to think of them."""
    total = result.account
    columns = ("layer", "kernel", "output", "theory\nMMAC", "executed\nMFLOP", "\nms", "\nGFLOP/s", "\n% peak")
    footer = (
        "total",
        "",
        "",
        text.millions(total.theory.fma),
        text.millions(total.executed.flops if total.executed else None),
        text.milliseconds(result.time and result.time.median_ms),
        text.gflops(result.rate_gflops),
        text.percent(result.share_of_peak),
    )
    place = _place(result.backend, result.isa)
    title = f"{result.model}  batch {result.batch}  {place}  {text.plural(result.threads, 'thread')}  {result.input}"
    made = _table(title, columns, footer=footer, left=3)
    made.columns[1].no_wrap = True
    heavy = 0.02 * sum(layer.time_ms or 0.0 for layer in result.layers)
    for layer in result.layers:
        made.add_row(
            text.Tail(layer.name),
            layer.kernel,
            text.shape(layer.output_shape[1:]),
            text.millions(layer.theory.fma),
            text.millions(layer.executed.flops if layer.executed else None),
            text.milliseconds(layer.time_ms),
            text.gflops(layer.rate_gflops),
            text.percent(layer.share_of_peak),
            style=None if (layer.time_ms or 0.0) >= heavy else "dim",
        )
    return Group(made, "", _facts(_bench_facts(result)), "")


def _bench_facts(result: NetworkResult) -> Iterable[tuple[str, str]]:
    yield "answer", _answer(result)
    yield "counts", counts_verdict(result.account)
    if result.time is None:
        yield "speed", "not printed for a wrong answer"
    else:
        time = result.time
        line = (
            f"[bold]{text.milliseconds(time.median_ms)} ms[/] median of {text.plural(time.rounds, 'round')}, fastest "
            f"{text.milliseconds(time.minimum_ms)}, spread {text.percent(time.spread, 1)} %; "
            f"{result.images_per_s:,.1f} images/s"
        )
        if time.drifting:
            line += f"; [yellow]times drift by {text.percent(time.drift, 1)} %: something else runs here[/]"
        yield "speed", line
        layers = [layer.time_ms for layer in result.layers if layer.time_ms is not None]
        if layers:
            yield "layers", f"sum to {text.milliseconds(sum(layers))} ms when each is timed on its own"
    if result.peak_fma_gflops:
        peak = f"{result.peak_fma_gflops:,.0f} GFLOP/s measured here"
        yield "peak", f"{peak}; share = executed / time / peak, GFLOP/s = theory / time"
    if result.arena_bytes and result.activation_bytes:
        yield "memory", f"arena {text.size(result.arena_bytes)} for {text.size(result.activation_bytes)} of activations"
    yield "built", f"in {result.build_s:.2f} s"


def _answer(result: NetworkResult) -> str:
    worst = result.errors.worst
    figures = f"largest error {text.error(worst.error)} of the range, allowed {text.error(worst.tolerance)}"
    if not result.errors.varies:
        return f"[bold red]WORTHLESS[/]: the output is the same for different pictures; {figures}"
    verdict = "[green]correct[/]" if result.correct else "[bold red]WRONG[/]"
    return f"{verdict} against the float64 reference: {figures}"


def counts_verdict(account: ModelAccount) -> str:
    if account.agrees is None:
        return "not counted: this backend has no counting kernels"
    layers = text.plural(len(account.layers), "layer")
    if not account.agrees:
        return "[bold red]WRONG[/]: " + _faults(account.faults)
    executed, theory = account.executed.flops, account.theory.flops
    share = f", {text.percent(executed / theory, 1)} % of theory" if theory else ""
    return f"[green]predicted and executed operations agree[/] in {layers}: {executed:,} FLOP{share}"


def _faults(faults: Sequence[str]) -> str:
    shown = [escape(fault) for fault in faults[:FAULTS_SHOWN]]
    more = len(faults) - len(shown)
    return "\n".join(shown) + (f"\nand {more:,} more" if more > 0 else "")


def bench_all(results: Sequence[NetworkResult]) -> RenderableType:
    columns = (
        *("model", "on", "batch", "ms", "fastest", "images/s", "GFLOP/s", "% peak"),
        *("error", "allowed", "answer", "counts"),
    )
    made = _table("in short", columns, left=2)
    for r in results:
        worst = r.errors.worst
        made.add_row(
            r.model,
            _place(r.backend, r.isa),
            str(r.batch),
            text.milliseconds(r.time and r.time.median_ms),
            text.milliseconds(r.time and r.time.minimum_ms),
            f"{r.images_per_s:,.1f}" if r.images_per_s else text.ABSENT,
            text.gflops(r.rate_gflops),
            text.percent(r.share_of_peak),
            text.error(worst.error),
            text.error(worst.tolerance),
            text.VERDICTS[r.correct],
            text.VERDICTS[r.account.agrees],
        )
    return made
