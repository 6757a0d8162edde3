"""The tables of `cnnkern bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich.console import RenderableType

from ..measure.network import LayerResult, NetworkResult
from . import text
from .parts import ROOMY, counts_verdict, facts, page, place, table

# heading, the cell of a layer, the cell of the total; those on ROOMY terminals only stand in _SPARED
_COLUMNS: dict[str, tuple[Callable[[LayerResult], RenderableType], Callable[[NetworkResult], str]]] = {
    "layer": (lambda layer: text.Tail(layer.name), lambda r: "total"),
    "kernel": (lambda layer: layer.kernel, lambda r: ""),
    "output": (lambda layer: text.shape(layer.output_shape[1:]), lambda r: ""),
    "theory\nMMAC": (lambda layer: text.millions(layer.theory.fma), lambda r: text.millions(r.account.theory.fma)),
    "executed\nMFLOP": (
        lambda layer: text.millions(layer.executed and layer.executed.flops),
        lambda r: text.millions(r.account.executed and r.account.executed.flops),
    ),
    "\nms": (lambda layer: text.milliseconds(layer.time_ms), lambda r: text.milliseconds(r.time and r.time.median_ms)),
    "\nGFLOP/s": (lambda layer: text.gflops(layer.rate_gflops), lambda r: text.gflops(r.rate_gflops)),
    "\n% peak": (lambda layer: text.percent(layer.share_of_peak), lambda r: text.percent(r.share_of_peak)),
}
_SPARED = ("kernel", "output")
_LIGHT = 0.02  # layers that take less than this share of the time are dim


def bench(result: NetworkResult, width: int) -> RenderableType:
    """A row per layer, the totals, and what to think of them; `width` is the terminal's, in columns."""
    columns = {name: cells for name, cells in _COLUMNS.items() if width >= ROOMY or name not in _SPARED}
    words = sum(name in ("layer", *_SPARED) for name in columns)
    made = table(list(columns), footer=[total(result) for _, total in columns.values()], left=words)
    for column in made.columns[1:]:
        column.no_wrap = True
    heavy = _LIGHT * sum(layer.time_ms or 0.0 for layer in result.layers)
    for layer in result.layers:
        style = None if (layer.time_ms or 0.0) >= heavy else "dim"
        made.add_row(*(cell(layer) for cell, _ in columns.values()), style=style)
    where = f"{place(result.backend, result.isa)}  {text.plural(result.threads, 'thread')}"
    return page(f"{result.model}  batch {result.batch}  {where}  {result.input}", made, facts(_findings(result)))


def _findings(result: NetworkResult) -> Iterable[tuple[str, str]]:
    yield "answer", _answer(result)
    yield "counts", counts_verdict(result.account)
    yield "speed", _speed(result)
    layers = [layer.time_ms for layer in result.layers if layer.time_ms is not None]
    if layers:
        yield "layers", f"sum to {text.milliseconds(sum(layers))} ms when each is timed on its own"
    if result.peak_fma_gflops:
        peak = f"{result.peak_fma_gflops:,.0f} GFLOP/s measured here"
        yield "peak", f"{peak}; % peak = executed / time / peak, GFLOP/s = theory / time"
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


def _speed(result: NetworkResult) -> str:
    time = result.time
    if time is None:
        return "not printed for a wrong answer"
    line = (
        f"[bold]{text.milliseconds(time.median_ms)} ms[/] median of {text.plural(time.rounds, 'round')}, fastest "
        f"{text.milliseconds(time.minimum_ms)}, spread {text.percent(time.spread, 1)} %; "
        f"{result.images_per_s:,.1f} images/s"
    )
    drift = f"times drift by {text.percent(time.drift, 1)} %: something else runs here"
    return f"{line}; [yellow]{drift}[/]" if time.drifting else line


def bench_all(results: Sequence[NetworkResult]) -> RenderableType:
    """A line per model, batch and ISA."""
    columns = (
        "model",
        "on",
        "batch",
        "ms",
        "fastest",
        "images/s",
        "GFLOP/s",
        "% peak",
        "error",
        "allowed",
        "",
        "counts",
    )
    made = table(columns, left=2)
    for r in results:
        made.add_row(
            r.model,
            place(r.backend, r.isa),
            str(r.batch),
            text.milliseconds(r.time and r.time.median_ms),
            text.milliseconds(r.time and r.time.minimum_ms),
            f"{r.images_per_s:,.1f}" if r.images_per_s else text.ABSENT,
            text.gflops(r.rate_gflops),
            text.percent(r.share_of_peak),
            text.error(r.errors.worst.error),
            text.error(r.errors.worst.tolerance),
            text.VERDICTS[r.correct],
            text.VERDICTS[r.account.agrees],
        )
    return page("in short", made)
