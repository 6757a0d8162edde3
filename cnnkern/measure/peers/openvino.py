"""OpenVINO's CPU plugin, which reads ONNX itself. Precision hint f32: without it a CPU with AVX512-BF16 computes in
bfloat16."""

from __future__ import annotations

import numpy as np

from . import Task


class OpenVino:
    notes: tuple[str, ...] = ()

    def __init__(self, task: Task):
        import openvino

        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": task.threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._model = openvino.Core().compile_model(task.onnx, "CPU", settings)  # must outlive its requests
        self._request = self._model.create_infer_request()
        self.version = openvino.__version__.split("-")[0]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self._request.infer({0: x}, share_inputs=True)[0]
