"""The functions users call: layouts, out=, conveniences, bad input. Each on every backend."""

from __future__ import annotations

import doctest
from functools import partial

import numpy as np
import pytest
from engines import engines
from opcases import ODD_MEMORY, laid_out

import cnnkern
from cnnkern import UnsupportedError, config, functional, testing

NCHW, NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


@pytest.fixture(params=engines())
def engine(request):
    return request.param


def normal(rng, *shape) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def near(mine, theirs) -> bool:
    return mine.shape == theirs.shape and np.abs(mine - theirs).max(initial=0) <= 3e-5 * np.abs(theirs).max(
        initial=1e-30
    )


IMAGE_CALLS = {
    "conv2d": lambda f, x, **k: f(x, np.full((5, 6, 3, 3), 0.1, np.float32), stride=2, padding="same", **k),
    "locally_connected2d": lambda f, x, **k: f(x, np.full((5, 7, 2, 6, 3, 3), 0.1, np.float32), **k),
    "separable_conv2d": lambda f, x, **k: f(
        x, np.full((12, 1, 3, 3), 0.1, np.float32), np.full((4, 12, 1, 1), 0.1, np.float32), padding=1, **k
    ),
    "max_pool2d": lambda f, x, **k: f(x, 3, 2, 1, ceil_mode=True, **k),
    "avg_pool2d": lambda f, x, **k: f(x, (2, 3), 1, padding="same_lower", count_include_pad=False, **k),
    "sum_pool2d": lambda f, x, **k: f(x, 2, **k),
    "global_avg_pool2d": lambda f, x, **k: f(x, **k),
    "global_max_pool2d": lambda f, x, **k: f(x, **k),
    "adaptive_avg_pool2d": lambda f, x, **k: f(x, (3, 2), **k),
    "roi_max_pool": lambda f, x, **k: f(
        x, np.array([[len(x) - 1, 0, 0, 17, 13], [0, 4, 2, 9, 30]], np.float32)[: len(x)], 3, 0.5, **k
    ),
    "batch_norm": lambda f, x, **k: f(x, *(np.linspace(1, 2, 6, dtype=np.float32),) * 4, **k),
    "local_response_norm": lambda f, x, **k: f(x, 5, **k),
    "local_contrast_norm": lambda f, x, **k: f(x, 3, **k),
    "channel_shuffle": lambda f, x, **k: f(x, 2, **k),
    "pad": lambda f, x, **k: f(x, ((1, 0), (0, 2)), 0.5, **k),
    "flatten": lambda f, x, **k: f(x, "HWC", **k),
    "im2col": lambda f, x, **k: f(x, 3, 2, ((1, 0), (0, 1)), **k),
}


@pytest.mark.parametrize("name", IMAGE_CALLS)
def test_nhwc_is_nchw_transposed(engine, name, rng):
    function, call = getattr(cnnkern, name), IMAGE_CALLS[name]
    x = normal(rng, 2, 6, 7, 9)
    theirs = call(function, x, backend=engine)
    mine = call(function, np.ascontiguousarray(x.transpose(NHWC)), layout="NHWC", backend=engine)
    if theirs.ndim == 4:
        assert mine.flags.c_contiguous
        mine = mine.transpose(NCHW)
    assert near(mine, theirs)
    assert near(theirs, call(partial(testing.reference, name), x))


@pytest.mark.parametrize("memory", ODD_MEMORY)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_out(engine, rng, layout, memory):
    x, w = normal(rng, 2, 3, 8, 8), normal(rng, 4, 3, 3, 3)
    x = x if layout == "NCHW" else np.ascontiguousarray(x.transpose(NHWC))
    expected = cnnkern.conv2d(x, w, layout=layout, backend="reference")
    out = laid_out(np.full(expected.shape, np.nan, np.float32), memory)
    if memory == "read_only":
        with pytest.raises(ValueError, match="out must be writeable"):
            cnnkern.conv2d(x, w, layout=layout, out=out, backend=engine)
        return
    assert cnnkern.conv2d(x, w, layout=layout, out=out, backend=engine) is out
    assert near(out, expected)


@pytest.mark.parametrize("memory", ODD_MEMORY)
def test_any_memory(engine, rng, memory):
    """Views of every kind give what a plain copy gives."""
    for name, call in IMAGE_CALLS.items():
        x, function = normal(rng, 2, 6, 7, 9), getattr(cnnkern, name)
        assert np.array_equal(call(function, laid_out(x, memory), backend=engine), call(function, x, backend=engine)), (
            name
        )


