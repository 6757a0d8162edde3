"""The tables of the page. A row is a list of cells; figures carry their exact value, which is what sorting reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import series, text
from . import plot
from .markup import Markup, exact, figure, join, tag

Row = Mapping[str, Any]


def table(columns: Sequence[str | Markup], rows: Sequence[Sequence[Markup]], caption: str, kind: str = "") -> Markup:
    """A table in a box of its own, which scrolls where it is wide; the first cell of a row names it."""
    first = rows[0] if rows else [Markup("")] * len(columns)
    heads = [
        column if isinstance(column, Markup) else tag("th", column, scope="col", class_=_aligned(cell))
        for column, cell in zip(columns, first)
    ]
    head, body = tag("tr", *heads), [tag("tr", *row) for row in rows]
    made = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body), class_="sortable")
    return tag("div", made, class_=f"box {kind}".strip(), tabindex="0", role="region", aria_label=caption)


def _aligned(cell: Markup) -> str | None:
    """A heading stands to the right where its figures do."""
    return "n" if ' class="n' in cell.partition(">")[0] else None


def name(*words: Any, **attributes: Any) -> Markup:
    return tag("th", *words, scope="row", **attributes)


def words(value: Any, **attributes: Any) -> Markup:
    return tag("td", value, **attributes)


def breakable(dotted: str) -> Markup:
    """A layer's name, which may break after its dots."""
    return join(dotted.split("."), Markup(".<wbr>"))


def number(value: float | None, shown: str) -> Markup:
    return figure(value, shown, "td", class_="n")


def verdict(good: bool | None, right: str, wrong: str, unknown: str = "n/a") -> Markup:
    """A word with a sign, for colour does not speak alone."""
    if good is None:
        return tag("span", unknown, class_="muted")
    return tag("span", f"✓ {right}" if good else f"✗ {wrong}", class_="good" if good else "bad")


# --- networks


def summary(results: Sequence[Row]) -> Markup:
    """A row per network, batch, ISA and backend."""
    columns = (
        "network", "batch", "ms", "times limit", "best peer", "ratio", "fastest ms", "spread %", "images/s",
        "GFLOP/s", "% of peak", "limit ms", "best limit ms", "error", "allowed", "answer", "counts",
    )  # fmt: skip
    rows = [_network(result, index) for index, result in enumerate(results)]
    return table(columns, rows, "Every network, batch, instruction set and backend", "plain")


def _network(result: Row, index: int) -> list[Markup]:
    time, race = result["time"] or {}, result["race"] or {}
    best = race.get("best_peer")
    return [
        name(tag("a", result["model"], href=f"#r{index}"), tag("small", series.place(result))),
        number(result["batch"], str(result["batch"])),
        number(time.get("median_ms"), text.milliseconds(time.get("median_ms"))),
        number(result["distance"], text.times(result["distance"])),
        words(best or text.ABSENT),
        number(race.get("best_ratio"), factor(race.get("best_ratio"))),
        number(time.get("minimum_ms"), text.milliseconds(time.get("minimum_ms"))),
        number(time.get("spread"), text.percent(time.get("spread"), 1)),
        number(result["images_per_s"], rate(result["images_per_s"])),
        number(result["rate_gflops"], text.gflops(result["rate_gflops"])),
        number(result["share_of_peak"], text.percent(result["share_of_peak"])),
        number(result["limit_ms"], text.milliseconds(result["limit_ms"])),
        number(result["best_limit_ms"], text.milliseconds(result["best_limit_ms"])),
        number(result["error"], text.error(result["error"])),
        number(result["tolerance"], text.error(result["tolerance"])),
        words(verdict(result["correct"], "right", "WRONG")),
        words(verdict(result["counts_agree"], "agree", "WRONG", "not counted")),
    ]


def rate(value: float | None) -> str:
    return text.ABSENT if value is None else f"{value:,.1f}"


def factor(value: float | None) -> str:
    return text.ABSENT if value is None else f"{value:.2f}"


# --- the race


def race(result: Row, reach: float) -> Markup:
    """Every peer of one race, the hardest to beat first; who is out says why."""
    heat = result["race"]
    ours = heat["engines"][0]
    bars = tag("th", plot.ratio_axis(reach), scope="col", class_="chart")
    columns = ("engine", bars, "ratio", "of the fastest", "ms", "spread %", "error", "version")
    rows = [_engine(ours, tag("td", "ours, = 1", class_="muted chart"))]
    for entry in series.raced(result):
        if entry["ratio_median"] is None:  # the reason takes the place of all figures
            why = tag("td", f"✗ {series.out_of_race(entry)}", class_="why", colspan=len(columns) - 1)
            rows.append([name(entry["engine"]), why])
        else:
            rows.append(_engine(entry, tag("td", _ratio(entry, heat, reach), class_="chart")))
    return table(columns, rows, f"Ratios of {series.title(result)}: an engine's time over ours", "plain")


def _ratio(entry: Row, heat: Row, reach: float) -> Markup:
    value = entry["ratio_median"]
    told = f"{entry['engine']}: {value:.2f} times our time" + (" (best peer)" * (entry["engine"] == heat["best_peer"]))
    return plot.ratio(value, entry["ratio_minimum"], reach, told)


def _engine(entry: Row, chart: Markup) -> list[Markup]:
    time = entry["time"] or {}
    return [
        name(entry["engine"]),
        chart,
        number(entry["ratio_median"], factor(entry["ratio_median"])),
        number(entry["ratio_minimum"], factor(entry["ratio_minimum"])),
        number(time.get("median_ms"), text.milliseconds(time.get("median_ms"))),
        number(time.get("spread"), text.percent(time.get("spread"), 1)),
        number(entry["error"], text.error(entry["error"])),
        words(entry["version"], class_="muted"),
    ]


