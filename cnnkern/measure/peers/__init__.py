"""The engines that can race: each builds a network for one input shape and thread count, then maps input to output.

An engine is a class with `__init__(task)` and `__call__(x) -> y`, both (N, ...) float32 NumPy arrays; `version` (its
release); `notes`, what else a reader of its figures must know; and a line in ENGINES. It is built in a process of its
own, from the ONNX file that `cnnkern.onnx.save` wrote of our graph, so it imports what it needs in `__init__`. All get
the same threads and compute in float32: what an engine would do in less is switched off.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from ... import models

OURS = "cnnkern"
TOLERANCE = 1e-3  # of the output's range; float32 with Winograd stays below 1e-4 in the deepest networks


@dataclass(frozen=True)
class Task:
    """What every engine of a heat is asked.

    Attributes:
        isa: the instruction set to stay within; None leaves the choice to each engine.
        size: height and width of the images; None for the network's own.
        onnx: the network as a file, at this batch size; "" where no engine reads one.
        onnx_single: the same for one image, for engines that take batches image by image.
    """

    model: str
    batch: int
    threads: int
    seed: int = 0
    isa: str | None = None
    size: int | None = None
    onnx: str = ""
    onnx_single: str = ""

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """(C, H, W) for `models.create`, None for the network's own."""
        return None if self.size is None else (models.create(self.model).input_shape[0], self.size, self.size)


@dataclass(frozen=True)
class Engine:
    """Where an engine is and what it needs: `module` in this folder, the class in it, top-level modules to import, the
    distributions on PyPI that bring them. `isa_switch`: its library can be held to an instruction set (ISA_LIMITS).
    `by_name`: not one of "all", nor of the extra."""

    module: str
    cls: str
    imports: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    isa_switch: bool = False
    by_name: bool = False


ENGINES: dict[str, Engine] = {
    OURS: Engine("ours", "Cnnkern", isa_switch=True),
    "reference": Engine("ours", "Reference", isa_switch=True),
    "onnxruntime": Engine("onnxruntime", "OnnxRuntime", ("onnxruntime",), ("onnxruntime",)),
    "openvino": Engine("openvino", "OpenVino", ("openvino",), ("openvino",), isa_switch=True),
    "ncnn": Engine("ncnn", "Ncnn", ("ncnn", "pnnx"), ("ncnn", "pnnx")),
    "mnn": Engine("mnn", "Mnn", ("MNN", "_tools"), ("MNN",)),
    "litert": Engine("litert", "LiteRt", ("ai_edge_litert",), ("ai-edge-litert",)),
    "torch_eager": Engine("torch", "TorchEager", ("torch",), ("torch",), isa_switch=True),
    "torch_compile": Engine("torch", "TorchCompile", ("torch",), ("torch",), isa_switch=True),
    "tvm": Engine("tvm", "Tvm", ("tvm",), ("apache-tvm",), isa_switch=True, by_name=True),
}
PEERS = tuple(name for name, engine in ENGINES.items() if engine.packages)

# Variables that hold a library to an instruction set: oneDNN's (OpenVINO, PyTorch), ATen's, MKL's. onnxruntime, ncnn,
# MNN and XNNPACK read none: they use all that the CPU has. TVM compiles for the CPU it is told.
ISA_LIMITS: dict[str, dict[str, str]] = {
    "avx512": {},
    "avx2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "vec128": {
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "DNNL_MAX_CPU_ISA": "SSE41",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
}


def missing(name: str) -> str:
    """Why an engine of ENGINES cannot be built in this installation, "" where nothing is known to be missing."""
    engine = ENGINES[name]
    absent = [module for module in engine.imports if find_spec(module) is None]
    if not absent and engine.packages and find_spec("onnx") is None:
        return "not installed: onnx, which writes the file it reads (pip install 'cnnkern[peers]')"
    command = " ".join(engine.packages) if engine.by_name else "'cnnkern[peers]'"
    return f"not installed: {', '.join(engine.packages)} (pip install {command})" if absent else ""


def chosen(wanted: str) -> list[str]:
    """The peers that "all" or "openvino,ncnn" means; ValueError names those there are."""
    every = [name for name in PEERS if not ENGINES[name].by_name]
    names = every if wanted == "all" else list(dict.fromkeys(wanted.split(",")))
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise ValueError(f"no peer {', '.join(map(repr, unknown))}; there are {', '.join(PEERS)}, or all")
    return names
