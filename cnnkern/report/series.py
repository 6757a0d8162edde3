"""What the pictures of a `cnnkern bench` document show, whoever draws them: families of layers, points under the roofs,
ticks of a logarithmic axis, and where labels fit. Takes the JSON document, never the measuring objects."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Layer = Mapping[str, Any]
Result = Mapping[str, Any]
Box = tuple[float, float, float, float]  # left, top, right, bottom

# Family -> (shape of its marker, colour on white, colour on black). Colour never speaks alone; the hues are those of
# Okabe and Ito, "Color Universal Design" (2008), darkened or lightened to 3:1 on their ground.
FAMILIES: dict[str, tuple[str, str, str]] = {
    "winograd": ("circle", "#0072b2", "#5ab1f0"),
    "direct": ("square", "#c8500a", "#ff8c4b"),
    "pointwise": ("up", "#00805c", "#2fcf9f"),
    "depthwise": ("diamond", "#b0488c", "#e79ac9"),
    "fused block": ("star", "#6546c0", "#b5a3ff"),
    "other convolution": ("down", "#8a6d00", "#e3c84a"),
    "linear": ("plus", "#1d7fa8", "#8fd3ff"),
    "pooling": ("cross", "#6b6b6b", "#a9a9a9"),
    "other": ("ring", "#333333", "#e2e2e2"),
}
CONVOLUTIONS = ("winograd", "direct", "pointwise", "depthwise")


def family(layer: Layer) -> str:
    """One of FAMILIES: the algorithm where the kernel's name says it, else the kind of operation."""
    op, kernel = layer["op"], layer["kernel"]
    if op.startswith("fused"):
        return "fused block"
    if "conv" in op:
        return next((name for name in CONVOLUTIONS if name in kernel), "other convolution")
    return "linear" if op == "linear" else "pooling" if "pool" in op else "other"


def families(layers: Iterable[Layer]) -> list[str]:
    """Those that occur, in the order of FAMILIES."""
    found = {family(layer) for layer in layers}
    return [name for name in FAMILIES if name in found]


def place(result: Result) -> str:
    """Where it ran: "cpu (avx2), 2 threads"."""
    isa = f" ({result['isa']})" if result["isa"] else ""
    return f"{result['backend']}{isa}, {result['threads']} thread" + ("" if result["threads"] == 1 else "s")


def title(result: Result) -> str:
    return f"{result['model']}, batch {result['batch']}, {place(result)}"


def file_stem(result: Result) -> str:
    """The same for a file's name, from letters, digits and "._-" alone: "resnet50-b1-avx512-t2"."""
    words = (result["model"], f"b{result['batch']}", result["isa"] or result["backend"], f"t{result['threads']}")
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(map(str, words))).lstrip(".") or "network"


# --- the roofline


@dataclass(frozen=True)
class Roofline:
    """Points (their layers) and the roofs; `x` and `y` are the ranges that hold them all."""

    layers: tuple[Layer, ...]
    left_out: tuple[Layer, ...]  # no operations, or no time
    peak_gflops: float | None
    bandwidths_gbs: Mapping[str, float]
    x: tuple[float, float]
    y: tuple[float, float]


def roofline(result: Result) -> Roofline | None:
    """The points of a result, heaviest first; None where none can be drawn."""
    shown = [x for x in result["layers"] if (x["intensity"] or 0) > 0 and (x["executed_gflops"] or 0) > 0]
    if not shown:
        return None
    shown.sort(key=lambda layer: -(layer["share_of_time"] or 0.0))
    kept = {id(layer) for layer in shown}
    left_out = tuple(layer for layer in result["layers"] if id(layer) not in kept)
    peak = result["peak_fma_gflops"] if (result["peak_fma_gflops"] or 0) > 0 else None
    roofs = {level: value for level, value in result["bandwidths_gbs"].items() if value > 0}
    xs = [layer["intensity"] for layer in shown]
    ys = [layer["executed_gflops"] for layer in shown]
    if peak:
        xs += [peak / value for value in roofs.values()]  # where each roof meets the peak
        ys.append(peak)
    x = min(xs) / 1.6, max(xs) * 1.8
    y = min(ys) / 1.8, max(ys) * 1.5
    return Roofline(tuple(shown), left_out, peak, roofs, x, y)


