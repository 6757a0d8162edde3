"""MNN, from what its own converter makes of the ONNX file; precision high, which is float32.

Its default Winograd tiles are so large that deep networks lose three digits (resnet50: 1.5e-3 of the answers' range,
MNN 3.6.1), and are not always the faster choice. So it is built with them and without them; what is too far off is
dropped, and the faster one races.

The converter is called as a function: its command, `mnnconvert`, would pip install a client that reports usage.
"""

from __future__ import annotations

import importlib.metadata
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from ..accuracy import range_error
from . import TOLERANCE, Task

WINOGRAD_MEMORY_LEVEL = 3  # of MNN's HintMode
LEVELS = {3: "its default Winograd", 0: "without large Winograd tiles"}
TRIALS = 5


class Mnn:
    def __init__(self, task: Task):
        import _tools
        import MNN.expr
        import onnx

        self._expr = MNN.expr
        graph = onnx.load(task.onnx, load_external_data=False).graph
        names = [graph.input[0].name], [graph.output[0].name]
        shape = tuple(d.dim_value for d in graph.input[0].type.tensor_type.shape.dim)
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder, "net.mnn")
            words = {"-f": "ONNX", "--modelFile": task.onnx, "--MNNModel": str(made), "--bizCode": "race"}
            _tools.mnnconvert(["mnnconvert", *(word for pair in words.items() for word in pair)])
            if not made.exists():
                raise RuntimeError("MNN's converter cannot convert this network")
            built = {level: self._build(str(made), names, task.threads, level) for level in LEVELS}
        level = self._choose(built, np.random.default_rng(0).standard_normal(shape, np.float32))
        self._runtime, self._net = built[level]
        self.version = importlib.metadata.version("MNN")
        self.notes = (LEVELS[level],)

    def _build(self, file: str, names: tuple[list[str], list[str]], threads: int, level: int):
        import MNN.nn

        settings = {"backend": "CPU", "precision": "high", "numThread": threads}
        runtime = MNN.nn.create_runtime_manager((settings,))
        runtime.set_hint(WINOGRAD_MEMORY_LEVEL, level)
        return runtime, MNN.nn.load_module_from_file(file, *names, runtime_manager=runtime)

    def _choose(self, built: dict, x: np.ndarray) -> int:
        """The faster of those whose answer is near that of the exact one, the last."""
        answers, times_ms = {}, {}
        for level, (_, self._net) in built.items():
            answers[level] = self(x)
            times = []
            for _ in range(TRIALS):
                start = time.perf_counter()
                self(x)
                times.append(1e3 * (time.perf_counter() - start))
            times_ms[level] = statistics.median(times)
        exact = answers[min(built)]
        right = [level for level in built if range_error(answers[level], exact) <= TOLERANCE / 10]
        return min(right, key=times_ms.__getitem__)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        given = self._expr.const(x, list(x.shape), self._expr.NCHW)
        return np.array(self._net.forward(given).read())
