from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cnnkern import data, images


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


# --- the package's pictures


def test_photograph():
    photo = images.photograph()
    assert (photo.mode, photo.size) == ("RGB", (512, 600))
    assert np.asarray(photo).std() > 50


def test_packaged_files_are_listed_and_documented():
    readme = (data.path("grace_hopper.jpg").parent / "README.md").read_text()
    assert {"grace_hopper.jpg", "digit_7.png", "lenet5_digits.npz"} <= set(data.names())
    assert all(name in readme for name in data.names())
    assert data.path("grace_hopper.jpg").stat().st_size < 100_000


def test_unknown_packaged_file_lists_what_there_is():
    with pytest.raises(FileNotFoundError, match="no 'cat.jpg'.*grace_hopper.jpg"):
        data.path("cat.jpg")


def test_import_of_the_package_does_not_need_pillow():
    code = "import sys; sys.modules['PIL'] = None; import cnnkern"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- loading


def test_missing_file_names_the_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.jpg"):
        images.load_image(tmp_path / "nothing.jpg")


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_a_file_that_is_no_picture_names_the_path(tmp_path, content):
    path = tmp_path / "notes.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="notes.jpg"):
        images.load_image(path)


@pytest.mark.filterwarnings("ignore:.*EXIF")
@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "tiff", "webp"])
def test_a_truncated_picture_names_the_path(tmp_path, suffix):
    path = tmp_path / f"half.{suffix}"
    noise(64, 64).save(path)
    whole = path.read_bytes()
    for length in (len(whole) // 2, 40):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"half.{suffix}"):
            images.load_image(path)


def test_an_absurdly_large_picture_is_refused_before_it_is_read(tmp_path, monkeypatch):
    noise(100, 100).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="bomb.png"):
        images.load_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    image = Image.fromarray(ramp.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(ramp).convert(mode)
    image.save(tmp_path / "ramp.png")
    loaded = images.load_image(tmp_path / "ramp.png")
    assert (loaded.mode, loaded.size) == ("RGB", (256, 8))
    if mode != "1":
        np.testing.assert_array_equal(np.asarray(loaded)[..., 0], ramp)


def test_transparent_pixels_become_white(tmp_path):
    drawing = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    drawing.putpixel((1, 1), (0, 0, 0, 255))
    drawing.save(tmp_path / "drawing.png")
    grey = np.asarray(images.load_image(tmp_path / "drawing.png"))[..., 0]
    assert grey[1, 1] == 0 and grey[0, 0] == 255


def test_the_orientation_tag_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees to see it upright
    noise(30, 20).save(tmp_path / "turned.jpg", exif=exif)
    assert images.load_image(tmp_path / "turned.jpg").size == (20, 30)


# --- preprocessing

SIZES = [(512, 600), (600, 512), (224, 224), (256, 256), (255, 257), (17, 31), (1, 1), (1, 9), (301, 225), (500, 333)]


@pytest.mark.parametrize("width_height", SIZES)
@pytest.mark.parametrize("crop, resize", [(224, None), (224, 224), (299, 342), ((97, 64), 110), (31, 20), (33, 33)])
@pytest.mark.parametrize("filter", ["bilinear", "bicubic", "nearest", "box"])
def test_preprocess_is_torchvisions_to_the_bit(transforms, width_height, crop, resize, filter):
    image = noise(*width_height)
    shorter = resize or 256
    theirs = transforms.Compose(
        [
            transforms.Resize(shorter, getattr(transforms.InterpolationMode, filter.upper())),
            transforms.CenterCrop(crop),
            transforms.ToTensor(),
            transforms.Normalize(images.IMAGENET_MEAN, images.IMAGENET_STD),
        ]
    )(image)
    mine = images.preprocess(image, crop, resize, filter=filter)
    np.testing.assert_array_equal(mine[0], theirs.numpy())


def test_grey_preprocess_is_torchvisions_to_the_bit(transforms):
    photo = images.photograph()
    steps = [transforms.Grayscale(1), transforms.Resize(32), transforms.CenterCrop(28), transforms.ToTensor()]
    theirs = transforms.Compose([*steps, transforms.Normalize((0.13,), (0.31,))])(photo)
    np.testing.assert_array_equal(images.preprocess(photo, 28, 32, (0.13,), (0.31,))[0], theirs.numpy())


def test_preprocess_the_photograph():
    x = images.preprocess(images.photograph(), 224)
    assert x.shape == (1, 3, 224, 224) and x.dtype == np.float32 and x.flags.c_contiguous
    assert -2.2 < x.min() < -1 and 2 < x.max() < 2.7
    # Without a filter between, the formula can be checked by hand: a picture of the crop's size.
    image = noise(16, 16)
    by_hand = (np.asarray(image) / 255 - images.IMAGENET_MEAN) / images.IMAGENET_STD
    np.testing.assert_allclose(images.preprocess(image, 16, 16)[0], by_hand.transpose(2, 0, 1), atol=1e-6)


def test_a_crop_larger_than_the_picture_is_padded_with_black():
    x = images.preprocess(Image.new("RGB", (4, 4), "white"), 8, resize=4, mean=(0.0,), std=(1.0,))
    assert x[0, 0, 2:6, 2:6].min() == 1 and x.sum() == 16


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"size": 0}, "size"),
        ({"size": (4, -1)}, "size"),
        ({"size": 4, "resize": 0}, "resize"),
        ({"size": 4, "filter": "lanczos"}, "filter.*bilinear.*'lanczos'"),
        ({"size": 4, "mean": (0.5,)}, "mean, std"),
        ({"size": 4, "mean": (0.5, 0.5), "std": (1.0, 1.0)}, "mean, std"),
        ({"size": 4, "std": (1.0, 0.0, 1.0)}, "std"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        images.preprocess(noise(8, 8), **arguments)


def test_a_picture_far_longer_than_wide_is_refused():
    with pytest.raises(ValueError, match="too large"):
        images.preprocess(noise(1, 5000), 224)


def test_an_array_is_no_picture():
    with pytest.raises(TypeError, match="PIL image.*ndarray"):
        images.preprocess(np.zeros((8, 8, 3), np.uint8), 4)


# --- recipes and digits


def test_prepare_follows_the_networks_recipe():
    photo = images.photograph()
    default = images.prepare(photo, "resnet50", (1, 3, 224, 224))
    np.testing.assert_array_equal(default, images.preprocess(photo, 224, 256))
    half = images.prepare(photo, "mobilenet_v1_100", (3, 224, 224))
    assert half.min() >= -1 and half.max() <= 1
    assert images.prepare(photo, "inception_v3", (3, 299, 299)).shape == (1, 3, 299, 299)
    assert images.prepare(photo, "alexnet_227", ("N", 3, 227, 227)).shape == (1, 3, 227, 227)


def test_prepare_for_one_channel_is_bright_ink_on_black():
    seven = images.load_image(data.path("digit_7.png"))
    for model, side in [("lenet5", 32), ("keras_mnist_convnet", 28)]:
        x = images.prepare(seven, model, (1, side, side))
        assert x.shape == (1, 1, side, side)
        assert x.min() == 0 and 0.8 < x.max() <= 1 and x[..., -1, -1] == 0


def test_prepare_refuses_what_is_no_picture_network():
    for shape in [(10,), (4, 32, 32)]:
        with pytest.raises(ValueError, match="mine takes an input"):
            images.prepare(images.photograph(), "mine", shape)


def test_digits_look_the_same_at_any_size_and_either_way_round():
    seven = images.load_image(data.path("digit_7.png"))
    x = images.preprocess_digit(seven)
    assert x.shape == (1, 1, 32, 32) and x.dtype == np.float32
    small = seven.resize((8, 8), Image.Resampling.BOX)
    np.testing.assert_array_equal(images.preprocess_digit(small), x)
    np.testing.assert_array_equal(images.preprocess_digit(images.bright_ink(seven)), x)
    np.testing.assert_allclose(x.min(), -images.DIGIT_MEAN[0] / images.DIGIT_STD[0], rtol=1e-6)
