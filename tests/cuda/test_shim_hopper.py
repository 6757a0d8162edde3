"""The host shim's part for sm_90a finds what a kernel forgets (tests/cuda/shim/hopper.h); what it computes stands in
fixtures/hopper.cu and test_wgmma.py."""

from __future__ import annotations

import re
from pathlib import Path

import host
import numpy as np
import pytest
from shimkernels import ARGS, Kernels, on_the_shim

pytestmark = on_the_shim

ARGS["planted_hopper.cu"] = ARGS["planted.cu"]
BYTES = 64 * 128
# In the order of the fixture's enum. None: the sums are right; "": they are wrong.
MISTAKES = {
    "NONE": None,
    "OVERWRITTEN": "where no barrier was begun or something else was written",
    "NOT_BEGUN": "mbarrier_arrive_expect at byte 8200 of shared memory, where no barrier was begun",
    "NO_ARRIVALS": "mbarrier_init for 0 arrivals",
    "TWO_ARRIVALS": "mbarrier_arrive: one arrival more than the 1 of a phase",
    "NEVER": r"deadlock.*wait in mbarrier_wait at .*planted_hopper.cu:\d+ for 0 arrivals and -4096 bytes",
    "PARITY": "mbarrier_wait for parity 2",
    "NO_WAIT": "all have returned with bulk copies under way",
    "NO_COPY": r"wait in mbarrier_wait at .* for 0 arrivals and 8192 bytes",
    "LEFT_COPY": "all have returned with bulk copies under way",
    "HALF_WORDS": "copy_bulk of 8184 bytes",
    "SHARED_WORD": "copy_bulk of 16 bytes at byte 8 of 8224 of shared memory, which is not aligned",
    "GLOBAL_WORD": "copy_bulk of 16 bytes at 0x.*, which is not aligned",
    "BEYOND_GLOBAL": "copy_bulk of 16 bytes at 0x.*, beyond all memory: byte 8192 of the 8192",
    "BEYOND_SHARED": "wgmma: descriptor 0x.* reads byte 8",
    "OTHER_OPERANDS": "wgmma: thread 5 of the warpgroup has other operands",
    "TOUCHED": "wgmma: accumulators were written while it was under way",
    "EARLY": "",
    "NO_FENCE": "wgmma without wgmma_fence before it",
    "LEFT_PRODUCT": "all have returned with wgmma under way",
    "OPERANDS": "wgmma_wait: what wgmma multiplies was written before it had ended",
    "MISSING_WARP": "takes all 128 lanes of a warpgroup, but some have returned|returned, while lanes",
    "TWO_BARRIERS": r"sync_some<1> at .*:\d+, while other threads wait at .*:\d+",
    "TOO_FEW": r"deadlock.* 96 as thread \(\d+, 0, 0\) wait in sync_some",
}


@pytest.fixture(scope="module")
def planted():
    return Kernels("planted_hopper.cu", [f"product<{i}>" for i in range(len(MISTAKES))])


def test_the_table_is_of_the_fixture():
    text = (Path(__file__).parent / "fixtures" / "planted_hopper.cu").read_text()
    assert re.findall(r"^  ([A-Z_]+),", text, re.M) == list(MISTAKES)


@pytest.mark.parametrize("order", host.ORDERS)
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(planted, name, order):
    x, y = np.ones(BYTES // 2, np.float16), np.full((128, 32), np.nan, np.float32)
    for array in (x, y):
        host.register_memory(array.ctypes.data, array.nbytes)
    message, kernel = MISTAKES[name], f"product<{list(MISTAKES).index(name)}>"
    try:
        planted(kernel, (1,), (128,), x=x, y=y, shared=BYTES + 32, order=order)
    except RuntimeError as error:
        assert message and re.search(message, str(error)), error
    else:
        assert message in (None, "") and bool((y == 64).all()) == (message is None)
