"""Moves and resampling of tensors of any rank in native code: any strides on both sides, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from nativeops import CANARY, _core, isas
from numpy.lib.stride_tricks import as_strided


def random_view(rng, sizes, writes=False):
    """(buffer, Nd): axes in any order in memory, with holes, some backwards, some repeated where nothing is written."""
    strides, reach = [0] * len(sizes), 1
    for axis in rng.permutation(len(sizes)):
        if not writes and rng.random() < 0.2:
            continue
        strides[axis] = reach * (1 if rng.random() < 0.7 else 2)
        reach = strides[axis] * max(1, sizes[axis]) + int(rng.random() < 0.2)
    backwards = [rng.random() < 0.2 for _ in sizes]
    first = sum((n - 1) * s for n, s, back in zip(sizes, strides, backwards) if back and n)
    strides = [-s if back else s for s, back in zip(strides, backwards)]
    return rng.standard_normal(reach + 3).astype(np.float32), (first, tuple(sizes), tuple(strides))


def seen(buffer, view):
    """The view as NumPy has it."""
    offset, sizes, strides = view
    return as_strided(buffer[offset:], sizes, [4 * s for s in strides])


def shapes(rng):
    """Of every rank, with sizes around vectors and blocks, and with none."""
    pool = [1, 2, 3, 5, 8, 17, 33, 70]
    for rank in range(9):
        for _ in range(6):
            sizes = [int(v) for v in rng.choice(pool[: 8 if rank < 4 else 4], rank)]
            yield sizes if rng.random() < 0.9 or not rank else [0, *sizes[1:]]


def counted(isa, threads, add, buffers, inputs):
    program = _core.Program(isa, threads, 0, [b.size for b in buffers], inputs)
    add(program)
    context = program.new_context()
    program.run(context, buffers)
    plain = buffers[-1].copy()
    (counts,) = program.count(context, buffers)
    assert np.array_equal(plain, buffers[-1]), "the counting form does something else"
    return counts


@isas
def test_moves_of_any_strides(isa, rng):
    for sizes in shapes(rng):
        (xb, x), (yb, y) = random_view(rng, sizes), random_view(rng, sizes, writes=True)
        for threads in (1, 3):
            yb[:] = CANARY
            counts = counted(isa, threads, lambda p: p.add_moves([((1, *x), (2, *y))]), [xb, yb], 1)  # noqa: B023
            assert np.array_equal(seen(xb, x), seen(yb, y)), (sizes, x, y)
            moved = 4 * int(np.prod(sizes))
            assert counts == (0, 0, 0, 0, 0, moved, moved)
            seen(yb, y)[...] = CANARY
            assert (yb == CANARY).all(), "something was written beside the target"


@isas
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_many_parts_share_the_work(isa, threads, rng):
    """Rows of a matrix: copied backwards, from the call's own values, or filled."""
    rows, width = 23, 37
    x, own = rng.standard_normal((rows, width)).astype(np.float32), rng.standard_normal(5).astype(np.float32)
    y = np.full((rows, width), CANARY)
    want, copies, fills = np.empty_like(y), [], []
    for r in range(rows):
        target = (2, r * width, (width,), (1,))
        if r % 3 == 0:
            copies.append(((1, r * width + width - 1, (width,), (-1,)), target))
            want[r] = x[r, ::-1]
        elif r % 3 == 1:
            copies.append(((-1, r % 5, (width,), (0,)), target))
            want[r] = own[r % 5]
        else:
            fills.append((target, float(r)))
            want[r] = r
    counts = counted(isa, threads, lambda p: p.add_moves(copies, fills, own), [x, y], 1)
    assert np.array_equal(y, want)
    assert counts == (0, 0, 0, 0, 0, 4 * width * len(copies), 4 * want.size)


