"""The tables of `cnnkern regret` and `cnnkern autotune`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from rich.console import RenderableType
from rich.markup import escape

from ..measure.profile import MachineProfile
from ..measure.regret import NETWORK_LIMIT, SHAPE_LIMIT, NetworkRegret, ShapeRegret
from . import text
from .parts import facts, note, page, table


def regret(shapes: Sequence[ShapeRegret], networks: Sequence[NetworkRegret], machine: MachineProfile) -> RenderableType:
    """A row per shape, the worst first, then a line per network."""
    totals = [
        (
            n.model,
            f"{text.VERDICTS[n.good]} {text.percent(n.regret, 1)} %: {text.milliseconds(n.chosen_ms)} ms in "
            f"{text.plural(n.layers, 'convolution')} of {text.plural(n.shapes, 'shape')}, the best measured "
            f"{text.milliseconds(n.best_ms)}",
        )
        for n in networks
    ]
    good = sum(shape.good for shape in shapes)
    legend = (
        f"{good} of {len(shapes)} shapes good. Allowed: {text.percent(NETWORK_LIMIT)} % of a network's convolutions, "
        f"{text.percent(SHAPE_LIMIT)} % and the spread of any shape. Times are the fastest of interleaved rounds; "
        "spread: how far those of the even and of the odd rounds lie apart."
    )
    return page(f"regret of the choices on {_place(machine)}", _shapes(shapes), facts(totals), note(legend))


def autotune(
    shapes: Sequence[ShapeRegret], problems: int, file: str | PathLike, machine: MachineProfile
) -> RenderableType:
    """What was measured anew, what that saves most first, and where it is kept."""
    before, after = sum(s.chosen.ms for s in shapes), sum(s.best.ms for s in shapes)
    saved = f": {text.percent(before / after - 1, 1)} % of their time saved" if shapes and after else ""
    words = f"{text.plural(len(shapes), 'shape')} of {problems:,} measured{saved}"
    rows = facts([("measured", words), ("kept in", escape(str(file)))])
    return page(f"choices measured on {_place(machine)}", _shapes(shapes), rows) if shapes else rows


def _shapes(shapes: Sequence[ShapeRegret]) -> RenderableType:
    made = table(("problem", "threads", "chosen", "ms", "best", "ms", "regret\n%", "spread\n%", ""))
    for i in (2, 4):
        made.columns[i].justify = "left"
    for s in sorted(shapes, key=lambda s: s.regret - s.spread, reverse=True):
        made.add_row(
            s.problem.text.removeprefix("conv2d ") + s.problem.how,
            str(s.problem.threads),
            choice(s.chosen.plan),
            text.milliseconds(s.chosen.ms),
            "" if s.best is s.chosen else choice(s.best.plan),
            text.milliseconds(s.best.ms),
            text.percent(s.regret, 1),
            text.percent(s.spread, 1),
            text.VERDICTS[s.good],
        )
    return made


def choice(plan: Mapping[str, Any]) -> str:
    """A decision in a word: "winograd4 7x64 own 14", "direct 14x32 shared 7"."""
    words = [plan["algo"] + str(plan.get("m", ""))]
    if "ob" in plan:
        words.append(f"{plan['px']}x{16 * plan['ob']}")
    if "shared" in plan:
        words.append(f"{'shared' if plan['shared'] else 'own'} {plan.get('tile_block') or plan['band_rows']}")
    return " ".join(words)


def _place(machine: MachineProfile) -> str:
    return f"{machine.cpu}, {machine.isa}, {text.plural(machine.threads, 'thread')}"
