"""Items within a time: each is written down when it begins and when it ends, so that neither a crash nor a timeout
loses what was there before.

A stage runs in a process of its own (a fault on a GPU leaves its process no device), which is begun again behind an
item that killed it or outlasted its limit. The journal is a file of JSON lines:

    {"begin": key, "limit_s": s}   {"end": key, "row": ..., "seconds": s}   {"skip": key, "why": text}   {"done": true}
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESTARTS = 12  # of a stage whose items kill it
GRACE_S = 4.0  # beyond a stage's time, for the item that is under way
STARTUP_S = 30.0  # until the first item begins: imports, a context on the device
POLL_S = 0.1
TIME_IS_UP = "the stage's time was up"


class Skip(Exception):
    """Raised by an item that cannot be done here; the text says why."""


@dataclass(frozen=True)
class Item:
    """Something to do: `run` returns a row (JSON-ready), or several."""

    key: str
    run: Callable[[], Any]
    limit_s: float = 60.0


class Journal:
    """What a stage has done so far."""

    def __init__(self, path: Path):
        self.path = path
        self._read: list[dict[str, Any]] = []
        self._at = 0

    def add(self, **entry: Any) -> None:
        with open(self.path, "ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                cut_short = file.read(1) != b"\n"  # a process died while it wrote
                file.write(b"\n" * cut_short)
            file.write(json.dumps(plain(entry)).encode() + b"\n")

    def entries(self) -> list[dict[str, Any]]:
        """All of them; what was read before is not read again."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                file.seek(self._at)
                text = file.read()
            whole = text.rfind(b"\n") + 1
            self._at += whole
            self._read += filter(None, map(_parsed, text[:whole].splitlines()))
        return list(self._read)

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of every item that ended, by its key."""
        return rows(self.entries())


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def rows(entries: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for entry in entries:
        if "end" in entry and "failure" not in entry:
            row = entry["row"]
            found[entry["end"]] = row if isinstance(row, list) else [] if row is None else [row]
    return found


def open_item(entries: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The entry of the item that has begun and not ended."""
    begun = None
    for entry in entries:
        if "begin" in entry:
            begun = entry
        elif "end" in entry:
            begun = None
    return begun


def work_through(
    items: Iterable[Item],
    journal: Journal,
    deadline: float,
    *,
    broken: Callable[[], str] = lambda: "",
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Run the items that the journal does not have, until the deadline; what remains is written down as skipped.

    Args:
        broken: asked after an item has failed; what it says makes this process useless, and ends it.
    Returns: whether the process is still good.
    """
    begun = {entry["begin"] for entry in journal.entries() if "begin" in entry}
    for item in items:
        if item.key in begun:
            continue
        if clock() >= deadline:
            journal.add(skip=item.key, why="no time was left")
            continue
        start = clock()
        journal.add(begin=item.key, limit_s=item.limit_s)
        try:
            row = item.run()
        except Skip as reason:
            journal.add(end=item.key, row=None, seconds=clock() - start)
            journal.add(skip=item.key, why=str(reason))
        except Exception as error:  # one must not lose the others
            where = "".join(traceback.format_tb(error.__traceback__)[-3:])
            journal.add(end=item.key, failure=f"{type(error).__name__}: {error}", where=where, seconds=clock() - start)
            if why := broken():
                print(f"the device is lost: {why}", file=sys.stderr)
                return False
        else:
            journal.add(end=item.key, row=row, seconds=clock() - start)
    journal.add(done=True)
    return True


@dataclass
class Outcome:
    """How a stage went."""

    name: str
    budget_s: float
    seconds: float = 0.0
    restarts: int = 0
    done: bool = False
    entries: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        failed = [e for e in self.entries if "failure" in e]
        skipped = [e for e in self.entries if "skip" in e]
        return {
            "name": self.name,
            "outcome": "all of it" if self.done and not skipped else "a part",
            "budget_s": self.budget_s,
            "seconds": self.seconds,
            "restarts": self.restarts,
            "items": sum("end" in e for e in self.entries),
            "failures": [{"what": e.get("end", ""), "why": e["failure"], "where": e.get("where", "")} for e in failed],
            "skipped": [{"what": e["skip"], "why": e["why"]} for e in skipped],
        }


def run_stage(
    name: str,
    command: Callable[[float], Sequence[str]],
    journal: Journal,
    budget_s: float,
    log: Path,
    *,
    on_tick: Callable[[list[dict[str, Any]]], None] = lambda entries: None,
) -> Outcome:
    """Run a stage's processes until all is done, its time is up, or nothing helps.

    Args:
        command: seconds that are left -> what to run; with 0 it writes down what is left to do.
        log: takes what the processes say on stderr.
        on_tick: hears the journal's entries about ten times a second.
    """
    start = time.monotonic()
    outcome = Outcome(name, budget_s)
    known = 0
    for attempt in range(RESTARTS + 1):
        left = max(0.0, budget_s - (time.monotonic() - start))
        if attempt == RESTARTS:
            left = 0.0
        code, why = _run_process(command(left), journal, left, log, on_tick)
        entries = journal.entries()
        if any("done" in entry for entry in entries):
            break
        item = open_item(entries)
        if item is not None and why == TIME_IS_UP:
            journal.add(end=item["begin"], row=None)
            journal.add(skip=item["begin"], why=f"{why} before it ended")
        elif item is not None:
            journal.add(end=item["begin"], failure=why or f"its process ended with {_said(code)}", where=_tail(log))
        elif len(entries) == known or left == 0.0:
            journal.add(failure=f"what is left to do could not be begun: {why or _said(code)}", where=_tail(log))
            break
        known = len(journal.entries())
        outcome.restarts = attempt + 1
    outcome.entries = journal.entries()
    outcome.done = any("done" in entry for entry in outcome.entries)
    outcome.seconds = time.monotonic() - start
    return outcome


def _run_process(command, journal: Journal, left: float, log: Path, on_tick) -> tuple[int, str]:
    """(its exit code, why it was ended from here)."""
    start = time.monotonic()
    with open(log, "ab") as errors:
        process = subprocess.Popen(command, stdout=errors, stderr=errors, start_new_session=True)
    known, since, why = None, start, ""
    try:
        while process.poll() is None and not why:
            time.sleep(POLL_S)
            now, entries = time.monotonic(), journal.entries()
            on_tick(entries)
            item = open_item(entries)
            if (item and item["begin"]) != known:
                known, since = item and item["begin"], now
            if item is not None and now - since > item["limit_s"]:
                why = f"took longer than {item['limit_s']:.0f} s"
            elif now - start > (max(left, STARTUP_S) if item is None else left) + GRACE_S:
                why = TIME_IS_UP
    finally:
        if process.poll() is None:  # the processes it has started go with it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode, why


def _said(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _tail(log: Path, characters: int = 1500) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-characters:]
    except OSError:
        return ""


def plain(value: Any) -> Any:
    """JSON values: tuples become lists, NumPy scalars numbers, and what is no finite number null."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
