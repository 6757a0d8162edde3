"""B6: small filters and identities, through the library's functions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import cnnkern
from cnnkern.graph.builder import GraphBuilder
from cnnkern.model import Model
from cnnkern.testing import reference

EPSILON = 2.0**-23
SHARPEN = ((0, -1, 0), (-1, 5, -1), (0, -1, 0))
# The 5x5 crop. Document 004 prints its first output; the rest of the map assumes that the crop is the whole picture.
PIXELS = (
    (105, 102, 100, 97, 96),
    (103, 99, 103, 101, 102),
    (101, 98, 104, 102, 100),
    (99, 101, 106, 104, 99),
    (104, 104, 104, 100, 98),
)
SHARPENED = (
    (320, 206, 198, 188, 281),
    (210, 89, 111, 101, 213),
    (205, 85, 111, 101, 197),
    (189, 98, 117, 113, 193),
    (317, 211, 210, 194, 291),
)
CURVE = (
    (0, 0, 0, 0, 0, 30, 0),
    (0, 0, 0, 0, 30, 0, 0),
    (0, 0, 0, 30, 0, 0, 0),
    (0, 0, 0, 30, 0, 0, 0),
    (0, 0, 0, 30, 0, 0, 0),
    (0, 0, 0, 30, 0, 0, 0),
    (0, 0, 0, 0, 0, 0, 0),
)
EDGE = (  # the receptive field with the curve in it
    (0, 0, 0, 0, 0, 0, 30),
    (0, 0, 0, 0, 50, 50, 50),
    (0, 0, 0, 20, 50, 0, 0),
    (0, 0, 0, 50, 50, 0, 0),
    (0, 0, 0, 50, 50, 0, 0),
    (0, 0, 0, 50, 50, 0, 0),
    (0, 0, 0, 50, 50, 0, 0),
)
SOBEL_X = ((1, 0, -1), (2, 0, -2), (1, 0, -1))


def plane(rows) -> np.ndarray:
    """(H, W) numbers as (1, 1, H, W) float32: an image of one channel, or one filter."""
    return np.asarray(rows, np.float32)[None, None]


def filtered(image, kernel, **options) -> np.ndarray:
    return cnnkern.conv2d(plane(image), plane(kernel), **options)[0, 0]


def circular(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Circular convolution of two (N, M) maps: g[n] = sum_k image[n - k] kernel[k], through `conv2d`."""
    n, m = kernel.shape
    wrapped = np.pad(image, ((n - 1, 0), (m - 1, 0)), mode="wrap")
    return filtered(wrapped, kernel, flip_kernel=True)


def excused(a: np.ndarray, b: np.ndarray) -> float:
    """What float32 may lose in any sum of products of a's and b's values, all of them used."""
    return float(EPSILON * (a.size + 2) * np.abs(a).max() * np.abs(b).sum())


# --- sharpening, the curve, Sobel


@pytest.mark.parametrize("algo", ["auto", "direct", "im2col"])
def test_b6_1_and_b6_2_sharpening(algo):
    """B6.1 (004, right): the first output is 5*105 - 102 - 103 = 320. B6.2 (derived): the whole 5x5 map."""
    out = filtered(PIXELS, SHARPEN, padding=1, algo=algo)
    assert out[0, 0] == 320 == 5 * 105 - 102 - 103
    np.testing.assert_array_equal(out, SHARPENED)


def test_b6_3_the_curve_filter_on_a_curve():
    """B6.3 (004, right): 50*30 + 50*30 + 50*30 + 20*30 + 50*30 = 6600, the full 7x7 dot product."""
    assert filtered(EDGE, CURVE).tolist() == [[6600]]
    assert 50 * 30 + 50 * 30 + 50 * 30 + 20 * 30 + 50 * 30 == 6600


def test_b6_4_a_filter_of_8x8_does_not_fit():
    """B6.4 (004, garbled): the second printing has 8 rows and columns; a 7x7 receptive field refuses it."""
    with pytest.raises(ValueError, match="conv2d"):
        filtered(EDGE, np.pad(np.asarray(CURVE), ((0, 1), (0, 1))))


def test_b6_5_the_curve_filter_where_there_is_no_curve(rng):
    """B6.5 (004, right): 0 on a field that is dark wherever the filter looks, whatever lies beside."""
    field = np.where(np.asarray(CURVE) == 0, rng.integers(0, 256, (7, 7)), 0)
    assert field.any() and filtered(field, CURVE).tolist() == [[0]]


