"""The host shim does what a GPU does: correct kernels in four orders of their threads, and again under the sanitizers.

Its reading of the PTX ISA is written down here a second time, in NumPy.
"""

from __future__ import annotations

import itertools

import host
import numpy as np
import pytest
from shimkernels import as_float, floats, on_the_shim, orders, sanitized

from cnnkern.ops.base import Counts

pytestmark = on_the_shim


@orders
def test_correct_indices(correct, order):
    y = np.full(4 * 3 * 2 * 24, np.nan, floats)
    correct("number<float>", (4, 3, 2), (2, 3, 4), y=y, order=order)
    assert (y == np.arange(y.size)).all()


@orders
@pytest.mark.parametrize("block, n", [(256, 256), (256, 200), (1024, 1024), (33, 1), (7, 7)])
def test_correct_barrier(correct, memory, rng, order, block, n):
    """Threads that have returned hold up nobody."""
    x = rng.standard_normal((3, n), floats)
    y = memory(x, np.full_like(x, np.nan))
    correct("reverse<float>", (3,), (block,), x=x, y=y, n=n, shared=4 * n, order=order)
    assert (y == x[:, ::-1]).all()


@orders
def test_correct_warps(correct, rng, order):
    x = rng.integers(-99, 99, 96).astype(floats)
    y, swapped = np.full(3, np.nan, floats), np.full(96, np.nan, floats)
    correct("warp_sum<float>", (1,), (96,), x=x, y=y, order=order)
    correct("swap_pairs<float>", (1,), (96,), x=x, y=swapped, shared=4 * 96, order=order)
    assert (y == x.reshape(3, 32).sum(1)).all()
    assert (swapped == x.reshape(-1, 2)[:, ::-1].ravel()).all()


@orders
@pytest.mark.parametrize("tiles", [0, 1, 2, 5])
def test_correct_copies(correct, memory, rng, order, tiles):
    x = rng.integers(-99, 99, (max(tiles, 1), 256)).astype(floats)
    y = memory(x, np.full(256, np.nan, floats))
    correct.module.reset()
    correct("sum_tiles<float>", (1,), (64,), x=x, y=y, n=tiles, shared=2 * 1024, order=order)
    assert (y == x[:tiles].sum(0)[::-1]).all()
    assert correct.module.counts() == Counts(add=256 * tiles, bytes_read=1024 * tiles, bytes_written=1024)


def pairs(x):
    """16-bit values -> registers of two, the first in the lower half."""
    low, high = x[..., 0::2].astype(np.uint32), x[..., 1::2].astype(np.uint32)
    return low | high << np.uint32(16)


@orders
@pytest.mark.parametrize("transposed", [False, True])
def test_correct_load_matrix(correct, rng, order, transposed):
    x = rng.integers(0, 1 << 16, (4, 8, 8), np.uint16)  # matrix, row, column: row r of matrix m is lane 8 m + r's
    y = np.zeros((32, 4), np.uint32)
    correct(f"fragments<{str(transposed).lower()}>", (1,), (32,), x=x, y=y, shared=512, order=order)
    seen = x.transpose(0, 2, 1) if transposed else x
    for lane, i in itertools.product(range(32), range(4)):
        g, t = divmod(lane, 4)
        assert y[lane, i] == seen[i, g, 2 * t] | np.uint32(seen[i, g, 2 * t + 1]) << np.uint32(16)


def fragments(a, b, c):
    """A (16xK) and B (Kx8) of what a register holds (16-bit values or tf32), C (16x8) -> each lane's registers.

    The tables of the PTX ISA for mma.m16n8k16 and mma.m16n8k8: lane = 4 g + t.
    """
    lanes = [divmod(lane, 4) for lane in range(32)]
    if a.dtype == np.uint16:
        where_a = [[(g, 2 * t), (g + 8, 2 * t), (g, 2 * t + 8), (g + 8, 2 * t + 8)] for g, t in lanes]
        where_b = [[(2 * t, g), (2 * t + 8, g)] for g, t in lanes]
        left = [pairs(np.array([a[i, j : j + 2] for i, j in r]))[:, 0] for r in where_a]
        right = [pairs(np.array([b[i : i + 2, j] for i, j in r]))[:, 0] for r in where_b]
    else:
        left = [[a[i, j] for i, j in [(g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)]] for g, t in lanes]
        right = [[b[i, j] for i, j in [(t, g), (t + 4, g)]] for g, t in lanes]
    return np.array(left, np.uint32), np.array(right, np.uint32), accumulators(c)


def accumulators(c):
    lanes = [divmod(lane, 4) for lane in range(32)]
    where = [[(g, 2 * t), (g, 2 * t + 1), (g + 8, 2 * t), (g + 8, 2 * t + 1)] for g, t in lanes]
    return np.array([[c[i, j] for i, j in r] for r in where])


@orders
@pytest.mark.parametrize("type_", ["f16", "bf16", "Tf32"])
def test_correct_matmul(correct, rng, order, type_):
    k = 8 if type_ == "Tf32" else 16
    a, b = rng.standard_normal((16, k), floats), rng.standard_normal((k, 8), floats)
    c = rng.standard_normal((16, 8), floats)
    if type_ == "f16":
        a, b = a.astype(np.float16).view(np.uint16), b.astype(np.float16).view(np.uint16)
    elif type_ == "bf16":
        a, b = (x.view(np.uint16)[..., 1::2].copy() for x in (a, b))
    else:
        a, b = a.view(np.uint32), b.view(np.uint32)  # with lower bits, which tensor cores do not look at
    left, right, sums = fragments(a, b, c)
    y = np.full((32, 4), np.nan, floats)
    correct.module.reset()
    correct(f"matmul<{type_}>", (1,), (32,), x=left, w=right, c=sums, y=y, order=order)
    a, b = (as_float(x, type_).astype(np.float64) for x in (a, b))
    bound = (k + 1) * 2.0**-24 * (abs(a) @ abs(b) + abs(c))  # a rounding per term
    assert (abs(y - accumulators(a @ b + c)) <= accumulators(bound)).all()
    assert correct.module.counts() == Counts(fma=16 * 8 * k, bytes_read=32 * 40, bytes_written=32 * 16)


@pytest.mark.skipif(host.sanitized(), reason="this is that process")
def test_correct_kernels_under_sanitizers():
    done = sanitized(["-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "test_correct_ and not kernels"])
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr
