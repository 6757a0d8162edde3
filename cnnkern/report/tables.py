"""The tables of `cnnkern info`, `models` and `run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.markup import escape

from ..measure.profile import MachineProfile
from . import text
from .parts import facts, note, page, table

OFFERED = "[green]available[/]"
BAR = 30  # characters of a probability of 1


def info(
    machine: MachineProfile,
    backends: Mapping[str, str],
    settings: Mapping[str, tuple[Any, str]],
    cuda: Mapping[str, Any],
    counters: tuple[str, str] = ("", ""),
) -> RenderableType:
    """Label and finding, line by line. `settings`: variable -> (its value, what it does); `cuda`: as cuda_info's;
    `counters`: as measure.counters.granted's."""
    from .. import __version__

    others = [isa for isa in machine.isas if isa != machine.isa]
    chosen = machine.isa or "none: the native module is not there"
    rows = [
        ("cnnkern", f"{__version__}, Python {machine.python}, {machine.system}"),
        ("cpu", escape(machine.cpu)),
        ("isa", f"[bold]{chosen}[/]" + (f", {escape(machine.isa_reason)}" if machine.isa_reason else "")),
        ("", f"also {', '.join(others)}" if others else ""),
        ("threads", f"{machine.threads} of {text.plural(machine.cores, 'usable core')}"),
        ("caches", ", ".join(f"{level} {text.size(size)}" for level, size in machine.caches.items() if size)),
        ("peak fma", _peak(machine.peak_fma_gflops, "GFLOP/s", machine)),
        ("", _rates(machine.peaks_fma_gflops, "GFLOP/s", machine) if len(machine.peaks_fma_gflops) > 1 else ""),
        ("reading", _bandwidths(machine)),
        ("copying", _rates(machine.copying_gbs, "GB/s", machine, ", read and written")),
        ("counters", _counters(*counters)),
    ]
    states = [f"{name:<10} " + (f"[yellow]no:[/] {escape(why)}" if why else OFFERED) for name, why in backends.items()]
    width = max(map(len, settings), default=0)
    values = [
        f"{name:<{width}}  {'unset' if value is None else escape(str(value)):<7}  [dim]{help_text}[/]"
        for name, (value, help_text) in settings.items()
    ]
    for label, lines in (("backends", states), ("cuda", _cuda(cuda)), ("settings", values)):
        rows += zip([label] + [""] * len(lines), lines)
    return facts(row for row in rows if row[1])


def _cuda(found: Mapping[str, Any]) -> list[str]:
    """A line per GPU, or why there is none; then the versions and the cache, as far as they are there."""
    gpus = [
        f"{gpu['device']}: [bold]{escape(gpu['name'])}[/], {gpu['target']}, {gpu['multiprocessors']} multiprocessors, "
        f"{text.size(gpu['free_bytes'])} free of {text.size(gpu['total_bytes'])}"
        for gpu in found["devices"]
    ]
    names = {"driver": "driver for CUDA", "cupy": "CuPy", "nvrtc": "compiler NVRTC"}
    versions = ", ".join(f"{name} {found[key]}" for key, name in names.items() if found[key])
    kept = f"{text.plural(found['cached_kernels'], 'compiled kernel')}, {text.size(found['cached_bytes'])}"
    there = f"{kept}, in {escape(found['cache_folder'])}" if found["cached_kernels"] or gpus else ""
    reason = f"[yellow]no:[/] {escape(found['reason'])}" if found["reason"] else ""
    return [line for line in (*gpus, reason, versions, there) if line]


def _peak(value: float | None, unit: str, machine: MachineProfile) -> str:
    if value is None:
        return "n/a: there is no native module to measure it"
    return f"{value:,.0f} {unit} on {text.plural(machine.threads, 'thread')}, measured just now"


def _bandwidths(machine: MachineProfile) -> str:
    """The levels, nearest first."""
    if not machine.bandwidths_gbs:
        return _peak(None, "GB/s", machine)
    return _rates(machine.bandwidths_gbs, "GB/s", machine)


def _rates(found: Mapping[str, float], unit: str, machine: MachineProfile, what: str = "") -> str:
    """By ISA or level; nothing where nothing was measured."""
    if not found:
        return ""
    rates = ", ".join(f"{name} {value:,.0f}" for name, value in found.items())
    return f"{rates} {unit} on {text.plural(machine.threads, 'thread')}{what}"


def _counters(source: str, refusal: str) -> str:
    """Whether the processor counts operations for us."""
    if refusal:
        return f"[yellow]no:[/] {escape(refusal)}; operations are counted by counting kernels alone"
    return f"[green]granted[/]: {escape(source)}" if source else ""


def models(architectures: Sequence[Any]) -> RenderableType:
    made = table(("model", "parameters", "MACs", "input", "classes", "paper"))
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
    return page("", made, note(text.plural(len(architectures), "model")))


def run(model: str, image: str, weights: str, backend: str, rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    named = any(row["name"] for row in rows)
    made = table(("class", "name", "probability", "") if named else ("class", "probability", ""))
    made.columns[-1].justify = "left"
    for row in rows:
        bar = f"[cyan]{'█' * round(BAR * row['probability'])}[/]"
        name = [row["name"] or ""] if named else []
        made.add_row(str(row["index"]), *name, f"{row['probability']:.4f}", bar)
    sentence = f"weights {weights}, backend {backend}"
    if weights == "random":
        sentence = f"random weights, so the classes mean nothing: give --weights FILE; backend {backend}"
    return page(f"{model} on {image}", made, note(sentence))