@pytest.mark.parametrize("flip_kernel, slope", [(True, 8), (False, -8)])
def test_b6_8_sobels_sign_depends_on_the_convention(flip_kernel, slope):
    """B6.8 (004, right): Gx on a rising ramp is +8 by convolution, -8 by a CNN's cross-correlation."""
    ramp = np.tile(np.arange(9.0), (6, 1))
    assert np.all(filtered(ramp, SOBEL_X, flip_kernel=flip_kernel) == slope)
    gy = np.asarray(SOBEL_X).T
    assert np.all(filtered(ramp.T, gy, flip_kernel=flip_kernel) == slope) and not filtered(ramp, gy).any()


# --- the convolution theorem


def test_b6_6_a_convolution_is_a_product_of_spectra(rng):
    """B6.6 (004, right): g = f * h <-> G = F H for the circular convolution."""
    f, h = rng.standard_normal((2, 16, 16), np.float32)
    product = np.fft.ifft2(np.fft.fft2(f.astype(float)) * np.fft.fft2(h.astype(float))).real
    assert np.abs(circular(f, h) - product).max() <= excused(f, h)


def test_b6_6_the_linear_convolution_needs_zeros(rng):
    """B6.6: N + K - 1 points; with fewer the end runs into the beginning."""
    f, h = rng.standard_normal((16, 16), np.float32), rng.standard_normal((5, 5), np.float32)
    linear = filtered(f, h, padding=4, flip_kernel=True)
    padded, wrapped = (
        np.fft.irfft2(np.fft.rfft2(f.astype(float), (n, n)) * np.fft.rfft2(h.astype(float), (n, n)), (n, n))
        for n in (16 + 5 - 1, 16)
    )
    assert linear.shape == (20, 20) and np.abs(linear - padded).max() <= excused(h, f)
    assert np.abs(linear[:16, :16] - wrapped).max() > 100 * excused(h, f)


def test_b6_7_a_product_is_a_convolution_of_spectra_up_to_a_factor(rng):
    """B6.7 (004, right up to normalisation): g = f h <-> G = F * H / (N M) for the DFT; without the factor far off."""
    f, h = rng.standard_normal((2, 16, 16))
    spectrum, other = (np.fft.fft2(plane_) for plane_ in (f, h))
    (a, b), (c, d) = ((s.real.astype(np.float32), s.imag.astype(np.float32)) for s in (spectrum, other))
    convolved = circular(a, c) - circular(b, d) + 1j * (circular(a, d) + circular(b, c))
    product, allowed = np.fft.fft2(f * h), 8 * max(excused(a, c), excused(b, d), excused(a, d), excused(b, c))
    assert np.abs(convolved / f.size - product).max() <= allowed / f.size
    assert np.abs(convolved - product).max() > 1e3


# --- dropout, 1x1 convolutions, batch norm, sigmoid


def test_b6_9_halved_weights_are_the_geometric_mean_of_all_networks(rng):
    """B6.9 (003, right): one hidden layer of 8 units, every one of the 2^8 masks, softmax outputs re-normalised."""
    x, hidden = rng.standard_normal((3, 5), np.float32), rng.standard_normal((8, 5), np.float32)
    outgoing, bias = rng.standard_normal((4, 8), np.float32), rng.standard_normal(4, np.float32)
    h = cnnkern.linear(x, hidden, activation="relu")
    masks = np.array(list(itertools.product((0, 1), repeat=8)), np.float32)
    masked = [cnnkern.mul(h, np.repeat(mask[None], len(h), axis=0)) for mask in masks]
    nets = [cnnkern.softmax(cnnkern.linear(kept, outgoing, bias)) for kept in masked]
    assert len(nets) == 256
    mean = np.exp(np.mean(np.log(np.asarray(nets, np.float64)), axis=0))
    mean /= mean.sum(axis=-1, keepdims=True)
    halved = cnnkern.softmax(cnnkern.linear(h, outgoing / 2, bias))
    # a score's rounding is a share of its terms; through softmax it becomes a share of the probability
    terms = np.abs(h) @ np.abs(outgoing).T + np.abs(bias)
    assert np.all(np.abs(halved - mean) <= 2 * EPSILON * (16 * terms.max() + 16) * mean)
    assert np.abs(halved - cnnkern.softmax(cnnkern.linear(h, outgoing, bias))).max() > 1e-4


