"""Every distinct convolution of some networks: ours, by the selector's choice and by the others it had, against cuDNN.

Ours ends with bias and activation; cuDNN's convolution is timed alone, without either, which favours it. Both go round
in copies of inputs, weights and outputs that exceed the L2 cache, launched many times by one CUDA graph. A wrong answer
gets no time.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from cnnkern import models, ops
from cnnkern.backends.cuda.conv import conv_problem
from cnnkern.backends.cuda.conv_select import Device, serves
from cnnkern.backends.cuda.launch import Pointer
from cnnkern.backends.cuda.lowering import CTYPES
from cnnkern.backends.cuda.tensors import ITEM_BYTES, Tensor
from cnnkern.graph import passes
from cnnkern.graph.memory import round_up
from cnnkern.graph.problem import format_problem
from cnnkern.ops.base import Shape

from .harness import Item, Skip
from .ours import Layer, Times, random_weights
from .place import Place

WINOGRAD_TILES = {3: (2, 4), 5: (2,)}  # filter -> outputs of a tile, along a side
DIRECT_MOST = 2e9  # multiply-accumulates that the direct kernel, a thread per output, is asked for
LEAST_RATIO = 0.7  # of cuDNN's time over ours, below which a layer is listed


@dataclass(frozen=True)
class Conv:
    """A geometry, with a bias and the activation of its first layer."""

    spec: ops.Conv2dSpec
    shapes: tuple[Shape | None, ...]  # x, weight, bias

    @property
    def key(self) -> str:
        return format_problem(self.spec, self.shapes)

    @property
    def macs(self) -> int:
        return self.spec.theory(*self.shapes).fma

    @property
    def depthwise(self) -> bool:
        return self.spec.groups > 1 and self.shapes[1][1] == 1


def convolutions(place: Place, batch: int) -> dict[Conv, dict[str, int]]:
    """The convolutions of the networks after the backend's passes -> how many layers of each network they are."""
    found: dict[tuple, tuple[Conv, dict[str, int]]] = {}
    for name in place.extent.conv_nets:
        size = place.extent.conv_size
        graph = models.create(name, **({} if size is None else {"input_shape": (3, size, size)})).graph.bind(batch)
        weights = {param.name: np.zeros(param.shape, np.float32) for param in graph.params.values()}
        graph, _ = passes.apply(graph, weights, place.backend.passes())
        for node in graph.nodes:
            if not isinstance(node.spec, ops.Conv2dSpec):
                continue
            x, weight = (graph.shape(name) for name in node.inputs[:2])
            spec = node.spec
            geometry = (x, weight, spec.stride, spec.padding, spec.dilation, spec.groups)
            conv = Conv(replace(spec, prologue=None), (x, weight, (weight[0],)))
            _, layers = found.setdefault(geometry, (conv, {}))
            layers[name] = layers.get(name, 0) + 1
    return dict(found.values())


def items(place: Place) -> Iterator[Item]:
    """First everything by the selector's choice and by cuDNN; then the other candidates, where we are slowest first."""
    cells = {}
    for batch in place.extent.batches:
        for precision in place.extent.timed:
            for conv, layers in convolutions(place, batch).items():
                key = _key(conv, precision)
                cells[key] = conv, precision
                yield Item(key, partial(chosen, place, conv, precision, layers), limit_s=30.0)
    rows = place.earlier("convs")
    slowest = sorted(cells, key=lambda key: _ratio(rows.get(key)))
    for key in slowest:
        yield Item(f"others of {key}", partial(others, place, *cells[key]), limit_s=60.0)


def _key(conv: Conv, precision: str) -> str:
    return f"{precision} {conv.key}"


def _ratio(rows: Sequence[dict[str, Any]] | None) -> float:
    ratio = rows[0]["ratio"] if rows else None
    return math.inf if ratio is None else ratio


