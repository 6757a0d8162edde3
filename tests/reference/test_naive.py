"""The oracle against naive loops, on tiny random problems."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import naive
from opcases import PROBLEMS, cases, examples

from cnnkern import testing
from cnnkern.ops import SPECS

MAX_WORK = 20_000  # Python floats per example


def test_every_operation_has_problems_and_loops():
    assert set(PROBLEMS) == set(SPECS)
    assert all(hasattr(naive, op) for op in SPECS)


@pytest.mark.parametrize("op", SPECS)
@examples(12)
@given(data=st.data())
def test_oracle_equals_loops(op, data):
    case = data.draw(cases(PROBLEMS[op], memory=("plain", "strided")))
    assume(case.spec.theory(*case.shapes).flops + sum(np.prod(s) for s in case.shapes if s) < MAX_WORK)
    arrays = case.arrays()
    mine = testing.reference(case.spec, *arrays)
    theirs = getattr(naive, case.spec.op)(case.spec, *arrays)
    assert len(theirs) == (len(mine) if isinstance(mine, tuple) else 1)
    for a, b in zip(mine if isinstance(mine, tuple) else (mine,), theirs):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