# --- layers


def layers(result: Row) -> Markup:
    """A row per layer: where the time goes, and how far each is from its limit."""
    found = result["layers"]
    longest = max((layer["time_ms"] or 0.0 for layer in found), default=0.0)
    best = any(layer["best_limit_ms"] is not None for layer in found)
    columns = [
        "layer", tag("th", "time and limit", scope="col", class_="chart"), "ms", "% of time", "% of limit", "bound",
        "limit ms", *(["best limit ms", "by"] if best else []), "lost ms", "GFLOP/s", "executed GFLOP/s", "% of peak",
        "FLOP/byte", "KiB", "output", "step", "kernel",
    ]  # fmt: skip
    rows = [_layer(layer, index, longest, best) for index, layer in enumerate(found)]
    return table(columns, rows, f"Layers of {series.title(result)}", "tall")


def _layer(layer: Row, index: int, longest: float, best: bool) -> list[Markup]:
    ms, limit = layer["time_ms"], layer["limit_ms"]
    chart = text.ABSENT
    if ms is not None and longest:
        told = f"{layer['name']}: {text.milliseconds(ms)} ms" + (
            "" if limit is None else f", the limit is {text.milliseconds(limit)} ms ({layer['bound']})"
        )
        chart = plot.bar(ms, longest, limit, plot.css_name(series.family(layer)), told)
    return [
        name(breakable(layer["name"])),
        words(chart, class_="chart"),
        number(ms, text.milliseconds(ms)),
        number(layer["share_of_time"], text.percent(layer["share_of_time"], 1)),
        number(layer["share_of_limit"], text.percent(layer["share_of_limit"])),
        words(layer["bound"] or text.ABSENT),
        number(limit, text.milliseconds(limit)),
        *(_best(layer) if best else ()),
        number(layer["lost_ms"], text.milliseconds(layer["lost_ms"])),
        number(layer["rate_gflops"], text.gflops(layer["rate_gflops"])),
        number(layer["executed_gflops"], text.gflops(layer["executed_gflops"])),
        number(layer["share_of_peak"], text.percent(layer["share_of_peak"])),
        number(layer["intensity"], rate(layer["intensity"])),
        number(layer["bytes"], f"{layer['bytes'] / 1024:,.1f}"),
        words(text.shape(layer["output_shape"][1:]), class_="n"),
        tag("td", index, class_="n muted"),
        words(layer["kernel"], class_="muted"),
    ]


def _best(layer: Row) -> tuple[Markup, Markup]:
    """The least limit, and whose it is where another algorithm than the one taken has it."""
    other = layer["best_algorithm"] if layer["best_algorithm"] != layer["algorithm"] else None
    return number(layer["best_limit_ms"], text.milliseconds(layer["best_limit_ms"])), words(other or "as chosen")


def operations(result: Row) -> Markup:
    """The network, and every layer that executes another number of operations than theory says."""
    found = series.differ(result)
    longest = max(max(layer["theory_flops"], layer["executed_flops"]) for layer in found)
    chart = tag("th", "theory (outline) and executed (filled)", scope="col", class_="chart")
    columns = ("layer", chart, "theory MFLOP", "executed MFLOP", "executed, % of theory", "kernel")
    rows = [[name("the network"), tag("td", class_="chart"), *_flops(result), words("")]]
    for layer in found:
        told = (
            f"{layer['name']}: theory {text.millions(layer['theory_flops'])}, "
            f"executed {text.millions(layer['executed_flops'])} MFLOP"
        )
        kind = plot.css_name(series.family(layer))
        chart = plot.pair(layer["theory_flops"], layer["executed_flops"], longest, kind, told)
        rows.append(
            [
                name(breakable(layer["name"])),
                words(chart, class_="chart"),
                *_flops(layer),
                words(layer["kernel"], class_="muted"),
            ]
        )
    return table(columns, rows, f"Operations of {series.title(result)}", "tall")


def _flops(row: Row) -> list[Markup]:
    return [
        number(row["theory_flops"], text.millions(row["theory_flops"])),
        number(row["executed_flops"], text.millions(row["executed_flops"])),
        number(row["executed_of_theory"], text.percent(row["executed_of_theory"], 1)),
    ]


# --- the machine


def roofs(results: Sequence[Row]) -> Markup:
    """What was measured as the limit, per ISA and number of threads."""
    found: dict[tuple[Any, int], Row] = {}
    for result in results:
        if result["peak_fma_gflops"]:
            found.setdefault((result["isa"], result["threads"]), result)
    if not found:
        return Markup("")
    levels = list(dict.fromkeys(level for result in found.values() for level in result["bandwidths_gbs"]))
    columns = ("ISA", "threads", "FMA peak GFLOP/s", *(f"{level} GB/s" for level in levels))
    rows = [
        [
            name(isa or text.ABSENT),
            number(threads, str(threads)),
            number(result["peak_fma_gflops"], text.gflops(result["peak_fma_gflops"])),
            *(number(value, text.gflops(value)) for value in map(result["bandwidths_gbs"].get, levels)),
        ]
        for (isa, threads), result in found.items()
    ]
    return table(columns, rows, "Measured limits of this machine", "plain")


def facts(rows: Sequence[tuple[str, Any]]) -> Markup:
    """Labels and what they stand for."""
    return tag("dl", *(join((tag("dt", label), tag("dd", value))) for label, value in rows))


__all__ = ["exact", "facts", "layers", "operations", "race", "roofs", "summary", "verdict"]
