"""The engines that can race: each builds a network for one input shape and thread count, then maps input to output.

An engine is a class with `__init__(task)`, `version` (its release and what else decides its speed) and
`__call__(x) -> y`, both (N, ...) float32 NumPy arrays; and a line in ENGINES. It is built in its own process, so it
imports what it needs in `__init__`. All get the same task, and from it the same graph and weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import cnnkern


@dataclass(frozen=True)
class Task:
    """What every engine of a race is asked: float32, one architecture with seeded weights, one batch."""

    model: str
    batch: int
    threads: int
    seed: int = 0

    def network(self) -> cnnkern.model.Model:
        return cnnkern.models.create(self.model, seed=self.seed)


class Cnnkern:
    """This library, on its cpu backend (CNNKERN_ISA chooses the instruction set)."""

    backend = "cpu"

    def __init__(self, task: Task):
        network = task.network()
        shape = (task.batch, *network.input_shape)
        self._executable = network.compile(input_shape=shape, backend=self.backend, threads=task.threads)
        self.version = f"{cnnkern.__version__} on {self.place()}"

    def place(self) -> str:
        return cnnkern.cpu_info()["isa"]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self._executable(x)


class Reference(Cnnkern):
    """The NumPy oracle: no racer, but it tries the course out where nothing else is there."""

    backend = "reference"

    def place(self) -> str:
        return f"NumPy {np.__version__}"


class OnnxRuntime:
    """onnxruntime's CPU provider with its defaults: all graph optimisations, threads that spin between calls.

    Only the number of threads is set. The model is our graph before any pass, so batch norms are its own to fold.
    """

    def __init__(self, task: Task):
        import onnxruntime
        from onnx_graph import to_onnx

        network = task.network()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = task.threads
        options.inter_op_num_threads = 1  # of use only to its parallel execution mode, which is not the default
        options.log_severity_level = 3
        model = to_onnx(network.graph.bind(task.batch), network.weights).SerializeToString()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self.version = onnxruntime.__version__

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self._session.run(None, {self._input: x})[0]


ENGINES: dict[str, Callable[[Task], Any]] = {
    "cnnkern": Cnnkern,
    "onnxruntime": OnnxRuntime,
    "reference": Reference,
}
