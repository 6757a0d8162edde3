"""MNN, from what its own converter makes of the ONNX file; precision high, which is float32.

The converter is called as a function: its command, `mnnconvert`, would pip install a client that reports usage.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
from pathlib import Path

import numpy as np

from . import Task


class Mnn:
    notes: tuple[str, ...] = ()

    def __init__(self, task: Task):
        import _tools
        import MNN.expr
        import MNN.nn
        import onnx

        graph = onnx.load(task.onnx, load_external_data=False).graph
        names = [graph.input[0].name], [graph.output[0].name]
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder, "net.mnn")
            words = {"-f": "ONNX", "--modelFile": task.onnx, "--MNNModel": str(made), "--bizCode": "race"}
            _tools.mnnconvert(["mnnconvert", *(word for pair in words.items() for word in pair)])
            if not made.exists():
                raise RuntimeError("MNN's converter cannot convert this network")
            settings = {"backend": "CPU", "precision": "high", "numThread": task.threads}
            self._runtime = MNN.nn.create_runtime_manager((settings,))
            self._net = MNN.nn.load_module_from_file(str(made), *names, runtime_manager=self._runtime)
        self._expr = MNN.expr
        self.version = importlib.metadata.version("MNN")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        given = self._expr.const(x, list(x.shape), self._expr.NCHW)
        return np.array(self._net.forward(given).read())
