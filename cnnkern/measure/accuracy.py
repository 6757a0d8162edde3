"""How far a network is from the float64 reference, at every layer and at the end.

Errors are shares of the reference's range (largest minus smallest value of that tensor), so that layers of different
scale can be compared. The tolerance at a layer treats the rounding errors of the layers before it as independent, like
the terms of a sum: with t_l the tolerance of one operation (`cnnkern.testing.tolerance`: a formula in its reduction
length and epsilon, Winograd's own where that may run),

    tolerance(layer) = AMPLIFICATION * sqrt(sum of t_l**2 over the layers up to it)

AMPLIFICATION leaves room for layers that magnify the errors of those before them. How much they do depends on the
weights; with the package's own random ones (cnnkern/random_weights.py) the worst, resnet152, would pass with 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import testing
from ..backends.base import Step
from ..backends.reference import ReferenceBackend
from ..graph.ir import Graph

Taps = dict[str, np.ndarray]  # by the name of the value
Wanted = Callable[[str], bool]  # of the names of values
AMPLIFICATION = 4.0
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
    variation: float  # how far the outputs of two inputs lie apart, a share of the output's range

    @property
    def output(self) -> LayerError:
        return self.layers[-1]

    @property
    def worst(self) -> LayerError:
        """The first layer beyond its tolerance, which is where to look; if there is none, the one nearest to it."""
        wrong = [e for e in self.layers if not e.ok]
        return wrong[0] if wrong else max(self.layers, key=lambda e: e.error / e.tolerance if e.tolerance else 0.0)

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
    """max |mine - reference| / (max(reference) - min(reference)); infinity for other shapes, NaN where there is one.

    A constant reference is measured against its largest magnitude, or against 1 when it is zero.
    """
    if mine.shape != reference.shape:
        return math.inf
    if reference.size == 0:
        return 0.0
    spread = float(reference.max() - reference.min()) or float(np.abs(reference).max()) or 1.0
    return float(np.abs(mine - reference).max()) / spread


def variation(output: np.ndarray) -> float:
    """How far the outputs of a batch's first two images lie apart, as a share of the output's range; 0 without two."""
    if len(output) < 2:
        return 0.0
    spread = float(output.max() - output.min())
    return float(np.abs(output[0] - output[1]).max()) / spread if spread else 0.0


def tolerances(graph: Graph, precision: str = "float32") -> dict[str, float]:
    """The tolerance of every value a node of `graph` (batch bound, before any pass) produces, by value name."""
    total, table = 0.0, {}
    for node in graph.nodes:
        shapes = [graph.shape(name) for name in node.inputs]
        total += testing.tolerance(node.spec, *shapes, precision=precision) ** 2
        table.update(dict.fromkeys(node.outputs, AMPLIFICATION * math.sqrt(total)))
    return table


def compare_network(
    graph: Graph, mine: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], varies: float
) -> NetworkErrors:
    """Compare every tapped value that the reference has too.

    Args: `graph` is the network before any pass, batch bound, for names, tolerances and order; `mine` and `reference`
    map value names to arrays; both hold the graph's output. `varies` is the `variation` of the reference's output.
    Raises: KeyError when the output is missing on either side.
    """
    limits = tolerances(graph)
    result = graph.outputs[0]
    inner = [
        _layer_error(node, value, mine[value], reference[value], limits)
        for node in graph.nodes
        for value in node.outputs
        if value != result and value in mine and value in reference
    ]
    last = _layer_error(graph.producer()[result], result, mine[result], reference[result], limits)
    return NetworkErrors((*inner, last), varies)


def shapes(x: Any) -> tuple:
    """What `Model.compile` wants to hear of an input, or of a tuple of all of them."""
    return tuple(array.shape for array in x) if isinstance(x, tuple) else x.shape


def bound(model: Any, x: Any) -> Graph:
    """The model's graph for such inputs."""
    arrays = x if isinstance(x, tuple) else (x,)
    if hasattr(model, "graph_for"):  # a loaded model, whose graph hangs on more than the batch
        return model.graph_for([array.shape for array in arrays])
    pairs = [pair for shape, a in zip(model.input_shapes.values(), arrays) for pair in zip(shape, a.shape)]
    return model.graph.bind({symbol: size for symbol, size in pairs if isinstance(symbol, str)})


def reference_taps(model: Any, x: Any, wanted: Wanted = lambda name: True) -> Taps:
    """Run `model` on `x` (or a tuple of inputs) through the oracle, float64 throughout; keep its outputs and the values
    that are wanted."""
    return taps(model.compile(shapes(x), backend=ReferenceBackend(dtype=np.float64)), x, wanted)


def taps(executable: Any, x: Any, wanted: Wanted = lambda name: True) -> Taps:
    """The outputs of `executable` on `x` and every value of its steps whose name is wanted, by name.

    Flattened values are left out: a backend may flatten in another order and permute the next weights to match.
    """
    kept: Taps = {}

    def keep(step: Step, ms: float, fetch: Callable[[str], np.ndarray]) -> None:
        if step.spec.op != "flatten":
            kept.update((name, np.array(fetch(name))) for name in step.outputs if wanted(name))

    result = executable.watch(x, keep)
    outputs = result if isinstance(result, tuple) else (result,)
    return {**kept, **dict(zip((value.name for value in executable.plan.outputs), outputs))}


def _layer_error(node, value: str, mine: np.ndarray, theirs: np.ndarray, limits: Mapping[str, float]) -> LayerError:
    return LayerError(node.name, node.spec.op, tuple(mine.shape), range_error(mine, theirs), limits[value])