def test_out_may_be_an_input(engine, rng):
    x, w = normal(rng, 1, 4, 6, 6), normal(rng, 4, 4, 3, 3)
    expected = cnnkern.conv2d(x, w, padding=1, residual=x, backend="reference")
    same = x.copy()
    assert near(cnnkern.conv2d(same, w, padding=1, residual=same, out=same, backend=engine), expected)


def test_conveniences(engine, rng):
    x, w = normal(rng, 2, 6, 7, 9), normal(rng, 4, 3, 2, 3)
    flipped = cnnkern.conv2d(x, w, groups=2, flip_kernel=True, backend=engine)
    assert near(flipped, cnnkern.conv2d(x, np.ascontiguousarray(w[:, :, ::-1, ::-1]), groups=2, backend=engine))
    leaky = cnnkern.conv2d(x, w, groups=2, activation=("leaky_relu", 0.3), backend=engine)
    plain = cnnkern.conv2d(x, w, groups=2, backend=engine)
    assert near(leaky, np.where(plain > 0, plain, np.float32(0.3) * plain))
    assert near(cnnkern.leaky_relu(plain, 0.3, backend=engine), leaky)
    y, b = normal(rng, 2, 3, 5), normal(rng, 7)
    assert near(cnnkern.linear(y, normal(rng, 7, 5) * 0 + 1, b, backend=engine), y.sum(-1, keepdims=True) + b)
    assert cnnkern.linear(y[0, 0], np.ones((7, 5), np.float32), backend=engine).shape == (7,)
    deep = cnnkern.separable_conv2d(
        x, normal(rng, 12, 1, 3, 3), normal(rng, 5, 12, 1, 1), b[:5], 2, depthwise_activation="relu", backend=engine
    )
    assert deep.shape == (2, 5, 3, 4)
    values, indices = cnnkern.max_pool2d(x.transpose(NHWC), 2, return_indices=True, layout="NHWC", backend=engine)
    assert indices.dtype == np.int64
    assert np.array_equal(np.take_along_axis(x.reshape(2, 6, -1), indices.transpose(NCHW).reshape(2, 6, -1), 2).ravel(),
                          values.transpose(NCHW).ravel())  # fmt: skip


@pytest.mark.parametrize(("padding", "top_left"), [("same", (0, 0)), ("same_lower", (1, 1))])
def test_same_padding_puts_the_odd_pixel(engine, padding, top_left):
    """A 2x2 kernel over one pixel: its position in the window says on which side the padding went."""
    w = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    y = cnnkern.conv2d(np.ones((1, 1, 1, 1), np.float32), w, padding=padding, backend=engine)
    assert y.shape == (1, 1, 1, 1) and y.item() == w[0, 0][top_left]


def test_empty_batches(engine):
    x = np.zeros((0, 6, 7, 9), np.float32)
    for name, call in IMAGE_CALLS.items():
        y = call(getattr(cnnkern, name), x, backend=engine)
        assert y.shape[0] == 0 and y.size == 0 and y.dtype == np.float32, name
    assert cnnkern.linear(np.zeros((0, 3), np.float32), np.ones((2, 3), np.float32), backend=engine).shape == (0, 2)
    assert cnnkern.softmax(np.zeros((0, 3), np.float32), backend=engine).shape == (0, 3)


def test_one_pixel_images(engine, rng):
    for c in (1, 3, 17, 31):
        x = normal(rng, 1, c, 1, 1)
        w = normal(rng, c, c, 3, 3)
        centre = x.reshape(1, c) @ w[:, :, 1, 1].T
        assert near(cnnkern.conv2d(x, w, padding=1, backend=engine), centre[..., None, None])
        assert np.array_equal(cnnkern.max_pool2d(x, 3, 2, 1, backend=engine), x)
        assert np.array_equal(cnnkern.global_avg_pool2d(x, backend=engine), x)


# --- bad input: (call, exception, words of the message)

