"""Where text goes: tables to standard output, progress to standard error, and only to a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

PIPE_WIDTH = 120  # a pipe has no width; tables are made for this one


def output() -> Console:
    """A console on standard output; wide enough for the tables when that is no terminal."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _pipe_width(), highlight=False)


def _pipe_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdigit() and int(columns) >= 40 else PIPE_WIDTH


class Line:
    """A progress line: `say` what is being done and which share of it is done (None: no telling)."""

    def say(self, text: str, share: float | None = None) -> None:
        """Without a terminal nobody is watching, and nothing is said."""


class _TerminalLine(Line):
    def __init__(self, progress: Progress):
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def say(self, text: str, share: float | None = None) -> None:
        total = None if share is None else 1.0
        self._progress.update(self._task, description=text, total=total, completed=share or 0.0)


@contextmanager
def progress() -> Iterator[Line]:
    """A line that lives while work is going on and leaves no trace; silent when standard error is no terminal."""
    if not sys.stderr.isatty():
        yield Line()
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        yield _TerminalLine(bar)
