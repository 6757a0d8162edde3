"""The tables of `cnnkern verify`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.markup import escape

from ..measure.verify import NetworkVerdict, OpResult
from . import text
from .parts import FAULTS_SHOWN, facts, note, page, table


def ops(results: Sequence[OpResult], seed: int) -> RenderableType:
    """A row per operation, a group of columns per backend and ISA."""
    places = list(dict.fromkeys((r.backend, r.isa) for r in results))
    found = {(r.label, r.backend, r.isa): r for r in results}
    columns = ["operation", "cases"]
    for backend, isa in places:
        columns += [f"{isa or backend}\nerror", "\nallowed", ""]
    made = table(columns)
    for label in dict.fromkeys(r.label for r in results):
        row = [label, str(found[(label, *places[0])].cases)]
        for place in places:
            row += _cells(found[(label, *place)])
        made.add_row(*row)
    failures = [(f"{r.label} on {r.isa or r.backend}", escape(failure)) for r in results for failure in r.failures]
    good = sum(r.good for r in results)
    summary = f"{good} of {len(results)} good; an error is a share of the size of the terms behind an output"
    title = f"operations against the float64 reference, seed {seed}"
    return page(title, made, facts(failures[:FAULTS_SHOWN]), note(summary))


def _cells(result: OpResult) -> list[str]:
    if result.skipped == result.cases:
        return ["", "not offered", ""]
    return [text.error(result.error), text.error(result.tolerance), text.VERDICTS[result.good]]


def networks(verdicts: Sequence[NetworkVerdict]) -> RenderableType:
    columns = (  # without the number of layers, which --json has, the longest name fits into 120
        "model",
        "input",
        "on",
        "worst layer",
        "error",
        "allowed",
        "output\nerror",
        "\nallowed",
        "varies\n%",
        "",
    )
    made = table(columns, left=4)
    made.columns[0].no_wrap = True
    for v in verdicts:
        worst, output = v.errors.worst, v.errors.output
        made.add_row(
            v.model,
            "x".join(map(str, v.input_shape)) + ("*" if v.reduced else ""),
            v.isa or v.backend,
            text.Tail(worst.layer),
            text.error(worst.error),
            text.error(worst.tolerance),
            text.error(output.error),
            text.error(output.tolerance),
            text.percent(v.errors.variation),
            text.VERDICTS[v.good],
        )
    legend = (
        "error: largest difference, a share of the reference's range. varies: how far the outputs of two pictures lie "
        "apart; below 1 % nothing was tested."
    )
    if any(v.reduced for v in verdicts):
        legend += " *: smaller than the published input, for time; `cnnkern verify MODEL` takes the published one."
    return page("networks against the float64 reference", made, note(legend))
