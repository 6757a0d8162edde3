"""Techniques that are put together from the package's parts, against NumPy."""

from __future__ import annotations

import numpy as np

import cnnkern
from cnnkern import evaluate

HIDDEN, WORDS = 12, 7


def caption_step(weights, word, hidden, feature=None):
    """One step of a vanilla RNN that describes a picture: h' = tanh(Wxh x + Whh h + bh [+ Wih v]), y = Why h' + by.

    The picture's feature v is seen at the first step alone (Karpathy and Fei-Fei 2015, https://arxiv.org/abs/1412.2306).
    """
    of_word = cnnkern.linear(word, weights["Wxh"], weights["bh"])
    of_past = cnnkern.linear(hidden, weights["Whh"])
    total = cnnkern.add(of_word, of_past)
    if feature is not None:
        total = cnnkern.add(total, cnnkern.linear(feature, weights["Wih"]))
    hidden = cnnkern.tanh(total)
    return hidden, cnnkern.linear(hidden, weights["Why"], weights["by"])


def test_a_caption_is_an_rnn_on_fc7(rng):
    """VGG-16's last hidden layer starts a vanilla recurrent network, whose steps are linear, add and tanh."""
    model = cnnkern.models.create("vgg16", input_shape=(3, 32, 32))
    x = rng.standard_normal((2, 3, 32, 32), np.float32)
    feature = model.features(x, "classifier.4")["classifier.4"]
    assert feature.shape == (2, 4096) and (feature >= 0).all() and (feature > 0).any()

    shapes = {"Wxh": (HIDDEN, WORDS), "Whh": (HIDDEN, HIDDEN), "Wih": (HIDDEN, 4096), "Why": (WORDS, HIDDEN)}
    w = {name: rng.standard_normal(shape, np.float32) / np.sqrt(np.float32(shape[1])) for name, shape in shapes.items()}
    w |= {"bh": rng.standard_normal(HIDDEN, np.float32), "by": rng.standard_normal(WORDS, np.float32)}
    word = np.eye(WORDS, dtype=np.float32)[[0, 0]]
    hidden, expected = np.zeros((2, HIDDEN), np.float32), np.zeros((2, HIDDEN))
    seen = feature
    for _ in range(4):
        by_hand = word.astype(np.float64) @ w["Wxh"].T + w["bh"] + expected @ w["Whh"].T
        by_hand = by_hand if seen is None else by_hand + seen.astype(np.float64) @ w["Wih"].T
        hidden, scores = caption_step(w, word, hidden, seen)
        expected = np.tanh(by_hand)
        np.testing.assert_allclose(hidden, expected, atol=1e-4)
        np.testing.assert_allclose(scores, expected @ w["Why"].T + w["by"], atol=1e-3)
        chosen = evaluate.topk(scores, 1).indices[:, 0]
        word, seen = np.eye(WORDS, dtype=np.float32)[chosen], None
    assert np.abs(hidden[0] - hidden[1]).max() > 1e-3  # two pictures, two stories
