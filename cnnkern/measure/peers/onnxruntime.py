"""onnxruntime: its CPU provider with its defaults, all graph optimisations, threads that spin between calls."""

from __future__ import annotations

import numpy as np

from . import Task


class OnnxRuntime:
    notes: tuple[str, ...] = ()

    def __init__(self, task: Task):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = task.threads
        options.inter_op_num_threads = 1  # of use only to its parallel execution mode, which is not the default
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(task.onnx, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self.version = onnxruntime.__version__

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self._session.run(None, {self._input: x})[0]
