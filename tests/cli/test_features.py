"""`cnnkern features`, and the grids behind it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cnnkern import data, images, models
from cnnkern.measure import schema
from cnnkern.report import grid

PHOTO, SEVEN = data.path("grace_hopper.jpg"), data.path("digit_7.png")
ON_REFERENCE = ("--backend", "reference")


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib")


# --- grids


def test_every_channel_is_a_tile_scaled_by_its_own_mean_and_deviation(rng):
    x = rng.standard_normal((20, 5, 7)) * rng.uniform(0.01, 100, (20, 1, 1)) + rng.uniform(-9, 9, (20, 1, 1))
    made = grid.channels(x)
    assert made.dtype == np.uint8 and made.shape == (2 * 6 - 1, 16 * 8 - 1)
    for i, channel in enumerate(x):
        row, column = divmod(i, 16)
        tile = made[row * 6 : row * 6 + 5, column * 8 : column * 8 + 7]
        expected = np.clip((channel - channel.mean()) / channel.std() * 64 + 128, 0, 255)
        np.testing.assert_allclose(tile, expected, atol=0.5 + 1e-9)
    assert (made[5] == 255).all() and (made[:, 7] == 255).all()  # the lines
    assert (made[6:, 4 * 8 :] == 255).all()  # what the last row lacks


@pytest.mark.parametrize("value", [0.0, 0.1, -3e30, np.nan, np.inf])
def test_a_blank_channel_is_black_and_disturbs_no_other(rng, value):
    x = rng.standard_normal((3, 6, 6)).astype(np.float32)
    x[1] = value
    with np.errstate(all="raise"):
        made = grid.channels(x)
    assert (made[:, 7:13] == 0).all()
    alone = grid.channels(x[[0, 2]])
    np.testing.assert_array_equal(made[:, :6], alone[:, :6])
    np.testing.assert_array_equal(made[:, 14:], alone[:, 7:])


def test_blank_counts_them():
    x = np.zeros((1, 4, 3, 3), np.float32)
    x[0, 2, 1, 1] = 1
    assert grid.blank(x) == 3


@pytest.mark.parametrize("n, shape", [(10, (1, 10)), (84, (6, 16)), (1000, (32, 32)), (4096, (64, 64))])
def test_a_vector_is_a_block_of_pixels_scaled_together(rng, n, shape):
    x = rng.standard_normal(n)
    made = grid.channels(x)
    assert made.shape == shape
    np.testing.assert_allclose(made.reshape(-1)[:n], np.clip((x - x.mean()) / x.std() * 64 + 128, 0, 255), atol=0.51)
    for form in ((1, n), (n, 1, 1), (1, n, 1, 1)):
        np.testing.assert_array_equal(grid.channels(x.reshape(form)), made)


@pytest.mark.parametrize("n, columns", [(5, 5), (64, 16), (512, 16), (513, 32), (2048, 32), (2049, 64)])
def test_a_grid_is_at_most_twice_as_high_as_wide(n, columns):
    assert grid.channels(np.zeros((n, 2, 2))).shape == (-(-n // columns) * 3 - 1, columns * 3 - 1)


def test_filters_in_colour():
    w = np.zeros((2, 3, 1, 2))
    w[0, 0, 0, 0], w[0, 2, 0, 1], w[1, 1] = 0.5, -0.25, 0.0
    made = grid.filters(w)
    assert made.shape == (1, 5, 3)
    assert made[0, 0].tolist() == [255, 128, 128] and made[0, 1].tolist() == [128, 128, 64]
    assert made[0, 2].tolist() == [255] * 3 and made[0, 3:].tolist() == [[128] * 3] * 2  # a filter of zeros is grey
    np.testing.assert_array_equal(grid.filters(w, order="BGR"), grid.filters(w[:, ::-1]))


def test_filters_of_other_channels_are_rows_of_tiles():
    w = np.arange(2 * 5 * 3 * 3, dtype=np.float32).reshape(2, 5, 3, 3) - 7
    made = grid.filters(w)
    assert made.shape == (2 * 4 - 1, 5 * 4 - 1)
    np.testing.assert_array_equal(made[4:7, 8:11], np.rint(128 + 127 * w[1, 2] / w[1].max()))
    assert grid.filters(np.ones((6, 1, 3, 3))).shape == (3, 23)
    assert grid.filters(np.ones((4, 8, 1, 1))).shape == (4, 8)


@pytest.mark.parametrize("shape", [(), (2, 3), (2, 3, 4, 4), (0, 3, 3), (3, 0, 3)])
def test_what_is_no_activation_is_refused(shape):
    with pytest.raises(ValueError, match="activation: "):
        grid.channels(np.zeros(shape))


def test_what_are_no_filters_is_refused():
    with pytest.raises(ValueError, match="weight: "):
        grid.filters(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="columns: at least 1 is accepted, got 0"):
        grid.filters(np.zeros((3, 3, 3, 3)), columns=0)


@pytest.mark.parametrize("shape", [(50, 100), (7, 7, 3), (1, 1300), (900, 3)])
def test_the_picture_holds_the_grids_pixels(matplotlib, tmp_path, rng, shape):
    pixels = rng.integers(0, 256, shape, np.uint8)
    grid.save(pixels, tmp_path / "out.png", "title", "subtitle")
    picture = np.asarray(Image.open(tmp_path / "out.png").convert("RGB"))
    times = max(1, grid.SIDE // max(shape[:2]))
    inner = picture[grid.TITLE : picture.shape[0] - grid.MARGIN, grid.MARGIN : grid.MARGIN + times * shape[1]]
    expected = pixels if pixels.ndim == 3 else np.repeat(pixels[..., np.newaxis], 3, axis=2)
    sampled = inner[times // 2 :: times, times // 2 :: times]
    assert inner.shape[:2] == (times * shape[0], times * shape[1])
    if times > 2:  # the frame lies on the outermost pixels
        np.testing.assert_array_equal(sampled, expected)
    else:
        np.testing.assert_array_equal(sampled[1:-1, 1:-1], expected[1:-1, 1:-1])


# --- the verb


def test_a_layers_channels(cnnkern, matplotlib, tmp_path):
    out = tmp_path / "c1.png"
    argv = ("features", "lenet5-digits", "--image", SEVEN, "--layer", "c1", "--out", out, *ON_REFERENCE)
    done = cnnkern(*argv)
    assert done.code == 0 and done.err == ""
    assert "c1: 6 channels of 28x28" in done.out and "c1.png" in done.out
    model = models.create("lenet5-digits")
    x = images.prepare(images.load_image(SEVEN), "lenet5-digits", model.input_shape)
    pixels = grid.channels(model.features(x, "c1", backend="reference")["c1"])
    times, picture = grid.SIDE // pixels.shape[1], np.asarray(Image.open(out).convert("L"))
    inner = picture[grid.TITLE : -grid.MARGIN, grid.MARGIN : grid.MARGIN + times * pixels.shape[1]]
    np.testing.assert_array_equal(inner[times // 2 :: times, times // 2 :: times], pixels)
    document = cnnkern(*argv, "--json", "-").json
    schema.validate(document)
    assert document["shape"] == [6, 28, 28] and document["blank"] == 0 and document["weights"] == "lenet5_digits.npz"


def test_blank_channels_are_counted(cnnkern, matplotlib, tmp_path):
    weights = dict(models.create("lenet5-digits").state_dict())
    weights["c1.weight"] = weights["c1.weight"].copy()
    weights["c1.weight"][2] = 0
    np.savez(tmp_path / "w.npz", **weights)
    argv = ("--image", SEVEN, "--layer", "c1", "--weights", tmp_path / "w.npz", "--out", tmp_path / "out.png")
    assert "1 of them blank" in cnnkern("features", "lenet5-digits", *argv, *ON_REFERENCE).out


def test_a_vector_layer(cnnkern, matplotlib, tmp_path):
    argv = ("--image", SEVEN, "--layer", "output", "--out", tmp_path / "out.png", "--json", "-")
    assert cnnkern("features", "lenet5-digits", *argv, *ON_REFERENCE).json["shape"] == [10]


@pytest.mark.parametrize(
    "options, weight, shape",
    [
        (("--filters",), "conv1.weight", [16, 3, 3, 3]),
        (("--filters", "--layer", "layer2.0.conv1"), "layer2.0.conv1.weight", [32, 16, 3, 3]),
        (("--layer", "layer2.0.conv1.weight"), "layer2.0.conv1.weight", [32, 16, 3, 3]),
        (("--filters", "--layer", "conv1.weight"), "conv1.weight", [16, 3, 3, 3]),
    ],
)
def test_filters_need_no_image(cnnkern, matplotlib, tmp_path, options, weight, shape):
    done = cnnkern("features", "resnet20_cifar", *options, "--out", tmp_path / "out.png", "--json", "-")
    assert done.code == 0, done.err
    assert (done.json["layer"], done.json["shape"], done.json["image"]) == (weight, shape, None)
    assert (tmp_path / "out.png").stat().st_size > 0


@pytest.mark.parametrize(
    "options, words",
    [
        (("--image", SEVEN, "--layer", "c11"), "no layer 'c11'; nearest: c1"),
        (("--layer", "c11", "--filters"), "no convolution 'c11'; did you mean c1"),
        (("--layer", "f6.weight"), "no convolution 'f6.weight'"),
        (("--layer", "c1"), "--image and --layer are needed"),
        (("--image", SEVEN), "--image and --layer are needed"),
        ((), "--filters"),
        (("--image", "missing.jpg", "--layer", "c1"), "missing.jpg: No such file"),
        (("--filters", "--columns", "0"), "at least 1"),
        (("--filters", "--weights", "missing.npz"), "missing.npz"),
    ],
)
def test_bad_usage_is_one_line(cnnkern, matplotlib, tmp_path, options, words):
    out = tmp_path / "out.png"
    done = cnnkern("features", "lenet5-digits", *options, "--out", out, *ON_REFERENCE)
    assert done.code == 2 and words in done.err and done.err.count("\n") == 1 and done.out == ""
    assert not out.exists()


def test_an_unknown_format_or_folder_is_bad_usage(cnnkern, matplotlib, tmp_path):
    done = cnnkern("features", "lenet5-digits", "--filters", "--out", tmp_path / "out.xyz")
    assert done.code == 2 and "xyz" in done.err and done.err.count("\n") == 1
    done = cnnkern("features", "lenet5-digits", "--filters", "--out", tmp_path / "nowhere" / "out.png")
    assert done.code == 2 and "No such file" in done.err


def test_without_a_suffix_it_is_a_png(cnnkern, matplotlib, tmp_path):
    assert cnnkern("features", "lenet5-digits", "--filters", "--out", tmp_path / "out").code == 0
    assert Image.open(tmp_path / "out").format == "PNG"


def test_without_matplotlib_the_extra_is_named(cnnkern, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    done = cnnkern("features", "lenet5-digits", "--filters", "--out", tmp_path / "out.png")
    assert done.code == 2 and "pip install 'cnnkern[bench]'" in done.err and done.err.count("\n") == 1


def test_a_module_that_takes_no_picture(cnnkern, matplotlib, tmp_path):
    argv = ("--image", PHOTO, "--layer", "1x1", "--out", tmp_path / "out.png", *ON_REFERENCE)
    done = cnnkern("features", "inception_naive", *argv)
    assert done.code == 2 and "pictures suit" in done.err
