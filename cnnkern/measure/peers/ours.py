"""This library as an engine."""

from __future__ import annotations

import numpy as np

from ... import __version__, config, cpu_info, models, onnx
from . import Task


class Cnnkern:
    """The cpu backend, from the architecture and its seeded weights, which are those of the peers' file."""

    backend = "cpu"
    notes: tuple[str, ...] = ()

    def __init__(self, task: Task):
        if task.model.lower().endswith(".onnx"):
            network = onnx.load(task.model)
        else:
            network = models.create(task.model, input_shape=task.input_shape, seed=task.seed)
        shape = (task.batch, *network.input_shape)
        with config(**({"isa": task.isa} if task.isa else {})):
            self._executable = network.compile(input_shape=shape, backend=self.backend, threads=task.threads)
            self.version = f"{__version__} on {self.place()}"

    def place(self) -> str:
        return cpu_info()["isa"]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        result = self._executable(x)
        return result[0] if isinstance(result, tuple) else result


class Reference(Cnnkern):
    """The NumPy oracle: no racer, but it tries the course out where nothing else is there."""

    backend = "reference"

    def place(self) -> str:
        return f"NumPy {np.__version__}"
