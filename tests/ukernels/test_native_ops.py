"""The native ops beside convolution, on every instruction set: right, within their lanes, the same bits and the same
counts for every team, and counts that follow from the shape."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from cnnkern import ops, testing

_core = pytest.importorskip("cnnkern._core")
if not hasattr(_core, "Program"):
    pytest.skip("cnnkern._core has no programs", allow_module_level=True)

ISAS = _core.available_isas()
CANARY = np.float32(-12345.0)
KINDS = ("fma", "mul", "add", "max", "special", "bytes_read", "bytes_written")
EXTRA = [pytest.param(0, id="dense"), pytest.param(3, id="strided")]
isas = pytest.mark.parametrize("isa", ISAS)
extras = pytest.mark.parametrize("extra", EXTRA)


def view(slot: int, buffer: np.ndarray, c: int | None = None):
    """An NHWC buffer as a program's tensor of its first c channels."""
    return slot, 0, (*buffer.shape[:3], c or buffer.shape[3]), tuple(s // 4 for s in buffer.strides)


def nhwc(x: np.ndarray, extra: int) -> np.ndarray:
    """NCHW (or a matrix) -> a fresh NHWC buffer whose lanes beyond c hold NaN."""
    if x.ndim == 2:
        x = x[:, :, None, None]
    n, c, h, w = x.shape
    buffer = np.full((n, h, w, c + extra), np.nan, np.float32)
    buffer[..., :c] = x.transpose(0, 2, 3, 1)
    return buffer


def native(isa, add, inputs, out_shape, extra=0, threads=1):
    """Runs one op that `add(program, *tensors, y)` adds; returns (y as NCHW, its counts)."""
    buffers = [nhwc(x, extra) for x in inputs]
    n, c, h, w = out_shape if len(out_shape) == 4 else (*out_shape, 1, 1)
    y = np.full((n, h, w, c + extra), CANARY, np.float32)
    program = _core.Program(isa, threads, 0, [b.size for b in buffers] + [y.size], len(buffers))
    tensors = [view(i + 1, b, b.shape[3] - extra) for i, b in enumerate(buffers)]
    add(program, *tensors, view(len(buffers) + 1, y, c))
    context = program.new_context()
    (counts,) = program.count(context, [*buffers, y])
    counted = y.copy()
    y[:] = CANARY
    program.run(context, [*buffers, y])
    assert np.array_equal(counted, y, equal_nan=True), "the counting form computes something else"
    assert (y[..., c:] == CANARY).all(), "lanes beyond the channels were written"
    return y[..., :c].transpose(0, 3, 1, 2).reshape(out_shape), dict(zip(KINDS, counts))


def check(isa, spec, add, inputs, extra, expected=None, oracle_inputs=None):
    """Against the oracle; teams of 1 and of 2 or 3 agree in bits and counts; the counts are the expected ones."""
    want = testing.reference(spec, *(oracle_inputs or inputs))
    y, counts = native(isa, add, inputs, want.shape, extra)
    threads = 2 + want.size % 2
    again, more = native(isa, add, inputs, want.shape, extra, threads)
    assert np.array_equal(y, again, equal_nan=True) and counts == more, f"{threads} threads"
    testing.assert_close(y, want, spec, oracle_inputs or inputs)
    if expected is not None:
        assert counts == {kind: expected.get(kind, 0) for kind in KINDS}
    return y


def width(isa) -> int:
    return _core.ukernels.width(isa)


def lanes(shape, isa, dense) -> int:
    """Lanes of the vectors that an element-wise op takes: whole tensors in a row, or pixel by pixel."""
    n, c, h, w = shape if len(shape) == 4 else (*shape, 1, 1)
    rows, length = (1, n * c * h * w) if dense else (n * h * w, c)
    return rows * -(-length // width(isa)) * width(isa)


def times(counts: dict, number: int, **rest) -> dict:
    return {kind: value * number for kind, value in counts.items()} | rest


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


def windows(size, outputs, kernel, stride, before, dilation):
    """Taps inside the input, for every output along an axis."""
    return [sum(0 <= i * stride - before + t * dilation < size for t in range(kernel)) for i in range(outputs)]


def pool_counts(kind, isa, c, images, rows, columns):
    pixels = [a * b for a in rows for b in columns if a * b]
    vector = images * -(-c // width(isa)) * width(isa)
    own = {"max" if kind == "max" else "add": vector * (sum(pixels) - len(pixels))}
    if kind == "avg":
        own["mul"] = vector * len(pixels)
    return own | {"bytes_read": 4 * c * images * sum(pixels), "bytes_written": 4 * c * images * len(rows) * len(columns)}


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


# --- element-wise

ACTIVATIONS = {
    "relu": {"max": 1},
    "relu6": {"max": 2},
    "leaky_relu": {"mul": 1, "max": 1},
    "hardsigmoid": {"mul": 1, "add": 1, "max": 2},
    "hardswish": {"mul": 2, "add": 1, "max": 2},
    "sigmoid": {"fma": 8, "mul": 2, "add": 2, "max": 3, "special": 1},
    "silu": {"fma": 8, "mul": 3, "add": 2, "max": 3, "special": 1},
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


# --- moves


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
    for shape, groups in [((2, 12, 3, 5), 3), ((1, 116, 4, 4), 2), ((1, 64, 3, 3), 32), ((1, 7, 2, 2), 1), ((1, 6, 1, 1), 2)]:
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
