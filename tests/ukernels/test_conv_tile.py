"""Every conv tile of kernels.def on every instruction set this CPU has, alone, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

core = pytest.importorskip("cnnkern._core", reason="no native module")
TILES = [(isa, ob, px) for isa in core.available_isas() for ob, px in core.ukernels.conv_tiles(isa)]


@pytest.mark.parametrize("isa, ob, px", TILES, ids=lambda v: str(v))
def test_tile(isa, ob, px, rng):
    for klen in (1, 2, 17, 64):
        for valid in {16 * ob, 16 * ob - 15, 16 * ob - 5}:
            x = rng.standard_normal((px, klen), dtype=np.float32)
            w = rng.standard_normal((klen, 16 * ob), dtype=np.float32)
            expected = x.astype(np.float64) @ w.astype(np.float64)[:, :valid]
            scale = np.abs(x).astype(np.float64) @ np.abs(w)[:, :valid]
            got = core.ukernels.conv_tile(isa, ob, px, x, w, valid)
            assert (np.abs(got - expected) <= 2.0**-23 * (klen + 1) * scale).all()


def test_every_isa_has_tiles_of_one_block():
    for isa in core.available_isas():
        assert (1, 1) in core.ukernels.conv_tiles(isa)


def test_tiles_that_are_not_there():
    x, w = np.zeros((1, 4), np.float32), np.zeros((4, 16), np.float32)
    for ob, px, valid in ((0, 1, 1), (9, 1, 16), (1, 99, 16), (1, 1, 0), (1, 1, 17)):
        with pytest.raises(ValueError):
            core.ukernels.conv_tile("", ob, px, x, w, valid)
