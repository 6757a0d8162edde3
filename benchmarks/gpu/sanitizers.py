"""compute-sanitizer over a handful of tiny operations that together launch a kernel of every source file."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cnnkern import ops
from cnnkern.backends.cuda.gemm import engines
from cnnkern.ops.base import Spec

from .correctness import arrays_of
from .harness import Item, Skip
from .info import find_tool
from .ours import Layer
from .place import Place

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
LIMIT_S = 100.0
FOUND = 9  # exit code where a tool found something
TEXT = "sanitizers.txt"
SUMMARY = re.compile(r"^=+ (.*(?:SUMMARY|Error: |Invalid|Uninitialized|Race reported).*)$", re.MULTILINE)

C = ops.Conv2dSpec
TINY: list[tuple[Spec, tuple, str, dict[str, Any] | None]] = [  # operation, shapes, precision, decision
    (C(padding=1, activation="relu"), ((1, 5, 7, 6), (9, 5, 3, 3), (9,), (1, 9, 7, 6)), "float32", {"algo": "direct"}),
    (C(padding=1, activation="relu"), ((2, 36, 7, 6), (33, 36, 3, 3), (33,), (2, 33, 7, 6)), "float32",
     {"algo": "implicit_gemm", "splits": 3}),
    (C(2, 1), ((1, 3, 9, 9), (16, 3, 3, 3), (16,)), "float32", {"algo": "implicit_gemm"}),
    (C(padding=1), ((1, 6, 9, 8), (10, 6, 3, 3), (10,)), "float32", {"algo": "im2col"}),
    (C(padding=1), ((1, 6, 9, 8), (10, 6, 3, 3), (10,)), "float32", {"algo": "winograd", "m": 2}),
    (C(padding=1), ((1, 6, 9, 8), (10, 6, 3, 3), (10,)), "float32", {"algo": "winograd", "m": 4}),
    (C(1, 1, groups=8), ((1, 8, 9, 7), (8, 1, 3, 3), (8,)), "float32", None),
    (C(2, 2, groups=6), ((1, 6, 9, 7), (6, 1, 5, 5), (6,)), "float16", None),
    (C((1, 2), 1, groups=3), ((1, 3, 9, 7), (6, 1, 3, 3), None), "float32", None),
    (C(1, 1, groups=3), ((1, 12, 9, 7), (12, 4, 3, 3), (12,)), "float32", None),
    (C(padding=1, activation="silu"), ((1, 40, 7, 6), (33, 40, 3, 3), (33,)), "tf32",
     {"algo": "implicit_gemm", "splits": 2}),
    (C(padding=1), ((1, 40, 7, 6), (33, 40, 3, 3), (33,), (1, 33, 7, 6)), "float16", {"algo": "implicit_gemm"}),
    (C(), ((2, 24, 7, 6), (20, 24, 1, 1), (20,)), "bfloat16", {"algo": "pointwise"}),
    (C(2, 3), ((1, 3, 11, 11), (16, 3, 7, 7), (16,)), "float16", None),
    (ops.LocallyConnected2dSpec(), ((1, 3, 5, 5), (3, 3, 4, 3, 3, 3), None), "float32", None),
    (ops.LinearSpec("relu"), ((2, 33), (17, 33), (17,)), "float32", None),
    (ops.LinearSpec(), ((33, 40), (17, 40), None), "float16", None),
    (ops.Im2colSpec((3, 2), (1, 1), ((1, 1), (0, 0)), (1, 1)), ((1, 3, 6, 7),), "float32", None),
    (ops.Pool2dSpec(kind="max", kernel=3, stride=2, padding=1), ((2, 9, 8, 7),), "float32", None),
    (ops.Pool2dSpec(kind="avg", kernel=2, stride=2), ((1, 16, 8, 7),), "float16", None),
    (ops.GlobalPool2dSpec("avg"), ((2, 17, 5, 4),), "float32", None),
    (ops.AdaptiveAvgPool2dSpec((2, 3)), ((1, 5, 7, 6),), "float32", None),
    (ops.BatchNormSpec(1e-5), ((2, 17, 5, 4), (17,), (17,), (17,), (17,)), "float32", None),
    (ops.LocalResponseNormSpec(5, 1e-4, 0.75, 1.0, False), ((1, 9, 5, 4),), "float32", None),
    (ops.LocalContrastNormSpec(3), ((1, 3, 9, 8),), "float32", None),
    (ops.SoftmaxSpec(-1), ((3, 101),), "float32", None),
    (ops.ConcatSpec(1), ((1, 5, 4, 4), (1, 3, 4, 4)), "float32", None),
    (ops.ChannelShuffleSpec(2), ((1, 6, 4, 4),), "float16", None),
    (ops.PadSpec(((1, 0), (2, 1)), 1.5), ((1, 3, 4, 4),), "float32", None),
    (ops.TransposeSpec((0, 2, 3, 1)), ((1, 3, 4, 5),), "float32", None),
    (ops.AddSpec("relu"), ((1, 5, 4, 4), (1, 5, 1, 1)), "float32", None),
    (ops.ActivationSpec("gelu"), ((1, 5, 4, 4),), "bfloat16", None),
]  # fmt: skip


def tiny(place: Place) -> int:
    """Launch all of it once; how many operations that were."""
    for spec, shapes, precision, plan in TINY:
        arrays = arrays_of(spec, shapes)
        if plan is None:
            place.backend.call(spec, arrays, precision=precision)
            continue
        arrays += [None] * (4 - len(arrays))
        for engine in engines(precision, place.runtime.target):
            tile = {"tile": list(engine.tiles_for(1)[-1]), "splits": 1}
            Layer(place, spec, arrays, precision, {**tile, **plan}).run()
    place.runtime.synchronize()
    return len(TINY)


def tiny_on_a_gpu(place: Place) -> int:
    """Every piece of memory its own allocation, so that an overrun leaves it."""
    import cupy

    cupy.cuda.set_allocator(None)
    return tiny(place)


# --- the tools, side by side: nothing is timed


def items(place: Place) -> Iterator[Item]:
    running: dict[str, tuple[subprocess.Popen, Path, float]] = {}
    for tool in TOOLS:
        yield Item(tool, partial(under, place, tool, running), limit_s=LIMIT_S + 10.0)


def under(place: Place, tool: str, running: dict[str, Any]) -> dict[str, Any]:
    """A row: what a tool said. The first that is asked starts all of them."""
    program = find_tool("compute-sanitizer")
    if program is None:
        raise Skip("there is no compute-sanitizer here")
    if not running:
        for name in TOOLS:
            running[name] = start(place, program, name)
    process, said, began = running[tool]
    try:
        code: int | None = process.wait(timeout=max(1.0, LIMIT_S - (time.monotonic() - began)))
    except subprocess.TimeoutExpired:
        process.kill()  # what it watches ends by its own alarm
        process.wait()
        code = None
    text = said.read_text(encoding="utf-8", errors="replace")
    with open(place.out / TEXT, "a", encoding="utf-8") as file:
        file.write(f"--- {tool}: exit code {code}\n{text[:200_000]}\n")
    return {"tool": tool, **judged(code, text), "seconds": time.monotonic() - began}


def start(place: Place, program: str, tool: str) -> tuple[subprocess.Popen, Path, float]:
    said = place.work / f"{tool}.log"
    options = ["--report-api-errors", "no"] if tool == "memcheck" else []
    command = [program, "--tool", tool, *options, "--error-exitcode", str(FOUND), *place.command("--tiny")]
    with open(said, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    return process, said, time.monotonic()


def judged(code: int | None, text: str) -> dict[str, Any]:
    """The outcome of a run, from its exit code and what was printed."""
    findings = [line.strip() for line in SUMMARY.findall(text)]
    if code is None:
        outcome = f"did not end within {LIMIT_S:.0f} s"
    elif code == 0 and "operations ran" in text:
        outcome = "clean"
    elif code == FOUND:
        outcome = "found something"
    else:
        outcome = f"did not work: exit code {code}"
    return {"outcome": outcome, "exit_code": code, "findings": findings[-12:], "tail": text[-1500:]}


def section(records: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {"rows": [row for rows in records.values() for row in rows]}
