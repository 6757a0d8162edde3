"""The tables of `cnnkern bench`: layers against their limits, networks, the layers that lose most, before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.markup import escape

from ..measure.compare import Comparison
from ..measure.network import LayerResult, NetworkResult
from . import text
from .parts import ROOMY, counts_verdict, facts, hardware_verdict, note, page, place, table

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
    "\nbound": (lambda layer: layer.limit.bound if layer.limit else text.ABSENT, lambda r: ""),
    "times\nlimit": (lambda layer: text.times(layer.distance), lambda r: text.times(r.distance)),
    "lost\nms": (lambda layer: text.milliseconds(layer.lost_ms), lambda r: text.milliseconds(_lost(r))),
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
    if result.account.executed is not None:
        yield "hardware", hardware_verdict(result.hardware)
    yield "speed", _speed(result)
    layers = [layer.time_ms for layer in result.layers if layer.time_ms is not None]
    if layers:
        yield "layers", f"sum to {text.milliseconds(sum(layers))} ms when each is timed on its own"
    if result.peak_fma_gflops:
        peak = f"{result.peak_fma_gflops:,.0f} GFLOP/s measured here"
        share = f"{text.percent(result.share_of_peak)} % of it executed; GFLOP/s = theory / time"
        yield "peak", f"{peak}, {share}"
    if result.limit_ms:
        taken = f"; the time is {text.times(result.distance)} that" if result.distance else ""
        yield "limit", f"{text.milliseconds(result.limit_ms)} ms by FMA peak and bandwidths (bound){taken}"
    if result.best_limit_ms:
        yield "", f"{text.milliseconds(result.best_limit_ms)} ms by the best algorithms: {result.best_algorithm}"
    if result.arena_bytes and result.activation_bytes:
        yield "memory", f"arena {text.size(result.arena_bytes)} for {text.size(result.activation_bytes)} of activations"
    yield "built", f"in {result.build_s:.2f} s; the first call took {text.milliseconds(result.first_ms)} ms"


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
    if time.drifting:
        line += f"; [yellow]times drift by {text.percent(time.drift, 1)} %: something else runs here[/]"
    clock = result.clock
    if clock is not None and clock.noisy:
        line += f"; [yellow]the FMA peak fell by {text.percent(clock.wander, 1)} % meanwhile: a noisy run[/]"
    return line


def _lost(result: NetworkResult) -> float | None:
    return result.time.median_ms - result.limit_ms if result.time and result.limit_ms else None


def worst(results: Sequence[NetworkResult], count: int) -> RenderableType:
    """The layers of all networks that lose most beside their limits, worst first."""
    found = [(layer.lost_ms, layer, r) for r in results for layer in r.layers if layer.lost_ms is not None]
    found.sort(key=lambda item: -item[0])
    better = ["best by"] if any(_better(layer) for _, layer, _ in found[:count]) else []
    columns = ("model", "layer", "kernel", "batch", "output", "ms", "limit", "bound", "times", "lost ms", "% of net")
    made = table([*columns, *better], left=3)
    for lost, layer, r in found[:count]:
        made.add_row(
            r.model,
            text.Tail(layer.name),
            layer.kernel,
            str(r.batch),
            text.shape(layer.output_shape[1:]),
            text.milliseconds(layer.time_ms),
            text.milliseconds(layer.limit.ms),
            layer.limit.bound,
            text.times(layer.distance),
            text.milliseconds(lost),
            text.percent(lost / r.time.median_ms, 1),
            *(_better(layer) for _ in better),
        )
    rest = () if found else (note("no layer has a limit here: the cpu backend's peaks are not measured"),)
    return page("the layers that lose most: time beyond the limit, and its share of the network's time", made, *rest)


def _better(layer: LayerResult) -> str:
    """The least limit and whose it is, where another algorithm than the one taken has it."""
    best = layer.best
    other = best is not None and best.algorithm != layer.algorithm
    return f"{text.milliseconds(best.ms)} {best.algorithm}" if other else ""


def compare(found: Comparison, old: str, new: str) -> RenderableType:
    """A line per network of both documents, and what only one of them has."""
    columns = ("model", "on", "threads", "batch", "before ms", "after ms", "ratio", "noise %", "")
    made = table(columns, left=2)
    for row in found.rows:
        verdict = "[bold red]SLOWER[/]" if row.regression else "[green]faster[/]" if row.improvement else ""
        made.add_row(
            row.model,
            place(row.backend, row.isa),
            str(row.threads),
            str(row.batch),
            text.milliseconds(row.before_ms),
            text.milliseconds(row.after_ms),
            text.ABSENT if row.ratio is None else f"{row.ratio:.3f}",
            text.percent(row.noise, 1),
            "[bold red]WRONG[/]" if row.ratio is None else verdict,
        )
    slower = sum(row.regression for row in found.rows)
    lines = [("verdict", f"{slower} of {text.plural(len(found.rows), 'network')} slower beyond the noise")]
    lines += [(f"only in {old}", key) for key in found.only_old] + [(f"only in {new}", key) for key in found.only_new]
    return page(f"{old} -> {new}: ratio is after / before", made, facts(lines))


def bench_all(results: Sequence[NetworkResult]) -> RenderableType:
    """A line per model, batch and ISA."""
    return in_short([result.as_dict() for result in results])


def in_short(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line per row of contract.NETWORK_RESULT."""
    columns = (
        "model",
        "on",
        "batch",
        "ms",
        "fastest",
        "images/s",
        "GFLOP/s",
        "limit",
        "error",
        "allowed",
        "",
        "counts",
    )
    made = table(columns, left=2)
    for row in rows:
        time = row["time"] or {}
        made.add_row(
            escape(row["model"]),
            escape(place(row["backend"], row["isa"])),
            str(row["batch"]),
            text.milliseconds(time.get("median_ms")),
            text.milliseconds(time.get("minimum_ms")),
            text.ABSENT if row["images_per_s"] is None else f"{row['images_per_s']:,.1f}",
            text.gflops(row["rate_gflops"]),
            text.times(row["distance"]),
            text.error(row["error"]),
            text.error(row["tolerance"]),
            text.VERDICTS[row["correct"]],
            text.VERDICTS[row["counts_agree"]],
        )
    return page("in short", made)
