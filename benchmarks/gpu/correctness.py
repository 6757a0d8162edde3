"""Every operation, algorithm, tile and some networks on the device, against the float64 oracle."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from cnnkern import UnsupportedError, models, ops, testing
from cnnkern.backends.cuda.gemm import engines
from cnnkern.graph.problem import format_problem
from cnnkern.measure import accuracy, opcases, pictures
from cnnkern.ops.base import Spec

from .harness import Item, Skip
from .ours import Layer
from .place import Place

C, L = ops.Conv2dSpec, ops.LinearSpec
LARGER: list[tuple[Spec, tuple]] = [
    (C(padding=1, activation="relu"), ((4, 64, 56, 56), (64, 64, 3, 3), (64,), (4, 64, 56, 56))),
    (C(padding=1), ((2, 256, 14, 14), (256, 256, 3, 3), (256,))),
    (C(2, 3, activation="relu"), ((4, 3, 112, 112), (64, 3, 7, 7), (64,))),
    (C(), ((8, 256, 28, 28), (130, 256, 1, 1), (130,))),
    (C(2), ((4, 192, 29, 29), (256, 192, 1, 1), (256,))),
    (C(1, 1, groups=96, activation="relu6"), ((4, 96, 57, 57), (96, 1, 3, 3), (96,))),
    (C(2, 1, groups=144, activation="silu"), ((4, 144, 57, 57), (144, 1, 3, 3), (144,))),
    (C(1, 2, groups=240, activation="hardswish"), ((4, 240, 29, 29), (240, 1, 5, 5), (240,))),
    (C(1, 1, groups=32), ((2, 128, 29, 29), (128, 4, 3, 3), (128,))),
    (C(1, 1, groups=4), ((2, 64, 29, 29), (128, 16, 3, 3), None)),
    (C((1, 2), (0, 3), (2, 1)), ((2, 67, 31, 33), (45, 67, 3, 7), (45,))),
    (C(padding=2), ((2, 48, 28, 28), (64, 48, 5, 5), (64,))),
    (C(padding=1), ((1, 512, 7, 7), (512, 512, 3, 3), (512,))),
    (C(padding=((0, 1), (1, 2)), algo="winograd"), ((3, 65, 30, 31), (70, 65, 3, 3), (70,))),
    (L("relu"), ((130, 1025), (1000, 1025), (1000,))),
    (L(), ((1, 4096), (1000, 4096), (1000,))),
    (L(), ((5, 25088), (100, 25088), None)),
    (ops.Pool2dSpec(kind="max", kernel=3, stride=2, padding=1), ((4, 64, 112, 112),)),
    (ops.Pool2dSpec(kind="avg", kernel=2, stride=2), ((4, 65, 57, 57),)),
    (ops.GlobalPool2dSpec("avg"), ((8, 1280, 7, 7),)),
    (ops.AdaptiveAvgPool2dSpec((7, 7)), ((2, 512, 14, 15),)),
    (ops.BatchNormSpec(1e-5), ((4, 130, 57, 57), (130,), (130,), (130,), (130,))),
    (ops.LocalResponseNormSpec(5, 1e-4, 0.75, 1.0, False), ((2, 96, 55, 55),)),
    (ops.LocalContrastNormSpec(7), ((2, 16, 64, 64),)),
    (ops.SoftmaxSpec(-1), ((64, 1000),)),
    (ops.ConcatSpec(1), ((2, 96, 55, 55), (2, 32, 55, 55), (2, 5, 55, 55))),
    (ops.AddSpec("relu"), ((8, 256, 57, 57), (8, 256, 57, 57))),
    (ops.MulSpec(), ((8, 240, 28, 28), (8, 240, 1, 1))),
    (ops.ActivationSpec("gelu"), ((8, 256, 56, 56),)),
]
TILED = [  # what every tile of every engine computes, its sum whole and cut in parts
    (C(padding=1, activation="relu"), ((2, 40, 23, 21), (72, 40, 3, 3), (72,), (2, 72, 23, 21))),
    (C(2, 3), ((2, 3, 37, 41), (70, 3, 7, 7), (70,))),
    (C(), ((3, 264, 15, 14), (130, 264, 1, 1), None)),
    (C(1, 1, groups=2), ((2, 48, 15, 14), (64, 24, 3, 3), (64,))),
]
SPLITS = (1, 3)
STREAMED = 4  # calls on each of two streams


def items(place: Place) -> Iterator[Item]:
    """The first seed of every operation, then larger ones, tiles and networks, then the other seeds."""
    extent = place.extent
    first, *more = extent.seeds
    labels = extent.labels or tuple(opcases.CASES)
    yield from (_random(place, label, first) for label in labels)
    for name, size in extent.checked_nets:
        for precision in extent.precisions:
            yield Item(f"{name} {precision}", partial(network, place, name, size, precision))
        yield Item(f"{name} repeated", partial(repeated, place, name, size))
    for spec, shapes in LARGER[: extent.larger]:
        yield Item(f"larger {format_problem(spec, shapes)}", partial(larger, place, spec, shapes))
    for spec, shapes in TILED[: extent.larger]:
        for precision in extent.precisions:
            if precision != "strict":
                key = f"tiles {precision} {format_problem(spec, shapes)}"
                yield Item(key, partial(tiles, place, spec, shapes, precision))
    for seed in more:
        yield from (_random(place, label, seed) for label in labels)


def _random(place: Place, label: str, seed: int) -> Item:
    return Item(f"{label}, seed {seed}", partial(operation, place, label, seed))


class Tally:
    """What cases of one kind came to."""

    def __init__(self, place: Place, what: str, precision: str):
        self._broken = place.broken
        self.row = {
            "what": what, "precision": precision, "cases": 0, "skipped": 0, "error": 0.0, "tolerance": 0.0,
            "worst_case": "", "failures": [],
        }  # fmt: skip
        self._worst = -1.0

    def add(self, case: str, check: Callable[[], tuple[float, float]]) -> None:
        """`check` returns (error, tolerance). What it raises is a failure, but for what cannot be served; it goes on up
        where the device is lost with it."""
        self.row["cases"] += 1
        try:
            error, tolerance = check()
        except (UnsupportedError, Skip):
            self.row["skipped"] += 1
            return
        except Exception as error:
            self.row["failures"].append(f"{case}: {type(error).__name__}: {error}")
            if self._broken():
                raise
            return
        if not error <= tolerance:
            self.row["failures"].append(f"{case}: error {error:.2e}, allowed {tolerance:.2e}")
        if (used := closeness(error, tolerance)) > self._worst:
            self._worst = used
            self.row |= {"error": error, "tolerance": tolerance, "worst_case": case}


def closeness(error: float, tolerance: float) -> float:
    """How much of its tolerance an error uses up; beyond 1 it is wrong."""
    if math.isnan(error):
        return math.inf
    return error / tolerance if tolerance else math.inf if error else 0.0


def worst(mine: Sequence[Any], theirs: Any, spec: Spec, given: Sequence[Any], precision: str) -> tuple[float, float]:
    """(error, tolerance) of the output nearest to its tolerance. Indices count only where nothing is rounded: which of
    two that round to the same is the largest is undecided."""
    theirs = theirs if isinstance(theirs, tuple) else (theirs,)
    if precision not in ("float32", "strict"):
        mine, theirs = mine[:1], theirs[:1]
    found = [testing.compare(a, b, spec, given, precision=precision) for a, b in zip(mine, theirs)]
    return max(((c.error, c.tolerance) for c in found), key=lambda pair: closeness(*pair))


# --- operations


@lru_cache(maxsize=1)
def _table(seed: int, per_op: int) -> dict[str, list[opcases.OpCase]]:
    table: dict[str, list[opcases.OpCase]] = {}
    for case in opcases.cases(seed, per_op):
        table.setdefault(case.label, []).append(case)
    return table


def operation(place: Place, label: str, seed: int) -> list[dict[str, Any]]:
    tallies = [Tally(place, label, precision) for precision in place.extent.precisions]
    for case in _table(seed, place.extent.per_op)[label]:
        _each_precision(place, tallies, case.spec, list(case.arrays), case.arrays)
    return [tally.row for tally in tallies]


def larger(place: Place, spec: Spec, shapes: Sequence[Any]) -> list[dict[str, Any]]:
    arrays = arrays_of(spec, shapes)
    tallies = [Tally(place, f"larger {spec.op}", precision) for precision in place.extent.precisions]
    _each_precision(place, tallies, spec, arrays, [None if a is None else a.shape for a in arrays])
    return [tally.row for tally in tallies]


def _each_precision(
    place: Place, tallies: list[Tally], spec: Spec, arrays: list[Any], judged_by: Sequence[Any]
) -> None:
    """`judged_by`: what `testing.compare` is given: arrays, or for large ones shapes first, which is the stricter and
    spares the oracle another run."""
    case = format_problem(spec, [None if a is None else a.shape for a in arrays])
    expected = testing.reference(spec, *arrays)
    for tally in tallies:
        precision = tally.row["precision"]

        def check(precision: str = precision) -> tuple[float, float]:
            mine = place.backend.call(spec, arrays, precision=precision)
            error, tolerance = worst(mine, expected, spec, judged_by, precision)
            if not error <= tolerance and judged_by is not arrays:
                return worst(mine, expected, spec, arrays, precision)
            return error, tolerance

        tally.add(case, check)


def arrays_of(spec: Spec, shapes: Sequence[Any], seed: int = 7) -> list[np.ndarray | None]:
    """Normal data, weights of a size that keeps it so, variances positive."""
    rng, made = np.random.default_rng(seed), []
    names = spec.inputs if len(spec.inputs) >= len(shapes) else ["x"] * len(shapes)
    for name, shape in zip(names, shapes):
        if shape is None:
            made.append(None)
            continue
        array = rng.standard_normal(shape, np.float32)
        if name == "weight" and spec.op != "batch_norm":
            array *= np.float32(np.sqrt(2 / spec.reduction(*shapes)))
        made.append(np.abs(array) + np.float32(0.1) if name == "var" else array)
    return made


def tiles(place: Place, spec: Spec, shapes: Sequence[Any], precision: str) -> dict[str, Any]:
    """Every tile of the engines that the precision has on this device."""
    arrays = arrays_of(spec, shapes)
    arrays += [None] * (4 - len(arrays))
    expected, tally = testing.reference(spec, *arrays), Tally(place, "tiles", precision)
    found = [tile for engine in engines(precision, place.runtime.target) for tile in engine.tiles_for(4)]
    for tile in found:
        for splits in SPLITS:
            plan = {"algo": "implicit_gemm", "tile": list(tile), "splits": splits}

            def check(plan: dict[str, Any] = plan) -> tuple[float, float]:
                y = Layer(place, spec, arrays, precision, plan).run()
                return worst([y], expected, spec, [None if a is None else a.shape for a in arrays], precision)

            tally.add(f"{format_problem(spec, shapes)} {plan}", check)
    return tally.row


# --- networks


@lru_cache(maxsize=1)
def _network(name: str, size: int | None) -> tuple[Any, np.ndarray, dict[str, np.ndarray]]:
    """(the model, two pictures, every layer's float64 output)."""
    model = models.create(name, **({} if size is None else {"input_shape": (3, size, size)}))
    x = pictures.photographs(name, model.input_shape, 2)
    return model, x, accuracy.reference_taps(model, x)


def network(place: Place, name: str, size: int | None, precision: str) -> dict[str, Any]:
    """Every layer of a network, step by step."""
    model, x, expected = _network(name, size)
    graph, tally = model.graph.bind(len(x)), Tally(place, name if size is None else f"{name} at {size}", precision)
    executable = model.compile(x.shape, backend=place.backend, precision=precision)
    mine, limits = accuracy.taps(executable, x), accuracy.tolerances(graph, precision)
    for value in mine.keys() & expected.keys():
        tally.add(value, partial(_layer, mine[value], expected[value], limits[value]))
    output = graph.outputs[0]
    tally.add("replayed", partial(_layer, executable(x), expected[output], limits[output]))
    if accuracy.variation(expected[output]) <= accuracy.VARIATION_LIMIT:
        tally.row["failures"].append("two pictures have one answer: nothing is tested")
    return tally.row


def _layer(mine: np.ndarray, theirs: np.ndarray, limit: float) -> tuple[float, float]:
    return accuracy.range_error(mine.astype(np.float64), theirs), limit


def repeated(place: Place, name: str, size: int | None) -> list[dict[str, Any]]:
    """The same bits from a graph and from single launches, from device arrays, again, and on two streams at once."""
    precisions = [precision for precision in place.extent.precisions if precision != "strict"]
    return [_repeated(place, name, size, precision) for precision in precisions]


def _repeated(place: Place, name: str, size: int | None, precision: str) -> dict[str, Any]:
    model, x, _ = _network(name, size)
    other = np.ascontiguousarray(x[::-1] * np.float32(0.5))
    tally = Tally(place, f"{name} the same bits", precision)
    graph = model.compile(x.shape, backend=place.backend, precision=precision)
    single = model.compile(x.shape, backend=place.backend, precision=precision, graph_replay=False)
    wanted, second = single(x), single(other)
    both = [*[wanted] * STREAMED, *[second] * STREAMED]
    tally.add("a graph", lambda: _same(graph(x), wanted))
    tally.add("again", lambda: _same(graph(x), wanted))
    tally.add("on device arrays", lambda: _same(place.get(graph(place.put(x))), wanted))
    tally.add("on two streams", lambda: _same(_two_streams(place, graph, x, other), both))
    return tally.row


def _same(mine: Any, theirs: Any) -> tuple[float, float]:
    return float(not np.array_equal(np.asarray(mine), np.asarray(theirs))), 0.0


def _two_streams(place: Place, executable: Any, x: np.ndarray, other: np.ndarray) -> list[np.ndarray]:
    first, second = place.put(x), place.put(other)
    place.runtime.synchronize()
    one, two, found = place.stream(), place.stream(), ([], [])
    for _ in range(STREAMED):
        for stream, given, into in ((one, first, found[0]), (two, second, found[1])):
            with stream:
                into.append(executable(given))
    place.runtime.synchronize()
    return [place.get(y) for results in found for y in results]


# --- what it came to


def section(records: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The rows of one kind and precision as one."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for row in (row for rows in records.values() for row in rows):
        into = merged.setdefault((row["what"], row["precision"]), {**row, "cases": 0, "skipped": 0, "failures": []})
        into["cases"] += row["cases"]
        into["skipped"] += row["skipped"]
        into["failures"] = into["failures"] + row["failures"]
        numbers = [(r["error"] or 0.0, r["tolerance"]) for r in (row, into)]
        if closeness(*numbers[0]) > closeness(*numbers[1]):
            into |= {name: row[name] for name in ("error", "tolerance", "worst_case")}
    for row in merged.values():
        row["good"] = not row["failures"] and row["cases"] > row["skipped"]
    return {"rows": list(merged.values())}