@isas
@pytest.mark.parametrize("weighted", [True, False])
def test_resample_of_any_strides(isa, weighted, rng):
    for sizes in filter(len, shapes(rng)):
        axis, outputs = int(rng.integers(len(sizes))), int(rng.integers(1, 40))
        if not sizes[axis]:
            outputs = 0
        out_sizes = [*sizes[:axis], outputs, *sizes[axis + 1 :]]
        (xb, x), (yb, y) = random_view(rng, sizes), random_view(rng, out_sizes, writes=True)
        taps = int(rng.integers(1, 5)) if weighted else 1
        index = rng.integers(0, max(1, sizes[axis]), (outputs, taps))
        weight = rng.standard_normal((outputs, taps)).astype(np.float32) if weighted else None
        moved = np.moveaxis(seen(xb, x), axis, -1).astype(np.float64)[..., index]
        want = np.moveaxis((moved * weight).sum(-1) if weighted else moved[..., 0], -1, axis)
        results = []
        for threads in (1, 3):
            yb[:] = CANARY
            add = lambda p: p.add_resample((1, *x), (2, *y), axis, index, weight)  # noqa: B023, E731
            counts = counted(isa, threads, add, [xb, yb], 1)
            got = seen(yb, y).copy()
            np.testing.assert_allclose(got, want, rtol=0, atol=0 if not weighted else 4e-6)
            results.append((got, counts))
            assert counts[-1] == 4 * want.size
            seen(yb, y)[...] = CANARY
            assert (yb == CANARY).all(), "something was written beside the target"
        assert np.array_equal(results[0][0], results[1][0]) and results[0][1] == results[1][1]


def test_what_is_refused():
    program = _core.Program("", 1, 0, [64, 64], 1)
    x, y, table = (1, 0, (4, 16), (16, 1)), (2, 0, (4, 16), (16, 1)), np.zeros((16, 1), np.int64)
    own = np.zeros(4, np.float32)
    refused = [
        lambda: program.add_moves([(x, (2, 0, (4, 15), (16, 1)))]),
        lambda: program.add_moves([(x, (2, 0, (64,), (1,)))]),
        lambda: program.add_moves([(x, (2, 0, (4, 16), (16, 2)))]),
        lambda: program.add_moves([((1, 0, (4, 16), (16, -1)), y)]),
        lambda: program.add_moves([((1, 0, (4, 16), (2**62, 1)), y)]),
        lambda: program.add_moves([((3, 0, (4, 16), (16, 1)), y)]),
        lambda: program.add_moves([((-1, 0, (4, 16), (0, 1)), y)], (), own),
        lambda: program.add_moves([((-1, 0, (4, 16), (1, 0)), y)]),
        lambda: program.add_moves([((-1, 3, (4, 16), (-2, 0)), y)], (), own),
        lambda: program.add_moves([((1, 0, (1,) * 9, (1,) * 9), (2, 0, (1,) * 9, (1,) * 9))]),
        lambda: program.add_moves([((1, 0, (-1, 16), (16, 1)), (2, 0, (-1, 16), (16, 1)))]),
        lambda: program.add_moves([((1, 0, (2**31, 0), (0, 1)), (2, 0, (2**31, 0), (0, 1)))]),
        lambda: program.add_moves([((1, 0, (2**30, 2**30), (0, 0)), (2, 0, (2**30, 2**30), (0, 0)))]),
        lambda: program.add_moves([(x, y, x)]),
        lambda: program.add_moves([], [((2, 1, (4, 16), (16, 1)), 0.0)]),
        lambda: program.add_moves([], [], own.astype(np.float64)),
        lambda: program.add_resample(x, y, 2, table),
        lambda: program.add_resample(x, y, -1, table),
        lambda: program.add_resample(x, y, 0, table),
        lambda: program.add_resample(x, y, 1, table.astype(np.int32)),
        lambda: program.add_resample(x, y, 1, table.reshape(-1)),
        lambda: program.add_resample(x, y, 1, table - 1),
        lambda: program.add_resample(x, y, 1, table + 16),
        lambda: program.add_resample(x, y, 1, np.zeros((16, 2), np.int64)),
        lambda: program.add_resample(x, y, 1, np.zeros((16, 0), np.int64)),
        lambda: program.add_resample(x, y, 1, table, np.zeros(15, np.float32)),
        lambda: program.add_resample(x, (2, 0, (3, 16), (16, 1)), 1, table),
        lambda: program.add_resample((1, 0, (4, 0), (16, 1)), y, 1, table),
    ]
    for i, call in enumerate(refused):
        with pytest.raises(ValueError):
            call()
            print("not refused:", i)
    assert len(program) == 0
    program.add_moves([])
    program.add_moves([((1, 63, (4, 16), (-16, -1)), y)])
