"""What the machine is: GPU, driver, versions, clocks, the ceilings that PyTorch reaches; and every kernel compiled."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from cnnkern import config
from cnnkern.backends.cuda import cache, compiler, manifest
from cnnkern.backends.cuda.device import cuda_info
from cnnkern.backends.cuda.launch import Kernel

from .harness import Item, Skip
from .place import Place

PACKAGES = ("numpy", "cupy-cuda13x", "torch", "triton", "nvidia-cuda-nvrtc", "nvidia-cudnn-cu13", "onnx", "timm")
ASKED = (
    "name,driver_version,pstate,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.draw,power.limit,temperature.gpu,"
    "memory.total,memory.used,mig.mode.current"
)  # of nvidia-smi, which is only asked
TOOLS = ("ncu", "compute-sanitizer", "nvdisasm", "cuobjdump")
AT_ONCE = 48  # kernels of an item
COPY_BYTES = 4 << 30
PRODUCT = 8192  # rows and columns of the products that show the ceilings


def items(place: Place) -> Iterator[Item]:
    yield Item("machine", partial(machine, place))
    kernels = [k for k in manifest.kernels() if compiler.serves(place.runtime.target, k)]
    for first in range(0, len(kernels), AT_ONCE):
        part = kernels[first : first + AT_ONCE]
        yield Item(f"kernels {first} to {first + len(part) - 1}", partial(compiled, place, part), limit_s=120.0)
    for precision in place.extent.timed:
        yield Item(f"ceiling {precision}", partial(ceiling, place, precision))
    yield Item("copy", partial(copy, place))


def machine(place: Place) -> dict[str, Any]:
    return {
        "cuda": cuda_info(),
        "l2_bytes": place.l2_bytes,
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpus": config.usable_cpus(),
        "versions": dict(_versions()),
        "nvidia_smi": _nvidia_smi(),
        "tools": {tool: _version_of(tool) for tool in TOOLS},
        "peer": place.peer.version or place.peer.reason,
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _nvidia_smi() -> dict[str, str]:
    said = _run(["nvidia-smi", f"--query-gpu={ASKED}", "--format=csv,noheader"])
    return dict(zip(ASKED.split(","), (word.strip() for word in said.splitlines()[0].split(",")))) if said else {}


def _version_of(tool: str) -> str:
    path = find_tool(tool)
    return f"{path}: {' '.join(_run([path, '--version']).split())[-120:]}" if path else ""


def find_tool(name: str) -> str | None:
    """A tool of CUDA's: on the PATH, else in CUDA's folder."""
    return shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer")


def _run(command: Sequence[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{command[0]}: {error}", file=sys.stderr)
        return ""


def compiled(place: Place, kernels: Sequence[Kernel]) -> dict[str, Any]:
    """Compile and load kernels side by side; the failures do not hide the others."""
    target, start, failures = place.runtime.target, time.perf_counter(), []

    def one(kernel: Kernel) -> str:
        try:
            cache.load(kernel, target)
        except Exception as error:
            return f"{kernel.label}: {type(error).__name__}: {error}"
        return ""

    with ThreadPoolExecutor(config.usable_cpus()) as pool:
        said = list(pool.map(one, kernels))
    compiled_s = time.perf_counter() - start
    failures += filter(None, said)
    for kernel, failure in zip(kernels, said):
        if failure:
            continue
        try:
            place.runtime.function(kernel)
        except Exception as error:
            failures.append(f"{kernel.label} does not load: {type(error).__name__}: {error}")
            if place.broken():
                raise
    loaded_s = time.perf_counter() - start - compiled_s
    return {"kernels": len(kernels), "compile_s": compiled_s, "load_s": loaded_s, "failures": failures}


def ceiling(place: Place, precision: str) -> dict[str, Any]:
    """TFLOP/s of PyTorch's large product of random matrices: what to hold shares against."""
    torch = _torch(place)
    with place.peer.arithmetic(precision) as dtype:
        a, b = (torch.randn(PRODUCT, PRODUCT, device="cuda").to(dtype) for _ in range(2))
        ms = _median_ms(place, lambda: torch.mm(a, b))
    return {"precision": precision, "tflops": 2e-9 * PRODUCT**3 / ms}


def copy(place: Place) -> dict[str, Any]:
    """GB/s of a device-to-device copy, what is read and what is written."""
    torch = _torch(place)
    source = torch.randn(COPY_BYTES // 4, device="cuda")
    target = torch.empty_like(source)
    return {"copy_gbs": 2e-6 * COPY_BYTES / _median_ms(place, lambda: target.copy_(source))}


def _torch(place: Place) -> Any:
    if place.peer.reason:
        raise Skip(place.peer.reason)
    return place.peer.torch


def _median_ms(place: Place, call: Any) -> float:
    for _ in range(3):
        call()
    return statistics.median(place.peer.time(call) for _ in range(9))


def section(records: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "machine": {},
        "kernels": 0,
        "compile_s": 0.0,
        "load_s": 0.0,
        "failures": [],
        "copy_gbs": None,
    }
    made["ceilings_tflops"] = {}
    for row in (row for rows in records.values() for row in rows):
        if "cuda" in row:
            made["machine"] = row
        elif "kernels" in row:
            made |= {name: made[name] + row[name] for name in ("kernels", "compile_s", "load_s", "failures")}
        elif "tflops" in row:
            made["ceilings_tflops"][row["precision"]] = row["tflops"]
        else:
            made |= row
    return made
