"""Models spoiled at random: nothing but a clear refusal comes out of loading and running them, in bounded memory and
time.

    pytest tests/onnx/test_fuzz.py --hypothesis-profile=long        # twenty times as many
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")

from hostile import Trial  # noqa: E402  beside this file
from mutations import MODELS, spoiled  # noqa: E402
from opcases import examples  # noqa: E402

LIMIT = 1 << 26  # bytes that the activations may take
SMALL = 8 * LIMIT
AT_LOAD = {"ModelError", "UnsupportedError"}
AT_RUN = {*AT_LOAD, "ValueError", "TypeError"}  # the inputs that are made up need not fit


@pytest.fixture(scope="module")
def trial():
    with Trial() as trial:
        yield trial


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_the_models_are_fine_before(make, trial):
    outcome = trial(make().SerializeToString(), memory_limit_bytes=LIMIT)
    assert (outcome.what, outcome.stage) == ("ok", "run"), str(outcome)


@examples(1200)
@given(st.integers(0, 2**48))
def test_spoiled_models(trial, seed):
    outcome = trial(spoiled(seed), memory_limit_bytes=LIMIT)
    allowed = AT_LOAD if outcome.stage == "load" else AT_RUN
    assert outcome.what == "ok" or allowed & set(outcome.error), f"mutations.spoiled({seed}): {outcome}"
    assert outcome.peak_bytes < SMALL, f"mutations.spoiled({seed}): {outcome.peak_bytes:,} bytes, {outcome}"
