"""Nsight Compute on the convolutions that are furthest behind: what binds them, and whether they execute what was
predicted."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from cnnkern.graph.problem import parse_problem

from .convs import convolutions
from .harness import Item, Skip
from .info import find_tool
from .ours import Layer, random_weights
from .place import Place

TEXT = "ncu.txt"
SECONDS = 60.0
# What is asked for, where the tool has it. The first name of a line that exists is taken.
METRICS = (
    ("gpu__time_duration.sum",),
    ("sm__throughput.avg.pct_of_peak_sustained_elapsed",),
    ("gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed", "dram__throughput.avg.pct_of_peak_sustained_elapsed"),
    ("lts__throughput.avg.pct_of_peak_sustained_elapsed",),
    ("l1tex__throughput.avg.pct_of_peak_sustained_active",),
    ("sm__warps_active.avg.pct_of_peak_sustained_active",),
    ("dram__bytes_read.sum",),
    ("dram__bytes_write.sum",),
    ("sm__inst_executed_pipe_fma.avg.pct_of_peak_sustained_active",),
    ("sm__inst_executed_pipe_alu.avg.pct_of_peak_sustained_active",),
    ("sm__inst_executed_pipe_lsu.avg.pct_of_peak_sustained_active",),
    ("sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active",
     "sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active"),
    ("l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum", "l1tex__data_bank_conflicts_pipe_lsu.sum"),
    ("smsp__sass_thread_inst_executed_op_ffma_pred_on.sum", "sm__sass_thread_inst_executed_op_ffma_pred_on.sum"),
    ("smsp__sass_thread_inst_executed_op_fadd_pred_on.sum", "sm__sass_thread_inst_executed_op_fadd_pred_on.sum"),
    ("smsp__sass_thread_inst_executed_op_fmul_pred_on.sum", "sm__sass_thread_inst_executed_op_fmul_pred_on.sum"),
    ("sm__ops_path_tensor_src_fp16_dst_fp32.sum",),
    ("sm__ops_path_tensor_src_bf16_dst_fp32.sum",),
    ("sm__ops_path_tensor_src_tf32_dst_fp32.sum", "sm__ops_path_tensor_src_tf32.sum"),
    ("sm__inst_executed_pipe_tensor.sum",),
)  # fmt: skip
FFMA, TENSOR = "op_ffma", "ops_path_tensor"


def items(place: Place) -> Iterator[Item]:
    yield Item("metrics", partial(metrics, place), limit_s=SECONDS)
    for row in furthest_behind(place):
        asked = {name: row[name] for name in ("problem", "precision")}
        yield Item(f"{row['precision']} {row['problem']}", partial(profiled, place, asked), limit_s=SECONDS + 5.0)


def furthest_behind(place: Place) -> list[dict[str, Any]]:
    """The right ones that lose most against cuDNN; where none was timed, the first there are."""
    found = [rows[0] for key, rows in place.earlier("convs").items() if rows and not key.startswith("others of ")]
    timed = sorted((row for row in found if row["us"]), key=lambda row: row["ratio"] or math.inf)
    if not timed:
        first = convolutions(place, place.extent.batches[0])
        timed = [{"problem": conv.key, "precision": place.extent.timed[-1]} for conv in first]
    return timed[: place.extent.profiled]


def metrics(place: Place) -> dict[str, Any]:
    """Which of METRICS this ncu has for this chip."""
    said = _ncu(["--query-metrics"])
    known = {line.split()[0] for line in said.splitlines() if line.strip()}
    chosen = [next((name for name in names if name.partition(".")[0] in known), "") for names in METRICS]
    lines = [line for line in said.splitlines() if TENSOR in line or "thread_inst_executed_op_f" in line]
    with open(place.out / TEXT, "a", encoding="utf-8") as file:
        file.write("--- what --query-metrics says of counted operations\n" + "\n".join(lines) + "\n")
    return {
        "metrics": [name for name in chosen if name],
        "unknown": [names[0] for names, name in zip(METRICS, chosen) if not name],
    }


def profiled(place: Place, asked: dict[str, str]) -> dict[str, Any]:
    """A row: the counters of every kernel of one convolution, and its prediction."""
    known = place.earlier("profile").get("metrics", [])
    chosen = (known[0]["metrics"] if known else None) or [names[0] for names in METRICS]
    command = ["--clock-control", "none", "--profile-from-start", "off", "--target-processes", "all", "--csv", "--page",
               "raw", "--print-units", "base", "--metrics", ",".join(chosen)]  # fmt: skip
    said = _ncu([*command, *place.command("--layer", json.dumps(asked))])
    with open(place.out / TEXT, "a", encoding="utf-8") as file:
        file.write(f"--- {asked['precision']} {asked['problem']}\n{said}\n")
    kernels = counters(said)
    predicted = next(
        (json.loads(line)["predicted"] for line in said.splitlines() if line.startswith('{"predicted"')), {}
    )
    ffma = sum(value for kernel in kernels for name, value in kernel["counters"].items() if FFMA in name)
    tensor = sum(value for kernel in kernels for name, value in kernel["counters"].items() if TENSOR in name)
    return {
        **asked, "kernels": kernels, "predicted": predicted, "executed_ffma": ffma, "executed_tensor_ops": tensor,
        "ffma_ratio": ffma / predicted["fma"] if predicted.get("fma") else None,
        "tensor_ratio": tensor / (2 * predicted["fma"]) if predicted.get("fma") else None,
    }  # fmt: skip


def _ncu(arguments: Sequence[str]) -> str:
    program = find_tool("ncu")
    if program is None:
        raise Skip("there is no ncu here")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        raise RuntimeError(f"ncu ended with exit code {done.returncode}: {(done.stdout + done.stderr)[-600:]}")
    return done.stdout


def counters(said: str) -> list[dict[str, Any]]:
    """The kernels of a `--csv --page raw` output, in order: names, and every figure that is a number."""
    lines = said.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        return []
    table = csv.DictReader(io.StringIO("\n".join(line for line in lines[start:] if line.startswith('"'))))
    found = []
    for row in table:
        if not row["ID"]:  # the units
            continue
        numbers = {}
        for name, value in row.items():
            try:
                numbers[name] = float((value or "").replace(",", ""))
            except ValueError:
                continue
        kept = {name: value for name, value in numbers.items() if "__" in name}
        found.append({"kernel": row.get("Kernel Name", ""), "counters": kept})
    return found


def layer(place: Place, asked: dict[str, str]) -> None:
    """What ncu looks at: one run of a convolution's launches, between profilerStart and profilerStop."""
    import cupy

    spec, shapes = parse_problem(asked["problem"])
    shapes = shapes[:3]
    numbers = np.random.default_rng(1).standard_normal(1 << 20, np.float32)
    arrays = [place.put(np.resize(numbers, shapes[0])), *random_weights(spec, shapes, seed=2), None]
    made = Layer(place, spec, arrays, asked["precision"])
    made.run()
    place.runtime.synchronize()
    cupy.cuda.profiler.start()
    made.launch()
    place.runtime.synchronize()
    cupy.cuda.profiler.stop()
    predicted = made.step.predicted
    print(json.dumps({"predicted": asdict(predicted) if predicted is not None else {}, "kernel": made.step.kernel}))


def section(records: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    rows = [row for found in records.values() for row in found]
    return {
        "metrics": next((row for row in rows if "metrics" in row), {"metrics": [], "unknown": []}),
        "rows": [row for row in rows if "kernels" in row],
    }
