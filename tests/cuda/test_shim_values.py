"""The host shim computes what a GPU computes: every 16-bit value, rounding, arithmetic, what is special."""

from __future__ import annotations

import numpy as np
import pytest
from shimkernels import as_float, floats, on_the_shim

from cnnkern.ops.base import Counts

pytestmark = on_the_shim


@pytest.mark.parametrize("type_", ["f16", "bf16"])
def test_every_value_widens(correct, type_):
    x = np.arange(1 << 16, dtype=np.uint16)
    y = np.zeros(x.size, floats)
    correct(f"widen<{type_}>", (256,), (256,), x=x, y=y)
    want = as_float(x, type_)
    number = ~np.isnan(want)
    assert (y.view(np.uint32)[number] == want.view(np.uint32)[number]).all()
    assert np.isnan(y[~number]).all()


def values_to_round(rng, type_):
    """Every value of the type, what lies half way to the next, both neighbours of that, and any bits at all."""
    x = as_float(np.arange(1 << 16, dtype=np.uint16), type_)
    finite = x[np.isfinite(x)]
    half = ((np.sort(finite)[1:].astype(np.float64) + np.sort(finite)[:-1]) / 2).astype(floats)
    beyond = floats([65519.998, 65520, 65536, 3.4e38, 1e-45, np.inf, np.nan])
    any_ = rng.integers(0, 1 << 32, 1 << 16, np.uint32).view(floats)
    around = (np.nextafter(half, floats(np.inf)), half, np.nextafter(half, floats(-np.inf)))
    with np.errstate(over="ignore"):
        every = np.concatenate([x, *around, beyond, -beyond, any_])
    return np.resize(every, -(-every.size // 256) * 256)


def test_float16_rounds_to_even(correct, rng):
    x = values_to_round(rng, "f16")
    y = np.zeros(x.size, np.uint16)
    correct("narrow<f16>", (x.size // 256,), (256,), x=x, y=y)
    with np.errstate(over="ignore", invalid="ignore"):
        want = x.astype(np.float16).view(np.uint16)
    assert (y == np.where(np.isnan(x), 0x7FFF, want)).all()


def test_bfloat16_rounds_to_even(correct, rng):
    x = values_to_round(rng, "bf16")
    y = np.zeros(x.size, np.uint16)
    correct("narrow<bf16>", (x.size // 256,), (256,), x=x, y=y)
    bits = x.view(np.uint32).astype(np.uint64)
    rest, down = bits & np.uint64(0xFFFF), bits >> np.uint64(16)
    up = (rest > 0x8000) | ((rest == 0x8000) & (down % np.uint64(2) == 1))  # the next pattern, whatever the exponent
    assert (y == np.where(np.isnan(x), 0x7FFF, down + up)).all()


def test_tf32_rounds_half_away(correct, rng):
    x = rng.integers(0, 1 << 32, 1 << 14, np.uint32)
    x[::4] = x[::4] & np.uint32(0xFFFFE000) | np.uint32(0x1000)
    x = x.view(floats)
    x[:4] = 0.0, -0.0, np.inf, -np.inf
    y = np.zeros(x.size, floats)
    correct("round_tf32", (x.size // 256,), (256,), x=x, y=y)
    assert (np.isnan(y) == np.isnan(x)).all()
    normal = (abs(x) >= np.finfo(floats).tiny) & (abs(x) < 3e38)
    mantissa, exponent = np.frexp(x[normal].astype(np.float64))
    assert (y[normal] == np.ldexp(np.trunc(abs(mantissa) * 2**11 + 0.5) * np.sign(mantissa), exponent - 11)).all()
    assert (y[:4] == x[:4]).all()


def test_arithmetic_is_exact_and_counted(correct):
    index = np.zeros(1, np.int64)
    y = np.full(14, np.nan, floats)
    p, q, r = x = floats([1 + 2**-13, 1 - 2**-13, -1])
    correct.module.reset()
    correct("arithmetic", (1,), (1,), x=x, w=index, y=y)
    assert y[0] == floats(np.float64(p) * q + r) != floats(p * q) + r, "one rounding"
    assert y[1:9].tolist() == [p + q, p - q, p * q, p, q, 1, p / q, np.sqrt(p)]
    np.testing.assert_allclose(y[9:13], [2.71861, 2**-13, 0.761645, 0.842751], rtol=1e-4)
    assert y[13] == floats(np.float64(p) ** q) and index == -5000000000
    once = Counts(fma=1, mul=1, add=2, max=3, special=7, bytes_read=12, bytes_written=4 * 14 + 8)
    assert correct.module.counts() == once
    correct("arithmetic", (1,), (1,), x=x, w=index, y=y)
    assert correct.module.counts() == once * 2


@pytest.mark.parametrize("a, b", [(np.nan, 1), (1, np.nan), (0.0, -0.0), (-0.0, 0.0), (-np.inf, 3)])
def test_max_and_min_of_what_is_special(correct, a, b):
    x, y, index = floats([a, b, 0]), np.zeros(14, floats), np.zeros(1, np.int64)
    correct("arithmetic", (1,), (1,), x=x, w=index, y=y)
    nan = bool(np.isnan(x).any())
    assert (np.isnan(y[4]), np.isnan(y[5])) == (nan, nan)
    if not nan:
        ordered = sorted([a, b], key=lambda v: (v, np.copysign(1, v)))
        assert [*y[4:6]] == ordered[::-1] and [*np.signbit(y[4:6])] == [*np.signbit(ordered[::-1])]
