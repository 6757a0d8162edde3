"""The formulas that count without enumerating, against enumeration."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from opcases import examples

from cnnkern.backends.cpu.buffers import Tensor
from cnnkern.backends.cpu.predict import geometry
from cnnkern.backends.cpu.predict.eltwise import runs
from cnnkern.backends.cpu.predict.tiles import CONV_TILES, panels

SIZES = st.integers(1, 40)
AXIS = st.tuples(SIZES, SIZES, st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(0, 9))


@examples(200)
@given(length=st.integers(0, 200), longest=st.integers(1, 20))
def test_pieces(length, longest):
    cut = geometry.pieces(length, longest)
    assert sum(size * count for size, count in cut) == length
    assert sum(count for _, count in cut) == -(-length // longest)
    assert all(0 < size <= longest and count > 0 for size, count in cut)
    assert all(larger - smaller == 1 for (smaller, _), (larger, _) in pairwise(cut))


@examples(200)
@given(AXIS)
def test_taps_inside(axis):
    outputs, size, taps, stride, dilation, pad = axis
    live = [[0 <= o * stride - pad + t * dilation < size for t in range(taps)] for o in range(outputs)]
    assert geometry.inside(*axis) == sum(map(sum, live))


@examples(100)
@given(st.integers(-20, 60), st.integers(0, 60), SIZES)
def test_overlap(start, length, size):
    assert geometry.overlap(start, start + length, size) == sum(0 <= i < size for i in range(start, start + length))


@examples(100)
@given(isa=st.sampled_from(sorted(CONV_TILES)), channels=st.integers(1, 300), ob=st.integers(1, 4))
def test_panels_hold_every_channel_once(isa, channels, ob):
    made = panels(isa, channels, ob, 14)
    assert sum(p.valid * p.count for p in made) == channels
    assert all(p.ob in CONV_TILES[isa] and p.lanes - 16 < p.valid <= p.lanes for p in made)


def test_runs_join_pixels_that_touch():
    def tensor(*sizes, pixel=None):
        n, h, w, channels = sizes
        pixel = pixel or channels
        return Tensor(0, 0, sizes, (h * w * pixel, w * pixel, pixel, 1))

    dense, padded = tensor(2, 3, 5, 16), tensor(2, 3, 5, 17, pixel=32)
    assert runs(dense, dense, dense) == (1, 2 * 3 * 5 * 16)
    assert runs(padded, padded) == (2 * 3 * 5, 17)
    gate = tensor(2, 1, 1, 16)
    assert runs(dense, dense, gate) == (2 * 3 * 5, 16)
    assert runs(dense, dense, tensor(2, 3, 5, 1)) == (2 * 3 * 5, 16)
    assert runs(dense, dense, tensor(2, 1, 1, 1)) == (2, 3 * 5 * 16)
    assert runs(tensor(0, 3, 5, 16), tensor(0, 3, 5, 16))[0] * 16 * 15 == 0
