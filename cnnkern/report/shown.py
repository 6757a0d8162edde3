"""A document of `cnnkern bench --json` on the terminal again: a line per network, the races, where it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape

from . import race, text
from .bench import in_short
from .parts import facts


def shown(document: Mapping[str, Any]) -> RenderableType:
    """Everything but the layers, which --html has. `document` has all its keys (`measure.older.completed`)."""
    heats = [row["race"] for row in document["results"] if row["race"]]
    races = [race.heats(heats), ""] if heats else []
    return Group(
        in_short(document["results"]), *races, facts((label, escape(words)) for label, words in _place(document))
    )


def _place(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    machine = document["machine"]
    threads = f"{text.plural(machine['threads'], 'thread')} on {text.plural(machine['cores'], 'usable core')}"
    yield "machine", ", ".join((machine["cpu"], machine["isa"] or "no native module", threads, machine["system"]))
    yield "measured", f"{document['date'] or 'unknown'}, commit {document['commit'] or 'unknown'}"
    yield "command", document["command"] or "unknown"
