"""How far a network is from the float64 reference, at every layer and at the end.

Errors are shares of the reference's range (largest minus smallest value of that tensor), so that layers of different
scale can be compared. The tolerance at a layer treats everything before it as one long sum: rounding errors of
independent layers add like the terms of one sum, so with K_l the reduction length of layer l,

    tolerance(layer) = SAFETY * epsilon * sqrt(sum of K_l over the layers up to it)

with epsilon = 2**-23. SAFETY leaves room for Winograd's transforms, whose error is about five times that of a direct sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph.ir import Graph

SAFETY = 6.0
EPSILON = 2.0**-23
VARIATION_LIMIT = 0.01  # two inputs must move the output by more than this share of its range, or nothing is tested


@dataclass(frozen=True)
class LayerError:
    """The error of one layer's output, a share of the reference's range."""

    layer: str
    op: str
    shape: tuple[int, ...]
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance  # False for NaN, as it must be


@dataclass(frozen=True)
class NetworkErrors:
    """The errors of a network's layers, in execution order; the last one is the output."""

    layers: tuple[LayerError, ...]
    variation: float  # the smallest movement of the output between the inputs, as a share of its range

    @property
    def output(self) -> LayerError:
        return self.layers[-1]

    @property
    def worst(self) -> LayerError:
        """The layer closest to its tolerance, or furthest beyond it."""
        return max(self.layers, key=lambda e: math.inf if math.isnan(e.error) else e.error / e.tolerance)

    @property
    def largest(self) -> float:
        return max((e.error for e in self.layers), key=lambda e: math.inf if math.isnan(e) else e)

    @property
    def varies(self) -> bool:
        return self.variation > VARIATION_LIMIT

    @property
    def ok(self) -> bool:
        return self.varies and all(e.ok for e in self.layers)


def range_error(mine: np.ndarray, reference: np.ndarray) -> float:
    """max |mine - reference| / (max(reference) - min(reference)); infinity where the shapes differ, NaN where mine has one.

    A constant reference is measured against its largest magnitude, or against 1 when it is zero.
    """
    if mine.shape != reference.shape:
        return math.inf
    if reference.size == 0:
        return 0.0
    spread = float(reference.max() - reference.min()) or float(np.abs(reference).max()) or 1.0
    return float(np.abs(mine - reference).max()) / spread


def variation(output: np.ndarray) -> float:
    """The smallest largest-movement between two images of a batch, as a share of the output's range; 1 for one image."""
    if output.shape[0] < 2:
        return 1.0
    spread = float(output.max() - output.min()) or 1.0
    moves = [float(np.abs(a - b).max()) for i, a in enumerate(output) for b in output[:i]]
    return min(moves) / spread


def tolerances(graph: Graph, safety: float = SAFETY) -> dict[str, float]:
    """The tolerance of every value a node of `graph` (batch bound) produces, by value name."""
    total, table = 0, {}
    for node in graph.nodes:
        total += node.spec.reduction(*(graph.shape(name) for name in node.inputs))
        for output in node.outputs:
            table[output] = safety * EPSILON * math.sqrt(total)
    return table


def compare_network(graph: Graph, taps: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> NetworkErrors:
    """Compare every tapped value that the reference has too.

    Args: `graph` is the network before any pass, batch bound, for names, tolerances and order; `taps` and `reference`
    map value names to arrays; both hold the graph's output.
    Raises: KeyError when the output is missing on either side.
    """
    limits = tolerances(graph)
    result = graph.outputs[0]
    errors = []
    for node in graph.nodes:
        for value in node.outputs:
            if value != result and value in taps and value in reference:
                errors.append(_layer_error(node, value, taps, reference, limits))
    last = graph.producer()[result]
    errors.append(_layer_error(last, result, taps, reference, limits))
    return NetworkErrors(tuple(errors), variation(reference[result]))


def reference_taps(model: Any, x: np.ndarray, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, np.ndarray]:
    """Run `model` on `x` through the oracle, float64 throughout, and keep the values whose name is wanted.

    Values nobody wants are dropped as soon as their last reader has run, so a deep network fits into memory.
    """
    from ..backends import get

    oracle = get("reference")
    graph = model.graph.bind(x.shape[0])
    weights = {name: np.asarray(w, dtype=np.float64) for name, w in model.weights.items()}
    readers = {name: len(nodes) for name, nodes in graph.consumers().items()}
    live: dict[str, np.ndarray] = {graph.inputs[0]: np.asarray(x, dtype=np.float64)}
    kept = {}
    for node in graph.nodes:
        arrays = [None if not n else live[n] if n in live else weights[n] for n in node.inputs]
        for name, array in zip(node.outputs, oracle.call(node.spec, arrays)):
            live[name] = array
            if wanted(name) or name in graph.outputs:
                kept[name] = array
        for name in node.inputs:
            readers[name] = readers.get(name, 0) - 1
            if readers[name] <= 0:
                live.pop(name, None)
    return kept


def _layer_error(node, value, taps, reference, limits) -> LayerError:
    mine = np.asarray(taps[value])
    return LayerError(node.name, node.spec.op, tuple(mine.shape), range_error(mine, reference[value]), limits[value])
