"""The checker checked: what it lets pass, what it catches."""

from __future__ import annotations

import numpy as np
import pytest

import cnnkern
from cnnkern import ops, testing
from cnnkern.testing import EPSILON

CONV_512 = ((1, 512, 14, 14), (512, 512, 3, 3))


def conv_case(rng, c=32, k=16, size=9):
    x = rng.standard_normal((2, c, size, size)).astype(np.float32)
    w = (rng.standard_normal((k, c, 3, 3)) * np.sqrt(2 / (9 * c))).astype(np.float32)
    return x, w


def float32_conv(x, w):
    """A straightforward kernel in float32: one rounding per term."""
    p, q = x.shape[2] - 2, x.shape[3] - 2
    y = np.zeros((len(x), len(w), p, q), np.float32)
    for c in range(x.shape[1]):
        for r in range(3):
            for s in range(3):
                y += w[None, :, c, r, s, None, None] * x[:, None, c, r : r + p, s : s + q]
    return y


def test_budgets():
    winograd, direct = ops.Conv2dSpec(padding=1), ops.Conv2dSpec(padding=1, algo="direct")
    assert 1e-5 < testing.tolerance(winograd, *CONV_512) <= 2e-5
    assert testing.tolerance(direct, *CONV_512) == pytest.approx(EPSILON * (4 + 4608**0.5))
    assert testing.tolerance(winograd, *CONV_512, precision="strict") == testing.tolerance(direct, *CONV_512)
    for spec in (ops.Conv2dSpec(2, 1), ops.Conv2dSpec(dilation=2)):
        assert testing.tolerance(spec, *CONV_512) == testing.tolerance(direct, *CONV_512)
    assert testing.tolerance(winograd, CONV_512[0], (512, 512, 1, 1)) == pytest.approx(EPSILON * (4 + 512**0.5))
    small = ((1, 8, 14, 14), (8, 8, 3, 3))
    assert testing.tolerance(winograd, *small) < testing.tolerance(winograd, *CONV_512)
    assert testing.tolerance(winograd) == testing.tolerance(winograd, *CONV_512), "without shapes: the large case"
    for exact in (ops.ActivationSpec("relu"), ops.Pool2dSpec(), ops.ConcatSpec(), ops.Im2colSpec(3), ops.PadSpec(1)):
        assert testing.tolerance(exact) == 0
    assert all(testing.tolerance(spec()) < 2e-5 for spec in (ops.LinearSpec, ops.SoftmaxSpec, ops.BatchNormSpec))
    assert set(testing.ROUNDING) <= set(ops.SPECS) and set(testing.ACTIVATION_ROUNDING) == set(ops.ACTIVATIONS)


@pytest.mark.parametrize("c", [1, 3, 32, 200])
def test_float32_passes(rng, c):
    x, w = conv_case(rng, c)
    spec = ops.Conv2dSpec(algo="direct")
    theirs = testing.reference("conv2d", x, w)
    testing.assert_close(float32_conv(x, w), theirs, spec, (x, w))
    testing.assert_close(float32_conv(x, w), theirs, spec, (x.shape, w.shape))
    testing.assert_close(float32_conv(x, w), theirs, spec)


@pytest.mark.parametrize("c", [1, 3, 32, 200])
def test_a_dropped_term_is_caught(rng, c):
    """One of K products missing from one output, even where Winograd's tolerance holds."""
    x, w = conv_case(rng, c)
    mine, theirs = float32_conv(x, w), testing.reference("conv2d", x, w)
    r, s = 1, 2
    terms = w[5, :, r, s] * x[1, :, 3 + r, 4 + s]
    mine[1, 5, 3, 4] -= terms[np.argmax(np.abs(terms))]
    with pytest.raises(AssertionError, match=r"worst at \(1, 5, 3, 4\)"):
        testing.assert_close(mine, theirs, ops.Conv2dSpec(), (x, w))


def test_half_precision_is_caught(rng):
    x, w = conv_case(rng)
    mine = float32_conv(x.astype(np.float16).astype(np.float32), w)
    with pytest.raises(AssertionError):
        testing.assert_close(mine, testing.reference("conv2d", x, w), ops.Conv2dSpec(), (x, w))


def test_cancelling_sums_are_judged_by_their_terms():
    spec = ops.LinearSpec()
    x = np.array([[1e4, 1.0, -1e4]], np.float32)
    w = np.full((1, 3), 1 / 3, np.float32)
    mine = np.array([[np.float32(1e4) * w[0, 0] + w[0, 0] - np.float32(1e4) * w[0, 0]]], np.float32).reshape(1, 1)
    theirs = testing.reference("linear", x, w)
    testing.assert_close(mine, theirs, spec, (x, w))
    with pytest.raises(AssertionError):
        testing.assert_close(mine + 0.1, theirs, spec, (x, w))


@pytest.mark.parametrize(
    ("mine", "theirs", "same"),
    [
        ([1, np.nan], [1, np.nan], True),
        ([1, np.inf], [1, np.inf], True),
        ([1, np.inf], [1, 1e300], True),  # beyond float32
        ([1, np.inf], [1, -np.inf], False),
        ([1, np.nan], [1, 2], False),
        ([1, 2], [1, np.nan], False),
        ([1, np.inf], [1, 2], False),
        ([1, 2, 3], [1, 2], False),
        ([[1, 2]], [1, 2], False),
        ([1, 1e-45], [1, 0], True),
        ([0, 0], [0, 0], True),
        ([], [], True),
    ],
)
def test_special_values(mine, theirs, same):
    result = testing.compare(np.array(mine, np.float32), np.array(theirs, np.float64), ops.AddSpec())
    assert result.ok is same and (same or result.error == np.inf)


def test_exact_operations_have_no_slack(rng):
    x = rng.standard_normal((1, 2, 4, 4)).astype(np.float32)
    spec, y = ops.ActivationSpec("relu"), np.maximum(x, 0)
    testing.assert_close(y, testing.reference(spec, x), spec, (x,))
    with pytest.raises(AssertionError):
        testing.assert_close(np.nextafter(y, np.float32(9)), testing.reference(spec, x), spec, (x,))
    indices = testing.reference("max_pool2d", x, 2, return_indices=True)[1]
    assert testing.compare(indices, indices, ops.Pool2dSpec()).ok
    assert not testing.compare(indices + 1, indices, ops.Pool2dSpec()).ok


def test_reference_by_name_and_by_spec(rng):
    x, w = conv_case(rng)
    by_name = testing.reference("conv2d", x, w, stride=2)
    assert by_name.dtype == np.float64
    assert np.array_equal(by_name, testing.reference(ops.Conv2dSpec(2), x, w, None, None))
    nhwc = testing.reference("conv2d", x.transpose(0, 2, 3, 1), w, stride=2, layout="NHWC")
    assert nhwc.dtype == np.float64 and np.array_equal(nhwc.transpose(0, 3, 1, 2), by_name)
    middle = testing.reference("separable_conv2d", x, w[:, :1].repeat(2, 0), w[:3, :, :1, :1])
    assert middle.dtype == np.float64
    with pytest.raises(ValueError, match="conv2d.*transposed_conv"):
        testing.reference("transposed_conv", x, w)


def test_every_tolerance_holds_for_a_float32_numpy(rng):
    """NumPy in float32 as a third kernel: what it rounds, the tolerance allows."""
    x = rng.standard_normal((3, 50)).astype(np.float32)
    e = np.exp(x - x.max(1, keepdims=True))
    pairs = {
        ops.SoftmaxSpec(): e / e.sum(1, keepdims=True),
        ops.ActivationSpec("sigmoid"): 1 / (1 + np.exp(-x)),
        ops.ActivationSpec("tanh"): np.tanh(x),
        ops.ActivationSpec("silu"): x / (1 + np.exp(-x)),
        ops.ActivationSpec("hardswish"): x * np.clip(x / np.float32(6) + np.float32(0.5), 0, 1),
        ops.ActivationSpec("leaky_relu", 0.1): np.where(x > 0, x, np.float32(0.1) * x),
    }
    for spec, mine in pairs.items():
        assert mine.dtype == np.float32
        testing.assert_close(mine, testing.reference(spec, x), spec, (x,))
    assert cnnkern.testing is testing
