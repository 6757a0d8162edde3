"""One operation of ours by itself: planned, packed and launched as in a network, on copies that exceed the cache."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkern import UnsupportedError
from cnnkern.graph.ir import Graph, Node, Param, Value
from cnnkern.ops.base import Spec

from .place import Place

NAME = "layer"  # of the one node
ROTATED = ("arena", "weights", "param:", "input:", "output:")  # slots that a network meets cold; not the workspace


@dataclass(frozen=True)
class Times:
    """Of one call among `launches` in a graph, replayed `replays` times."""

    median_us: float
    minimum_us: float
    launches: int
    replays: int


class Layer:
    """An operation with its weights on the device.

    Args:
        arrays: the operation's by position, None where absent; all but x and a residual are weights, and NumPy's.
        plan: a decision to obey (`Step.plan`); None: the selector's.
    Attributes: `step`, the operation's own step, without the reorders at the edges.
    """

    def __init__(
        self,
        place: Place,
        spec: Spec,
        arrays: Sequence[Any],
        precision: str,
        plan: Mapping[str, Any] | None = None,
    ):
        graph, weights, self._inputs = one_node(spec, arrays)
        decisions = None if plan is None else {NAME: dict(plan)}
        backend = place.backend
        made = backend.compile(graph, weights, precision=precision, decisions=decisions, graph_replay=False)
        self._place, self._runner = place, made._runner
        (self.step,) = [step for step in made.steps if step.name == NAME]
        if not self.step.native:
            raise UnsupportedError(f"{spec.op} has no kernel for these arguments")
        self._context = self._runner.new_context()
        self._held: list[Any] = []
        self._addresses = [dict(self._context.addresses)]

    def run(self) -> Any:
        """The output, an array of the kind that the input is; leaves everything in place for `launch`."""
        (y,) = self._runner.run(self._context, self._inputs, None, None)
        return y

    @property
    def rotated(self) -> dict[str, Any]:
        """The memory that the step's launches touch, but for scratch."""
        slots = {p.slot for launch in self.step.native for p in launch.pointers()}
        return {slot: self._context.memory[slot] for slot in sorted(slots) if slot.startswith(ROTATED)}

    def spread(self) -> int:
        """Copy what is touched until a round through all copies exceeds the cache twice over; how many there are."""
        size_bytes = sum(memory.size_bytes for memory in self.rotated.values())
        runtime = self._place.runtime
        for _ in range(copies_beyond(self._place.l2_bytes, size_bytes) - len(self._addresses)):
            addresses = dict(self._context.addresses)
            for slot, memory in self.rotated.items():
                copy = runtime.allocate(memory.size_bytes, f"a copy of {slot}")
                runtime.copy(copy.address, memory.address, memory.size_bytes)
                addresses[slot] = copy.address
                self._held.append(copy)
            self._addresses.append(addresses)
        return len(self._addresses)

    def launch(self, i: int = 0) -> None:
        """The step alone, on the i-th copy."""
        self._runner._launch(self.step.native, self._addresses[i % len(self._addresses)])

    def time(self) -> Times:
        runtime = self._place.runtime
        return measure(runtime.record, runtime.time, self.launch, self.spread(), self._place)


def copies_beyond(l2_bytes: int, size_bytes: int, most: int = 256) -> int:
    """Of `size_bytes` each, so that together they are twice the cache and one more."""
    return 1 if size_bytes > 4 * l2_bytes else min(most, 1 + math.ceil(2 * l2_bytes / max(1, size_bytes)))


def measure(
    record: Callable[[Callable[[], None]], Callable[[], None]],
    timed: Callable[[Callable[[], None]], float],
    call: Callable[[int], None],
    copies: int,
    place: Place,
) -> Times:
    """Replays of a graph of as many calls as last long enough, in rounds through the copies.

    Args: `record` makes a graph of what it is given, `timed` the milliseconds of what it is given.
    """
    extent = place.extent
    count = max(copies, 2)
    replay = record(lambda: [call(i) for i in range(count)])
    replay()
    each_ms = min(timed(replay), timed(replay)) / count
    wanted = min(extent.most_launches, math.ceil(extent.least_ms / max(each_ms, 1e-6)))
    if wanted > count:
        count = wanted
        replay = record(lambda: [call(i) for i in range(count)])
        replay()
    times = [1e3 * timed(replay) / count for _ in range(extent.replays)]
    return Times(statistics.median(times), min(times), count, len(times))


def steady_us(time: Callable[[Callable[[], None]], float], call: Callable[[], Any], place: Place) -> float:
    """Microseconds of a call: the median of rounds of as many as last long enough."""

    def several(count: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(count):
                call()

        return run

    each_ms = min(time(several(2)) / 2 for _ in range(2))
    count = max(2, min(2000, round(place.extent.net_ms / max(each_ms, 1e-3))))
    return 1e3 * statistics.median(time(several(count)) / count for _ in range(place.extent.net_rounds))


def one_node(spec: Spec, arrays: Sequence[Any]) -> tuple[Graph, dict[str, Any], list[Any]]:
    """A graph of one operation, its weights by name, and the arrays of its inputs."""
    graph, weights, inputs, names = Graph(spec.op), {}, [], []
    for i, array in enumerate(arrays):
        name = "" if array is None else f"input{i}"
        names.append(name)
        if array is None:
            continue
        if i == 0 or spec.inputs[i] == "residual":
            graph.inputs.append(name)
            graph.values[name] = Value(name, tuple(array.shape))
            inputs.append(array)
        else:
            graph.params[name] = Param(name, tuple(array.shape), "constant")
            weights[name] = array
    (shape,) = spec.infer(*(None if a is None else tuple(a.shape) for a in arrays))
    graph.values["output"] = Value("output", shape)
    graph.outputs.append("output")
    graph.nodes = [Node(NAME, spec, tuple(names), ("output",))]
    return graph, weights, inputs


def random_weights(spec: Spec, shapes: Sequence[Any], seed: int) -> list[np.ndarray | None]:
    """Arrays for what follows x; weights of a size that keeps the output near the input's."""
    rng = np.random.default_rng(seed)
    made: list[np.ndarray | None] = []
    for name, shape in zip(spec.inputs[1:], shapes[1:]):
        if shape is None:
            made.append(None)
            continue
        array = rng.standard_normal(shape, np.float32)
        made.append(array * np.float32(np.sqrt(2 / spec.reduction(*shapes))) if name == "weight" else array)
    return made
