"""The stable machine format: what `--json` writes, one document per command.

A document is {"schema": "cnnkern.<verb>/1", "cnnkern": version, ...body}. Names carry units (`_ms`, `_bytes`,
`_gflops`); a figure that was not measured is null, never 0 or NaN. Keys are only ever added under one number; a removed
or re-interpreted key raises it. `KEYS` below is the contract, and `validate` checks a document against it.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VERSION = 1

Number = (int, float)
NumberOrNull = (int, float, type(None))
TextOrNull = (str, type(None))

COUNTS = dict.fromkeys(("fma", "mul", "add", "max", "special", "bytes_read", "bytes_written"), int)
MACHINE = {
    "cpu": str,
    "system": str,
    "python": str,
    "cores": int,
    "threads": int,
    "isa": TextOrNull,
    "isas": [str],
    "isa_reason": str,
    "caches": dict,
    "peak_fma_gflops": NumberOrNull,
    "peak_bandwidth_gbs": NumberOrNull,
    "bandwidths_gbs": dict,
}
GPU = {
    "device": int,
    "name": str,
    "target": str,
    "compute_capability": str,
    "multiprocessors": int,
    "shared_limit_bytes": int,
    "free_bytes": int,
    "total_bytes": int,
}
CUDA = {
    "available": bool,
    "reason": str,
    "devices": [GPU],
    "driver": TextOrNull,
    "runtime": TextOrNull,
    "cupy": TextOrNull,
    "nvrtc": TextOrNull,
    "cache_folder": str,
    "cached_kernels": int,
    "cached_bytes": int,
}
TIME = {"median_ms": Number, "minimum_ms": Number, "spread": Number, "drift": Number, "rounds": int}
TIME_OR_NULL = (TIME, type(None))
CLOCK = {"probes": int, "median_gflops": NumberOrNull, "wander": NumberOrNull, "noisy": bool}
COUNTS_OR_NULL = (COUNTS, type(None))
VERDICT = (bool, type(None))
ACCOUNT = {
    "name": str,
    "kernel": str,
    "theory": COUNTS,
    "predicted": COUNTS_OR_NULL,
    "executed": COUNTS_OR_NULL,
    "itemised": dict,
    "agrees": VERDICT,
}

OP_VERDICT = {
    "op": str,
    "backend": str,
    "isa": TextOrNull,
    "cases": int,
    "skipped": int,
    "error": NumberOrNull,
    "tolerance": Number,
    "worst_case": str,
    "failures": [str],
    "good": bool,
}
NETWORK_VERDICT = {
    "model": str,
    "backend": str,
    "isa": TextOrNull,
    "input_shape": [int],
    "reduced": bool,
    "layers": int,
    "worst_layer": str,
    "worst_error": NumberOrNull,
    "worst_tolerance": Number,
    "output_error": NumberOrNull,
    "output_tolerance": Number,
    "variation": Number,
    "good": bool,
}
SUMMARY_LAYER = {
    "name": str,
    "op": str,
    "output_shape": [int],
    "parameters": int,
    "statistics": int,
    "macs": int,
    "flops": int,
    "activation_bytes": int,
    "receptive_field": (list, type(None)),  # vertical, horizontal; null where no input is an image
    "jump": (list, type(None)),
}
MODEL_ACCOUNT = {
    "model": str,
    "backend": str,
    "isa": TextOrNull,
    "batch": int,
    "theory": COUNTS,
    "predicted": COUNTS_OR_NULL,
    "executed": COUNTS_OR_NULL,
    "itemised": dict,
    "agrees": VERDICT,
    "faults": [str],
    "layers": [ACCOUNT],
}
RACER = {
    "engine": str,
    "version": str,
    "notes": [str],
    "build_s": NumberOrNull,
    "error": NumberOrNull,
    "reason": str,
    "correct": bool,
    "time": TIME_OR_NULL,
    "iterations": int,
    "rounds_ms": [Number],
    "spun_ms": NumberOrNull,
    "ratio_median": NumberOrNull,
    "ratio_minimum": NumberOrNull,
}
HEAT = {
    "model": str,
    "batch": int,
    "size": (int, type(None)),  # of the images; null: the network's own
    "threads": int,
    "seed": int,
    "isa": TextOrNull,
    "correct": bool,
    "variation": Number,
    "tolerance": Number,
    "rounds": int,
    "neighbours": NumberOrNull,
    "peak_fma": (CLOCK, type(None)),
    "best_peer": TextOrNull,
    "best_ratio": NumberOrNull,
    "engines": [RACER],  # ours first
}
LAYER_RESULT = {
    "name": str,
    "op": str,
    "kernel": str,
    "output_shape": [int],
    "theory": COUNTS,
    "executed": COUNTS_OR_NULL,
    "time_ms": NumberOrNull,
    "rate_gflops": NumberOrNull,
    "share_of_peak": NumberOrNull,
    "limit_ms": NumberOrNull,
    "bound": TextOrNull,
    "share_of_limit": NumberOrNull,
    "lost_ms": NumberOrNull,
}
NETWORK_RESULT = {
    "model": str,
    "backend": str,
    "isa": TextOrNull,
    "threads": int,
    "batch": int,
    "input": str,
    "time": TIME_OR_NULL,
    "images_per_s": NumberOrNull,
    "rate_gflops": NumberOrNull,
    "share_of_peak": NumberOrNull,
    "peak_fma_gflops": NumberOrNull,
    "limit_ms": NumberOrNull,
    "share_of_limit": NumberOrNull,
    "peak_fma": (CLOCK, type(None)),
    "error": NumberOrNull,
    "tolerance": Number,
    "worst_layer": str,
    "correct": bool,
    "counts_agree": VERDICT,
    "faults": [str],
    "theory": COUNTS,
    "predicted": COUNTS_OR_NULL,
    "executed": COUNTS_OR_NULL,
    "build_s": Number,
    "first_ms": Number,
    "arena_bytes": (int, type(None)),
    "activation_bytes": (int, type(None)),
    "layers": [LAYER_RESULT],
    "race": (HEAT, type(None)),
}

SHAPE_REGRET = {
    "problem": str,
    "precision": str,
    "threads": int,
    "planes": bool,
    "scaled": bool,
    "chosen": dict,
    "chosen_ms": NumberOrNull,
    "best": dict,
    "best_ms": NumberOrNull,
    "regret": NumberOrNull,
    "spread": Number,
    "good": bool,
    "candidates": [{"plan": dict, "time_ms": NumberOrNull, "rounds": int, "wrong": str}],
}
NETWORK_REGRET = {
    "model": str,
    "layers": int,
    "shapes": int,
    "chosen_ms": NumberOrNull,
    "best_ms": NumberOrNull,
    "regret": NumberOrNull,
    "good": bool,
}

COMPARED = {
    "model": str,
    "batch": int,
    "threads": int,
    "isa": TextOrNull,
    "backend": str,
    "before_ms": Number,
    "after_ms": NumberOrNull,
    "ratio": NumberOrNull,
    "noise": Number,
    "regression": bool,
}

# A dict is an object with at least these keys; [schema] an array of it; a tuple any one of its members.
KEYS: dict[str, dict[str, Any]] = {
    "info": {
        "machine": MACHINE,
        "backends": [{"name": str, "available": bool, "reason": str}],
        "cuda": CUDA,
        "settings": dict,
    },
    "models": {"models": [{"name": str, "parameters": int, "macs": int, "input_shape": [int]}]},
    "summary": {
        "model": str,
        "input_shape": [int],
        "parameters": int,
        "statistics": int,
        "total_parameters": int,
        "trainable_tensors": int,
        "statistics_tensors": int,
        "macs": int,
        "flops": int,
        "activation_bytes": int,
        "memory_bytes": int,
        "layers": [SUMMARY_LAYER],
    },
    "run": {
        "model": str,
        "image": str,
        "weights": str,
        "backend": str,
        "top": [{"index": int, "name": TextOrNull, "probability": Number}],
    },
    "features": {
        "model": str,
        "image": TextOrNull,
        "layer": str,
        "weights": str,
        "backend": TextOrNull,
        "out": str,
        "shape": [int],
        "blank": int,
    },
    "verify": {"seed": int, "good": bool, "ops": [OP_VERDICT], "models": [NETWORK_VERDICT]},
    "flops": {"good": VERDICT, "models": [MODEL_ACCOUNT]},
    "bench": {"machine": MACHINE, "good": bool, "results": [NETWORK_RESULT]},
    "regret": {"machine": MACHINE, "good": bool, "shapes": [SHAPE_REGRET], "networks": [NETWORK_REGRET]},
    "autotune": {"machine": MACHINE, "file": str, "problems": int, "shapes": [SHAPE_REGRET]},
    "compare": {"old": str, "new": str, "good": bool, "rows": [COMPARED], "only_old": [str], "only_new": [str]},
    "race": {
        "command": str,
        "date": str,
        "commit": TextOrNull,
        "machine": MACHINE,
        "versions": dict,
        "heats": [HEAT],
        "failures": [str],
    },
}


def document(verb: str, **body: Any) -> dict[str, Any]:
    """A document of `verb` with this body, in plain JSON values, checked; raises ValueError where it breaks KEYS."""
    from .. import __version__

    made = _plain({"schema": f"cnnkern.{verb}/{VERSION}", "cnnkern": __version__, **body})
    validate(made)
    return made


def validate(doc: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the place, when `doc` lacks a key of its schema or holds the wrong kind of value."""
    name, _, version = str(doc.get("schema", "")).removeprefix("cnnkern.").partition("/")
    if name not in KEYS or version != str(VERSION):
        known = ", ".join(f"cnnkern.{verb}/{VERSION}" for verb in KEYS)
        raise ValueError(f"schema: received {doc.get('schema')!r}, accepted are {known}")
    _check(doc, {"cnnkern": str, **KEYS[name]}, name)


