"""`cnnkern bench --png`: the pictures of a document alone, a file per plot and network, through matplotlib.

What they show is report/series.py's, as on the page of report/html; here the ground is white, and names stand at the
heaviest layers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import series, text
from .grid import figure

DPI = 150
BARS = 30  # layers in a bar chart; the heaviest, in the order of the plan
NAMES = 12  # layers that a roofline names
LONGEST = 34  # letters of a name
LETTER = 4.5  # points; of a name, on average
INK, GREY, LINE = "#1b1f24", "#59636e", "#d5dae0"
FASTER, SLOWER = "#0072b2", "#c8500a"
MARKERS = {
    "circle": "o", "square": "s", "up": "^", "diamond": "D", "star": "*", "down": "v", "plus": "P", "cross": "X",
    "ring": "h",
}  # fmt: skip
DASHES = {"L1": (0, (1, 2)), "L2": (0, (5, 2)), "L3": (0, (7, 2, 1, 2))}
Result = Mapping[str, Any]


def save(document: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Draw what a document of `cnnkern bench --json` has, with all its keys (`measure.older.completed`).

    Returns: the files: `<model>-b<batch>-<isa or backend>-t<threads>-<plot>.png`, where the plots are roofline, layers,
    operations and ratios. What a result lacks, times or counts or a race, is not drawn.
    Raises: ImportError: matplotlib is not installed; says how it would be.
    """
    figure()
    written, taken = [], set()
    for result in document["results"]:
        stem = unique(series.file_stem(result), taken)
        for name, draw in PLOTS.items():
            made = draw(result)
            if made is not None:
                path = Path(folder) / f"{stem}-{name}.png"
                made.savefig(path, facecolor="white")
                written.append(path)
    return written


def unique(stem: str, taken: set[str]) -> str:
    """`stem`, or with a number behind it where another result has it; kept in `taken`."""
    found, number = stem, 1
    while found.lower() in taken:  # for file systems that do not tell A from a
        number += 1
        found = f"{stem}-{number}"
    taken.add(found.lower())
    return found


def roofline(result: Result) -> Any:
    """Achieved GFLOP/s over executed FLOPs per compulsory byte; None where there is nothing to draw."""
    found = series.roofline(result)
    if found is None:
        return None
    made, axes = _axes(9.6, 6.0, f"Roofline of {series.title(result)}")
    axes.set(xscale="log", yscale="log", xlim=found.x, ylim=found.y)
    axes.set_xlabel("executed FLOP per compulsory byte")
    axes.set_ylabel("achieved GFLOP/s")
    for axis, limits in ((axes.xaxis, found.x), (axes.yaxis, found.y)):
        ticks = series.ticks(*limits, 11)
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_minor_locator(_no_ticks())
    axes.grid(color=LINE, linewidth=0.6)
    _roofs(axes, found)
    sizes = [max(18.0, 1100.0 * (layer["share_of_time"] or 0.0)) for layer in found.layers]  # square points
    for name in series.families(found.layers):
        shape, colour, _ = series.FAMILIES[name]
        mine = [i for i, layer in enumerate(found.layers) if series.family(layer) == name]
        axes.scatter(
            [found.layers[i]["intensity"] for i in mine],
            [found.layers[i]["executed_gflops"] for i in mine],
            s=[sizes[i] for i in mine],
            marker=MARKERS[shape],
            color=colour,
            edgecolors="white",
            linewidths=0.6,
            alpha=0.85,
            zorder=3,
        )
        axes.scatter([], [], s=36, marker=MARKERS[shape], color=colour, label=name)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.11), ncols=6, frameon=False, fontsize=8, handletextpad=0.3)
    made.subplots_adjust(left=0.08, right=0.98, top=0.93, bottom=0.17)
    _names(made, axes, found, sizes)
    return made


