"""Every convolution algorithm, under plans that the selector would make and plans that it would not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opcases import CONV_ALGOS, examples

from cnnkern import ops

CHANNELS = st.sampled_from([1, 3, 16, 17, 31, 48])
LONG = st.integers(1, 24)  # several tiles in a row on every instruction set


@st.composite
def problems(draw, algo: str):
    """(spec, x's shape, weight's shape) that `algo` serves."""
    kernel, stride, dilation = (draw(st.tuples(*[st.integers(1, most)] * 2)) for most in (5, 3, 2))
    padding = tuple(draw(st.tuples(*[st.integers(0, 3)] * 2)) for _ in range(2))
    groups, c, k = 1, draw(CHANNELS), draw(st.one_of(CHANNELS, st.integers(60, 130)))
    if algo == "winograd":
        kernel, stride, dilation = (draw(st.sampled_from([3, 5])),) * 2, (1, 1), (1, 1)
    elif algo == "pointwise":
        kernel, padding = (1, 1), ((0, 0), (0, 0))
    elif algo == "depthwise":
        groups, k = c, c * draw(st.sampled_from([1, 1, 1, 2, 3]))
        if draw(st.booleans()):  # one of the forms for a known filter
            kernel = (draw(st.sampled_from([3, 5])),) * 2
            stride, dilation = (draw(st.sampled_from([1, 2])),) * 2, (1, 1)
    elif algo == "grouped":
        groups, depth = draw(st.integers(1, 17)), draw(st.sampled_from([2, 4, 8]))
        c = k = groups * depth
        if draw(st.booleans()):  # a form for a known filter
            kernel, stride = (kernel[0], 3), (stride[0], draw(st.sampled_from([1, 2])))
            dilation = (dilation[0], 1)
    if algo in ("direct", "im2col", "pointwise") and draw(st.booleans()):
        groups = draw(st.sampled_from([2, 4, 6]))
        c, k = groups * draw(st.sampled_from([1, 3, 8])), groups * draw(st.sampled_from([1, 3, 9, 20]))
    extent = [d * (r - 1) + 1 - sum(pads) for r, d, pads in zip(kernel, dilation, padding)]
    h, w = (max(draw(LONG), least) for least in extent)
    act = draw(st.sampled_from([None, *ops.ACTIVATIONS]))
    spec = ops.Conv2dSpec(stride, padding, dilation, groups, act, algo=algo)
    return spec, (draw(st.sampled_from([0, 1, 1, 3])), c, h, w), (k, c // groups, *kernel)


@st.composite
def decisions(draw, algo: str, taps: int):
    """Parts of a plan that are legal for any shape with so many taps in a filter's row."""
    made = (
        {"ob": draw(st.integers(1, 4))}
        if algo not in ("depthwise", "grouped")
        else {"band_rows": draw(st.integers(1, 9))}
    )
    if algo == "direct":
        made.update(band_rows=draw(st.integers(1, 5)), band_images=1)
    if algo == "winograd":
        m = draw(st.sampled_from([2, 4] if taps == 3 else [2]))
        made.update(m=m, tile_block=draw(st.integers(1, 40)), shared=draw(st.booleans()))
    return draw(st.sampled_from([None, made]))


@st.composite
def arrays(draw, spec, x, weight):
    """x (lying as NCHW or NHWC), weight, and perhaps a bias and a residual; the numbers do not matter."""
    image = np.ones(x, np.float32)
    if draw(st.booleans()):
        image = np.ascontiguousarray(image.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    bias = np.ones(weight[0], np.float32) if draw(st.booleans()) else None
    residual = np.ones(spec.infer(x, weight)[0], np.float32) if draw(st.booleans()) else None
    return image, np.ones(weight, np.float32), bias, residual


@st.composite
def scaled(draw, spec, operands):
    """The same with a prologue, or without."""
    if spec.algo not in ("direct", "im2col", "pointwise") or draw(st.booleans()):
        return spec, operands
    spec = replace(spec, prologue=draw(st.sampled_from([None, "relu", "relu6"])))
    return spec, (*operands, *[np.ones(operands[0].shape[1], np.float32)] * 2)


@pytest.mark.parametrize("algo", CONV_ALGOS)
@examples(40)
@given(data=st.data())
def test_prediction_and_items(isa, algo, data, count, agree):
    spec, x, weight = data.draw(problems(algo))
    plan = data.draw(decisions(algo, weight[3]))
    spec, operands = data.draw(scaled(spec, data.draw(arrays(spec, x, weight))))
    memory = data.draw(st.sampled_from(["NCHW", "NHWC"]))
    for row in count(spec, operands, isa, data.draw(st.integers(1, 3)), memory=memory, decisions=plan):
        agree(row)


@pytest.mark.parametrize("algo", CONV_ALGOS)
@examples(8)
@given(data=st.data())
def test_the_team_does_not_change_what_is_executed(isa, algo, data, count):
    spec, x, weight = data.draw(problems(algo))
    spec, operands = data.draw(scaled(spec, data.draw(arrays(spec, x, weight))))
    one, two, three = (count(spec, operands, isa, threads) for threads in (1, 2, 3))
    assert one == two == three
