"""Copies, shuffles, padding, im2col and locally connected layers in native code, and what all native ops refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from nativeops import CANARY, _core, check, extras, isas, native, view, windows

from cnnkern import ops, testing


def strided(shape, order, rng, slack=0):
    """A buffer and its view in NHWC terms, the axes lying in memory in the given order, outermost first."""
    sizes = dict(zip("nhwc", shape))
    buffer = rng.standard_normal([sizes[a] + slack for a in order], np.float32)
    axes = [order.index(a) for a in "nhwc"]
    return buffer, buffer.transpose(axes)[tuple(slice(0, s) for s in shape)]


@isas
@pytest.mark.parametrize("orders", [("nchw", "nhwc"), ("nhwc", "nchw"), ("nhwc", "nhwc"), ("nchw", "nchw"),
                                    ("cnhw", "nwhc"), ("whcn", "nhwc")], ids="-".join)  # fmt: skip
@pytest.mark.parametrize("shape", [(2, 9, 7, 3), (1, 33, 35, 17), (3, 1, 1, 40), (2, 5, 6, 1), (1, 40, 20, 2)], ids=str)
def test_copy(isa, orders, shape, rng):
    for slack in (0, 2):
        xb, x = strided(shape, orders[0], rng, slack)
        for threads in (1, 3):
            yb, y = strided(shape, orders[1], rng, slack)
            before = yb.copy()
            program = _core.Program(isa, threads, 0, [xb.size, yb.size], 1)
            tensors = [(i, 0, shape, tuple(s // 4 for s in a.strides)) for i, a in ((1, x), (2, y))]
            program.add_copy(*tensors)
            context = program.new_context()
            program.run(context, [xb, yb])
            assert np.array_equal(x, y)
            y[...] = before.transpose([orders[1].index(a) for a in "nhwc"])[tuple(slice(0, s) for s in shape)]
            assert np.array_equal(yb, before), "the copy wrote beside its target"
            (moved,) = program.count(context, [xb, yb])
            assert moved == (0, 0, 0, 0, 0, 4 * x.size, 4 * x.size)


@isas
@extras
def test_channel_shuffle(isa, extra, rng):
    for shape, groups in [
        ((2, 12, 3, 5), 3),
        ((1, 116, 4, 4), 2),
        ((1, 64, 3, 3), 32),
        ((1, 7, 2, 2), 1),
        ((1, 6, 1, 1), 2),
    ]:
        x = rng.standard_normal(shape, np.float32)
        add = lambda program, x, y: program.add_channel_shuffle(x, y, groups)  # noqa: B023, E731
        moved = {"bytes_read": 4 * x.size, "bytes_written": 4 * x.size}
        check(isa, ops.ChannelShuffleSpec(groups), add, [x], extra, moved)


@isas
@extras
def test_pad(isa, extra, rng):
    for shape, pad in [((2, 3, 4, 5), (1, 2, 3, 0)), ((1, 17, 1, 1), (0, 0, 0, 0)), ((1, 31, 3, 2), (0, 1, 1, 1))]:
        x = rng.standard_normal(shape, np.float32)
        for value in (0.0, -np.inf, 2.5):
            spec = ops.PadSpec((pad[:2], pad[2:]), value)
            add = lambda program, x, y: program.add_pad(x, y, pad, value)  # noqa: B023, E731
            written = 4 * math.prod(spec.infer(shape)[0])
            check(isa, spec, add, [x], extra, {"bytes_read": 4 * x.size, "bytes_written": written})


@isas
@pytest.mark.parametrize("order", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "pad", "dilation"),
    [((2, 3, 7, 6), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)), ((1, 17, 5, 5), (2, 3), (2, 1), (0, 2, 3, 0), (1, 2)),
     ((1, 1, 1, 1), (3, 3), (1, 1), (2, 2, 2, 2), (1, 1))],
)  # fmt: skip
def test_im2col(isa, order, shape, kernel, stride, pad, dilation, rng):
    spec = ops.Im2colSpec(kernel, stride, (pad[:2], pad[2:]), dilation)
    n, c, h, w = shape
    p, q = spec.output_hw(shape)
    xb, x = strided((n, h, w, c), order, rng)
    want = testing.reference(spec, np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    inside = sum(windows(h, p, kernel[0], stride[0], pad[0], dilation[0]))
    inside *= sum(windows(w, q, kernel[1], stride[1], pad[2], dilation[1])) * n * c
    for threads in (1, 2):
        y = np.full(want.shape, CANARY, np.float32)
        program = _core.Program(isa, threads, 0, [xb.size, y.size], 1)
        channels = want.shape[1]
        program.add_im2col(
            (1, 0, (n, h, w, c), tuple(s // 4 for s in x.strides)),
            (2, 0, (n, p, q, channels), (channels * p * q, q, 1, p * q)),
            kernel, stride, pad, dilation,
        )  # fmt: skip
        (counts,) = program.count(program.new_context(), [xb, y])
        assert np.array_equal(y, want)
        assert counts == (0, 0, 0, 0, 0, 4 * inside, 4 * y.size)


# --- locally connected


@isas
@extras
@pytest.mark.parametrize(
    ("shape", "k", "kernel", "stride", "pad"),
    [((2, 3, 6, 5), 17, (3, 3), (1, 1), (1, 0, 1, 1)), ((1, 16, 4, 4), 16, (3, 2), (1, 1), (0, 0, 0, 0)),
     ((15, 5, 3, 3), 40, (3, 3), (2, 2), (1, 1, 1, 1)), ((7, 1, 1, 1), 70, (1, 1), (1, 1), (0, 0, 0, 0))],
)  # fmt: skip
@pytest.mark.parametrize("bias_shape", ["none", "k", "kpq"])
def test_locally_connected(isa, extra, shape, k, kernel, stride, pad, bias_shape, rng):
    spec = ops.LocallyConnected2dSpec(stride, (pad[:2], pad[2:]))
    n, c, h, w = shape
    p = (h + pad[0] + pad[1] - kernel[0]) // stride[0] + 1
    q = (w + pad[2] + pad[3] - kernel[1]) // stride[1] + 1
    x = rng.standard_normal(shape, np.float32)
    weight = rng.standard_normal((p, q, k, c, *kernel), np.float32)
    bias = {"none": None, "k": rng.standard_normal(k, np.float32), "kpq": rng.standard_normal((k, p, q), np.float32)}
    b = bias[bias_shape]
    add = lambda program, x, y: program.add_locally_connected(x, y, weight, b, kernel, stride, pad)  # noqa: E731
    y = check(isa, spec, add, [x], extra, oracle_inputs=(x, weight, b))
    taps = sum(windows(h, p, kernel[0], stride[0], pad[0], 1)) * sum(windows(w, q, kernel[1], stride[1], pad[2], 1))
    _, counts = native(isa, add, [x], y.shape, extra)
    assert counts["fma"] == n * taps * c * -(-k // 16) * 16
    assert counts["bytes_written"] == 4 * y.size


# --- refusals


def test_bad_arguments_are_refused():
    x = np.zeros((1, 4, 4, 8), np.float32)
    program = _core.Program("", 1, 0, [x.size, x.size], 1)
    a, b = view(1, x), view(2, x)
    small = (2, 0, (1, 2, 2, 8), (128, 32, 8, 1))
    across = (1, 0, (1, 4, 4, 8), (128, 4, 1, 16))
    ones = np.ones(8, np.float32)
    refused = [
        lambda: program.add_pool(a, b, "max", (2, 2), (2, 2)),
        lambda: program.add_pool(a, small, "best", (2, 2), (2, 2)),
        lambda: program.add_pool(a, small, "max", (0, 2), (2, 2)),
        lambda: program.add_pool(a, small, "max", (9, 9), (2, 2)),
        lambda: program.add_pool(a, small, "max", (2, 2), (2, 2), (-1, 1, 0, 0)),
        lambda: program.add_pool(across, small, "max", (2, 2), (2, 2)),
        lambda: program.add_global_pool(a, small),
        lambda: program.add_roi_max_pool(a, (1, 0, (1, 1, 1, 4), (5, 5, 5, 1)), small, 1.0),
        lambda: program.add_roi_max_pool(a, (1, 0, (2, 1, 1, 5), (5, 5, 5, 1)), small, 1.0),
        lambda: program.add_roi_max_pool(a, None, small, 1.0),
        lambda: program.add_roi_max_pool(a, (1, 0, (1, 1, 1, 5), (5, 5, 5, 1)), small, float("nan")),
        lambda: program.add_activation(a, small, "relu"),
        lambda: program.add_activation(a, b, "swoosh"),
        lambda: program.add_activation(a, None, "relu"),
        lambda: program.add_binary(a, small, b),
        lambda: program.add_binary(a, a, b, "sub"),
        lambda: program.add_affine(a, b, ones[:7], ones),
        lambda: program.add_affine(a, b, ones, None),
        lambda: program.add_lrn(a, b, 0, 1.0, 0.75, 1.0),
        lambda: program.add_lrn(a, b, 5, 1.0, 0.75, 0.0),
        lambda: program.add_lcn(a, b, [0.5, 0.5], 1e-5),
        lambda: program.add_softmax(a, small),
        lambda: program.add_copy(a, small),
        lambda: program.add_channel_shuffle(a, b, 3),
        lambda: program.add_pad(a, b, (1, 0, 0, 0)),
        lambda: program.add_im2col(a, b, (3, 3)),
        lambda: program.add_locally_connected(a, small, ones, None, (3, 3)),
        lambda: program.add_copy((1, 0, (1, 4, 4, 9), (128, 32, 8, 1)), b),
        lambda: program.add_copy((1, 120, (1, 4, 4, 8), (128, 32, 8, 1)), b),
    ]
    for call in refused:
        with pytest.raises(ValueError):
            call()
    assert len(program) == 0


@isas
def test_empty_batches_do_nothing(isa):
    x = np.zeros((0, 5, 3, 3), np.float32)
    for add, shape in [
        (lambda p, x, y: p.add_pool(x, y, "avg", (2, 2), (1, 1)), (0, 5, 2, 2)),
        (lambda p, x, y: p.add_activation(x, y, "gelu"), x.shape),
        (lambda p, x, y: p.add_lrn(x, y, 5, 1.0, 0.75, 1.0), x.shape),
        (lambda p, x, y: p.add_lcn(x, y, [0.25, 0.5, 0.25], 1.0), x.shape),
        (lambda p, x, y: p.add_softmax(x, y), x.shape),
        (lambda p, x, y: p.add_copy(x, y), x.shape),
        (lambda p, x, y: p.add_pad(x, y, (1, 1, 1, 1)), (0, 5, 5, 5)),
        (lambda p, x, y: p.add_im2col(x, y, (3, 3)), (0, 45, 1, 1)),
    ]:
        y, counts = native(isa, add, [x], shape, threads=2)
        assert y.size == 0 and not any(counts.values())