def test_b6_9_by_the_networks_own_rule(rng):
    """B6.9: `load_state_dict(dropout="scale")` halves the outgoing weights and no others."""
    g = GraphBuilder("one hidden layer")
    h = g.dropout(g.relu(g.linear(g.flatten(g.input((1, 1, 5))), "hidden", 8)), 0.5)
    network = Model(g.finish(g.softmax(g.linear(h, "outgoing", 4))))
    weights = {name: rng.uniform(-1, 1, p.shape).astype(np.float32) for name, p in network.graph.params.items()}
    x = rng.uniform(-1, 1, (3, 1, 1, 5)).astype(np.float32)
    nets = []
    for mask in itertools.product((0, 1), repeat=8):
        network.load_state_dict(weights | {"outgoing.weight": weights["outgoing.weight"] * np.float32(mask)})
        nets.append(network(x))
    mean = np.exp(np.mean(np.log(np.asarray(nets, np.float64)), axis=0))
    network.load_state_dict(weights, dropout="scale")
    np.testing.assert_array_equal(network.weights["outgoing.weight"], weights["outgoing.weight"] / 2)
    # a score has 8 terms of at most 6 (5 inputs and a bias, each at most 1) and a bias
    np.testing.assert_allclose(network(x), mean / mean.sum(axis=-1, keepdims=True), rtol=2 * EPSILON * 16 * (8 * 6 + 1))


def test_b6_9_in_double_precision_to_the_last_bits(rng):
    """B6.9: the same in the reference's float64, as the document's figure of 2.2e-16 was found."""
    h, outgoing = np.abs(rng.standard_normal((1, 8))), rng.standard_normal((4, 8))
    spec, probabilities = cnnkern.ops.LinearSpec(), cnnkern.ops.SoftmaxSpec()
    masks = np.array(list(itertools.product((0, 1), repeat=8)), float)
    nets = np.array([reference(probabilities, reference(spec, h * mask, outgoing)) for mask in masks])
    mean = np.exp(np.log(nets).mean(axis=0))
    halved = reference(probabilities, reference(spec, h, outgoing / 2))
    assert np.abs(halved - mean / mean.sum()).max() < 1e-13


def test_b6_10_a_1x1_convolution_is_a_dense_layer_on_each_pixel(rng):
    """B6.10 (002, right): the difference is a float32 sum's rounding."""
    x, weight = rng.standard_normal((2, 64, 7, 5), np.float32), rng.standard_normal((32, 64), np.float32)
    bias = rng.standard_normal(32, np.float32)
    y = cnnkern.conv2d(x, weight[:, :, None, None], bias)
    pixels = x.transpose(0, 2, 3, 1).reshape(-1, 64)
    dense = cnnkern.linear(pixels, weight, bias).reshape(2, 7, 5, 32).transpose(0, 3, 1, 2)
    scale = np.abs(pixels) @ np.abs(weight).T + np.abs(bias)
    assert np.abs(y - dense).max() <= EPSILON * 66 * scale.max()


def test_b6_11_batch_norm(rng):
    """B6.11 (002, right): (x - mu) / sqrt(sigma^2 + eps), gamma and beta left out."""
    x, mean, variance = rng.standard_normal((2, 6, 4, 4), np.float32), *rng.uniform(0.5, 2, (2, 6)).astype(np.float32)
    eps = 1e-3
    shaped = [v.astype(float).reshape(1, 6, 1, 1) for v in (mean, variance)]
    expected = (x - shaped[0]) / np.sqrt(shaped[1] + eps)
    found = cnnkern.batch_norm(x, mean, variance, eps=eps)
    assert np.all(np.abs(found - expected) <= 8 * EPSILON * (np.abs(x) + shaped[0]) / np.sqrt(shaped[1] + eps))


def test_b6_12_sigmoid(rng):
    """B6.12 (003, right): 1 / (1 + exp(-x))."""
    x = np.concatenate([rng.standard_normal(1000) * 5, [0.0, -80.0, 80.0]]).astype(np.float32)
    expected = 1 / (1 + np.exp(-x.astype(float)))
    found = cnnkern.sigmoid(x)
    assert np.all(np.abs(found - expected) <= 16 * EPSILON * expected) and found[-3] == 0.5
