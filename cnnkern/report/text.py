"""Numbers as people read them. A figure that is not there is a dash, never a zero."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

ABSENT = "-"
VERDICTS = {True: "[green]ok[/]", False: "[bold red]WRONG[/]", None: ABSENT}


def natural(name: str) -> list[tuple[int, str]]:
    """A sorting key that puts resnet18 before resnet101."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


class Tail:
    """A dotted name that loses its head, not its end, where there is no room: "…block4.denselayer16.conv2"."""

    LEAST = 12

    def __init__(self, name: str):
        self.name = name

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(self.LEAST, len(self.name)), len(self.name)).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width
        yield Text(self.name if len(self.name) <= room else "…" + self.name[1 - room :], no_wrap=True)


def shape(dims: Sequence[int | str]) -> str:
    """(64, 112, 112) -> "64x112x112"."""
    return "x".join(str(d) for d in dims)


def millions(value: int | None, digits: int = 1) -> str:
    """A count in millions: 118013952 -> "118.0"."""
    return ABSENT if value is None else f"{value / 1e6:,.{digits}f}"


def integer(value: int | None) -> str:
    return ABSENT if value is None else f"{value:,}"


def scaled(value: float | None, unit: str = "") -> str:
    """A count with a decimal prefix, three digits: 4089184256 -> "4.09 G"."""
    if value is None:
        return ABSENT
    for prefix, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:g} {unit}".rstrip()


def size(value: int | None) -> str:
    """Bytes with a binary prefix: 98304 -> "96 KiB"."""
    if value is None:
        return ABSENT
    for prefix, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}" if value < 1000 * factor else f"{value / factor:.0f} {prefix}"
    return f"{value} B"


def milliseconds(value: float | None) -> str:
    """Three decimals up to a second, where a layer's time lives; fewer beyond."""
    if value is None:
        return ABSENT
    return f"{value:.3f}" if value < 1000 else f"{value:,.1f}"


def gflops(value: float | None) -> str:
    return ABSENT if value is None else f"{value:,.1f}"


def percent(value: float | None, digits: int = 0) -> str:
    return ABSENT if value is None else f"{100 * value:.{digits}f}"


def times(value: float | None) -> str:
    """A ratio: 1.4 -> "1.4x"; two decimals close to 1, none beyond a hundred."""
    if value is None:
        return ABSENT
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{digits}f}x"


def error(value: float | None) -> str:
    """An error or a tolerance: two digits and a power of ten; 0 is exact."""
    if value is None:
        return ABSENT
    return f"{value:.1e}" if value else "0"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
