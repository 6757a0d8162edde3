"""A document of `cnnkern bench --json` on the terminal again: a line per network, the races, where it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape

from . import race, text
from .parts import facts, page, place, table


def shown(document: Mapping[str, Any]) -> RenderableType:
    """Everything but the layers, which --html has. `document` has all its keys (`measure.older.completed`)."""
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
    for row in document["results"]:
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
    heats = [row["race"] for row in document["results"] if row["race"]]
    races = [race.heats(heats), ""] if heats else []
    return Group(page("in short", made), *races, facts((label, escape(words)) for label, words in _place(document)))


def _place(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    machine = document["machine"]
    threads = f"{text.plural(machine['threads'], 'thread')} on {text.plural(machine['cores'], 'usable core')}"
    yield "machine", ", ".join((machine["cpu"], machine["isa"] or "no native module", threads, machine["system"]))
    yield "measured", f"{document['date'] or 'unknown'}, commit {document['commit'] or 'unknown'}"
    yield "command", document["command"] or "unknown"
