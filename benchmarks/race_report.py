"""What a race prints: the table, and the lines without which its figures mean nothing. Works on the JSON document, so
an old file prints again: `python benchmarks/race_report.py results/FILE.json`."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from cnnkern.measure.timing import DRIFT_LIMIT
from cnnkern.report import console, text

DISTURBED = 0.03  # from this share on, what other processes took is worth a warning and a second run
COLUMNS = (
    "model", "batch", "engine", "median\nms", "min\nms", "spread\n%", "ratio\nmedian", "\nmin", "error", "",
)  # fmt: skip
SETTINGS = ("CNNKERN_", "OMP_", "GOMP_", "KMP_")  # variables that change what is measured


def table(document: Mapping[str, Any]) -> RenderableType:
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, header_style="dim")
    for column in COLUMNS:
        made.add_column(column, justify="left" if column in ("model", "engine", "") else "right", no_wrap=True)
    for heat in document["heats"]:
        for entry in heat["engines"]:
            first = entry is heat["engines"][0]
            start = (heat["model"], str(heat["batch"])) if first else ("", "")
            made.add_row(*start, *_row(heat, entry, document["tolerance"]), end_section=entry is heat["engines"][-1])
    return Group(made, *_facts(document))


def _row(heat: Mapping[str, Any], entry: Mapping[str, Any], tolerance: float) -> list[str]:
    time, error, note = entry["time"] or {}, entry["error"], ""
    if error is None or error > tolerance:
        note = text.VERDICTS[False]
    elif time and abs(time["drift"]) > DRIFT_LIMIT:
        note = "drifts"
    return [
        entry["engine"],
        text.milliseconds(time.get("median_ms")),
        text.milliseconds(time.get("minimum_ms")),
        text.percent(time.get("spread"), 1),
        _ratio(entry["ratio_median"]),
        _ratio(entry["ratio_minimum"]),
        "judge" if entry["judge"] else text.error(error),
        note,
    ]


def _ratio(value: float | None) -> str:
    return "" if value is None else f"[bold]{value:.2f}[/]"


def _facts(document: Mapping[str, Any]) -> Iterable[RenderableType]:
    facts = Table.grid(padding=(0, 2), pad_edge=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for label, sentence in (*_means(document["heats"]), *_warnings(document), *_place(document)):
        facts.add_row(label, escape(sentence))
    yield facts


def _means(heats: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """The geometric mean of the ratios, per batch size and peer, where there are several."""
    yield "ratio", "an engine's time over that of the first engine: above 1 the first is faster"
    found: dict[tuple[int, str], list[float]] = {}
    for heat in heats:
        for entry in heat["engines"][1:]:
            if entry["ratio_median"]:
                found.setdefault((heat["batch"], entry["engine"]), []).append(entry["ratio_median"])
    for (batch, engine), ratios in sorted(found.items()):
        if len(ratios) > 1:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            yield "", f"batch {batch}, {engine}: geometric mean {mean:.2f}, least {min(ratios):.2f}"


def _warnings(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for heat in document["heats"]:
        label = f"{heat['model']} batch {heat['batch']}"
        if not heat["correct"]:
            yield "wrong", f"{label}: answers beyond {document['tolerance']:g} of the range, or the same for any input"
        elif heat["neighbours"] is not None and heat["neighbours"] > DISTURBED:
            yield "disturbed", f"{label}: other processes took {heat['neighbours']:.0%} of the machine; repeat it"
    for failure in document["failures"]:
        yield "failed", failure


def _place(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    machine = document["machine"]
    threads = f"{text.plural(machine['threads'], 'thread')} on {text.plural(machine['cores'], 'usable core')}"
    yield "machine", ", ".join((machine["cpu"], machine["isa"] or "no native module", threads, machine["system"]))
    yield "versions", ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    yield "measured", f"{document['date']}, commit {document['commit'] or 'unknown'}"
    for heat in document["heats"]:
        if heat["correct"]:
            spun = ", ".join(f"{e['engine']} {e['spun_ms']:.0f}" for e in heat["engines"])
            turns = f"{text.plural(heat['rounds'], 'round')} of {text.plural(heat['iterations'], 'call')}"
            yield "rounds", f"{heat['model']} batch {heat['batch']}: {turns}; CPU ms spun away after a round: {spun}"
    yield "command", document["command"]


def command(argv: Sequence[str]) -> str:
    """What to type to have it again, with the settings that matter."""
    settings = [f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith(SETTINGS)]
    return shlex.join([*settings, "python", "benchmarks/race.py", *argv])


def commit() -> str | None:
    """The checkout this file lies in, with a + where files differ from it; None outside of one."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head, changed = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def versions(heats: Iterable[Any]) -> dict[str, str]:
    """Releases of the engines as they introduced themselves, and of what they stand on."""
    found = {entry.engine: entry.version for heat in heats for entry in heat.entries}
    for name in ("onnx", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "python": platform.python_version()}


if __name__ == "__main__":
    for file in sys.argv[1:]:
        console.output().print(table(json.loads(Path(file).read_text())))
