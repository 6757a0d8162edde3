"""algo="fft": the convolution theorem as an eager operation, against direct convolution and the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opcases import cases, conv2d, examples

import cnnkern
from cnnkern import UnsupportedError, config, ops, testing
from cnnkern.backends import fft


@examples(60)
@given(data=st.data())
def test_equals_oracle(data):
    """Every stride, dilation, group, padding and activation; with direct convolution's tolerance."""
    case = data.draw(cases(conv2d(prologue=True), memory=("plain", "channels_last", "strided", "reversed")))
    spec, arrays = ops.Conv2dSpec(**{**vars(case.spec), "algo": "fft"}), case.arrays()
    (y,) = fft.call(spec, arrays)
    assert y.dtype == np.float32
    testing.assert_close(y, testing.reference(spec, *arrays), spec, arrays, precision="strict")


@pytest.mark.parametrize("flip", [False, True])
def test_linear_convolution_with_its_zero_padding(rng, flip):
    """(N + K - 1)^2 outputs, as NumPy's full convolution: nothing wraps around."""
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 1, 13, 17), (1, 1, 5, 4)))
    padding = ((4, 4), (3, 3))
    y = cnnkern.conv2d(x, w, padding=padding, algo="fft", flip_kernel=flip)
    assert y.shape == (1, 1, 17, 20)
    kernel = w[0, 0] if flip else w[0, 0, ::-1, ::-1]
    full = sum(np.pad(value * x[0, 0], ((r, 4 - r), (s, 3 - s))) for (r, s), value in np.ndenumerate(kernel))
    np.testing.assert_allclose(y[0, 0], full, atol=1e-5)
    direct = cnnkern.conv2d(x, w, padding=padding, algo="direct", flip_kernel=flip)
    np.testing.assert_allclose(y, direct, atol=1e-5)


def test_many_channels_go_in_blocks(rng, monkeypatch):
    monkeypatch.setattr(fft, "BLOCK_BYTES", 1 << 16)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 24, 20, 23), (30, 12, 3, 3)))
    spec = ops.Conv2dSpec(padding=1, groups=2, algo="fft")
    testing.assert_close(fft.call(spec, (x, w))[0], testing.reference(spec, x, w), spec, (x, w))


def test_out_is_filled_and_may_be_any_layout(rng):
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 9, 8, 3), (5, 3, 3, 3)))
    out = np.full((2, 9, 8, 5), np.nan, np.float32)
    assert cnnkern.conv2d(x, w, padding=1, algo="fft", layout="NHWC", out=out) is out
    np.testing.assert_allclose(out, cnnkern.conv2d(x, w, padding=1, layout="NHWC"), atol=1e-4)


def test_empty_batch():
    x, w = np.zeros((0, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
    assert cnnkern.conv2d(x, w, algo="fft").shape == (0, 4, 6, 6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["x", "weight"])
def test_what_would_spread_everywhere_is_refused(bad, where):
    arrays = {"x": np.ones((1, 1, 8, 8), np.float32), "weight": np.ones((1, 1, 3, 3), np.float32)}
    arrays[where][0, 0, 1, 1] = bad
    with pytest.raises(ValueError, match=f"{where}: finite.*fft"):
        cnnkern.conv2d(arrays["x"], arrays["weight"], algo="fft")


def test_is_no_part_of_strict_arithmetic_or_of_plans():
    x, w = np.ones((1, 1, 8, 8), np.float32), np.ones((1, 1, 3, 3), np.float32)
    with pytest.raises(UnsupportedError, match="fft.*strict"):
        cnnkern.conv2d(x, w, algo="fft", precision="strict")
    with config(conv_algo="fft"):
        assert cnnkern.conv2d(x, w).shape == (1, 1, 6, 6)
        with pytest.raises(UnsupportedError, match="fft.*eager"):
            cnnkern.models.create("lenet5").compile(backend="cpu")


def test_auto_never_picks_it():
    """The candidates that measuring chooses among come from the selector, which does not know it."""
    x, w = np.ones((1, 1, 64, 64), np.float32), np.ones((1, 1, 31, 31), np.float32)
    backend = cnnkern.backends.get("cpu")
    problems = backend.problems(*_graph(ops.Conv2dSpec(), x, w))
    offered = [plan["algo"] for _, problem in problems for plan in backend.candidates(problem)]
    assert offered and "fft" not in offered


def _graph(spec, *arrays):
    from cnnkern.backends.one_node import one_node

    graph, weights, _ = one_node(spec, [*arrays, None, None])
    return graph, weights


def test_its_operations_are_a_model_and_say_so(capfd):
    x, w = np.ones((1, 2, 8, 8), np.float32), np.ones((3, 2, 3, 3), np.float32)
    with config(verbose=1):
        cnnkern.conv2d(x, w, algo="fft")
    line = capfd.readouterr().err
    assert "conv_fft" in line and "model" in line and "not counted" in line
    counts = fft.model(ops.Conv2dSpec(), x.shape, w.shape)
    transforms = 2 + 3 * 2 + 3  # of the image's channels, of the filters, of the outputs
    assert counts.mul + counts.add == transforms * 2.5 * 64 * 6 and counts.fma == 4 * 3 * 2 * 8 * 5
