"""What each document of `--json` holds: the contract that schema.py writes and checks by.

Names carry units (`_ms`, `_bytes`, `_gflops`); a figure that was not measured is null, never 0 or NaN. Keys are only
ever added under one number; a removed or re-interpreted key raises it.
"""

from __future__ import annotations

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
    "bandwidths_gbs": dict,  # of reading, by level
    "copying_gbs": dict,  # read and written, by level
    "peaks_fma_gflops": dict,  # by ISA
}
COUNTERS = {"granted": bool, "source": str, "reason": str}
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
HARDWARE = dict.fromkeys(("reason", "source"), str)  # what the processor's counters said, or why they did not
HARDWARE |= dict.fromkeys(("flops", "seen", "running", "deviation"), NumberOrNull)
HARDWARE |= {"slack": int, "agrees": VERDICT, "layers": dict}
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
    "hardware": HARDWARE,
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
    "theory_flops": int,
    "executed": COUNTS_OR_NULL,
    "executed_flops": (int, type(None)),
    "executed_of_theory": NumberOrNull,
    "bytes": int,  # compulsory: each input, weight and output once
    "intensity": NumberOrNull,  # executed FLOPs per compulsory byte
    "time_ms": NumberOrNull,
    "share_of_time": NumberOrNull,  # of the layers' sum
    "rate_gflops": NumberOrNull,
    "executed_gflops": NumberOrNull,
    "share_of_peak": NumberOrNull,
    "limit_ms": NumberOrNull,
    "bound": TextOrNull,
    "share_of_limit": NumberOrNull,
    "distance": NumberOrNull,  # time over limit
    "algorithm": TextOrNull,
    "best_limit_ms": NumberOrNull,  # the least over the algorithms that serve the layer
    "best_algorithm": TextOrNull,
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
    "bandwidths_gbs": dict,  # by level, with this ISA and these threads
    "limit_ms": NumberOrNull,
    "share_of_limit": NumberOrNull,
    "distance": NumberOrNull,
    "best_limit_ms": NumberOrNull,
    "best_algorithm": TextOrNull,  # "as chosen", or which layers would do otherwise
    "hardware": HARDWARE,
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
    "theory_flops": int,
    "executed_flops": (int, type(None)),
    "executed_of_theory": NumberOrNull,
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

OP_RESULT = {
    "problem": str,  # as `cnnkern bench --ops` takes it
    "note": str,
    "op": str,
    "backend": str,
    "isa": TextOrNull,
    "threads": int,
    "algo": str,  # asked for
    "caches": str,  # opbench.CACHES
    "calls": int,  # in a round
    "kernel": str,
    "decision": dict,
    "theory": COUNTS,
    "theory_flops": int,
    "predicted": COUNTS_OR_NULL,
    "executed": COUNTS_OR_NULL,
    "executed_flops": (int, type(None)),
    "executed_of_theory": NumberOrNull,
    "counts_agree": VERDICT,
    "faults": [str],
    "error": NumberOrNull,
    "tolerance": Number,
    "correct": bool,
    "time": TIME_OR_NULL,  # of one call
    "rate_gflops": NumberOrNull,
    "executed_gflops": NumberOrNull,
    "peak_fma_gflops": NumberOrNull,
    "share_of_peak": NumberOrNull,
    "limit_ms": NumberOrNull,
    "bound": TextOrNull,
    "share_of_limit": NumberOrNull,
    "best_limit_ms": NumberOrNull,  # over the algorithms that serve
    "best_algorithm": TextOrNull,
    "share_of_best_limit": NumberOrNull,
    "peak_fma": (CLOCK, type(None)),
}
OP_LEFT_OUT = {"problem": str, "backend": str, "isa": TextOrNull, "algo": str, "reason": str}

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
        "counters": COUNTERS,
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
    "bench": {
        "command": str,
        "date": str,
        "commit": TextOrNull,
        "machine": MACHINE,
        "good": bool,
        "results": [NETWORK_RESULT],
    },
    "bench_ops": {
        "command": str,
        "date": str,
        "commit": TextOrNull,
        "machine": MACHINE,
        "good": bool,
        "results": [OP_RESULT],
        "left_out": [OP_LEFT_OUT],
    },
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
