"""The import arrows of the Python side: every room may reach only what this table grants it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "cnnkern"

# room -> (what it may import of cnnkern, what it may import beyond the standard library). The longest matching room
# counts; "*" is everything. Rooms name folders or files; "" is cnnkern/__init__.py.
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "": ({"*"}, {"numpy"}),
    "errors": (set(), set()),
    "data": (set(), set()),
    "ops": ({"ops", "errors"}, set()),
    "config": ({"ops", "errors"}, set()),
    "graph": ({"graph", "ops", "backends.base", "config", "errors"}, {"numpy"}),
    "graph.ir": ({"ops"}, set()),
    "graph.builder": ({"graph.ir", "ops"}, set()),
    "graph.watch": ({"graph", "ops", "backends", "config", "errors", "testing"}, {"numpy"}),  # asks the oracle
    "graph.passes": ({"graph.ir", "graph.views", "graph.passes", "ops"}, {"numpy"}),
    "graph.passes.__init__": ({"graph.ir", "graph.passes", "config"}, set()),  # says what each did, when asked to
    "backends": ({"backends", "graph", "ops", "config", "errors", "_core"}, {"numpy"}),
    "backends.base": ({"graph.ir", "ops"}, set()),
    "backends.reference": (
        {"backends.reference", "backends.base", "backends.trace", "graph", "ops", "config", "errors"},
        {"numpy"},
    ),
    # Says what the drivers will execute without asking them, or sharing a line with them.
    "backends.cpu.predict": ({"backends.cpu.predict", "backends.cpu.buffers", "backends.cpu.calls", "ops"}, set()),
    "backends.cpu.itemise": (
        {"backends.base", "backends.cpu.predict", "backends.cpu.itemise", "backends.cpu.calls", "ops"},
        set(),
    ),
    # Judges results by the oracle's tolerances before it times them.
    "backends.cpu.trial": ({"backends", "graph", "ops", "config", "errors", "testing"}, {"numpy"}),
    "backends.cuda": ({"backends", "graph", "ops", "config", "errors"}, {"numpy", "cupy"}),
    "backends.numba": ({"backends", "graph", "ops", "config", "errors"}, {"numpy", "numba"}),
    "backends.numba.tiles": (set(), {"numba", "llvmlite"}),  # writes the inner loops in LLVM's own vectors
    # As on the CPU: from a launch alone, sharing nothing with kernels or their launchers.
    "backends.cuda.predict": ({"backends.cuda.predict", "backends.cuda.launch", "ops"}, set()),
    "backends.cuda.cache": ({"backends", "config", "errors"}, {"rich"}),  # a bar while hundreds of kernels compile
    "_dispatch": ({"backends", "ops", "config", "errors", "testing"}, {"numpy"}),
    "functional": ({"_dispatch", "ops", "config", "errors"}, {"numpy"}),
    "models": ({"models", "graph.builder", "graph.ir"}, set()),
    "models.__init__": ({"models", "model"}, set()),
    "model": (
        {"_dispatch", "graph", "ops", "weights", "random_weights", "summary", "backends", "config", "errors", "data"},
        {"numpy"},
    ),
    "random_weights": ({"graph.ir", "ops"}, {"numpy"}),
    "summary": ({"graph", "ops"}, set()),
    "hdf5": ({"ops", "errors"}, {"numpy", "h5py"}),
    "keras_weights": ({"hdf5", "errors"}, {"numpy"}),
    "keras_order": ({"keras_weights", "graph.ir", "errors", "models.registry"}, {"numpy"}),
    "weights": (
        {"graph.ir", "ops", "errors", "data", "models.registry", "keras_weights", "keras_order"},
        {"numpy", "safetensors", "torch"},
    ),
    "recipes": (set(), set()),
    "images": ({"data", "recipes", "errors"}, {"numpy", "PIL"}),
    "evaluate": ({"images", "errors"}, {"numpy"}),
    "testing": ({"functional", "backends", "ops", "config", "errors", "graph.ir", "measure"}, {"numpy"}),
    "onnx": ({"onnx", "graph.ir", "ops", "errors", "__version__"}, {"numpy", "onnx"}),
    "onnx.reader": ({"onnx", "ops", "errors"}, {"numpy", "onnx", "google"}),  # protobuf's own error
    "onnx.stages": ({"onnx", "graph", "ops", "config", "errors"}, {"numpy"}),
    "onnx.program": ({"onnx", "graph", "errors"}, {"numpy"}),
    "onnx.ports": ({"onnx", "backends"}, {"numpy"}),
    "onnx.model": ({"onnx", "model", "weights", "graph", "backends", "ops", "config", "errors"}, {"numpy"}),
    "onnx.backend": ({"onnx", "backends", "errors"}, {"numpy", "onnx"}),
    # onnxruntime's calls; onnx itself comes in with the loader alone.
    "onnx.session": ({"onnx", "graph", "config", "errors"}, {"numpy"}),
    "onnx.session_ports": ({"onnx", "backends", "errors"}, {"numpy"}),
    "onnx.session_options": ({"ops", "errors"}, set()),
    "onnx.session_errors": ({"errors"}, set()),
    "onnx.element_types": (set(), {"numpy"}),
    "onnx.ort_value": ({"onnx", "backends", "ops", "errors"}, {"numpy"}),
    "onnx.binding": ({"onnx", "backends", "errors"}, {"numpy"}),
    "onnx.providers": ({"onnx", "backends", "errors"}, set()),
    "onnx.profiling": ({"graph.watch", "backends.base"}, set()),
    # The door to PyTorch: its graphs onto ours. What walks and runs PyTorch's graphs is here alone.
    "torch": ({"torch", "graph", "ops", "backends", "config", "errors"}, {"numpy", "torch", "cupy"}),
    "torch.errors": (set(), set()),
    "measure": ({"*"}, {"numpy"}),
    # Each imports its engine in the process that is made for it.
    "measure.peers": ({"*"}, {"numpy", "onnx", "onnxruntime", "openvino", "ncnn", "pnnx", "MNN", "_tools", "torch"}),
    "measure.peers.litert": ({"measure.peers"}, {"numpy", "ai_edge_litert"}),
    "measure.peers.tflite_graph": ({"measure.peers.tflite_model"}, {"numpy", "onnx", "ai_edge_litert"}),
    "measure.peers.tflite_model": (set(), {"numpy", "onnx", "ai_edge_litert", "flatbuffers"}),
    "measure.peers.tvm": ({"measure.peers"}, {"numpy", "onnx", "tvm"}),
    "report": ({"report", "measure", "ops", "__version__"}, {"rich"}),
    "report.grid": (set(), {"numpy", "matplotlib"}),
    "report.series": (set(), set()),
    "report.html": ({"report.html", "report.series", "report.text", "report.race", "measure.timing"}, set()),
    "report.plots": ({"report.grid", "report.series", "report.text"}, {"matplotlib"}),
    "cli": ({"*"}, {"numpy", "rich", "PIL"}),
}
# What no grant above covers, whatever "*" says.
FORBIDDEN = {
    "measure": {"cli", "report", "_core"},
    "measure.peak": {"cli", "report"},  # times the bare leaves, so it is the one that may reach them
    "cli": {"_core"},
    "models": {"os"},  # no environment
    "ops": {"os"},
}


def module_name(path: Path) -> str:
    """ "graph.ir" for cnnkern/graph/ir.py; a package's own file is "graph.__init__", the top one ""."""
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return "" if name == "__init__" else name


