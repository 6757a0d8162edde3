"""Problems of convolutions, of what is fused from them, and of their windows as columns."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from cnnkern import ops
from cnnkern.ops.conv import PROLOGUES

from .draws import ACTIVATIONS, BATCH, CHANNELS, window

CONV_ALGOS = tuple(a for a in ops.CONV_ALGOS if a not in ("auto", "fft"))  # what kernels serve; fft: test_fft.py


@st.composite
def conv2d(
    draw, kernel=None, plain=False, padded=True, kinds=("dense", "dense", "grouped", "narrow", "depthwise"),
    prologue=False,
):  # fmt: skip
    """`kernel`: forced; `plain`: stride and dilation 1; `kinds`: of groups, depthwise having one input channel each,
    narrow as many outputs as inputs, 2, 4 or 8; `prologue`: x may be scaled and shifted."""
    w = draw(window())
    if not padded:
        w["hw"] = tuple(size + sum(pads) for size, pads in zip(w["hw"], w["padding"]))
        w["padding"] = ((0, 0), (0, 0))
    if kernel is not None:
        w["kernel"] = kernel
        w["hw"] = tuple(s + d * k for s, d, k in zip(w["hw"], w["dilation"], kernel))
    if plain:
        w["stride"] = w["dilation"] = (1, 1)
        w["hw"] = tuple(size + 2 for size in w["hw"])
    kind = draw(st.sampled_from(kinds))
    if kind == "dense":
        groups, c_group, k_group = 1, draw(CHANNELS), draw(CHANNELS)
    elif kind == "grouped":
        groups, c_group, k_group = draw(st.integers(2, 4)), draw(st.sampled_from([1, 3, 8])), draw(st.integers(1, 9))
    elif kind == "narrow":
        groups, c_group = draw(st.integers(1, 17)), draw(st.sampled_from([2, 4, 8]))
        k_group = c_group
    else:
        groups, c_group, k_group = draw(CHANNELS), 1, draw(st.integers(1, 3))
    activation = draw(ACTIVATIONS)
    param = draw(st.sampled_from([None, 0.2])) if activation == "leaky_relu" else None
    spec = ops.Conv2dSpec(w["stride"], w["padding"], w["dilation"], groups, activation, param)
    x, weight = (draw(BATCH), groups * c_group, *w["hw"]), (groups * k_group, c_group, *w["kernel"])
    bias = (weight[0],) if draw(st.booleans()) else None
    residual = spec.infer(x, weight)[0] if draw(st.booleans()) else None
    if prologue and draw(st.booleans()):
        spec = replace(spec, prologue=draw(st.sampled_from([None, *PROLOGUES])))
        return spec, (x, weight, bias, residual, (x[1],), (x[1],))
    return spec, (x, weight, bias, residual)


@st.composite
def fused_block(draw):
    kernel = draw(st.one_of(st.sampled_from([(3, 3), (5, 5)]), st.tuples(st.integers(1, 5), st.integers(1, 5))))
    stride = tuple(draw(st.integers(1, size)) for size in kernel)
    if draw(st.booleans()):
        stride = (min(2, *kernel),) * 2
    padding = tuple(draw(st.tuples(*[st.integers(0, size - 1)] * 2)) for size in kernel)
    hw = (draw(st.integers(max(1, size - sum(pads)), 18)) for size, pads in zip(kernel, padding))
    acts = [draw(ACTIVATIONS) for _ in range(3)]
    projects, wide = draw(st.booleans()), draw(st.one_of(CHANNELS, st.sampled_from([96, 128, 130])))
    spec = ops.FusedBlockSpec(stride, padding, *acts[: 2 + projects])
    shapes = [(draw(BATCH), draw(CHANNELS), *hw)]
    weights = [(wide, shapes[0][1], 1, 1), (wide, 1, *kernel), *[(draw(CHANNELS), wide, 1, 1)] * projects]
    for weight in weights:
        shapes += [weight, (weight[0],) if draw(st.booleans()) else None]
    shapes += [None] * (7 - len(shapes))
    residual = spec.infer(*shapes)[0] if draw(st.booleans()) else None
    return spec, (*shapes, residual)


@st.composite
def locally_connected2d(draw):
    w = draw(window(dilated=False, same_size_limit=5))
    spec = ops.LocallyConnected2dSpec(w["stride"], w["padding"])
    x, k = (draw(BATCH), draw(st.sampled_from([1, 3, 5])), *w["hw"]), draw(st.sampled_from([1, 3, 17]))
    _, _, p, q = ops.Conv2dSpec(w["stride"], w["padding"]).infer(x, (k, x[1], *w["kernel"]))[0]
    return spec, (x, (p, q, k, x[1], *w["kernel"]), draw(st.sampled_from([None, (k,), (k, p, q)])))


@st.composite
def im2col(draw):
    w = draw(window())
    spec = ops.Im2colSpec(w["kernel"], w["stride"], w["padding"], w["dilation"])
    return spec, ((draw(BATCH), draw(CHANNELS), *w["hw"]),)


@st.composite
def conv_transpose2d(draw):
    kernel, stride = (draw(st.tuples(*[st.integers(1, 5)] * 2)) for _ in range(2))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (3, 2)]))
    hw, extra = draw(st.tuples(*[st.integers(1, 9)] * 2)), draw(st.tuples(*[st.integers(0, 3)] * 2))
    whole = [(h - 1) * s + d * (r - 1) + 1 + e for h, s, d, r, e in zip(hw, stride, dilation, kernel, extra)]
    befores = [draw(st.integers(0, min(4, size - 1))) for size in whole]
    padding = [(a, draw(st.integers(0, min(4, size - 1 - a)))) for a, size in zip(befores, whole)]
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 17]))
    c_group, k_group = draw(st.sampled_from([1, 3, 16, 17])), draw(st.sampled_from([1, 2, 16, 19]))
    if groups > 3:
        c_group = k_group = 1
    spec = ops.ConvTranspose2dSpec(stride, tuple(padding), extra, dilation, groups)
    c, k = groups * c_group, groups * k_group
    return spec, ((draw(BATCH), c, *hw), (c, k_group, *kernel), draw(st.sampled_from([None, (k,)])))
