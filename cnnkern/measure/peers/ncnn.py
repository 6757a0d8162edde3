"""ncnn, from what its own converter, pnnx, makes of the ONNX file. Reduced precision off, in the weights too."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from . import Task

REDUCED = ("fp16", "bf16", "int8")  # options that name one of these allow it


class Ncnn:
    def __init__(self, task: Task):
        import ncnn
        import pnnx

        self._ncnn = ncnn
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads, options.use_vulkan_compute = task.threads, False
        for option in dir(options):
            if any(word in option for word in REDUCED):
                setattr(options, option, False)
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(task.onnx_single, Path(folder, "net.onnx"))  # pnnx writes beside its input
            command = [pnnx.EXEC_PATH, "net.onnx", "fp16=0"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
            files = [str(Path(folder, f"net.ncnn.{kind}")) for kind in ("param", "bin")]
            if done.returncode or not Path(files[1]).exists():
                raise RuntimeError(f"pnnx cannot convert this network: {(done.stderr or done.stdout).strip()[-400:]}")
            if self._net.load_param(files[0]) or self._net.load_model(files[1]):
                raise RuntimeError("ncnn cannot load what pnnx made of this network")
        self.version = ncnn.__version__
        self.notes = ("image by image",) if task.batch > 1 else ()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.stack([self._image(image) for image in x])

    def _image(self, image: np.ndarray) -> np.ndarray:
        extractor = self._net.create_extractor()
        extractor.input("in0", self._ncnn.Mat(image))
        failed, output = extractor.extract("out0")
        if failed:
            raise RuntimeError("ncnn failed while it ran this network")
        return np.array(output)
