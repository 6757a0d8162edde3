"""predicted == executed, and the items of theory - executed add up, for random problems of every operation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opcases import PROBLEMS, cases, examples

# What the cpu backend may leave to the reference for some arguments; nothing is counted then.
PARTLY_NATIVE = {"pool2d"}


@pytest.mark.filterwarnings("ignore:.*runs on the reference")
@pytest.mark.parametrize("op", PROBLEMS)
@examples(12)
@given(data=st.data())
def test_prediction_and_items(isa, op, data, count, agree):
    case = data.draw(cases(PROBLEMS[op]))
    if getattr(case.spec, "return_indices", False) or not case.shapes[0]:
        return  # of the eager road alone
    memory = data.draw(st.sampled_from(["NCHW", "NHWC"]))
    rows = count(case.spec, case.arrays(), isa, data.draw(st.integers(1, 3)), memory=memory)
    for row in rows:
        if row["executed"] is None:
            assert op in PARTLY_NATIVE
        else:
            agree(row)