def _roofs(axes: Any, found: series.Roofline) -> None:
    if not found.peak_gflops:
        return
    axes.axhline(found.peak_gflops, color=GREY, linewidth=1.2, label=f"FMA peak {found.peak_gflops:,.0f} GFLOP/s")
    for level, value in sorted(found.bandwidths_gbs.items(), key=lambda item: -item[1]):
        start, end = max(found.x[0], found.y[0] / value), found.peak_gflops / value
        axes.plot(
            [start, end],
            [start * value, end * value],
            color=GREY,
            linewidth=1.2,
            linestyle=DASHES.get(level, "-"),
            label=f"{level} {value:,.0f} GB/s",
        )


def _names(made: Any, axes: Any, found: series.Roofline, sizes: Sequence[float]) -> None:
    """Names of the heaviest layers, where they fit; places are reckoned in points, downwards."""
    made.canvas.draw()
    scale = 72.0 / made.dpi
    high = made.get_figheight() * 72.0
    dots = axes.transData.transform([(layer["intensity"], layer["executed_gflops"]) for layer in found.layers])
    marks = [(x * scale, high - y * scale, (size / 3.14) ** 0.5) for (x, y), size in zip(dots, sizes)]
    box = axes.get_window_extent()
    bounds = box.x0 * scale, high - box.y1 * scale, box.x1 * scale, high - box.y0 * scale
    words = [_short(layer["name"]) for layer in found.layers[:NAMES]]
    for label in series.labels(marks, words, bounds, letter=LETTER, height=10.0):
        x, y, _ = marks[label.index]
        if label.far:
            near = min(max(x, label.x), label.x + LETTER * len(label.text))
            ends = axes.transData.inverted().transform(
                [(x / scale, (high - y) / scale), (near / scale, (high - label.y) / scale)]
            )
            axes.plot(*zip(*ends), color=GREY, linewidth=0.5, zorder=2)
        axes.annotate(
            label.text,
            (label.x / scale, (high - label.y) / scale),
            xycoords="figure pixels",
            fontsize=8,
            va="center",
            color=INK,
            zorder=4,
            parse_math=False,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
        )


def layers(result: Result) -> Any:
    """Milliseconds of the heaviest layers, with their limits; None without times."""
    heavy = _heaviest([layer for layer in result["layers"] if layer["time_ms"]], "time_ms")
    if not heavy:
        return None
    made, axes = _bars(heavy, f"Layers of {series.title(result)}", "ms per layer; the upright line is its limit")
    longest = max(layer["time_ms"] for layer in heavy)
    for row, layer in enumerate(heavy):
        axes.barh(row, layer["time_ms"], 0.66, color=series.FAMILIES[series.family(layer)][1], alpha=0.9)
        words = f"{text.milliseconds(layer['time_ms'])} ms"
        if layer["limit_ms"] is not None:
            axes.plot([layer["limit_ms"]] * 2, [row - 0.45, row + 0.45], color=INK, linewidth=1.6)
            words += f", {text.percent(layer['share_of_limit'])} % of limit ({layer['bound']})"
        beside = max(layer["time_ms"], layer["limit_ms"] or 0.0) + 0.01 * longest
        axes.text(beside, row, words, va="center", fontsize=8, color=GREY)
    axes.set_xlim(0, 1.42 * longest)
    _family_legend(axes, heavy)
    return made


def operations(result: Result) -> Any:
    """Theory against executed operations of the layers where they differ; None where they do not."""
    heavy = _heaviest(series.differ(result), "theory_flops")
    if not heavy:
        return None
    made, axes = _bars(heavy, f"Operations of {series.title(result)}", "MFLOP: theory (outline), executed (filled)")
    longest = max(max(layer["theory_flops"], layer["executed_flops"]) for layer in heavy) / 1e6
    for row, layer in enumerate(heavy):
        theory, executed = layer["theory_flops"] / 1e6, layer["executed_flops"] / 1e6
        axes.barh(row, executed, 0.42, color=series.FAMILIES[series.family(layer)][1], alpha=0.9)
        axes.barh(row, theory, 0.72, fill=False, edgecolor=INK, linewidth=0.9)
        share = layer["executed_of_theory"]
        words = f"{executed:,.1f} of {theory:,.1f}" + (f", {100 * share:.1f} %" if share is not None else "")
        axes.text(max(theory, executed) + 0.01 * longest, row, words, va="center", fontsize=8, color=GREY)
    axes.set_xlim(0, 1.3 * longest)
    _family_legend(axes, heavy)
    return made