def write(doc: Mapping[str, Any], target: str) -> None:
    """Write `doc` to the file `target`, or to standard output when it is "-"."""
    text = json.dumps(doc, indent=2, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        Path(target).write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    """Tuples become lists, NumPy scalars Python numbers, and what is no finite number becomes null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _check(value: Any, schema: Any, place: str) -> None:
    if isinstance(schema, dict):
        if not isinstance(value, Mapping):
            raise ValueError(f"{place}: expected an object, received {value!r}")
        for key, inner in schema.items():
            if key not in value:
                raise ValueError(f"{place}: the key {key!r} is missing")
            _check(value[key], inner, f"{place}.{key}")
    elif isinstance(schema, list):
        if not isinstance(value, list):
            raise ValueError(f"{place}: expected an array, received {value!r}")
        for i, item in enumerate(value):
            _check(item, schema[0], f"{place}[{i}]")
    elif isinstance(schema, tuple):
        inner = next((s for s in schema if isinstance(s, dict)), None)
        if inner is not None and isinstance(value, Mapping):
            _check(value, inner, place)
        elif not isinstance(value, tuple(s for s in schema if isinstance(s, type))) or _bool_for_number(value, schema):
            raise ValueError(f"{place}: received {value!r}")
    elif not isinstance(value, schema) or _bool_for_number(value, (schema,)):
        raise ValueError(f"{place}: expected {schema.__name__}, received {value!r}")


def _bool_for_number(value: Any, schema: tuple) -> bool:
    return isinstance(value, bool) and bool not in schema
