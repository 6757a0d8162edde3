"""Random problems for every operation: a Spec, the shapes of its inputs, and arrays in awkward memory layouts.

The sizes are small and odd on purpose: 1x1 images, channels 1, 3, 17, 31, even kernels, asymmetric padding, strides
beyond the kernel, dilation, groups, batches of 0. `PROBLEMS` lists them all; each family has a module.
"""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from cnnkern import ops

from .case import MEMORY, ODD_MEMORY, Case, laid_out, regions
from .convolutions import CONV_ALGOS, conv2d, conv_transpose2d, fused_block, im2col, locally_connected2d
from .draws import any_shape, image
from .elementwise import PARAMETERS, binary, broadcast, unary
from .moves import (
    channel_shuffle,
    concat,
    depth_to_space,
    expand,
    pad_nd,
    resample,
    reshape,
    slice_,
    space_to_depth,
    stride,
    tile,
    transpose,
)
from .normalization import batch_norm, local_response_norm, softmax
from .pooling import pool2d, roi_max_pool
from .reductions import linear, matmul, reduce

__all__ = [
    "CONV_ALGOS", "ODD_MEMORY", "PARAMETERS", "PROBLEMS", "Case", "cases", "conv2d", "examples", "laid_out", "regions",
]  # fmt: skip


def _one(make, shapes):
    return st.builds(lambda spec, x: (spec, (x,)), make, shapes)


_SIDES = st.tuples(st.integers(0, 3), st.integers(0, 3))

PROBLEMS: dict[str, st.SearchStrategy] = {
    "conv2d": conv2d(prologue=True),
    "locally_connected2d": locally_connected2d(),
    "im2col": im2col(),
    "linear": linear(),
    "fused_block": fused_block(),
    "pool2d": pool2d(),
    "global_pool2d": _one(st.builds(ops.GlobalPool2dSpec, st.sampled_from(["avg", "max"])), image(24)),
    "adaptive_avg_pool2d": _one(
        st.builds(ops.AdaptiveAvgPool2dSpec, st.tuples(st.integers(1, 9), st.integers(1, 9))), image()
    ),
    "roi_max_pool": roi_max_pool(),
    "batch_norm": batch_norm(),
    "local_response_norm": local_response_norm(),
    "local_contrast_norm": _one(st.builds(ops.LocalContrastNormSpec, st.sampled_from([1, 3, 7])), image()),
    "activation": _one(
        st.builds(ops.ActivationSpec, st.sampled_from([*ops.ACTIVATIONS])), st.one_of(any_shape(), image(), st.just(()))
    ),
    "add": broadcast(),
    "mul": broadcast(),
    "unary": unary(),
    "binary": binary(),
    "reduce": reduce(),
    "matmul": matmul(),
    "softmax": softmax(),
    "concat": concat(),
    "channel_shuffle": channel_shuffle(),
    "pad": _one(st.builds(ops.PadSpec, st.tuples(_SIDES, _SIDES), st.sampled_from([0.0, -1.5, np.inf])), image(7)),
    "flatten": st.one_of(
        _one(st.builds(ops.FlattenSpec, st.sampled_from(["CHW", "HWC"])), image(7)),
        _one(st.just(ops.FlattenSpec()), any_shape()),
    ),
    "slice": slice_(),
    "reshape": reshape(),
    "reorder": _one(st.just(ops.ReorderSpec()), any_shape()),
    "transpose": transpose(),
    "stride": stride(),
    "pad_nd": pad_nd(),
    "expand": expand(),
    "tile": tile(),
    "depth_to_space": depth_to_space(),
    "space_to_depth": space_to_depth(),
    "resample": resample(),
    "conv_transpose2d": conv_transpose2d(),
}


def examples(count: int):
    """`count` random examples per test, as many times more as the hypothesis profile asks for (see conftest.py)."""
    return settings(max_examples=max(1, count * settings.default.max_examples // 20))


def cases(problems: st.SearchStrategy, memory=MEMORY) -> st.SearchStrategy[Case]:
    return st.builds(
        lambda problem, seed, memory: Case(*problem, seed, memory),
        problems,
        st.integers(0, 2**32 - 1),
        st.sampled_from(memory),
    )
