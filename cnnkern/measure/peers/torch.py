"""PyTorch: the ONNX file rebuilt as a module (torch_graph.py), channels_last, in inference mode; run as it stands
(eager) or compiled."""

from __future__ import annotations

import numpy as np

from . import ISA_LIMITS, Task


class TorchEager:
    notes: tuple[str, ...] = ("channels_last, batch norms folded",)

    def __init__(self, task: Task):
        import torch

        from .torch_graph import from_onnx

        self._torch = torch
        torch.set_num_threads(task.threads)
        torch.set_num_interop_threads(1)
        module, input_shape = from_onnx(task.onnx)
        self._module = self.prepare(module.to(memory_format=torch.channels_last), task)
        self.version = torch.__version__
        self(np.zeros(input_shape, np.float32))  # compiles, where that is done at the first call

    def prepare(self, module, task: Task):
        return module

    def __call__(self, x: np.ndarray) -> np.ndarray:
        torch = self._torch
        with torch.inference_mode():
            given = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
            return self._module(given).contiguous().numpy()


class TorchCompile(TorchEager):
    """Inductor, told that weights do not change: it then folds them and lays them out for its kernels."""

    notes = ("inductor with freezing, channels_last",)

    def prepare(self, module, task: Task):
        import torch._inductor.config as inductor

        inductor.freezing = True
        if ISA_LIMITS.get(task.isa or ""):
            inductor.cpp.simdlen = {"avx2": 256, "vec128": 1}[task.isa]
        return self._torch.compile(module)
