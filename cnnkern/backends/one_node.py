"""What backends with plans make of one operation: a graph of one node, its weights and inputs, how arrays lie; and of a
node that they have no kernel for: a step on the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import config
from ..graph.ir import Graph, Node, Param, Value
from ..ops.base import Spec
from . import reference
from .base import WEIGHTS


def reference_run(spec: Spec):
    def run(*arrays):
        with config.overrides(verbose=0):  # the step's own line names the layer
            return reference.ReferenceBackend(np.float32).call(spec, arrays)

    return run


def contiguous(array: Any) -> bool:
    return bool(array.flags.c_contiguous)


def layout(array: Any) -> str:
    """How a rank 4 array lies in memory, as far as it lies densely."""
    if array.ndim != 4 or contiguous(array):
        return "NCHW"
    return "NHWC" if contiguous(array.transpose(0, 2, 3, 1)) else "NCHW"


def operands(spec: Spec, arrays: Sequence[Any]) -> tuple[dict[str, Any], list[Any]]:
    """The weights by name, and the arrays of the inputs, of a graph of one node."""
    constant = WEIGHTS.get(spec.op, ())
    given = [(i, array) for i, array in enumerate(arrays) if array is not None]
    return {f"input{i}": array for i, array in given if i in constant}, [a for i, a in given if i not in constant]


def one_node(spec: Spec, arrays: Sequence[Any]) -> tuple[Graph, dict[str, Any], list[Any]]:
    """A graph of one node; its weights; the arrays of its inputs."""
    graph = Graph(spec.op)
    weights, inputs = operands(spec, arrays)
    names = ["" if array is None else f"input{i}" for i, array in enumerate(arrays)]
    for name, array in zip(names, arrays):
        if name in weights:
            graph.params[name] = Param(name, array.shape, "constant")
        elif name:
            graph.inputs.append(name)
            graph.values[name] = Value(name, array.shape)
    shapes = spec.infer(*(None if a is None else a.shape for a in arrays))
    for name, shape, dtype in zip(("output", "indices"), shapes, ("float32", "int64")):
        graph.values[name] = Value(name, shape, dtype)
        graph.outputs.append(name)
    graph.nodes = [Node(spec.op, spec, tuple(names), tuple(graph.outputs))]
    return graph, weights, inputs
