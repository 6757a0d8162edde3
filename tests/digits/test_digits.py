"""Real weights on real data: LeNet-5 on handwritten digits it has not seen, on every backend that is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkern import backends, data, evaluate, images, models

HELD_OUT = Path(__file__).with_name("heldout.npz")
BACKENDS = [name for name, why_not in backends.available().items() if not why_not]


@pytest.fixture(scope="module")
def held_out():
    with np.load(HELD_OUT) as file:
        scans, labels = file["scans"], file["labels"]
    return np.concatenate([images.preprocess_digit(Image.fromarray(scan)) for scan in scans]), labels


@pytest.fixture(scope="module")
def model():
    return models.create("lenet5-digits")


def test_the_held_out_part_is_a_quarter_of_every_digit(held_out):
    x, labels = held_out
    assert x.shape == (450, 1, 32, 32)
    assert np.bincount(labels).min() >= 43 and len(np.bincount(labels)) == 10
    with np.load(HELD_OUT) as file:
        assert len(np.unique(file["scans"].reshape(450, 64), axis=0)) == 450


@pytest.mark.parametrize("backend", BACKENDS)
def test_held_out_accuracy(model, held_out, backend):
    x, labels = held_out
    scores = model.compile(input_shape=x.shape, backend=backend)(x)
    predicted = evaluate.topk(scores, 1).indices[:, 0]
    assert (predicted == labels).mean() >= 0.97
    oracle = model.compile(input_shape=x.shape, backend="reference")(x)
    np.testing.assert_array_equal(predicted, evaluate.topk(oracle, 1).indices[:, 0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_packaged_seven_is_a_seven(model, backend):
    x = images.prepare(images.load_image(data.path("digit_7.png")), "lenet5-digits", model.input_shape)
    scores = model.compile(input_shape=x.shape, backend=backend)(x)
    assert evaluate.topk(scores, 1).indices.tolist() == [[7]]


def test_the_weights_are_the_whole_network(model):
    assert model.param_count == 61_706
    with np.load(data.path("lenet5_digits.npz")) as file:
        assert {name: file[name].shape for name in file.files} == {n: w.shape for n, w in model.state_dict().items()}
        assert all(file[name].dtype == np.float32 and np.isfinite(file[name]).all() for name in file.files)
    assert data.path("lenet5_digits.npz").stat().st_size < 260_000