def chosen(place: Place, conv: Conv, precision: str, layers: dict[str, int]) -> dict[str, Any]:
    """A row: the selector's choice, checked and timed, and cuDNN's time."""
    peer = place.peer
    arrays = [peer.data(conv.shapes[0], seed=1), *random_weights(conv.spec, conv.shapes, seed=2), None]
    ours = _attempt(place, conv, arrays, precision, None)
    row = {
        "problem": conv.key, "precision": precision, "batch": conv.shapes[0][0], "layers": layers,
        "depthwise": conv.depthwise, "theory_gflop": 2e-9 * conv.macs, **ours, "tflops": None, "cudnn_us": None,
        "cudnn_minimum_us": None, "ratio": None, "left_out": "",
    }  # fmt: skip
    if ours["us"]:
        row["tflops"] = 2e-6 * conv.macs / ours["us"]
    try:
        theirs: Times = peer.conv(conv.spec, arrays, precision, place)
        row |= {"cudnn_us": theirs.median_us, "cudnn_minimum_us": theirs.minimum_us}
        row["ratio"] = theirs.median_us / ours["us"] if ours["us"] else None
    except Skip as reason:
        row["left_out"] = str(reason)
    except Exception as error:  # theirs must not lose ours
        row["left_out"] = f"{type(error).__name__}: {error}"
    peer.forget()
    return row


def others(place: Place, conv: Conv, precision: str) -> list[dict[str, Any]]:
    """A row for each other candidate, the most promising first."""
    peer, runtime = place.peer, place.runtime
    arrays = [peer.data(conv.shapes[0], seed=1), *random_weights(conv.spec, conv.shapes, seed=2), None]
    known = place.earlier("convs").get(_key(conv, precision))
    plans = candidates(conv, precision, runtime.multiprocessors, runtime.target)
    plans = [plan for plan in plans if not (known and plan.items() <= known[0]["plan"].items())]
    rows = []
    for plan in plans[: place.extent.candidates]:
        row = {"problem": conv.key, "precision": precision, "asked": plan}
        try:
            rows.append({**row, **_attempt(place, conv, arrays, precision, plan)})
        except NotImplementedError as error:  # it cannot serve
            rows.append({**row, "wrong": str(error), "us": None})
    peer.forget()
    return rows


def _attempt(place: Place, conv: Conv, arrays: Sequence[Any], precision: str, plan) -> dict[str, Any]:
    layer = Layer(place, conv.spec, arrays, precision, plan)
    error, tolerance = place.peer.check(conv.spec, list(arrays[:3]), layer.run(), precision)
    row = {
        "kernel": layer.step.kernel, "plan": layer.step.plan, "error": error, "tolerance": tolerance, "wrong": "",
        "us": None, "minimum_us": None, "launches": len(layer.step.native),
    }  # fmt: skip
    if not error <= tolerance:
        return row | {"wrong": f"error {error:.2e}, allowed {tolerance:.2e}"}
    times = layer.time()
    return row | {"us": times.median_us, "minimum_us": times.minimum_us}


# --- what the selector may choose among


