"""Apache TVM, compiled for this CPU by Relax's default pipeline, untuned: loops as its operators define them, which
LLVM vectorises where it can. Far slower than the others, so it races only where it is named.

Its tuner, MetaSchedule, is not used: in 0.27.0.post1 it crashed (in `tvm::ffi::ToJSONGraph`) before its first trial.
"""

from __future__ import annotations

import os

import numpy as np

from . import ISA_LIMITS, Task

CPUS = {"avx2": "x86-64-v3", "vec128": "x86-64-v2"}  # LLVM's names for a CPU that has no more than that


class Tvm:
    notes: tuple[str, ...] = ("untuned: its default schedules",)

    def __init__(self, task: Task):
        os.environ["TVM_NUM_THREADS"] = str(task.threads)  # read as its pool starts
        import onnx
        import tvm
        from tvm import relax
        from tvm.relax.frontend.onnx import from_onnx

        cpu = CPUS.get(task.isa or "") if ISA_LIMITS.get(task.isa or "") else None
        cpu = cpu or tvm.target.codegen.llvm_get_system_cpu()
        target = tvm.target.Target({"kind": "llvm", "mcpu": cpu, "num-cores": task.threads})
        compiled = tvm.compile(from_onnx(onnx.load(task.onnx)), target=target)
        self._tensor, self._device = tvm.runtime.tensor, tvm.cpu()
        self._main = relax.VirtualMachine(compiled, self._device)["main"]
        self.version = f"{tvm.__version__}, LLVM {tvm.target.codegen.llvm_version_major()} for {cpu}"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        made = self._main(self._tensor(x, self._device))
        return (made if hasattr(made, "numpy") else made[0]).numpy()  # of several outputs the first
