"""The CUDA backend below float32, on the host shim: every operation on random problems within its precision's error."""

from __future__ import annotations

import numpy as np
import pytest
from engines import WITHOUT_CUDA, cuda_on_host
from hypothesis import given
from hypothesis import strategies as st
from opcases import PROBLEMS, Case, cases, examples

from cnnkern import UnsupportedError, ops, testing

PRECISIONS = ("tf32", "float16", "bfloat16")
ENGINE = cuda_on_host()
OLDER = cuda_on_host("sm_80")  # without wgmma


def check(engine, case: Case, precision: str) -> None:
    arrays = case.arrays()
    shapes = case.spec.infer(*case.shapes)
    results = engine.call(case.spec, arrays, precision=precision)
    assert [y.shape for y in results] == list(shapes)
    if getattr(case.spec, "return_indices", False):  # which of two that round to the same is largest is undecided
        results, arrays = results[:1], arrays
    theirs = testing.reference(case.spec, *arrays)
    for mine, expected in zip(results, theirs if isinstance(theirs, tuple) else (theirs,)):
        testing.assert_close(mine, expected, case.spec, arrays, precision=precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("engine", [ENGINE])
@pytest.mark.parametrize("op", sorted(set(PROBLEMS) - WITHOUT_CUDA))  # those run in float32, on the CPU
@examples(8)
@given(data=st.data())
def test_equals_oracle(engine, op, precision, data):
    check(engine, data.draw(cases(PROBLEMS[op])), precision)


LARGER = [
    (ops.Conv2dSpec(padding=1), ((1, 64, 14, 14), (96, 64, 3, 3), (96,), (1, 96, 14, 14))),
    (ops.Conv2dSpec(padding=1, activation="relu"), ((3, 67, 15, 13), (45, 67, 3, 3), None, None)),
    (ops.Conv2dSpec(2, 3), ((1, 3, 37, 41), (64, 3, 7, 7), (64,), None)),
    (ops.Conv2dSpec(), ((1, 256, 14, 14), (100, 256, 1, 1), (100,), None)),
    (ops.Conv2dSpec(2), ((2, 130, 15, 15), (64, 130, 1, 1), None, None)),
    (ops.Conv2dSpec(1, 1, groups=4), ((1, 64, 14, 14), (128, 16, 3, 3), (128,), None)),
    (ops.Conv2dSpec(1, 1, groups=32), ((1, 128, 15, 13), (128, 4, 3, 3), (128,), (1, 128, 15, 13))),
    (ops.Conv2dSpec(1, 2, groups=72, activation="silu"), ((1, 72, 15, 14), (72, 1, 5, 5), (72,), None)),
    (ops.LinearSpec("relu"), ((33, 1025), (130, 1025), (130,))),
    (ops.LinearSpec(), ((2, 512), (100, 512), None)),
]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("engine", [ENGINE, OLDER])
@pytest.mark.parametrize(("spec", "shapes"), LARGER, ids=lambda v: getattr(v, "op", ""))
def test_larger(engine, precision, spec, shapes, rng):
    check(engine, Case(spec, shapes, int(rng.integers(2**32))), precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("engine", [ENGINE])
def test_precision_is_really_lower(engine, precision, rng):
    """An error that float32 would not make: the operands were rounded."""
    arrays = Case(ops.LinearSpec(), ((64, 256), (64, 256), None), int(rng.integers(2**32))).arrays()
    (mine,) = engine.call(ops.LinearSpec(), arrays, precision=precision)
    found = testing.compare(mine, testing.reference(ops.LinearSpec(), *arrays), ops.LinearSpec(), arrays)
    assert found.error > 4 * found.tolerance


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("engine", [ENGINE])
def test_no_winograd_below_float32(engine, precision):
    arrays = [np.ones((1, 4, 9, 9), np.float32), np.ones((4, 4, 3, 3), np.float32), None, None]
    with pytest.raises(UnsupportedError, match="winograd.*direct"):
        engine.call(ops.Conv2dSpec(algo="winograd"), arrays, precision=precision)
