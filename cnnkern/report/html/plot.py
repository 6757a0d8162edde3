"""The charts, as SVG within the page. Colours are CSS classes, so that light and dark are the page's affair.

A roofline is drawn twice, wide and for a phone, and the style sheet shows one. Bars are a table's cells: SVG as wide as
the cell, in per cent, so that their text is the table's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import series, text
from .markup import Markup, exact, figure, join, tag


@dataclass(frozen=True)
class Canvas:
    """Sizes of a plot, in pixels, and how many labels it bears."""

    name: str
    width: int
    height: int
    left: int
    letter: float
    labels: int
    ticks: int
    longest: int  # letters of a label
    top: int = 16
    right: int = 14
    bottom: int = 46

    @property
    def inner(self) -> series.Box:
        return self.left, self.top, self.width - self.right, self.height - self.bottom


WIDE = Canvas("wide", 960, 540, 62, 6.5, 12, 12, 34)
NARROW = Canvas("narrow", 360, 420, 44, 6.0, 6, 6, 18)
ROOF_GAP = 17.0  # between two roofs, for a label to stand there
LEAST_RADIUS, AREA = 3.0, 1400.0  # of a point; square pixels for all of the time


class _Axes:
    """Both axes are logarithmic."""

    def __init__(self, canvas: Canvas, x: tuple[float, float], y: tuple[float, float]):
        self.canvas, self.x, self.y = canvas, x, y

    def at(self, x: float, y: float) -> tuple[float, float]:
        left, top, right, bottom = self.canvas.inner
        across = math.log(x / self.x[0]) / math.log(self.x[1] / self.x[0])
        up = math.log(y / self.y[0]) / math.log(self.y[1] / self.y[0])
        return left + across * (right - left), bottom - up * (bottom - top)


def shape(kind: str, x: float, y: float, r: float) -> str:
    """The path of a marker with the area of a circle of radius `r`, about."""
    if kind in ("circle", "ring"):
        return f"M{x - r:.1f} {y:.1f}a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {-2 * r:.1f} 0z"
    corners, turn, stretch, inner = {
        "square": (4, 45, 1.25, 1.0),
        "diamond": (4, 0, 1.25, 1.0),
        "up": (3, 0, 1.45, 1.0),
        "down": (3, 180, 1.45, 1.0),
        "star": (10, 0, 1.5, 0.45),
        "plus": (8, 0, 1.5, 0.4),
        "cross": (8, 45, 1.5, 0.4),
    }[kind]
    found = []
    for i in range(corners):
        reach = stretch * r * (1.0 if i % 2 == 0 else inner)
        angle = math.radians(turn + 360 * i / corners)
        found.append(f"{x + reach * math.sin(angle):.1f} {y - reach * math.cos(angle):.1f}")
    return "M" + "L".join(found) + "z"


def css_name(family: str) -> str:
    return "f-" + family.replace(" ", "-")


def roof_legend(found: series.Roofline) -> Markup:
    """The roofs with their lines, from the left."""
    items = []
    for level, value in sorted(found.bandwidths_gbs.items(), key=lambda item: -item[1]):
        line = tag("line", x1="0", x2="28", y1="8", y2="8", class_=f"roof {_level(level)}")
        shown = figure(value, f"{level} {value:,.1f} GB/s")
        items.append(tag("li", tag("svg", line, width=28, height=16, aria_hidden="true"), shown))
    return tag("ul", *items, class_="legend")


def _level(name: str) -> str:
    return "roof-" + (name if name in ("L1", "L2", "L3") else "DRAM")


def legend(names: Sequence[str]) -> Markup:
    """Families with their markers."""
    items = []
    for name in names:
        path = tag("path", d=shape(series.FAMILIES[name][0], 8, 8, 5), class_=f"mark {css_name(name)}")
        items.append(tag("li", tag("svg", path, width=16, height=16, aria_hidden="true"), name))
    return tag("ul", *items, class_="legend")


# --- the roofline


def roofline(found: series.Roofline, heading: str) -> Markup:
    """Achieved GFLOP/s over executed FLOPs per compulsory byte, under the roofs."""
    return join(_roofline(found, heading, canvas) for canvas in (WIDE, NARROW))


def _roofline(found: series.Roofline, heading: str, canvas: Canvas) -> Markup:
    axes = _Axes(canvas, found.x, found.y)
    roofs, written = _roofs(found, axes)
    marks = [(*axes.at(layer["intensity"], layer["executed_gflops"]), _radius(layer)) for layer in found.layers]
    names = [_short(layer["name"], canvas.longest) for layer in found.layers[: canvas.labels]]
    placed = series.labels(marks, names, canvas.inner, letter=canvas.letter, height=14, taken=written)
    lines = [
        tag("line", x1=marks[p.index][0], y1=marks[p.index][1], x2=_near(p, marks[p.index][0], canvas), y2=p.y)
        for p in placed
        if p.far
    ]
    points = [_point(layer, *mark, first=i == 0) for i, (layer, mark) in enumerate(zip(found.layers, marks))]
    names = [tag("text", p.text, x=p.x, y=p.y + 4, class_="halo name") for p in placed]
    return tag(
        "svg",
        tag("title", f"Roofline of {heading}"),
        tag("desc", "Each point is a layer; the table of layers below has the same figures."),
        _grid(axes),
        roofs,
        tag("g", *lines, class_="lead"),
        tag("g", *points, class_="points"),
        tag("g", *names, aria_hidden="true"),
        viewBox=f"0 0 {canvas.width} {canvas.height}",
        class_=f"plot {canvas.name}",
        role="group",
        aria_label=f"Roofline of {heading}",
    )


def _near(label: series.Label, x: float, canvas: Canvas) -> float:
    """Where a line to a label ends: at its nearer side."""
    width = canvas.letter * len(label.text)
    return min(max(x, label.x), label.x + width)


def _short(name: str, longest: int) -> str:
    return name if len(name) <= longest else "…" + name[1 - longest :]


def _radius(layer: Mapping[str, Any]) -> float:
    return max(LEAST_RADIUS, math.sqrt(AREA * (layer["share_of_time"] or 0.0) / math.pi))


def describe(layer: Mapping[str, Any]) -> str:
    """A layer in a line, for who points at it."""
    limit = "" if layer["share_of_limit"] is None else f", {text.percent(layer['share_of_limit'])} % of its limit"
    bound = f" ({layer['bound']})" if layer["bound"] else ""
    return (
        f"{layer['name']}: {text.milliseconds(layer['time_ms'])} ms, "
        f"{text.percent(layer['share_of_time'], 1)} % of the time, {layer['executed_gflops']:,.3g} GFLOP/s at "
        f"{layer['intensity']:,.3g} FLOP/byte{limit}{bound}; {layer['kernel']}"
    )


def _point(layer: Mapping[str, Any], x: float, y: float, r: float, *, first: bool) -> Markup:
    name = series.family(layer)
    return tag(
        "g",
        tag("title", describe(layer)),
        tag("circle", cx=x, cy=y, r=max(r, 9.0), class_="reach"),  # what a finger can hit
        tag("path", d=shape(series.FAMILIES[name][0], x, y, r), class_=f"mark {css_name(name)}"),
        class_="point",
        tabindex="0" if first else "-1",  # arrow keys go on from the first
        role="img",
        aria_label=describe(layer),
        data_value=exact(layer["executed_gflops"]),
        data_x=exact(layer["intensity"]),
    )


def _grid(axes: _Axes) -> Markup:
    canvas = axes.canvas
    left, top, right, bottom = canvas.inner
    parts = []
    for value in series.ticks(*axes.x, canvas.ticks):
        x, _ = axes.at(value, axes.y[0])
        parts += [tag("line", x1=x, x2=x, y1=top, y2=bottom), _label(f"{value:g}", x, bottom + 16, "middle")]
    for value in series.ticks(*axes.y, canvas.ticks):
        _, y = axes.at(axes.x[0], value)
        parts += [tag("line", x1=left, x2=right, y1=y, y2=y), _label(f"{value:g}", left - 6, y + 4, "end")]
    parts.append(_label("executed FLOP per compulsory byte", (left + right) / 2, canvas.height - 8, "middle"))
    turned = f"rotate(-90 12 {(top + bottom) / 2:g})"
    parts.append(_label("achieved GFLOP/s", 12, (top + bottom) / 2, "middle", transform=turned))
    return tag("g", *parts, class_="grid", aria_hidden="true")


def _label(words: str, x: float, y: float, anchor: str, **more: Any) -> Markup:
    return tag("text", words, x=float(x), y=float(y), text_anchor=anchor, **more)


def _roofs(found: series.Roofline, axes: _Axes) -> tuple[Markup, list[series.Box]]:
    """The lines with their labels, and the boxes that the labels take."""
    left, top, right, bottom = axes.canvas.inner
    letter, peak = axes.canvas.letter, found.peak_gflops
    if not peak:
        return Markup(""), []
    _, y = axes.at(axes.x[0], peak)
    words = f"FMA peak {peak:,.0f} GFLOP/s"
    parts = [
        tag("line", x1=left, x2=right, y1=y, y2=y, class_="roof", data_value=exact(peak)),
        _label(words, right - 4, y - 6, "end", class_="halo rooftext"),
    ]
    boxes = [(right - 4 - letter * len(words), y - 18, right, y)]
    above = None  # the roof of more bandwidth, which a label must stay below
    for level, value in sorted(found.bandwidths_gbs.items(), key=lambda item: -item[1]):
        start = max(axes.x[0], axes.y[0] / value)  # where the line enters the picture
        end = min(peak / value, axes.x[1])
        if start >= end:
            continue
        (x1, y1), (x2, y2) = axes.at(start, start * value), axes.at(end, end * value)
        kind = f"roof {_level(level)}"
        parts.append(tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind, data_value=exact(value)))
        _, higher = axes.at(start, start * above) if above else (0.0, -math.inf)
        if (y1 - higher) * math.cos(math.atan2(y1 - y2, x2 - x1)) >= ROOF_GAP:
            label, taken = _along(f"{level} {value:,.0f} GB/s", (x1, y1), (x2, y2), letter, boxes)
            parts.append(label)
            boxes += taken
        above = value
    return tag("g", *parts), boxes


def _along(words: str, start, end, letter: float, boxes: Sequence[series.Box]) -> tuple[Markup, list[series.Box]]:
    """A label along a line, where no other is in its way; none where the line is too short."""
    (x1, y1), (x2, y2) = start, end
    length, width = math.hypot(x2 - x1, y2 - y1), letter * len(words)
    slope = math.degrees(math.atan2(y2 - y1, x2 - x1))
    for share in (0.04, 0.2, 0.35, 0.5, 0.65, 0.8):
        first, last = share * length, share * length + width
        if last > length:
            break
        taken = []
        for i in range(6):  # a chain of small boxes along the slope
            at = (first + (i + 0.5) / 6 * width) / length
            x, y = x1 + at * (x2 - x1), y1 + at * (y2 - y1) - 7
            half = width / 12 * math.cos(math.radians(slope)) + 2
            taken.append((x - half, y - 8, x + half, y + 8))
        if any(series.overlap(a, b) for a in taken for b in boxes):
            continue
        x, y = x1 + first / length * (x2 - x1), y1 + first / length * (y2 - y1)
        turned = f"rotate({slope:.1f} {x:.1f} {y:.1f})"
        return _label(words, x, y - 5, "start", transform=turned, class_="halo rooftext"), taken
    return Markup(""), []


# --- bars in the cells of a table


def bar(value: float, longest: float, mark: float | None, kind: str, words: str) -> Markup:
    """`value` as a bar, `longest` being all of the cell, with a line at `mark`."""
    parts = [
        tag(
            "rect",
            x="0",
            y="3",
            height="12",
            width=_percent(value / longest),
            class_=f"fill {kind}",
            data_value=exact(value),
        )
    ]
    if mark is not None:
        at = _percent(min(1.0, mark / longest))
        parts.append(tag("line", x1=at, x2=at, y1="0", y2="18", class_="limit", data_value=exact(mark)))
    return _cell(parts, words)


def pair(theory: float, executed: float, longest: float, kind: str, words: str) -> Markup:
    """Theory as an outline and executed filled within."""
    sizes = ((theory, "1", "16", "outline"), (executed, "5", "8", f"fill {kind}"))
    return _cell(
        [
            tag(
                "rect", x="0", y=y, height=height, width=_percent(flops / longest), class_=kind, data_value=exact(flops)
            )
            for flops, y, height, kind in sizes
        ],
        words,
    )


def ratio(value: float, least: float | None, reach: float, words: str) -> Markup:
    """A dot on the axis 1/reach ... reach, with a line from 1; a ring for the ratio of the fastest calls."""
    where, side = _percent(_position(value, reach)), _side(value)
    parts = [*_scale(reach), tag("line", x1="50%", x2=where, y1="9", y2="9", class_=f"stem {side}")]
    if least:
        at = _percent(_position(least, reach))
        parts.append(tag("circle", cx=at, cy="9", r="4", class_=f"least {_side(least)}", data_value=exact(least)))
    parts.append(tag("circle", cx=where, cy="9", r="5", class_=f"dot {side}", data_value=exact(value)))
    return _cell(parts, words)


def _side(value: float) -> str:
    return "faster" if value >= 1 else "slower"


def ratio_axis(reach: float) -> Markup:
    """The heading of a column of ratios: its ticks."""
    parts = []
    for value in _powers(reach):
        words = f"{value:g}" if value >= 1 else f"1/{1 / value:g}"
        spared = None if value in (1.0, reach, 1 / reach) else "spared"  # on a phone
        parts.append(
            tag("text", words, x=_percent(_position(value, reach)), y="13", text_anchor="middle", class_=spared)
        )
    return _cell(parts, "ratio on a logarithmic axis, 1 in the middle")


def _scale(reach: float) -> list[Markup]:
    return [
        tag("line", x1=at, x2=at, y1="0", y2="18", class_="one" if value == 1 else "tick")
        for value in _powers(reach)
        for at in (_percent(_position(value, reach)),)
    ]


def _powers(reach: float) -> list[float]:
    top = round(math.log2(reach))
    step = -(-top // 3)
    found = range(0, top + 1, step)
    return sorted({2.0**e for e in found} | {2.0**-e for e in found})


def _position(value: float, reach: float) -> float:
    return 0.5 + 0.43 * math.log(value) / math.log(reach)


def _percent(share: float) -> str:
    return f"{100 * max(0.0, share):.2f}%"


def _cell(parts: Sequence[Markup], words: str) -> Markup:
    heading = tag("title", words)
    return tag("svg", heading, *parts, class_="bar", width="100%", height=18, role="img", aria_label=words)
