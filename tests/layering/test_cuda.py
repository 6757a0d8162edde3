"""The rules of the CUDA sources: no framework, no headers, no PTX and no second form outside prims.cuh."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
SOURCES = sorted(path for path in KERNELS.iterdir() if path.suffix in (".cu", ".cuh"))
WORKERS = [path for path in SOURCES if path.name != "prims.cuh"]
# What a kernel says to the machine without prims.cuh: it would be neither counted nor checked on the host.
BARE = re.compile(
    r"\b(?:__(?:fmaf|fadd|fmul|fdiv|fsqrt|expf|logf)\w*|__ldg|__shfl\w*|__shared__|atomic\w+|(?:exp|log|tanh|erf|sqrt|pow|f?max|"
    r"f?min)f?(?=\())"
)


def code(text: str) -> str:
    """The source without comments and without what `op::` names."""
    return re.sub(r"op::\w+", "", re.sub(r"//.*", "", text))


def faults(text: str) -> list[str]:
    included = re.findall(r"#\s*include\s+[<\"]([^>\"]+)", text)
    found = [f"includes {name}" for name in included if not name.endswith(".cuh")]
    found += [f"has {word}" for word in re.findall(r"#\s*if\w*|\basm\b", code(text))]
    return found + [f"calls {word}" for word in BARE.findall(code(text))]


@pytest.mark.parametrize("path", WORKERS, ids=lambda path: path.name)
def test_kernels_say_everything_through_prims(path):
    assert not faults(path.read_text())


def test_prims_includes_nothing_of_cudas():
    assert re.findall(r"#include\s+\S+", (KERNELS / "prims.cuh").read_text()) == ['#include "host_prims.h"']


@pytest.mark.parametrize(
    "line",
    [
        "#include <cuda_fp16.h>",
        "#ifdef __CUDACC__",
        'asm("mma");',
        "y = __fmaf_rn(a, b, c);",
        "y = expf(x);",
        "y = fmaxf(a, b);",
        "atomicAdd(p, 1);",
        "__shared__ float x[32];",
        "y = __shfl_xor_sync(~0u, x, 1);",
    ],
)
def test_faults_are_seen(line):
    assert faults(line)
