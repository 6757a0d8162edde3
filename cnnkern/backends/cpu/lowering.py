"""What the lowering functions look at, what they return, and what they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...graph.ir import Graph, Node
from ...graph.views import View
from .buffers import Buffers, Nd, Tensor
from .calls import NativeCall
from .candidates import Problem


@dataclass
class Lowered:
    """The native calls of one step, and what is said of it."""

    calls: list[NativeCall]
    kernel: str
    plan: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    cycles: float = 0.0  # what the selector expects of one core, for one run of the calls
    weight_bytes: int = 0
    problem: Problem | None = None  # of a convolution whose plan may be chosen by measuring


@dataclass
class Lowering:
    """What the lowering functions look at."""

    core: Any  # cnnkern._core
    isa: str
    graph: Graph
    weights: Mapping[str, np.ndarray]
    views: Mapping[str, View]
    buffers: Buffers
    precision: str
    threads: int = 1
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # choices measured best, by Problem.key
    images: int | None = None  # lower for one image, to be run once for each of so many

    def tensor(self, name: str) -> Tensor:
        return self.buffers.tensor(name) if self.images is None else self.buffers.image_tensor(name)

    def nd(self, name: str) -> Nd:
        return self.buffers.nd(name, self.images is not None)

    def in_out(self, node: Node) -> dict[str, Tensor]:
        return {"x": self.tensor(node.inputs[0]), "y": self.tensor(node.outputs[0])}

    def array(self, node: Node, i: int) -> np.ndarray | None:
        """The weight at input position i."""
        name = node.inputs[i] if i < len(node.inputs) else ""
        return self.weights[name] if name else None

    def constant(self, node: Node, *positions: int) -> bool:
        """Whether those inputs are weights, known when the plan is made."""
        return all(
            not name or name in self.weights for name in (node.inputs[i] for i in positions if i < len(node.inputs))
        )

    def rank(self, node: Node) -> int:
        return len(self.graph.shape(node.outputs[0]))


def one_image(low: Lowering) -> Lowering:
    """The same, for steps that run once for each image of the batch."""
    graph = low.graph.copy()
    graph.values = {n: replace(v, shape=(1, *v.shape[1:])) if v.shape else v for n, v in graph.values.items()}
    return replace(low, graph=graph, images=low.buffers.images, threads=1)


def act_options(kind: str | None, param: float | None) -> dict[str, Any]:
    return {"act": kind or "", "param": float(param or 0.0)}


def dense(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)


def windowed(low: Lowering, node: Node, method: str, kernel: str, options: dict[str, Any], y=None) -> Lowered:
    spec = node.spec
    (top, bottom), (left, right) = spec.padding
    geometry = {
        "kernel": spec.kernel,
        "stride": spec.stride,
        "pad": (top, bottom, left, right),
        "dilation": spec.dilation,
    }
    tensors = low.in_out(node)
    return Lowered([NativeCall(method, {**tensors, "y": y or tensors["y"]}, {**geometry, **options})], kernel)
