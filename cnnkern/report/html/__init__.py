"""`cnnkern bench --html`: a document of measured networks as one page, which asks for nothing beyond itself.

    page(json.load(open("r.json")))

Every figure on it is one of the document's, which the page carries along (`<script type="application/json">`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...measure.timing import DRIFT_LIMIT
from .. import series, text
from ..race import DISTURBED
from . import plot, style, tables
from .markup import Markup, embedded, figure, join, tag

Document = Mapping[str, Any]
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
FAULTS_SHOWN = 10
GLOSSARY = (
    ("ms", "Median time of one inference of the whole batch; fastest is the shortest round."),
    ("spread", "Interquartile range of the rounds over their median: how much the times scatter."),
    ("theory", "Operations by the textbook formula; a multiply-accumulate is two, padded taps count."),
    ("executed", "Operations that the kernels did, counted; tails, halos and transforms included."),
    ("GFLOP/s", "Theory over time: how useful the time was. Executed GFLOP/s: how busy the machine was."),
    ("% of peak", "Executed operations per second as a share of the measured rate of fused multiply-adds."),
    ("FMA peak", "The most fused multiply-adds per second that this machine did with these threads and this ISA."),
    ("bandwidth", "The most bytes per second that a cache level or the memory moved, all threads together, reading or"
     " copying."),
    ("limit", "The least time that executed operations at the FMA peak, or compulsory bytes at their level's bandwidth,"
     " would take; of the network: the sum of its layers."),
    ("bound", "What sets a layer's limit: fma, or the memory level its bytes come from."),
    ("% of limit", "The limit over the time: at 100 these operations could not be faster. The other way round it is how"
     " many times the limit the time is."),
    ("best limit", "The least limit over the algorithms that serve a layer."),
    ("hardware", "The processor's own count of operations, where the system grants it."),
    ("lost", "Time beyond the limit."),
    ("compulsory bytes", "Each input, weight and output of a layer once, whatever the algorithm moves beside."),
    ("FLOP/byte", "Executed operations per compulsory byte: where a layer stands under the roofs."),
    ("roof", "What a layer of so many FLOP per byte could reach: bandwidth times that, or the FMA peak."),
    ("ratio", "Another engine's time over ours, taken in turns: above 1 we are faster."),
    ("error", "Largest difference from the float64 reference, as a share of its range; beyond what is allowed the"
     " answer is wrong, and gets no time."),
    ("counts", "Whether every layer executed exactly the operations that were predicted for it."),
)  # fmt: skip


def page(document: Document) -> str:
    """The page of a document of `cnnkern bench --json` with all its keys (`measure.older.completed`).

    Returns: HTML that needs no other file and no network, complete without its script, in light and dark.
    Example: `Path("r.html").write_text(page(document), encoding="utf-8")`
    """
    results = document["results"]
    verdict = "good" if document["good"] else "WRONG"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", f"cnnkern bench: {verdict}: {_models(results)}"),
        tag("style", Markup(style.sheet())),
    )
    body = tag(
        "body",
        *_opening(document),
        *_networks(results),
        tag("h2", "Words", id="words"),
        tables.facts(GLOSSARY),
        tag("div", id="tip", role="status", hidden=True),
        tag("script", embedded(document), type="application/json", id="document"),
        tag("script", Markup(style.SCRIPT)),
    )
    return f'<!DOCTYPE html>\n<html lang="en">{head}{body}</html>\n'


def _models(results: Sequence[Document]) -> str:
    return ", ".join(dict.fromkeys(result["model"] for result in results)) or "nothing measured"


def _opening(document: Document) -> Iterator[Markup]:
    """What one should know first: the verdict, the warnings, where and how it was measured, all networks."""
    results = document["results"]
    toggle = tag("button", "Dark", id="theme", type="button", hidden=True, title="Light or dark")
    heading = tag("div", tag("h1", "cnnkern bench: ", _models(results)), tag("p", _verdict(document)))
    yield tag("header", heading, toggle)
    for result in results:
        warnings = list(_warnings(result))
        if warnings:
            yield tag("p", "⚠ ", series.title(result), ": ", join(warnings, "; "), class_="warn")
    yield tag("h2", "Summary")
    yield tables.summary(results)
    raced = [result for result in results if result["race"]]
    if raced:
        yield from _races(raced)
    yield tag("h2", "Machine and command")
    yield tables.facts(list(_place(document)))
    yield tables.roofs(results)


def _verdict(document: Document) -> Markup:
    if not document["results"]:
        return tag("span", "Nothing was measured.", class_="muted")
    counted = any(result["counts_agree"] for result in document["results"])
    rest = ", and every layer executed what was predicted for it" * counted
    right = f"Good: every answer is right{rest}."
    return tables.verdict(document["good"], right, "WRONG: see below what is; a wrong answer gets no time.")


def _warnings(result: Document) -> Iterator[Markup]:
    """What is wrong with a result, and what casts doubt on its times."""
    time, race = result["time"], result["race"]
    if not result["correct"]:
        yield join(("wrong answer, ", _errors(result)))
    if result["counts_agree"] is False:
        yield Markup("executed operations are not those predicted")
    if result["hardware"]["agrees"] is False:
        yield Markup("the processor's counters disagree with the executed operations")
    if race and not race["correct"]:
        yield Markup("in the race our answer was wrong, or the same for any input")
    for clock, what in ((result["peak_fma"], "measuring"), (race and race["peak_fma"], "the race")):
        if clock and clock["noisy"]:
            yield join(("a noisy run, the FMA peak fell by ", _percent(clock["wander"]), f" during {what}"))
    if time and abs(time["drift"]) > DRIFT_LIMIT:
        yield join(("times drift by ", _percent(time["drift"]), ", something else ran here"))
    if race and race["neighbours"] is not None and race["neighbours"] > DISTURBED:
        yield join(
            ("other processes took ", _percent(race["neighbours"]), " of the machine during the race, repeat it")
        )


def _percent(share: float) -> Markup:
    return figure(share, f"{text.percent(share)} %")


def _errors(result: Document) -> Markup:
    error, allowed = result["error"], result["tolerance"]
    shown = figure(error, text.error(error)) if error is not None else "no number"
    same = error is not None and error <= allowed and not result["correct"]
    blank = ", but the output is the same for different pictures" if same else ""
    return join(("the error is ", shown, " of the range, allowed ", figure(allowed, text.error(allowed)), blank))


def _place(document: Document) -> Iterator[tuple[str, Any]]:
    machine = document["machine"]
    yield "command", tag("code", document["command"] or "unknown")
    yield "measured", document["date"] or "unknown"
    yield "cnnkern", f"{document['cnnkern']}, commit {document['commit'] or 'unknown'}"
    yield "CPU", f"{machine['cpu']}, {machine['system']}, Python {machine['python']}"
    yield "instruction sets", ", ".join(machine["isas"]) or "no native module"
    threads = figure(machine["threads"], text.plural(machine["threads"], "thread"))
    yield "threads", join((threads, " on ", figure(machine["cores"], text.plural(machine["cores"], "usable core"))))
    caches = [join((level, " ", figure(size, text.size(size)))) for level, size in machine["caches"].items() if size]
    yield "caches", join(caches, ", ") if caches else "unknown"
    for label, key, unit in (
        ("FMA peak", "peaks_fma_gflops", "GFLOP/s"),
        ("reading", "bandwidths_gbs", "GB/s"),
        ("copying", "copying_gbs", "GB/s"),
    ):
        found = [
            join((name, " ", figure(value, f"{text.gflops(value)} {unit}"))) for name, value in machine[key].items()
        ]
        if found:
            yield label, join(found, ", ")


def _races(raced: Sequence[Document]) -> Iterator[Markup]:
    yield tag("h2", "Against other engines")
    yield tag(
        "p",
        "An engine's time over ours, on the same network, weights, picture and threads, in turns. Right of the line in "
        "the middle we are faster, left of it slower. A dot is the ratio of medians, a ring that of the fastest calls.",
    )
    reach = series.reach(raced)
    for result in raced:
        yield tag("h3", series.title(result))
        yield tables.race(result, reach)
        notes = dict.fromkeys((e["engine"], note) for e in result["race"]["engines"] for note in e["notes"])
        if notes:
            yield tag("p", tag("small", "; ".join(f"{engine}: {note}" for engine, note in notes)))


# --- a network


def _networks(results: Sequence[Document]) -> Iterator[Markup]:
    for index, result in enumerate(results):
        yield tag("h2", series.title(result), id=f"r{index}")
        yield from _network(result)


def _network(result: Document) -> Iterator[Markup]:
    time, layers = result["time"], result["layers"]
    yield tag("div", *_tiles(result), class_="tiles")
    yield tables.facts(list(_findings(result)))
    if result["faults"]:
        shown = "; ".join(result["faults"][:FAULTS_SHOWN])
        yield tag("p", shown, "; …" * (len(result["faults"]) > FAULTS_SHOWN), class_="bad")
    if not layers:
        yield tag("p", "This network has no layers.", class_="muted")
        return
    yield tag("h3", "Roofline")
    yield from _roofline(result)
    yield tag("h3", "Layers")
    if time is None:
        yield tag("p", "A wrong answer gets no time: there are none to show.", class_="bad")
    else:
        yield tag(
            "p",
            "Bars are milliseconds of each layer on its own; the upright line is its limit, the least this machine "
            "could need for the same operations and compulsory bytes.",
        )
    yield plot.legend(series.families(layers))
    yield tables.layers(result)
    yield tag("h3", "Theory against executed operations")
    yield from _operations(result)


def _tiles(result: Document) -> Iterator[Markup]:
    time = result["time"] or {}
    for label, value, shown in (
        ("ms, median", time.get("median_ms"), text.milliseconds(time.get("median_ms"))),
        ("images/s", result["images_per_s"], tables.rate(result["images_per_s"])),
        ("GFLOP/s of theory", result["rate_gflops"], text.gflops(result["rate_gflops"])),
        ("% of peak", result["share_of_peak"], text.percent(result["share_of_peak"])),
        ("the limit", result["distance"], text.times(result["distance"])),
        ("error", result["error"], text.error(result["error"])),
    ):
        yield tag("div", figure(value, shown, "b"), label)


def _findings(result: Document) -> Iterator[tuple[str, Any]]:
    right = tables.verdict(result["correct"], "right", "WRONG")
    yield "answer", join((right, "; ", _errors(result), f"; worst layer {result['worst_layer']}; {result['input']}"))
    yield "counts", tables.verdict(result["counts_agree"], "executed as predicted", "WRONG", "not counted here")
    hardware = result["hardware"]
    if hardware["flops"] is not None:
        seen = figure(hardware["flops"], f"{text.integer(hardware['flops'])} FLOP by {hardware['source']}")
        yield (
            "hardware",
            join((tables.verdict(hardware["agrees"], "agrees", "WRONG", "nothing to compare"), "; ", seen)),
        )
    elif result["executed"] is not None:
        yield "hardware", f"operations are counted alone: {hardware['reason']}"
    if result["limit_ms"] is not None:
        yield "limit", figure(result["limit_ms"], f"{text.milliseconds(result['limit_ms'])} ms")
    if result["best_limit_ms"] is not None:
        least = figure(result["best_limit_ms"], f"{text.milliseconds(result['best_limit_ms'])} ms")
        yield "best limit", join((least, f": {result['best_algorithm']}"))
    first = figure(result["first_ms"], f"{text.milliseconds(result['first_ms'])} ms")
    yield "built in", join((figure(result["build_s"], f"{result['build_s']:.2f} s"), "; first call ", first))


def _roofline(result: Document) -> Iterator[Markup]:
    found = series.roofline(result)
    if found is None:
        reason = (
            "there are no times" if result["time"] is None
            else "executed operations are not counted on this backend" if result["executed"] is None
            else "no layer has operations"
        )  # fmt: skip
        yield tag("p", f"No roofline: {reason}.", class_="muted")
        return
    yield tag(
        "p",
        "Each point is a layer, its area its share of the time. The lines are what this machine was measured to reach: "
        "a layer far below them has time to gain. Point at a layer, or tap it, to read it; the heaviest are named.",
    )
    yield plot.legend(series.families(found.layers))
    yield plot.roofline(found, series.title(result))
    yield plot.roof_legend(found)
    if not found.peak_gflops:
        yield tag("p", "No roofs: this backend's peaks are not measured.", class_="muted")
    if found.left_out:
        names = ", ".join(layer["name"] for layer in found.left_out)
        yield tag("p", tag("small", f"Without operations or time, and so not in the picture: {names}"))


def _operations(result: Document) -> Iterator[Markup]:
    if result["executed"] is None:
        yield tag("p", "Executed: n/a. This backend has no counting kernels.", class_="muted")
    elif not series.differ(result):
        yield tag("p", "Every layer executes exactly what theory says.")
    else:
        yield tag(
            "p",
            "Only layers where they differ. Fewer: Winograd, or taps on padding that are skipped. More: padding, halos "
            "and transforms that theory does not know. All others execute exactly what theory says.",
        )
        yield tables.operations(result)
