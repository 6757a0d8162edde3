"""What a race prints: the table, and the lines without which its figures mean nothing. Works on the JSON document, so
an old file prints again: `python benchmarks/race.py --show FILE.json`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape

from ..measure.timing import DRIFT_LIMIT
from . import text
from .parts import facts, table

DISTURBED = 0.03  # from this share on, what other processes took is worth a warning and a second run
COLUMNS = (
    "model", "batch", "engine", "median\nms", "min\nms", "spread\n%", "ratio\nmedian", "\nmin", "error", "",
)  # fmt: skip
Heat = Mapping[str, Any]


def race(document: Mapping[str, Any]) -> RenderableType:
    """A whole race: its heats, and where and when it was run."""
    return heats(document["heats"], (*_failures(document), *_place(document)))


def heats(found: Sequence[Heat], rest: Iterable[tuple[str, str]] = ()) -> RenderableType:
    """The heats (contract.HEAT) as a table, what they come to, what is wrong with them, and the lines of `rest`."""
    made = table(COLUMNS)
    made.columns[2].justify = "left"
    for heat in found:
        timed = [e for e in heat["engines"] if not e["reason"]]
        for entry in timed:
            start = (_model(heat), str(heat["batch"])) if entry is timed[0] else ("", "")
            made.add_row(*start, *_row(heat, entry), end_section=entry is timed[-1])
    lines = (*_means(found), *_warnings(found), *_absent(found), *_notes(found), *_rounds(found), *rest)
    return Group(made, "", facts((label, escape(sentence)) for label, sentence in lines))


def _model(heat: Heat) -> str:
    """The network, with the size of its images where that is not its own."""
    return heat["model"] + (f" {heat['size']}x{heat['size']}" if heat.get("size") else "")


def _row(heat: Heat, entry: Mapping[str, Any]) -> list[str]:
    time, error, note = entry["time"] or {}, entry["error"], ""
    if error is None or error > heat["tolerance"]:
        note = text.VERDICTS[False]
    elif time and abs(time["drift"]) > DRIFT_LIMIT:
        note = "drifts"
    return [
        f"[bold]{entry['engine']}[/]" if entry["engine"] == heat["best_peer"] else entry["engine"],
        text.milliseconds(time.get("median_ms")),
        text.milliseconds(time.get("minimum_ms")),
        text.percent(time.get("spread"), 1),
        _ratio(entry["ratio_median"]),
        _ratio(entry["ratio_minimum"]),
        text.error(error),
        note,
    ]


def _ratio(value: float | None) -> str:
    return "" if value is None else f"[bold]{value:.2f}[/]"


def _means(found: Sequence[Heat]) -> Iterable[tuple[str, str]]:
    """The ratio to the best peer, and the geometric means of the ratios per batch size where there are several."""
    yield "ratio", "an engine's time over ours: above 1 we are faster"
    for heat in found:
        if heat["best_ratio"]:
            where = f"{_model(heat)} batch {heat['batch']}"
            yield "", f"{where}: best peer {heat['best_peer']}, ratio {heat['best_ratio']:.2f}"
    collected: dict[tuple[int, str], list[float]] = {}
    for heat in found:
        ratios = {e["engine"]: e["ratio_median"] for e in heat["engines"]}
        for name, ratio in {"the best peer": heat["best_ratio"], **ratios}.items():
            if ratio:
                collected.setdefault((heat["batch"], name), []).append(ratio)
    for (batch, name), ratios in sorted(collected.items(), key=lambda item: item[0][0]):
        if len(ratios) > 1:
            mean = f"geometric mean {geometric_mean(ratios):.2f}, least {min(ratios):.2f}"
            yield "means", f"batch {batch}, {name}: {mean}, {len(ratios)} networks"


def geometric_mean(ratios: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def _warnings(found: Sequence[Heat]) -> Iterable[tuple[str, str]]:
    for heat in found:
        label, clock = f"{_model(heat)} batch {heat['batch']}", heat["peak_fma"]
        if not heat["correct"]:
            yield "wrong", f"{label}: ours is beyond {heat['tolerance']:g} of the range, or the same for any input"
        if heat["neighbours"] is not None and heat["neighbours"] > DISTURBED:
            yield "disturbed", f"{label}: other processes took {heat['neighbours']:.0%} of the machine; repeat it"
        if clock and clock["noisy"]:
            yield "noisy", f"{label}: the FMA peak fell by {clock['wander']:.0%} between rounds; repeat it"


def _absent(found: Sequence[Heat]) -> Iterable[tuple[str, str]]:
    """Who is out and why, the same reason once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for heat in found:
        for entry in heat["engines"]:
            if entry["reason"]:
                key = entry["engine"], entry["reason"]
                reasons.setdefault(key, []).append(f"{_model(heat)} batch {heat['batch']}")
    for (engine, reason), where in reasons.items():
        yield "left out", f"{engine} ({'all' if len(where) == len(found) else ', '.join(where)}): {reason}"


def _notes(found: Sequence[Heat]) -> Iterable[tuple[str, str]]:
    notes: dict[tuple[str, str], None] = {}
    for heat in found:
        notes |= dict.fromkeys((e["engine"], note) for e in heat["engines"] for note in e["notes"])
    for engine, note in notes:
        yield "note", f"{engine}: {note}"


def _rounds(found: Sequence[Heat]) -> Iterable[tuple[str, str]]:
    for heat in found:
        timed = [e for e in heat["engines"] if e["time"]]
        if timed:
            turns = ", ".join(f"{e['engine']} {e['iterations']} ({e['spun_ms']:.0f})" for e in timed)
            rounds = text.plural(heat["rounds"], "round")
            yield (
                "rounds",
                f"{_model(heat)} batch {heat['batch']}: {rounds}, calls in each (CPU ms spun away): {turns}",
            )


def _failures(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for failure in document["failures"]:
        yield "failed", failure


def _place(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    machine = document["machine"]
    threads = f"{text.plural(machine['threads'], 'thread')} on {text.plural(machine['cores'], 'usable core')}"
    yield "machine", ", ".join((machine["cpu"], machine["isa"] or "no native module", threads, machine["system"]))
    yield "versions", ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    yield "measured", f"{document['date']}, commit {document['commit'] or 'unknown'}"
    yield "command", document["command"]
