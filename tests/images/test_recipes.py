"""Every network's recipe, against what the library that publishes its weights says of them."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from PIL import Image

from cnnkern import images, models, recipes

ALL = models.list()
PICTURES = [name for name in ALL if models.get(name).input_shape[0] in (1, 3)]
KERAS_MODULES = {
    "VGG16": "vgg16", "VGG19": "vgg19", "ResNet50": "resnet", "ResNet101": "resnet", "ResNet152": "resnet",
    "ResNet50V2": "resnet_v2", "ResNet101V2": "resnet_v2", "ResNet152V2": "resnet_v2", "InceptionV3": "inception_v3",
    "InceptionResNetV2": "inception_resnet_v2", "Xception": "xception", "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2", "NASNetMobile": "nasnet", "NASNetLarge": "nasnet", "DenseNet121": "densenet",
    "DenseNet169": "densenet", "DenseNet201": "densenet",
}  # fmt: skip


def named_by(library: str) -> list[tuple[str, str]]:
    """(our id, the name in the library) of the networks that it publishes; a constructor call is no such name."""
    pairs = [(name, models.get(name).reference.partition(":")) for name in ALL]
    return [(name, theirs) for name, (kind, _, theirs) in pairs if kind == library and theirs and " " not in theirs]


@pytest.fixture(scope="module")
def torchvision(transforms):
    return importlib.import_module("torchvision.models")


def fixed(channels: int, size: tuple[int, int]) -> Image.Image:
    """The photograph in this size and number of channels: nothing is left for resizing to do."""
    return images.photograph().convert("L" if channels == 1 else "RGB").resize(size[::-1])


# --- the libraries


@pytest.mark.parametrize("name, theirs", named_by("tv"))
def test_torchvisions_weights(torchvision, name, theirs):
    preset = torchvision.get_model_weights(theirs).IMAGENET1K_V1.transforms()
    size = models.get(name).input_shape[1]
    # EfficientNet-B2's weights were evaluated at 288 pixels; the architecture's size, the paper's, is 260.
    assert preset.crop_size == [288 if name == "efficientnet_b2" else size]
    preset.resize_size = [preset.resize_size[0] * size // preset.crop_size[0]]
    preset.crop_size = [size]
    mine = images.prepare(images.photograph(), name, (3, size, size))
    np.testing.assert_array_equal(mine[0], preset(images.photograph()).numpy())


@pytest.mark.parametrize("name, theirs", named_by("timm"))
def test_timms_weights(transforms, name, theirs):
    timm = pytest.importorskip("timm")
    config = timm.get_pretrained_cfg(theirs)
    size = models.get(name).input_shape[1]
    options = {key: getattr(config, key) for key in ("crop_pct", "crop_mode", "interpolation", "mean", "std")}
    preset = timm.data.create_transform((3, size, size), is_training=False, **options)
    mine = images.prepare(images.photograph(), name, (3, size, size))
    np.testing.assert_array_equal(mine[0], preset(images.photograph()).numpy())


def keras_application(theirs: str):
    return importlib.import_module(f"keras.applications.{KERAS_MODULES[theirs.partition('(')[0]]}")


@pytest.mark.parametrize("name, theirs", [pair for pair in named_by("keras") if "EfficientNet" not in pair[1]])
def test_keras_scale_mean_and_order(keras, name, theirs):
    pixels = np.asarray(fixed(3, (24, 24)))
    expected = keras_application(theirs).preprocess_input(pixels.astype(np.float32), data_format="channels_last")
    mine = images.normalise(pixels, images.recipe(name))[0].transpose(1, 2, 0)
    np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-6 * np.ptp(expected))


def test_keras_efficientnet_wants_what_its_first_layers_would_have_made(keras):
    theirs = importlib.import_module("keras.src.applications.efficientnet")
    for name, _ in [pair for pair in named_by("keras") if "EfficientNet" in pair[1]]:
        made = images.recipe(name)
        # Rescaling to 0..1, Normalization by the data set's mean, and by this in two halves, each its square root.
        assert (made.white, made.order, made.mean) == (1.0, "RGB", images.IMAGENET_MEAN)
        assert list(made.std) == theirs.IMAGENET_STDDEV_RGB


@pytest.mark.parametrize("name", ["keras_cats_dogs", "vgg16_transfer_150"])
def test_the_keras_courses_networks_see_what_load_img_gives(keras, name, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (201, 160, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    loaded = keras.utils.img_to_array(keras.utils.load_img(tmp_path / "noise.png", target_size=(150, 150)))
    mine = images.prepare(Image.fromarray(noise), name, (3, 150, 150))[0]
    np.testing.assert_array_equal(mine, (loaded / np.float32(255)).transpose(2, 0, 1))


# --- all of them


@pytest.mark.parametrize("name", PICTURES)
def test_every_network_gets_the_photograph_in_its_input_shape(name):
    shape = models.get(name).input_shape
    x = images.prepare(images.photograph(), name, shape)
    assert x.shape == (1, *shape) and x.dtype == np.float32 and x.flags.c_contiguous
    white = images.recipe(name, shape[0]).white
    assert 0.1 * white < np.ptp(x) < 10 * white and x.std() > 0.1 * white


@pytest.mark.parametrize("name", PICTURES)
def test_other_sizes_keep_the_margin_in_proportion(name):
    channels, height, width = models.get(name).input_shape
    made = images.recipe(name, channels)
    assert made.channels == channels
    assert made.resized(height) >= height and (height == width or name == "fast_rcnn_vgg16")
    assert images.prepare(images.photograph(), name, (channels, 41, 64)).shape == (1, channels, 41, 64)
    assert abs(made.resized(2 * height) - 2 * made.resized(height)) <= 1


def test_every_row_of_the_table_is_used_and_by_the_first_that_fits():
    used = {id(images.recipe(name, models.get(name).input_shape[0])) for name in PICTURES}
    assert {id(made) for _, made in recipes.TABLE} <= used


def test_other_libraries_names_have_the_recipe_too():
    names = [(alias, name) for name in PICTURES for alias in models.get(name).aliases]
    assert len(names) > 5
    for alias, name in names:
        if alias == "mobilenetv2_100":  # timm's own weights: bicubic, where torchvision's are bilinear
            assert images.recipe(alias).filter == "bicubic"
        else:
            assert images.recipe(alias) == images.recipe(name), alias


def test_a_network_of_ones_own():
    assert images.recipe("mine") is recipes.IMAGENET
    assert images.recipe("mine", 1) is recipes.INK
    assert images.recipe("lenet5-digits") is recipes.IMAGENET  # with three channels it is another network


def test_caffes_networks_want_blue_green_red_on_255():
    red = Image.new("RGB", (256, 256), (255, 0, 0))
    x = images.prepare(red, "keras_vgg16", (3, 224, 224))[0, :, 0, 0]
    np.testing.assert_allclose(x, [-103.939, -116.779, 255 - 123.68], rtol=1e-6)


def test_squashing_shows_the_whole_picture():
    half = Image.new("RGB", (64, 512))
    half.paste((255, 255, 255), (0, 0, 64, 256))
    x = images.prepare(half, "keras_cats_dogs", (3, 150, 150))
    assert (x[0, 0, :75] == 1).all() and (x[0, 0, 75:] == 0).all()


@pytest.mark.parametrize("shape, dtype", [((4, 4, 3), np.float32), ((4, 4), np.uint8), ((4, 4, 1), np.uint8)])
def test_normalise_names_what_it_takes(shape, dtype):
    with pytest.raises(ValueError, match=r"pixels: uint8 \(..., H, W, 3\) is accepted, got"):
        images.normalise(np.zeros(shape, dtype), images.recipe("resnet50"))


# --- crops


@pytest.mark.parametrize("size, scale", [((512, 600), 256), ((600, 512), 224), ((301, 224), 225), ((224, 224), 640)])
def test_crops_are_torchvisions_ten(transforms, size, scale):
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    theirs = transforms.Compose([transforms.Resize(scale), transforms.TenCrop(224)])(Image.fromarray(pixels))
    mine = images.crops(Image.fromarray(pixels), "resnet50", (3, 224, 224), scale)
    assert mine.shape == (10, 224, 224, 3)
    theirs = np.stack([np.asarray(crop) for crop in theirs])
    # torchvision's left crop of the mirror image is our mirror image of the right crop; it rounds the centre once more
    np.testing.assert_array_equal(mine[:5], theirs[:5])
    order = [6, 5, 8, 7]
    np.testing.assert_array_equal(mine[5:9], theirs[order])
    np.testing.assert_array_equal(mine[9], mine[4][:, ::-1])


def test_fewer_crops_are_some_of_the_ten():
    photo, shape = images.photograph(), (3, 224, 224)
    ten = images.crops(photo, "resnet50", shape, 300)
    np.testing.assert_array_equal(images.crops(photo, "resnet50", shape, 300, 5), ten[:5])
    [centre] = images.crops(photo, "resnet50", shape, 300, 1)
    np.testing.assert_array_equal(centre, ten[4])


def test_one_crop_at_the_recipes_scale_is_prepare():
    for name in ("vgg16", "keras_vgg16", "inception_v3", "xception41", "lenet5-digits", "lenet5", "resnet20_cifar"):
        shape = models.get(name).input_shape
        made = images.recipe(name, shape[0])
        crop = images.crops(images.photograph(), name, shape, made.resized(shape[1]), 1)
        prepared = images.prepare(images.photograph(), name, shape)
        np.testing.assert_array_equal(images.normalise(crop, made), prepared, err_msg=name)


def test_crops_name_what_is_wrong():
    photo = images.photograph()
    with pytest.raises(ValueError, match="crops: 1, 5 or 10 is accepted, got 3"):
        images.crops(photo, "resnet50", (3, 224, 224), 256, 3)
    with pytest.raises(ValueError, match="scale: at least 224.*resnet50.*got 223"):
        images.crops(photo, "resnet50", (3, 224, 200), 223)
    with pytest.raises(ValueError, match="mine takes an input"):
        images.crops(photo, "mine", (4, 32, 32), 32)


def test_as_image(tmp_path):
    photo = images.photograph()
    photo.save(tmp_path / "photo.png")
    for given in (photo, tmp_path / "photo.png", str(tmp_path / "photo.png"), np.asarray(photo)):
        np.testing.assert_array_equal(np.asarray(images.as_image(given)), np.asarray(photo))
    with pytest.raises(TypeError, match="image: .*got list"):
        images.as_image([1, 2])
    for wrong in (np.zeros((4, 4, 3), np.float32), np.zeros((3, 4, 4), np.uint8), np.zeros((4, 0, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\)"):
            images.as_image(wrong)