F32 = np.float32
X, W = np.ones((1, 4, 5, 5), F32), np.ones((6, 4, 3, 3), F32)
BAD = {
    "float64": (lambda **k: cnnkern.conv2d(X.astype(np.float64), W, **k), TypeError, "x.*float32.*float64"),
    "int": (lambda **k: cnnkern.relu(np.arange(3), **k), TypeError, "x.*float32.*int64"),
    "float16 weight": (lambda **k: cnnkern.conv2d(X, W.astype(np.float16), **k), TypeError, "weight.*float16"),
    "big-endian": (lambda **k: cnnkern.relu(X.astype(">f4"), **k), TypeError, "x.*float32.*>f4"),
    "list": (lambda **k: cnnkern.relu([1.0, 2.0], **k), TypeError, "x.*list"),
    "int number": (lambda **k: cnnkern.add(X, 2, **k), TypeError, "b.*int"),
    "None": (lambda **k: cnnkern.conv2d(None, W, **k), TypeError, "x.*NoneType"),
    "no weight": (lambda **k: cnnkern.linear(X[0, 0], None, **k), TypeError, "weight.*NoneType"),
    "masked": (lambda **k: cnnkern.relu(np.ma.masked_array(X), **k), TypeError, "x.*MaskedArray"),
    "bool stride": (lambda **k: cnnkern.conv2d(X, W, stride=True, **k), TypeError, "stride.*True"),
    "float stride": (lambda **k: cnnkern.conv2d(X, W, stride=1.5, **k), TypeError, "stride.*1.5"),
    "rank 3": (lambda **k: cnnkern.conv2d(X[0], W, **k), ValueError, r"x.*rank 4.*\(4, 5, 5\)"),
    "weight rank": (lambda **k: cnnkern.conv2d(X, W[0], **k), ValueError, r"weight.*rank 4.*\(4, 3, 3\)"),
    "zero stride": (lambda **k: cnnkern.conv2d(X, W, stride=0, **k), ValueError, "stride.*at least 1.*0"),
    "negative stride": (lambda **k: cnnkern.max_pool2d(X, 2, (1, -1), **k), ValueError, "stride.*at least 1.*-1"),
    "negative padding": (lambda **k: cnnkern.conv2d(X, W, padding=-1, **k), ValueError, "padding.*at least 0.*-1"),
    "three strides": (lambda **k: cnnkern.conv2d(X, W, stride=(1, 2, 3), **k), ValueError, "stride.*pair"),
    "padding word": (lambda **k: cnnkern.conv2d(X, W, padding="full", **k), ValueError, "padding.*same_lower.*full"),
    "padding triple": (lambda **k: cnnkern.conv2d(X, W, padding=(1, 2, 3), **k), ValueError, "padding"),
    "zero dilation": (lambda **k: cnnkern.conv2d(X, W, dilation=0, **k), ValueError, "dilation.*at least 1"),
    "zero groups": (lambda **k: cnnkern.conv2d(X, W, groups=0, **k), ValueError, "groups.*at least 1"),
    "groups": (lambda **k: cnnkern.conv2d(X, W, groups=3, **k), ValueError, "groups.*divide.*3.*4"),
    "weight channels": (lambda **k: cnnkern.conv2d(X, W[:, :3], **k), ValueError, r"weight.*4.*\(6, 3, 3, 3\)"),
    "bias": (lambda **k: cnnkern.conv2d(X, W, np.ones(5, F32), **k), ValueError, r"bias.*\(6,\).*\(5,\)"),
    "residual": (
        lambda **k: cnnkern.conv2d(X, W, residual=X, **k), ValueError, r"residual.*\(1, 6, 3, 3\).*\(1, 4, 5, 5\)"
    ),
    "kernel": (lambda **k: cnnkern.conv2d(X, np.ones((6, 4, 7, 3), F32), **k), ValueError, "kernel larger.*H"),
    "dilated kernel": (lambda **k: cnnkern.conv2d(X, W, dilation=(1, 3), **k), ValueError, "kernel larger.*W.*spans 7"),
    "pool kernel": (lambda **k: cnnkern.avg_pool2d(X, 6, **k), ValueError, "kernel larger"),
    "zero kernel": (lambda **k: cnnkern.avg_pool2d(X, 0, **k), ValueError, "kernel_size.*at least 1"),
    "pad only": (lambda **k: cnnkern.max_pool2d(X, 2, padding=2, **k), ValueError, "padding.*without input"),
    "empty image": (lambda **k: cnnkern.max_pool2d(X[:, :, :0], 1, **k), ValueError, r"x.*at least 1.*\(1, 4, 0, 5\)"),
    "no channels": (lambda **k: cnnkern.conv2d(X[:, :0], W[:, :0], **k), ValueError, "at least 1"),
    "no filters": (lambda **k: cnnkern.conv2d(X, W[:0], **k), ValueError, "weight.*at least 1"),
    "activation": (lambda **k: cnnkern.conv2d(X, W, activation="swishy", **k), ValueError, "activation.*silu.*swishy"),
    "relu slope": (lambda **k: cnnkern.add(X, X, activation=("relu", 1), **k), ValueError, "activation_param"),
    "nan slope": (lambda **k: cnnkern.leaky_relu(X, float("nan"), **k), ValueError, "finite"),
    "algo": (lambda **k: cnnkern.conv2d(X, W, algo="magic", **k), ValueError, "algo.*winograd.*magic"),
    "precision": (lambda **k: cnnkern.conv2d(X, W, precision="float8", **k), ValueError, "precision.*strict.*float8"),
    "layout": (lambda **k: cnnkern.conv2d(X, W, layout="NWHC", **k), ValueError, "layout.*NHWC.*NWHC"),
    "out shape": (
        lambda **k: cnnkern.conv2d(X, W, out=np.ones((1, 6, 3, 4), F32), **k), ValueError, r"out.*\(1, 6, 3, 3\)"
    ),
    "out dtype": (lambda **k: cnnkern.conv2d(X, W, out=np.ones((1, 6, 3, 3)), **k), TypeError, "out.*float32.*float64"),
    "out kind": (lambda **k: cnnkern.conv2d(X, W, out=[], **k), TypeError, "out.*list"),
    "linear": (lambda **k: cnnkern.linear(X[0, 0], np.ones((2, 4), F32), **k), ValueError, r"weight.*5.*\(2, 4\)"),
    "local weight": (lambda **k: cnnkern.locally_connected2d(X, np.ones((2, 3, 1, 4, 3, 3), F32), **k), ValueError,
                     r"weight.*\(3, 3\).*\(2, 3, 1, 4, 3, 3\)"),
    "broadcast": (lambda **k: cnnkern.mul(X, np.ones((1, 3, 1, 1), F32), **k), ValueError, r"a.*b.*4 against 3"),
    "concat": (lambda **k: cnnkern.concat([X, X[:, :, :3]], **k), ValueError, r"arrays\[1\].*\(1, 4, 3, 5\)"),
    "concat nothing": (lambda **k: cnnkern.concat([], **k), ValueError, "arrays"),
    "concat axis": (lambda **k: cnnkern.concat([X, X], 4, **k), ValueError, r"axis.*\[-4, 3\].*4"),
    "concat array": (lambda **k: cnnkern.concat(X, **k), TypeError, "arrays.*sequence"),
    "softmax axis": (lambda **k: cnnkern.softmax(X, 7, **k), ValueError, "axis"),
    "shuffle": (lambda **k: cnnkern.channel_shuffle(X, 3, **k), ValueError, "groups.*divide.*3.*4"),
    "batch norm": (lambda **k: cnnkern.batch_norm(X, np.ones(3, F32), np.ones(4, F32), **k), ValueError, "mean"),
    "no statistics": (lambda **k: cnnkern.batch_norm(X, None, np.ones(4, F32), **k), TypeError, "running_mean"),
    "negative eps": (lambda **k: cnnkern.batch_norm(X, X[0, :, 0, 0], X[0, :, 0, 0], eps=-1, **k), ValueError, "eps"),
    "lrn size": (lambda **k: cnnkern.local_response_norm(X, 0, **k), ValueError, "size.*at least 1"),
    "lrn k": (lambda **k: cnnkern.local_response_norm(X, 5, k=0.0, **k), ValueError, "k must be positive"),
    "lcn size": (lambda **k: cnnkern.local_contrast_norm(X, 4, **k), ValueError, "size must be odd"),
    "adaptive": (lambda **k: cnnkern.adaptive_avg_pool2d(X, 0, **k), ValueError, "output_size.*at least 1"),
    **{
        f"regions {what}": (lambda *, roi=roi, **k: cnnkern.roi_max_pool(X, np.array([[0] * 5, roi], F32), 2, 1, **k),
                            ValueError, r"roi_max_pool: rois.*0 to 0.*got rois\[1\] = \[")
        for what, roi in (("of no image", [1, 0, 0, 1, 1]), ("of image -1", [-1, 0, 0, 1, 1]),
                          ("of half an image", [0.5, 0, 0, 1, 1]), ("of image nan", [np.nan, 0, 0, 1, 1]),
                          ("without end", [0, 0, 0, np.inf, 1]), ("that are nan", [0, 0, np.nan, 1, 1]))
    },
    "regions of four": (lambda **k: cnnkern.roi_max_pool(X, np.zeros((2, 4), F32), 2, 1, **k), ValueError,
                        r"rois.*\(R, 5\).*\(2, 4\)"),
    "region": (lambda **k: cnnkern.roi_max_pool(X, np.zeros(5, F32), 2, 1, **k), ValueError, "rois.*rank 2"),
    "no regions": (lambda **k: cnnkern.roi_max_pool(X, None, 2, 1, **k), TypeError, "rois.*NoneType"),
    "integer regions": (lambda **k: cnnkern.roi_max_pool(X, np.zeros((1, 5), int), 2, 1, **k), TypeError, "rois.*int"),
    "spatial_scale": (lambda **k: cnnkern.roi_max_pool(X, np.zeros((1, 5), F32), 2, 0, **k), ValueError,
                      "spatial_scale.*above 0"),
    "flatten order": (lambda **k: cnnkern.flatten(X, "WHC", **k), ValueError, "order.*HWC"),
    "pointwise weight": (
        lambda **k: cnnkern.separable_conv2d(X, W[:4, :1], W, **k), ValueError, r"pointwise_weight.*\(6, 4, 3, 3\)"
    ),
    "overflow": (lambda **k: cnnkern.pad(X, 2**40, **k), ValueError, r"2\*\*62"),
    "overflow output": (lambda **k: cnnkern.adaptive_avg_pool2d(X, 2**32, **k), ValueError, r"2\*\*62"),
    "huge stride is fine, huge kernel is not": (
        lambda **k: cnnkern.max_pool2d(X, 2**40, 2**40, **k), ValueError, "kernel larger"
    ),
    "backend kind": (lambda **k: cnnkern.relu(X, **{**k, "backend": 3}), TypeError, "backend.*3"),
    "backend name": (lambda **k: cnnkern.relu(X, **{**k, "backend": "gpu"}), ValueError, "backend.*reference.*gpu"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named(engine, what):
    call, exception, words = BAD[what]
    with pytest.raises(exception, match=f"(?s){words}") as caught:
        call(backend=engine)
    assert type(caught.value) is exception


@pytest.mark.parametrize("size", [7, 2**15, 2**31, 2**40])
def test_huge_strides_are_right_or_refused(engine, size):
    for call, expected in (
        (lambda: cnnkern.max_pool2d(X, 1, size, backend=engine), X[:, :, :1, :1]),
        (lambda: cnnkern.conv2d(X, W, stride=size, backend=engine), np.full((1, 6, 1, 1), 36, F32)),
        (lambda: cnnkern.im2col(X, 1, 1, 0, size, backend=engine), X.reshape(1, 4, 25)),
    ):
        try:
            assert np.array_equal(call(), expected)
        except (ValueError, UnsupportedError) as error:
            assert size > 2**15 and "too large" in str(error)


def test_precisions(engine):
    assert near(cnnkern.conv2d(X, W, precision="strict", backend=engine), cnnkern.conv2d(X, W, backend="reference"))
    for precision in set(cnnkern.config.PRECISIONS) - set(engine.precisions):
        with pytest.raises(UnsupportedError, match=f"{precision}.*strict"):
            cnnkern.conv2d(X, W, precision=precision, backend=engine)


def test_nothing_is_printed(engine, capfd):
    for name, call in IMAGE_CALLS.items():
        call(getattr(cnnkern, name), np.ones((1, 6, 7, 9), F32), backend=engine)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_verbose_prints_a_line_per_step(engine, capfd):
    with config(verbose=1):
        cnnkern.conv2d(X, W, padding=1, backend=engine)
    lines = capfd.readouterr().err.splitlines()
    (line,) = (line for line in lines if "[conv2d" in line)  # beside it, what turns layouts
    assert engine.name in line and "conv2d 1x4x5x5 6x4x3x3" in line and "ms" in line


def test_check_compares_with_the_oracle(engine):
    class Wrong:
        name = "wrong"

        def call(self, *args, **options):
            (y,) = engine.call(*args, **options)
            y.flat[0] += 1
            return (y,)

    with config(check=True):
        cnnkern.conv2d(X, W, backend=engine)
        with pytest.raises((AssertionError, ArithmeticError), match="error"):
            cnnkern.conv2d(X, W, backend=Wrong())
    cnnkern.conv2d(X, W, backend=Wrong())


@pytest.mark.parametrize("name", functional.__all__)
def test_docstring_example(name):
    function = getattr(cnnkern, name)
    (test,) = doctest.DocTestFinder().find(function, name, globs={"np": np, "cnnkern": cnnkern})
    assert test.examples, "every public function shows an example"
    with config(backend="reference"):
        assert doctest.DocTestRunner().run(test).failed == 0
