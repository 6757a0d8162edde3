"""Whole networks: ours as a replayed CUDA graph against PyTorch eager, as a CUDA graph, and compiled with max-autotune.

The same weights, input and precision; every answer is held against float64 before its time is taken. Ours takes float32
NCHW and converts it, PyTorch finds its input in the type and layout it likes best.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np

from cnnkern import models
from cnnkern.measure import accuracy, pictures

from .convs import geometric_mean
from .harness import Item, Skip
from .ours import steady_us
from .place import Place

OURS, PEERS = "ours", ("eager", "graph", "compiled")
QUICK = (OURS, "eager", "graph")
FIRST = 2  # networks that say most: they come first, and their first compiled form before the others' times


def items(place: Place) -> Iterator[Item]:
    """The most telling first: the first networks at every batch but the largest; one compiled form of each, which takes
    a minute; all other networks; and what time there is for more compiled forms."""
    extent = place.extent
    largest = max(extent.batches) if len(extent.batches) > 1 else None
    every = [(n, b, p) for b in extent.batches for n in extent.nets for p in extent.timed]
    telling = [cell for cell in every if cell[0] in extent.nets[:FIRST] and cell[1] != largest]
    rest = [cell for cell in every if cell not in telling]
    compiled_first = [next(cell for cell in telling if cell[0] == net) for net in extent.nets[:FIRST]]
    later = [cell for cell in (*telling, *rest) if cell not in compiled_first]
    order = [(cell, engine) for cell in telling for engine in QUICK]
    order += [(cell, "compiled") for cell in compiled_first]
    order += [(cell, engine) for cell in rest for engine in QUICK]
    order += [(cell, "compiled") for cell in later]
    for (net, batch, precision), engine in order:
        limit_s = extent.compile_limit_s if engine == "compiled" else 60.0
        key = f"{net} batch {batch} {precision} {engine}"
        yield Item(key, partial(time, place, net, batch, precision, engine), limit_s)


def time(place: Place, net: str, batch: int, precision: str, engine: str) -> dict[str, Any]:
    """A row: one engine's answer and time. `us` is a whole call's, `replay_us` the bare graph's."""
    model, pair, answers = course(place, net, place.extent.net_size)
    x = pictures.alternating(pair, batch)
    row = {"net": net, "batch": batch, "precision": precision, "engine": engine, "us": None, "replay_us": None}
    if engine == OURS:
        answer, row["us"], row["replay_us"], row["arena_bytes"] = ours(place, model, x, precision)
    else:
        answer, row["us"] = getattr(place.peer, engine)(model, x, precision, place)
    place.peer.forget()
    expected = pictures.alternating(answers, batch)
    graph = model.graph.bind(1)
    error = accuracy.range_error(np.asarray(answer, np.float64), expected)
    tolerance = accuracy.tolerances(graph, precision)[graph.outputs[0]]
    varies = accuracy.variation(np.concatenate(answers)) > accuracy.VARIATION_LIMIT
    row |= {"error": error, "tolerance": tolerance, "correct": bool(error <= tolerance and varies)}
    if not row["correct"]:
        row |= {"us": None, "replay_us": None}
    return row


@cache
def course(place: Place, net: str, size: int | None) -> tuple[Any, list[np.ndarray], list[np.ndarray]]:
    """(the model, two pictures, the float64 answers to them)."""
    model = models.create(net, **({} if size is None else {"input_shape": (3, size, size)}))
    pair = pictures.photographs(net, model.input_shape, 2)
    try:
        answers = place.peer.answers(model, pair)
    except Skip:
        output = model.graph.outputs[0]
        answers = accuracy.reference_taps(model, pair, output.__eq__)[output]
    return model, np.split(pair, 2), np.split(answers, 2)


def ours(place: Place, model: Any, x: np.ndarray, precision: str) -> tuple[np.ndarray, float, float, int]:
    """(the answer, microseconds of a call with a device array, of the graph's replay, bytes of the arena)."""
    runtime = place.runtime
    executable = model.compile(x.shape, backend=place.backend, precision=precision)
    given = place.put(x)
    for _ in range(3):
        answer = executable(given)
    answer = place.get(answer)
    call_us = steady_us(runtime.time, lambda: executable(given), place)
    runner = executable._runner
    context = runner.new_context()
    for _ in range(2):
        runner.run(context, [given], None, None)
    replays = [replay for replay in context.replays if replay is not None]
    replay_us = steady_us(runtime.time, lambda: [replay() for replay in replays], place)
    return answer, call_us, replay_us, executable.arena_bytes


def section(records: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """A row per cell with every engine's time; ratios are another's time over ours, call against call and replay
    against replay."""
    cells: dict[tuple, dict[str, Any]] = {}
    for row in (row for rows in records.values() for row in rows):
        key = row["net"], row["batch"], row["precision"]
        cell = cells.setdefault(key, {**dict(zip(("net", "batch", "precision"), key)), "engines": {}, "ratios": {}})
        cell["engines"][row["engine"]] = {
            name: row[name] for name in ("us", "replay_us", "error", "tolerance", "correct")
        }
    for cell in cells.values():
        mine = cell["engines"].get(OURS, {})
        for name in PEERS:
            theirs = cell["engines"].get(name, {}).get("us")
            own = mine.get("replay_us" if name == "graph" else "us")
            cell["ratios"][name] = theirs / own if theirs and own else None
    rows = list(cells.values())
    return {"rows": rows, "means": means(rows)}


def means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Geometric means over the networks, by precision and batch."""
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["precision"], row["batch"]), []).append(row)
    return [
        {
            "precision": precision, "batch": batch, "nets": len(found),
            **{name: geometric_mean([row["ratios"][name] for row in found]) for name in PEERS},
        }
        for (precision, batch), found in groups.items()
    ]  # fmt: skip
