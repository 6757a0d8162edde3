"""Pooling, normalisation, element-wise ops and softmax in native code, on every instruction set: right, within their
lanes, the same bits and the same counts for every team, and counts that follow from the shape."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from nativeops import KINDS, _core, check, extras, isas, lanes, native, nhwc, times, view, width, windows
from opcases import regions

from cnnkern import ops, testing

# --- pooling

POOLS = [
    # shape, kernel, stride, pad, dilation, ceil_mode
    ((2, 17, 13, 11), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), False),
    ((1, 64, 9, 8), (3, 3), (2, 2), (0, 0, 0, 0), (1, 1), True),
    ((1, 3, 1, 1), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), False),
    ((3, 31, 5, 7), (2, 4), (3, 1), (1, 0, 2, 1), (1, 1), False),
    ((1, 1, 8, 9), (3, 2), (1, 5), (2, 2, 1, 1), (2, 3), True),
    ((1, 300, 4, 4), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False),
]


def pool_counts(kind, isa, c, images, rows, columns):
    pixels = [a * b for a in rows for b in columns if a * b]
    vector = images * -(-c // width(isa)) * width(isa)
    own = {"max" if kind == "max" else "add": vector * (sum(pixels) - len(pixels))}
    if kind == "avg":
        own["mul"] = vector * len(pixels)
    return own | {
        "bytes_read": 4 * c * images * sum(pixels),
        "bytes_written": 4 * c * images * len(rows) * len(columns),
    }


@isas
@extras
@pytest.mark.parametrize("kind", ["max", "avg", "sum"])
@pytest.mark.parametrize("case", POOLS, ids=str)
def test_pool(isa, kind, case, extra, rng):
    shape, kernel, stride, pad, dilation, ceil_mode = case
    x = rng.standard_normal(shape, np.float32)
    padding = (pad[:2], pad[2:])
    for include in (True, False) if kind == "avg" else (True,):
        spec = ops.Pool2dSpec(kind, kernel, stride, padding, dilation, ceil_mode, include)
        try:
            ((n, c, p, q),) = spec.infer(shape)
        except ValueError:  # a window of padding alone, which maxima and averages refuse
            assert kind != "sum"
            continue
        rows = windows(shape[2], p, kernel[0], stride[0], pad[0], dilation[0])
        columns = windows(shape[3], q, kernel[1], stride[1], pad[2], dilation[1])

        def add(program, x, y, include=include):
            program.add_pool(x, y, kind, kernel, stride, pad, dilation, include)

        check(isa, spec, add, [x], extra, pool_counts(kind, isa, c, n, rows, columns))


@isas
@extras
@pytest.mark.parametrize("shape", [(2, 17, 7, 7), (1, 513, 3, 5), (3, 1, 1, 1)], ids=str)
def test_whole_planes(isa, extra, shape, rng):
    x = rng.standard_normal(shape, np.float32)
    n, c, h, w = shape
    for kind in ("avg", "max"):
        add = partial(lambda program, x, y, kind: program.add_global_pool(x, y, kind), kind=kind)
        check(isa, ops.GlobalPool2dSpec(kind), add, [x], extra, pool_counts(kind, isa, c, n, [h], [w]))
    for size in [(1, 1), (2, 3), (7, 7), (h, w)]:
        spec = ops.AdaptiveAvgPool2dSpec(size)
        rows, columns = ([b - a for a, b in spec.windows(s, count)] for s, count in zip((h, w), size))
        add = lambda program, x, y: program.add_adaptive_avg_pool(x, y)  # noqa: E731
        check(isa, spec, add, [x], extra, pool_counts("avg", isa, c, n, rows, columns))


@isas
def test_max_pool_keeps_nan_and_infinity(isa):
    x = np.full((1, 20, 4, 4), -np.inf, np.float32)
    x[0, :, 0, 0], x[0, 1, 3, 3], x[0, 2, 0, 3] = 1, np.inf, np.nan
    x[0, 3, 2, 2:] = np.nan, 5
    x[0, 4, 2, 2:] = 5, np.nan
    spec = ops.Pool2dSpec("max", (2, 2))
    y = check(isa, spec, lambda p, x, y: p.add_pool(x, y, "max", (2, 2), (2, 2)), [x], 0)
    assert np.isnan(y[0, 3, 1, 1]) and np.isnan(y[0, 4, 1, 1]) and y[0, 1, 1, 1] == np.inf and y[0, 0, 1, 1] == -np.inf


@isas
@extras
@pytest.mark.parametrize("shape", [(2, 17, 7, 9), (1, 300, 3, 5), (3, 1, 1, 1)], ids=str)
def test_regions(isa, extra, shape, rng):
    (_, c, h, w), x = shape, rng.standard_normal(shape, np.float32)
    for size, scale in (((7, 7), 1 / 16), ((2, 3), 0.3), ((1, 1), 2.0)):
        spec = ops.RoiMaxPoolSpec(size, scale)
        rois = regions(rng, spec, shape, 4)
        expected = dict.fromkeys(KINDS, 0)
        for _, *corners in rois.tolist():
            rows, columns = ([b - a for a, b in axis] for axis in spec.cells(corners, (h, w)))
            for kind, number in pool_counts("max", isa, c, 1, rows, columns).items():
                expected[kind] += number
        check(isa, spec, lambda p, x, r, y, s=scale: p.add_roi_max_pool(x, r, y, s), [x, rois], extra, expected)


@isas
def test_regions_that_nobody_checked_read_nothing_else(isa, rng):
    """What callers refuse is 0 here, or some of the image: whatever it is, no memory beside it is read."""
    wild = [np.nan, np.inf, -np.inf, 3e38, -3e38, 2.0**31, -1.0, 0.5, 2.0]
    rois, x = rng.choice(np.array(wild, np.float32), (500, 5)), rng.standard_normal((2, 17, 3, 4), np.float32)
    add = lambda p, x, r, y: p.add_roi_max_pool(x, r, y, 1.5)  # noqa: E731
    y, _ = native(isa, add, [x, rois], (500, 17, 3, 2), extra=3)
    assert np.isin(y, np.append(x, 0)).all()
    assert (y[(rois[:, 0] != 0.5)] == 0).all(), "images that are not there"


# --- element-wise

ACTIVATIONS = {
    "relu": {"max": 1},
    "relu6": {"max": 2},
    "leaky_relu": {"mul": 1, "max": 1},
    "hardsigmoid": {"mul": 1, "add": 1, "max": 2},
    "hardswish": {"mul": 2, "add": 1, "max": 2},
    "sigmoid": {"fma": 8, "mul": 2, "add": 2, "max": 3, "special": 1},
    "silu": {"fma": 8, "mul": 2, "add": 3, "max": 2, "special": 1},
    "tanh": {"fma": 13, "mul": 5, "add": 3, "max": 3, "special": 1},
    "gelu": {"fma": 17, "mul": 8, "add": 6, "max": 2, "special": 1},
}
SHAPES = [(2, 17, 3, 5), (1, 3, 1, 1), (1, 1, 7, 9), (3, 31, 1, 2), (2, 64, 4, 4), (5, 37), (1, 130, 9, 31)]


@isas
@extras
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activation(isa, kind, extra, rng):
    param = 0.2 if kind == "leaky_relu" else None
    for shape in SHAPES:
        x = 3 * rng.standard_normal(shape, np.float32)
        size = 4 * x.size
        expected = times(ACTIVATIONS[kind], lanes(shape, isa, extra == 0), bytes_read=size, bytes_written=size)
        add = lambda program, x, y: program.add_activation(x, y, kind, param or 0.0)  # noqa: E731
        check(isa, ops.ActivationSpec(kind, param), add, [x], extra, expected)


@isas
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activation_at_the_ends(isa, kind):
    """Infinities, NaN, huge and tiny arguments: as the float64 formula, NaN for NaN; and a few ulp in between."""
    x = np.concatenate([
        [np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38, 1e-40, -1e-40],
        np.linspace(-130, 130, 2001), np.geomspace(1e-30, 1, 500), -np.geomspace(1e-30, 1, 500),
    ]).astype(np.float32)[None]  # fmt: skip
    spec = ops.ActivationSpec(kind)
    want = testing.reference(spec, x)
    y, _ = native(isa, lambda p, x, y: p.add_activation(x, y, kind, 0.01), [x], x.shape)
    assert np.array_equal(np.isnan(y), np.isnan(want))
    finite = np.isfinite(want) & (np.abs(want) > 1e-36)  # below, a factor of the result may be subnormal
    if kind == "gelu":  # the oracle's 1 + erf cancels: the tail is left to the next line
        finite &= x > -2
    error = np.abs(y[finite] - want[finite]) / np.abs(want[finite])
    assert error.max() < 8 * 2.0**-24
    assert np.array_equal(y[np.isinf(want)], want[np.isinf(want)].astype(np.float32))
    assert np.array_equal(y[want == 0], want[want == 0])


@isas
def test_gelu_keeps_its_relative_accuracy_in_the_tail(isa):
    x = np.linspace(-12, -0.1, 400).astype(np.float32)[None]
    y, _ = native(isa, lambda p, x, y: p.add_activation(x, y, "gelu"), [x], x.shape)
    want = [v / 2 * math.erfc(-v / math.sqrt(2)) for v in x[0].astype(np.float64)]
    assert np.max(np.abs(y[0] / want - 1)) < 8 * 2.0**-24


BROADCASTS = [
    ((2, 17, 3, 5), (2, 17, 3, 5)),
    ((2, 17, 3, 5), (2, 17, 1, 1)),
    ((2, 17, 3, 5), (1, 17, 1, 1)),
    ((2, 17, 3, 5), (2, 1, 3, 5)),
    ((2, 1, 3, 5), (2, 17, 3, 1)),
    ((1, 1, 1, 1), (2, 20, 3, 5)),
    ((1, 4, 3, 1), (2, 4, 1, 5)),
    ((2, 1, 3, 5), (2, 1, 3, 1)),
    ((3, 33, 4, 40), (3, 33, 4, 40)),
]


@isas
@extras
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
@pytest.mark.parametrize("act", ["", "relu", "silu"])
def test_binary(isa, extra, shapes, act, rng):
    inputs = [rng.standard_normal(shape, np.float32) for shape in shapes]
    for kind, spec in (("add", ops.AddSpec(act or None)), ("mul", ops.MulSpec(act or None))):
        expected = None
        if shapes[0] == shapes[1]:
            per = {kind: 1}
            for op, number in {"": {}, "relu": {"max": 2}, "silu": ACTIVATIONS["silu"]}[act].items():
                per[op] = per.get(op, 0) + number
            size, again = 4 * inputs[0].size, act == "silu"
            expected = times(per, lanes(shapes[0], isa, extra == 0))
            expected |= {"bytes_read": (2 + again) * size, "bytes_written": (1 + again) * size}

        def add(program, a, b, y, kind=kind):
            program.add_binary(a, b, y, kind, act)

        check(isa, spec, add, inputs, extra, expected)


@isas
@extras
@pytest.mark.parametrize("act", ["", "relu6", "silu"])
def test_affine(isa, extra, act, rng):
    for shape in SHAPES:
        x = rng.standard_normal(shape, np.float32)
        scale, shift = (rng.standard_normal(shape[1]).astype(np.float32) for _ in range(2))
        along = (slice(None), None, None) if len(shape) == 4 else slice(None)
        want = x * scale.astype(np.float64)[along] + shift[along]
        want = {"": want, "relu6": np.clip(want, 0, 6), "silu": want / (1 + np.exp(-want))}[act]

        def add(program, x, y, scale=scale, shift=shift):
            program.add_affine(x, y, scale, shift, act)

        y, counts = native(isa, add, [x], shape, extra)
        again, more = native(isa, add, [x], shape, extra, 3)
        assert np.array_equal(y, again) and counts == more
        assert np.abs(y - want).max() <= 1e-6 * max(1, np.abs(want).max())
        vector, size = lanes(shape, isa, False), 4 * x.size
        if act == "" and shape[1] > 1:
            assert counts == dict.fromkeys(KINDS, 0) | {"fma": vector, "bytes_read": 3 * size, "bytes_written": size}


# --- normalisation and softmax


@isas
@extras
@pytest.mark.parametrize(
    ("size", "alpha", "beta", "k", "alpha_is_sum"),
    [(5, 1e-4, 0.75, 2.0, True), (5, 0.5, 0.75, 1.0, False), (4, 1.0, 0.6, 0.5, True), (1, 1.0, 0.5, 1.0, False),
     (41, 1.0, 0.75, 1.0, False)],
)  # fmt: skip
def test_lrn(isa, extra, size, alpha, beta, k, alpha_is_sum, rng):
    spec = ops.LocalResponseNormSpec(size, alpha, beta, k, alpha_is_sum)
    for shape in SHAPES:
        if len(shape) == 2:
            continue
        x = 5 * rng.standard_normal(shape, np.float32)
        n, c, h, w = shape
        before, after = min(size // 2, c - 1), min((size - 1) // 2, c - 1)
        taps, calls = before + 1 + after, n * h * -(-w // 16)
        special = {"fma": 1, "mul": 2, "add": taps - 1, "special": 3}
        general = {"fma": 14, "mul": 8, "add": taps + 3, "max": 5, "special": 1}
        expected = times(
            special if beta == 0.75 else general, lanes(shape, isa, False),
            bytes_read=4 * x.size * (2 + taps), bytes_written=8 * x.size + 4 * (before + after) * calls,
        )  # fmt: skip
        add = lambda program, x, y: program.add_lrn(x, y, size, spec.factor, beta, k)  # noqa: E731
        check(isa, spec, add, [x], extra, expected)


@isas
@extras
@pytest.mark.parametrize("size", [1, 3, 7])
def test_lcn(isa, extra, size, rng):
    spec = ops.LocalContrastNormSpec(size)
    for shape in [(2, 3, 9, 11), (1, 17, 1, 1), (1, 1, 4, 5), (2, 31, 5, 3), (1, 3, 20, 40)]:
        x = rng.standard_normal(shape, np.float32) + rng.choice([0, 30])
        add = lambda program, x, y: program.add_lcn(x, y, spec.window(), spec.eps)  # noqa: E731
        check(isa, spec, add, [x], extra, lcn_counts(shape, size, width(isa)))


def lcn_counts(shape, size, w_isa):
    n, c, h, w = shape
    half = size // 2
    pad = lambda count: -(-count // w_isa) * w_isa  # noqa: E731
    columns = sum(min(h, i + half + 1) - max(0, i - half) for i in range(h))  # taps of all column passes
    vectors = pad(w) // w_isa
    counts = {
        "fma": 2 * h * size * pad(w) + 2 * columns * pad(w) + h * w * pad(c) + w_isa,
        "mul": 4 * h * pad(w),
        "add": h * w * (2 + 3 - 1 + 2) * pad(c) + 2 * h * w * (w_isa - 1)  # sums, squares, division
        + h * (2 * pad(w) + w_isa - 1) + 2 * pad(h) + w_isa - 1,  # row sums and their sum
        "max": 2 * h * w * w_isa,
        "special": h * pad(w) + h * w * pad(c),
        # sums and squares
        "bytes_read": 4 * (h * w * (c + 1) + h * w * (c + 2))
        + 2 * 4 * h * size * (w + vectors)  # along rows
        + 2 * 4 * (columns * (w + vectors) + h * w)  # along columns, with their scale
        + 4 * (h * (w + 1) + h + 1) + 4 * 2  # row sums, their sum and its weight
        + 4 * h * w * (c + 4),
        "bytes_written": 4 * (2 * h * (2 * half + w) + 4 * h * w + h + 2 + h * w * c),
    }  # fmt: skip
    return {kind: value * n for kind, value in counts.items()}


@isas
def test_lcn_of_a_constant_image_is_zero(isa):
    x = np.full((1, 3, 12, 9), 1234.567, np.float32)
    spec = ops.LocalContrastNormSpec()
    y, _ = native(isa, lambda p, x, y: p.add_lcn(x, y, spec.window(), spec.eps), [x], x.shape)
    assert not y.any()


@isas
@extras
@pytest.mark.parametrize("log", [False, True])
def test_softmax(isa, extra, log, rng):
    spec = ops.SoftmaxSpec(1, log)
    w = width(isa)
    for shape in [*SHAPES, (2, 1000)]:
        x = 4 * rng.standard_normal(shape, np.float32)
        pixels, m, size = x.size // shape[1], -(-shape[1] // w), 4 * x.size
        each = {"fma": 8 * m, "mul": 3 * m, "add": 3 * m, "max": 3 * m, "special": 1}
        if log:
            each = {"fma": 8 * m + 5, "mul": 2 * m + 3, "add": 5 * m + 3, "max": 3 * m + 3, "special": 1}
        expected = times(each, pixels * w, bytes_read=3 * size, bytes_written=(1 if log else 2) * size)
        expected["add"] += pixels * (w - 1)
        expected["max"] += pixels * (w - 1)
        add = lambda program, x, y: program.add_softmax(x, y, log)  # noqa: E731
        check(isa, spec, add, [x], extra, expected)


@isas
def test_softmax_of_infinities(isa):
    x = np.zeros((4, 21), np.float32)
    x[0, ::2] = -np.inf
    x[1, 3] = np.nan
    x[2] = -np.inf
    x[3, 5] = np.inf
    for log in (False, True):
        check(isa, ops.SoftmaxSpec(1, log), lambda p, x, y, log=log: p.add_softmax(x, y, log), [x], 0)


@isas
def test_in_place(isa, rng):
    """The ops that may write over their input give the same bits as beside it."""
    x = rng.standard_normal((2, 21, 3, 5), np.float32)
    other = rng.standard_normal(x.shape, np.float32)
    vector = rng.standard_normal(21).astype(np.float32)
    for add in [
        lambda p, a, b, y: p.add_activation(a, y, "gelu"),
        lambda p, a, b, y: p.add_binary(a, b, y, "mul", "silu"),
        lambda p, a, b, y: p.add_binary(b, a, y, "add"),
        lambda p, a, b, y: p.add_affine(a, y, vector, vector, "relu"),
        lambda p, a, b, y: p.add_lrn(a, y, 5, 1.0, 0.75, 1.0),
        lambda p, a, b, y: p.add_softmax(a, y),
        lambda p, a, b, y: p.add_softmax(a, y, True),
    ]:
        beside, _ = native(isa, add, [x, other], x.shape, 3)
        buffers = [nhwc(x, 3), nhwc(other, 3)]
        program = _core.Program(isa, 2, 0, [b.size for b in buffers], 0)
        a, b = (view(i + 1, buffer, 21) for i, buffer in enumerate(buffers))
        add(program, a, b, a)
        program.run(program.new_context(), buffers)
        assert np.array_equal(buffers[0][..., :21].transpose(0, 3, 1, 2), beside)