def imported(source: str, module: str) -> set[str]:
    """Everything a module imports, at any depth of its code: ".x.y" within cnnkern, "x.y" beyond it. What only a type
    checker reads does not count."""
    package = ["cnnkern", *module.split(".")[:-1]]
    names = set()
    tree = ast.parse(source)
    typing_only = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    ]
    unread = {id(child) for block in typing_only for child in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{stem}.{alias.name}" for alias in node.names}
    return {
        "." + name.removeprefix("cnnkern").lstrip(".") if name.split(".")[0] == "cnnkern" else name for name in names
    }


def longest(module: str, table) -> str | None:
    rooms = [room for room in table if room == module or (room and module.startswith(room + "."))]
    return max(rooms, key=len, default=None)


def complaints(source: str, module: str) -> list[str]:
    room = longest(module, ROOMS)
    if room is None:
        return [f"cnnkern.{module} has no line in ROOMS: say what it may import"]
    inside, outside = ROOMS[room]
    forbidden = FORBIDDEN.get(longest(module, FORBIDDEN) or "", set())
    found = []
    for name in sorted(imported(source, module)):
        bare = name.lstrip(".")
        if name.startswith("."):
            granted = bare == "" or "*" in inside or longest(bare, inside) is not None
        else:
            granted = bare.split(".")[0] in sys.stdlib_module_names | outside
        if not granted or longest(bare, forbidden) is not None:
            found.append(f"cnnkern.{module} must not import {name}")
    return found


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=[module_name(path) or "cnnkern" for path in MODULES])
def test_arrows(path):
    assert complaints(path.read_text(), module_name(path)) == []


def test_nothing_imports_tests_or_benchmarks():
    for path in MODULES:
        heads = {name.split(".")[0] for name in imported(path.read_text(), module_name(path))}
        assert not heads & {"tests", "benchmarks"}, path


@pytest.mark.parametrize(
    ("module", "source", "allowed"),
    [
        ("ops.conv", "from .base import Spec", True),
        ("ops.conv", "import numpy as np", False),
        ("ops.conv", "def f():\n    from ..backends import cpu", False),
        ("models.resnet", "from ..graph.builder import GraphBuilder", True),
        ("models.resnet", "from ..graph.executor import Executable", False),
        ("models.resnet", "import os", False),
        ("backends.reference", "from .. import _core", False),
        ("backends.cpu", "from .. import _core", True),
        ("backends.cpu", "import cupy", False),
        ("backends.cpu", "import numba", False),
        ("backends.numba.products", "from llvmlite import ir", False),
        ("cli.bench", "from cnnkern import _core", False),
        ("measure.timing", "from ..cli import common", False),
        ("measure.timing", "import torch", False),
        ("measure.peers.torch", "import torch", True),
        ("torch.trace", "import torch", True),
        ("torch.pieces", "from ..backends.cpu import lower", True),
        ("torch.pieces", "from ..model import Model", False),
        ("report.html.plot", "import matplotlib", False),
        ("report.html.plot", "from ...measure import network", False),
        ("report.plots", "from . import bench", False),
        ("onnx.exporter", "from ..measure import peak", False),
        ("brand_new", "", False),
    ],
)
def test_the_rules_see_what_they_look_for(module, source, allowed):
    assert (complaints(source, module) == []) is allowed


def test_import_needs_numpy_alone():
    code = (
        "import sys, cnnkern\n"
        "heavy = {'rich', 'PIL', 'torch', 'onnx', 'onnxruntime', 'numba', 'cupy', 'safetensors', 'pytest', 'h5py'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, f"import cnnkern also loads: {done.stderr}"
