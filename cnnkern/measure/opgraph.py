"""The graph that times an operation (opbench.py): calls behind sweeps, and the arrays that they work on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..backends import cpu_info
from ..backends.base import WEIGHTS
from ..graph.ir import Graph, Node, Param, Value
from ..ops import ActivationSpec, Conv2dSpec
from ..ops.base import product
from .opshapes import OpProblem
from .pictures import BOXES

Dust = dict[str, np.ndarray]
NETWORK, WARM = "network", "warm"
CACHES = (NETWORK, WARM)
CALLER_CHANNELS = 4
MAX_CALLS = {NETWORK: 8, WARM: 32}
WEIGHT_BYTES = 8 << 20  # of all calls together: larger weights are out of every cache by themselves
ROUND_FLOPS = 200_000_000  # of all calls together: what computes longer needs no loop


def graph_of(problem: OpProblem, names: Sequence[str], caches: str, threads: int) -> tuple[Graph, Dust]:
    """The graph that computes the problem under each of `names`, and what sweeps read, by input name."""
    spec, shapes = problem.spec, problem.shapes
    graph = Graph(f"bench {spec.op}")
    operands = ["" if shape is None else f"in{i}" for i, shape in enumerate(shapes)]
    for i, (name, shape) in enumerate(zip(operands, shapes)):
        if name and i in WEIGHTS.get(spec.op, ()):
            graph.params[name] = Param(name, shape, "constant")
        elif name:
            graph.values[name] = Value(name, shape)
    dust = _dust(problem, names if caches == NETWORK else names[:1], caches, threads)
    graph.values.update({name: Value(name, array.shape) for name, array in dust.items()})
    graph.inputs = list(graph.values)
    written = _written(problem) if caches == NETWORK else ()

    def step(name: str, spec, inputs: Sequence[str], shape, dtype: str = "float32") -> str:
        graph.values[name] = Value(name, shape, dtype)
        graph.nodes.append(Node(name, spec, tuple(inputs), (name,)))
        return name

    for name in names:
        if f"{name}.dust" in dust:
            step(f"{name}.sweep", ActivationSpec("relu"), [f"{name}.dust"], dust[f"{name}.dust"].shape)
        inputs = list(operands)
        for i in written:  # an identity that no pass takes away
            inputs[i] = step(f"{name}.in{i}", ActivationSpec("leaky_relu", 1.0), [operands[i]], shapes[i])
        (shape, *_) = spec.infer(*shapes)
        step(name, spec, inputs, shape)
    graph.outputs = [names[-1]]
    return graph, dust


def _dust(problem: OpProblem, names: Sequence[str], caches: str, threads: int) -> Dust:
    """What sweeps read, each call's share of twice the last cache. Its rows are as many as nobody's batch, which keeps
    a batch together; where nothing is to be swept it is there for that alone."""
    rows = threads * (2 if problem.shapes[problem.activations[0]][:1] == (threads,) else 1)
    info = cpu_info()["cache_bytes"]
    l2, last = info.get("l2") or 1 << 20, info.get("l3") or 32 << 20
    floats = (max(l2, 2 * last // len(names)) if caches == NETWORK else 64 * rows) // 4
    return {f"{name}.dust": np.ones((rows, max(1, floats // rows)), np.float32) for name in names}


def _written(problem: OpProblem) -> list[int]:
    """The inputs that the layer before leaves in a cache: all but a caller's picture and numbers such as regions."""
    spec, shapes = problem.spec, problem.shapes
    first = isinstance(spec, Conv2dSpec) and spec.groups == 1 and shapes[0][1] <= CALLER_CHANNELS
    return [i for i in problem.activations if i not in spec.by_value and not (first and i == 0)]


def calls_of(problem: OpProblem, caches: str, threads: int) -> int:
    weights, flops = weight_bytes(problem), problem.spec.theory(*problem.shapes).flops
    room = WEIGHT_BYTES // max(1, weights)
    if caches == WARM:
        l2 = cpu_info()["cache_bytes"].get("l2") or 1 << 20
        room = threads * l2 // max(1, problem.spec.theory(*problem.shapes).bytes)
    return max(1, min(MAX_CALLS[caches], room, ROUND_FLOPS // max(1, flops)))


def weight_bytes(problem: OpProblem) -> int:
    constant = WEIGHTS.get(problem.spec.op, ())
    return 4 * sum(product(shape) for i, shape in enumerate(problem.shapes) if i in constant and shape is not None)


def arrays_of(problem: OpProblem, random: np.random.Generator) -> list[np.ndarray | None]:
    """Normal numbers; weights scaled for outputs of about unit variance, variances positive, regions within images."""
    names = problem.spec.inputs
    made: list[np.ndarray | None] = []
    for i, shape in enumerate(problem.shapes):
        name = names[i] if i < len(names) else names[-1]
        if shape is None:
            made.append(None)
        elif i in problem.spec.by_value:
            made.append(_regions(problem.shapes[0], shape))
        else:
            array = random.standard_normal(shape, dtype=np.float32)
            if i in WEIGHTS.get(problem.spec.op, ()) and len(shape) > 1:
                array *= np.float32(max(1, product(shape[1:])) ** -0.5)
            made.append(np.abs(array) + np.float32(0.5) if name == "var" else array)
    return made


def _regions(images, shape) -> np.ndarray:
    """Regions for RoI pooling in the image's own pixels: pictures.BOXES of the images in turns."""
    n, _, h, w = images
    rows = [[i % n, *np.multiply(BOXES[i % len(BOXES)], (w - 1, h - 1) * 2)] for i in range(shape[0])]
    return np.array(rows, np.float32).reshape(shape)