def ticks(low: float, high: float, most: int = 9) -> list[float]:
    """Round values within [low, high] for a logarithmic axis: 1, 2, 5 of each decade, or the decades where those
    would be more than `most`."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [step * 10.0**e for e in exponents for step in steps if low <= step * 10.0**e <= high]
        if len(found) <= most:
            return found
    return found[:: -(-len(found) // most)]


# --- labels


@dataclass(frozen=True)
class Label:
    """Text with its left end at `x` and its middle at `y`; `far` where a line to its point helps."""

    index: int
    text: str
    x: float
    y: float
    far: bool


def labels(
    marks: Sequence[tuple[float, float, float]],
    texts: Sequence[str],
    bounds: Box,
    *,
    letter: float,
    height: float,
    taken: Iterable[Box] = (),
) -> list[Label]:
    """Places for the texts of the first marks, in this order, that overlap no other text and as few marks as can be.

    Args: `marks` (x, y, radius) in pixels, y downwards, all of them; `texts` of the first ones; `letter` the width of a
    letter; `taken` what is already written. Returns: those that found a place.
    """
    boxes = list(taken)
    found = []
    for index, text in enumerate(texts):
        x, y, r = marks[index]
        width = letter * len(text)
        best = None
        for rank, (left, middle) in enumerate(_around(x, y, r, width, height)):
            box = left, middle - height / 2, left + width, middle + height / 2
            inside = box[0] >= bounds[0] and box[1] >= bounds[1] and box[2] <= bounds[2] and box[3] <= bounds[3]
            if not inside or any(overlap(box, other) for other in boxes):
                continue
            hits = sum(overlap(box, (a - q, b - q, a + q, b + q)) for a, b, q in marks)
            if best is None or hits < best[0]:
                best = hits, rank, box
        if best is not None:
            _, rank, box = best
            boxes.append(box)
            found.append(Label(index, text, box[0], (box[1] + box[3]) / 2, far=rank >= 8))
    return found


def _around(x: float, y: float, r: float, width: float, height: float) -> Iterable[tuple[float, float]]:
    """Left end and middle of a text beside a mark: close by first, then further off."""
    for gap in (r + 4, r + 26, r + 52):
        up, slant = gap + height / 2, 0.7 * gap
        yield x + gap, y
        yield x - gap - width, y
        yield x - width / 2, y - up
        yield x - width / 2, y + up
        for side in (x + slant, x - slant - width):
            yield side, y - slant - height / 2
            yield side, y + slant + height / 2


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


# --- ratios


def raced(result: Result) -> list[Mapping[str, Any]]:
    """The peers of a result's race: those with a ratio, the hardest to beat first, then those without."""
    peers = result["race"]["engines"][1:] if result["race"] else []
    return sorted(peers, key=lambda entry: (entry["ratio_median"] is None, entry["ratio_median"] or 0.0))


def reach(results: Iterable[Result]) -> float:
    """The factor R of the axis 1/R ... R that holds every ratio: a power of two, at least 2."""
    ratios = [e[key] for r in results for e in raced(r) for key in ("ratio_median", "ratio_minimum") if e[key]]
    furthest = max((abs(math.log2(ratio)) for ratio in ratios), default=0.0)
    return 2.0 ** max(1, math.ceil(furthest + 0.05))


def out_of_race(entry: Mapping[str, Any]) -> str:
    """Why an engine has no ratio."""
    if entry["reason"]:
        return entry["reason"]
    return "not timed: the heat has no times" if entry["correct"] else "wrong answer: no time"


def differ(result: Result) -> list[Layer]:
    """The layers that execute another number of operations than theory says."""
    return [
        layer
        for layer in result["layers"]
        if layer["executed_flops"] is not None and layer["executed_flops"] != layer["theory_flops"]
    ]