def ratios(result: Result) -> Any:
    """Every peer's time over ours on a logarithmic axis; None without a race."""
    peers = series.raced(result)
    if not peers:
        return None
    reach = series.reach([result])
    rows = [{"name": entry["engine"]} for entry in peers]
    made, axes = _bars(
        rows, f"Ratios of {series.title(result)}", "an engine's time over ours; right of 1 we are faster"
    )
    axes.set(xscale="log", xlim=(1 / reach / 1.15, reach * 1.6))
    steps = [2.0**e for e in range(-10, 11) if 1 / reach <= 2.0**e <= reach]
    axes.xaxis.set_ticks(steps, [f"{step:g}" if step >= 1 else f"1/{1 / step:g}" for step in steps])
    axes.xaxis.set_minor_locator(_no_ticks())
    axes.axvline(1, color=GREY, linewidth=1.2)
    for row, entry in enumerate(peers):
        value, least = entry["ratio_median"], entry["ratio_minimum"]
        if value is None:
            words = _short(f"✗ {series.out_of_race(entry)}"[::-1], 90)[::-1]  # its head says most
            axes.text(1 / reach, row, words, va="center", fontsize=8, color=SLOWER, parse_math=False)
            continue
        colour = FASTER if value >= 1 else SLOWER
        axes.plot([1, value], [row, row], color=colour, linewidth=2.5)
        axes.plot([value], [row], "o", color=colour, markersize=8)
        if least:
            axes.plot([least], [row], "o", color=FASTER if least >= 1 else SLOWER, fillstyle="none", markersize=6)
        axes.text(reach * 1.1, row, f"{value:.2f}", va="center", fontsize=9, weight="bold", color=INK)
    return made


# --- what they share


def _axes(width: float, height: float, title: str) -> tuple[Any, Any]:
    made = figure()(figsize=(width, height), dpi=DPI)
    axes = made.add_subplot()
    axes.set_title(_short(title, 110), loc="left", fontsize=11, weight="bold", color=INK, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=GREY, labelsize=8)
    return made, axes


def _bars(rows: Sequence[Mapping[str, Any]], title: str, below: str) -> tuple[Any, Any]:
    """Axes with a name per row, the first on top."""
    height = 1.5 + 0.26 * len(rows)
    made, axes = _axes(9.6, height, title)
    axes.set_yticks(range(len(rows)), [_short(row["name"]) for row in rows], parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_xlabel(below, fontsize=9, color=GREY)
    axes.grid(axis="x", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    longest = max(len(_short(row["name"])) for row in rows)
    left = (0.35 + 0.068 * longest) / 9.6
    made.subplots_adjust(left=left, right=0.98, top=1 - 0.4 / height, bottom=0.85 / height)
    return made, axes


def _family_legend(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    names = series.families(rows)
    for name in names:
        axes.barh([0], [0], color=series.FAMILIES[name][1], label=name)
    offset = -0.55 / axes.get_position().height / axes.figure.get_figheight()
    axes.legend(loc="upper left", bbox_to_anchor=(0, offset), ncols=7, frameon=False, fontsize=8, handlelength=1.0)


def _heaviest(rows: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    """The BARS rows with most of `key`, in the order they came."""
    if len(rows) <= BARS:
        return list(rows)
    least = sorted((row[key] for row in rows), reverse=True)[BARS - 1]
    return [row for row in rows if row[key] >= least][:BARS]


def _short(name: str, longest: int = LONGEST) -> str:
    name = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return name if len(name) <= longest else "…" + name[1 - longest :]


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


PLOTS: dict[str, Callable[[Result], Any]] = {
    "roofline": roofline,
    "layers": layers,
    "operations": operations,
    "ratios": ratios,
}