def candidates(conv: Conv, precision: str, multiprocessors: int, target: str) -> list[dict[str, Any]]:
    """Decisions, by the selector's own estimate, the cheapest first; those that have none come last."""
    problem = conv_problem(conv.spec, _image(conv.shapes[0], CTYPES[precision]), conv.shapes[1])
    device = Device(precision, multiprocessors, target, problem.vector)
    found: list[tuple[float, dict[str, Any]]] = []
    gathered = "pointwise" if serves(problem, "pointwise") else "implicit_gemm"
    if problem.groups == 1 or problem.c_group % device.word == 0:
        products = list(_products(device, problem.m, problem.k_group, problem.taps, problem.groups))
        found += [(cycles, {"algo": gathered, **plan}) for cycles, plan in products]
        if gathered != "pointwise" and problem.taps % 4 == 0:
            cycles, plan = min(products, key=lambda pair: pair[0])
            found.append((2 * cycles, {"algo": "im2col", **plan}))
    if precision == "float32" and serves(problem, "winograd"):
        device = Device(precision, multiprocessors, target)  # its images lie as loads want them
        for m in WINOGRAD_TILES[problem.r]:
            positions, tiles = (m + problem.r - 1) ** 2, problem.n * -(-problem.p // m) * -(-problem.q // m)
            best = sorted(_products(device, tiles, problem.k, problem.c, positions, (1,)), key=lambda pair: pair[0])[:3]
            found += [(cycles, {"algo": "winograd", "m": m, **plan}) for cycles, plan in best]
    last = [{"algo": algo} for algo in ("depthwise", "grouped") if problem.groups > 1 and serves(problem, algo)]
    if conv.macs <= DIRECT_MOST:
        last.append({"algo": "direct"})
    return [plan for _, plan in sorted(found, key=lambda pair: pair[0])] + last


def _image(sizes: Shape, ctype: str) -> Tensor:
    """As the reorder at a network's edge leaves it."""
    (_, c, h, w), lanes = sizes, 16 // ITEM_BYTES[ctype]
    pixel = round_up(c, lanes)
    return Tensor(Pointer("arena"), sizes, (h * w * pixel, 1, w * pixel, pixel), ctype, pixel - c)


def _products(
    device: Device, m: int, k: int, taps: int, groups: int, splits: Iterable[int] | None = None
) -> Iterator[tuple[float, dict[str, Any]]]:
    """(estimate, decision) of every tile, its sum cut as the selector would and half and twice as often."""
    for engine, tile in device.tiles:
        alone = copy.copy(device)
        alone.tiles = [(engine, tile)]
        cycles, plan = alone.product(m, k, taps, groups)
        steps = -(-taps // engine.step)
        for count in splits or sorted({plan["splits"], max(1, plan["splits"] // 2), 2 * plan["splits"]}):
            if count == 1 or 4 * count <= steps:
                yield cycles * (1 if count == plan["splits"] else 1.2), {"tile": list(tile), "splits": count}


# --- what it came to


def section(records: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The rows, each with its candidates, and the geometric means."""
    rows = {key: dict(found[0]) for key, found in records.items() if found and not key.startswith("others of ")}
    for key, row in rows.items():
        row["candidates"] = records.get(f"others of {key}", [])
        timed = [c for c in row["candidates"] if c["us"]]
        best = min(timed, key=lambda c: c["us"], default=None)
        row["best_us"] = min(filter(None, (row["us"], best and best["us"])), default=None)
    return {"rows": list(rows.values()), "means": means(list(rows.values()))}


def means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of cuDNN's time over ours, by precision and batch, depthwise apart."""
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        kind = "depthwise" if row["depthwise"] else "other"
        for batch in (row["batch"], None):
            groups.setdefault((kind, row["precision"], batch), []).append(row)
    return [
        {
            "kind": kind, "precision": precision, "batch": batch, "layers": len(found),
            "timed": sum(row["ratio"] is not None for row in found),
            "wrong": sum(bool(row["wrong"]) for row in found),
            "ratio": geometric_mean([row["ratio"] for row in found]),
            "best_ratio": geometric_mean([_best_ratio(row) for row in found]),
            "below": sum((row["ratio"] or math.inf) < LEAST_RATIO for row in found),
        }
        for (kind, precision, batch), found in groups.items()
    ]  # fmt: skip


def _best_ratio(row: dict[str, Any]) -> float | None:
    """Had the selector known."""
    return row["cudnn_us"] / row["best_us"] if row["cudnn_us"] and row["best_us"] else None


def geometric_mean(ratios: Iterable[float | None]) -> float | None:
    logs = [math.log(ratio) for ratio in ratios if ratio]
    return math.exp(sum(logs) / len(logs)) if logs else None
