"""Problems of what moves values and computes none: concat, slices, shapes, padding. And of resampling along an axis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from cnnkern import ops

from .draws import any_shape, image


@st.composite
def concat(draw):
    x = draw(st.one_of(image(7), any_shape()))
    along = draw(st.integers(0, len(x) - 1))
    sizes = draw(st.lists(st.sampled_from([1, 3, 16, 17]), min_size=1, max_size=4))
    axis = along - draw(st.sampled_from([0, len(x)]))
    return ops.ConcatSpec(axis), tuple((*x[:along], size, *x[along + 1 :]) for size in sizes)


@st.composite
def channel_shuffle(draw):
    n, c, h, w = draw(image(7))
    groups = draw(st.integers(1, 4))
    return ops.ChannelShuffleSpec(groups), ((n, c * groups, h, w),)


@st.composite
def reshape(draw):
    if draw(st.booleans()):  # any shape to any other of as many elements
        x = draw(st.one_of(any_shape(), image(7)))
        factors = [f for size in x for f in ({4: (2, 2), 6: (2, 3), 8: (2, 4), 9: (3, 3)}.get(size, (size,)))]
        factors = draw(st.permutations(factors))
        cuts = sorted(draw(st.sets(st.integers(1, len(factors)), max_size=5)) | {len(factors)})
        target = tuple(int(np.prod(factors[a:b])) for a, b in zip([0, *cuts], cuts))
        return ops.ReshapeSpec(target if 0 not in target else (0, -1)[: len(x)]), (x,)
    n, c, h, w = draw(image(7))
    copied = [(0, -1), (0, h, w, c), (0, 0, h * w), (0, c * h, w)]
    target = draw(st.sampled_from(copied if n == 0 else [*copied, (c, -1, h), (-1,), (1, n, c, h, w)]))
    return ops.ReshapeSpec(target), ((n, c, h, w),)


@st.composite
def transpose(draw):
    x = draw(any_shape())
    return ops.TransposeSpec(tuple(draw(st.permutations(range(len(x)))))), (x,)


@st.composite
def slice_(draw):
    x = draw(any_shape())
    along = draw(st.sampled_from([i for i, size in enumerate(x) if size] or [0]))
    if not x[along]:
        x = (1, *x[1:])
    start = draw(st.integers(0, x[along] - 1))
    stop = draw(st.integers(start + 1, x[along]))
    return ops.SliceSpec(along, start - draw(st.sampled_from([0, x[along]])), stop), (x,)


@st.composite
def stride(draw):
    x = draw(any_shape())
    along = draw(st.integers(0, len(x) - 1))
    start, step = draw(st.integers(0, max(0, x[along] - 1))), draw(st.sampled_from([1, 2, 3, 0, -1, -2]))
    room = (x[along] - 1 - start) // step + 1 if step > 0 else start // -step + 1 if step else 5
    count = draw(st.integers(0, min(room, 9))) if x[along] else 0
    return ops.StrideSpec(along - draw(st.sampled_from([0, len(x)])), start, step, count), (x,)


@st.composite
def pad_nd(draw):
    x = draw(st.one_of(any_shape(), image(5)))
    mode = draw(st.sampled_from(["constant", "reflect", "edge", "wrap"]))
    least = {"constant": 0, "reflect": 2}.get(mode, 1)
    sides = [draw(st.integers(0, 7 if len(x) < 3 else 3)) for _ in range(2 * len(x))]
    pads = [(a, b) if size >= least and draw(st.booleans()) else (0, 0) for size, a, b in zip(x, sides, sides[1:])]
    return ops.PadNdSpec(tuple(pads), mode, draw(st.sampled_from([0.0, -1.5, np.inf]))), (x,)


@st.composite
def expand(draw):
    shape = draw(any_shape())
    x = tuple(1 if draw(st.booleans()) else size for size in shape)[draw(st.integers(0, len(shape))) :]
    return ops.ExpandSpec(tuple(1 if draw(st.integers(0, 4)) == 0 and size in x else size for size in shape)), (x,)


@st.composite
def tile(draw):
    x = draw(st.one_of(any_shape(), image(4), st.just(())))
    return ops.TileSpec(tuple(draw(st.sampled_from([0, 1, 1, 2, 3])) for _ in x)), (x,)


@st.composite
def depth_to_space(draw):
    (n, c, h, w), block = draw(image(5)), draw(st.integers(1, 3))
    return ops.DepthToSpaceSpec(block, draw(st.sampled_from(["DCR", "CRD"]))), ((n, min(c, 17) * block**2, h, w),)


@st.composite
def space_to_depth(draw):
    (n, c, h, w), block = draw(image(5)), draw(st.integers(1, 3))
    return ops.SpaceToDepthSpec(block), ((n, c, h * block, w * block),)


@st.composite
def resample(draw):
    x = draw(st.one_of(any_shape(), image(9)))
    along = draw(st.integers(0, len(x) - 1))
    outputs, taps = draw(st.integers(0, 20)) if x[along] else 0, draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    index = rng.integers(0, max(1, x[along]), (outputs, taps)).tolist()
    weight = rng.standard_normal((outputs, taps)).tolist()
    if draw(st.booleans()):
        index, weight = [row[:1] for row in index], None
    return ops.ResampleSpec(along - draw(st.sampled_from([0, len(x)])), index, weight), (x,)
