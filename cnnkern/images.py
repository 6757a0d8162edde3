"""From a picture on disk to the array a network takes: loading, evaluation preprocessing, crops, digits.

Needs Pillow; NumPy arrays out. Resize (shorter side) -> CenterCrop -> ToTensor -> Normalize are to the bit as
`torchvision.transforms` does them on PIL images. Which network wants what stands in recipes.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from . import data
from .recipes import DIGIT_MEAN, DIGIT_STD, IMAGENET_MEAN, IMAGENET_STD, Recipe, recipe

__all__ = [
    "CROPS", "DIGIT_MEAN", "DIGIT_STD", "IMAGENET_MEAN", "IMAGENET_STD", "Recipe", "as_image", "bright_ink", "crops",
    "load_image", "normalise", "photograph", "prepare", "preprocess", "preprocess_digit", "recipe",
]  # fmt: skip

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_MAX_PIXELS = 1 << 28  # of a resized picture; more comes only from a picture far longer than wide
CROPS = (1, 5, 10)  # how many `crops` makes: the centre; the corners too; their mirror images too


def load_image(path: str | os.PathLike[str]) -> Image.Image:
    """Read a picture, upright, as 8-bit RGB.

    The camera's orientation tag is applied, transparent pixels become white paper, 16-bit grey is scaled to 8 bits.

    Args:
        path: a file in any format that Pillow reads.
    Returns:
        A PIL image of mode "RGB".
    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no picture, is truncated, or is absurdly large; the message names the path.
    Example:
        >>> from cnnkern import data, images
        >>> images.load_image(data.path("grace_hopper.jpg")).size
        (512, 600)
    """
    with open(path, "rb") as file:
        try:
            image = Image.open(file)
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
        except MemoryError:
            raise
        except Exception as error:  # a damaged file makes Pillow raise OSError, SyntaxError, struct.error and others
            reason = "not a picture that Pillow can read" if isinstance(error, Image.UnidentifiedImageError) else error
            raise ValueError(f"{os.fspath(path)}: {reason}") from error


def photograph() -> Image.Image:
    """The photograph in the package: Grace Hopper, U.S. Navy portrait (public domain), 512x600.

    Returns:
        A PIL image of mode "RGB".
    Example:
        >>> from cnnkern import images
        >>> images.photograph().mode
        'RGB'
    """
    return load_image(data.path("grace_hopper.jpg"))


def preprocess(
    image: Image.Image,
    size: int | tuple[int, int],
    resize: int | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    *,
    filter: str = "bilinear",
) -> np.ndarray:
    """A picture as a network's input: y = (crop(resize(image)) / 255 - mean) / std.

    Equal to the bit to torchvision's Resize(resize, filter) -> CenterCrop(size) -> ToTensor -> Normalize(mean, std) on
    a PIL image, with one batch axis in front.

    Args:
        image: a PIL image; converted to RGB, or to grey if `mean` has one value (ITU-R 601 luma).
        size: the crop in pixels, one number or (H, W).
        resize: length in pixels of the shorter side before the crop; by default round(max(size) / 0.875), that is
            256 for 224. `resize=size` leaves no margin.
        mean, std: per channel, on the scale where white is 1; their length, 1 or 3, is the number of channels.
        filter: "bilinear", "bicubic", "box" or "nearest"; all but the last average when they shrink (antialias).
    Returns:
        float32 array (1, C, H, W).
    Raises:
        TypeError: `image` is no PIL image.
        ValueError: a size, `filter` or `mean` and `std` that make no sense, or a picture far longer than wide.
    Example:
        >>> from cnnkern import images
        >>> images.preprocess(images.photograph(), 224).shape
        (1, 3, 224, 224)
    """
    if not isinstance(image, Image.Image):
        raise TypeError(f"image: a PIL image is accepted (see load_image), got {type(image).__name__}")
    if len(mean) != len(std) or len(mean) not in (1, 3):
        raise ValueError(f"mean, std: 1 or 3 values each are accepted, got {len(mean)} and {len(std)}")
    if not all(s > 0 for s in std):
        raise ValueError(f"std: positive values are accepted, got {tuple(std)}")
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"size: positive pixel counts are accepted, got {size}")
    shorter = round(max(height, width) / 0.875) if resize is None else resize
    pixels = _center_crop(_resize(_convert(image, len(mean)), shorter, filter), height, width)
    return normalise(np.asarray(pixels), Recipe(tuple(mean), tuple(std)))


def normalise(pixels: np.ndarray, recipe: Recipe) -> np.ndarray:
    """8-bit pixels as a network's input, y = (pixel * white / 255 - mean) / std in the recipe's order of channels.

    Args:
        pixels: uint8 (H, W), (H, W, C) or (N, H, W, C), RGB where there are three channels.
        recipe: says `white`, `mean`, `std` and `order`; its length says C.
    Returns:
        float32 array (N, C, H, W).
    Raises:
        ValueError: another dtype or shape.
    Example:
        >>> import numpy as np
        >>> from cnnkern import images
        >>> images.normalise(np.zeros((2, 4, 4, 3), np.uint8), images.recipe("keras_vgg16"))[0, :, 0, 0].tolist()
        [-103.93900299072266, -116.77899932861328, -123.68000030517578]
    """
    pixels, channels = np.asarray(pixels), recipe.channels
    images = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    images = images[np.newaxis] if images.ndim == 3 else images
    if pixels.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != channels:
        wanted = f"uint8 (..., H, W, {channels})"
        raise ValueError(f"pixels: {wanted} is accepted, got {pixels.dtype} {pixels.shape}")
    if recipe.order == "BGR":
        images = images[..., ::-1]
    planes = images.transpose(0, 3, 1, 2).astype(np.float32, order="C") / np.float32(255 / recipe.white)
    return (planes - _per_channel(recipe.mean)) / _per_channel(recipe.std)


def preprocess_digit(image: Image.Image) -> np.ndarray:
    """A picture of one handwritten digit as the input of `lenet5-digits`.

    The training scans are 8x8 counts of ink, and every picture is brought to that resolution first, so that a large
    picture meets the network as sharp, or as blurred, as those it learnt from:
    bright ink on black (`bright_ink`) -> 8x8 (box average, centre crop) -> 32x32 (bilinear) -> (y / 255 - mean) / std
    with `DIGIT_MEAN` and `DIGIT_STD`.

    Args:
        image: a PIL image that the digit fills from top to bottom; dark on light or light on dark.
    Returns:
        float32 array (1, 1, 32, 32).
    Example:
        >>> from cnnkern import data, images
        >>> images.preprocess_digit(images.load_image(data.path("digit_7.png"))).shape
        (1, 1, 32, 32)
    """
    return prepare(image, "lenet5-digits", (1, 32, 32))


def bright_ink(image: Image.Image) -> Image.Image:
    """A drawing in grey with the background dark: inverted where the median of its border is lighter than half.

    Args:
        image: a PIL image.
    Returns:
        A PIL image of mode "L", the same size.
    Example:
        >>> from PIL import Image
        >>> from cnnkern import images
        >>> images.bright_ink(Image.new("RGB", (8, 8), "white")).getpixel((0, 0))
        0
    """
    grey = _convert(image, 1)
    pixels = np.asarray(grey)
    border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    return ImageOps.invert(grey) if np.median(border) > 127 else grey


def prepare(image: Image.Image, model: str, input_shape: Sequence[int]) -> np.ndarray:
    """A picture as the input of the network with this id, by the recipe its published weights were evaluated with.

    Args:
        image: a PIL image.
        model: an id of `cnnkern.models.list()`, or any name for a network of one's own: see `recipe`.
        input_shape: ..., C, H, W; what stands in front is ignored.
    Returns:
        float32 array (1, C, H, W).
    Raises:
        TypeError: `image` is no PIL image.
        ValueError: the network does not take pictures of 1 or 3 channels.
    Example:
        >>> from cnnkern import images
        >>> images.prepare(images.photograph(), "inception_v3", (3, 299, 299)).shape
        (1, 3, 299, 299)
    """
    made, height, width = _recipe_and_size(model, input_shape)
    picture = _start(image, made)
    if made.squash:
        resized = (made.resized(width), made.resized(height))
        picture = picture if picture.size == resized else picture.resize(resized, _FILTERS[made.filter])
    else:
        picture = _resize(picture, made.resized(max(height, width)), made.filter)
    return normalise(np.asarray(_center_crop(picture, height, width)), made)


def as_image(image: Image.Image | str | os.PathLike[str] | np.ndarray) -> Image.Image:
    """A PIL image from one, from the path of one, or from an array of pixels.

    Args:
        image: a PIL image, a path, or uint8 (H, W, 3).
    Returns:
        A PIL image; a file or an array gives mode "RGB".
    Raises:
        TypeError: something else. ValueError: an array of another dtype or shape, or a file that is no picture.
    """
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, (str, os.PathLike)):
        return load_image(image)
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise TypeError(f"image: a PIL image, a path or a uint8 array (H, W, 3) is accepted, got {kind}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image: an array is accepted as uint8 (H, W, 3), got {image.dtype} {image.shape}")
    return Image.fromarray(image)


def crops(image: Image.Image, model: str, input_shape: Sequence[int], scale: int, count: int = 10) -> np.ndarray:
    """Pieces of a picture of a network's input size, after its shorter side was resized to `scale`.

    Args:
        image: a PIL image.
        model, input_shape: as for `prepare`, whose filter and first steps (a digit's bright ink) they decide.
        scale: length in pixels of the shorter side, at least that of the input's longer one.
        count: 1: the centre; 5: top left, top right, bottom left, bottom right, centre; 10: these and their mirror
            images (Krizhevsky et al. 2012, https://papers.nips.cc/paper/4824).
    Returns:
        uint8 (count, H, W, C), RGB; `normalise` makes inputs of them.
    Raises:
        TypeError, ValueError: a bad image, shape, scale or count.
    Example:
        >>> from cnnkern import images
        >>> images.crops(images.photograph(), "resnet50", (3, 224, 224), scale=256).shape
        (10, 224, 224, 3)
    """
    if count not in CROPS:
        raise ValueError(f"crops: {', '.join(map(str, CROPS[:-1]))} or {CROPS[-1]} is accepted, got {count!r}")
    made, height, width = _recipe_and_size(model, input_shape)
    if scale < max(height, width):
        raise ValueError(f"scale: at least {max(height, width)}, the size of {model}'s input, is accepted, got {scale}")
    picture = _resize(_start(image, made), scale, made.filter)
    pieces = [np.asarray(_center_crop(picture, height, width))]
    if count > 1:
        pixels, right, low = np.asarray(picture), picture.size[0] - width, picture.size[1] - height
        pieces = [pixels[y : y + height, x : x + width] for y in (0, low) for x in (0, right)] + pieces
    stack = np.stack(pieces).reshape(len(pieces), height, width, made.channels)
    return np.concatenate([stack, stack[:, :, ::-1]]) if count == 10 else stack


def _recipe_and_size(model: str, input_shape: Sequence[int]) -> tuple[Recipe, int, int]:
    if len(input_shape) < 3 or input_shape[-3] not in (1, 3):
        raise ValueError(f"{model} takes an input of {tuple(input_shape)}; pictures suit (..., 1 or 3, H, W)")
    channels, height, width = input_shape[-3:]
    return recipe(model, channels), height, width


def _start(image: Image.Image, made: Recipe) -> Image.Image:
    """What comes before any cropping: the colours, and for drawings bright ink and the resolution of the scans."""
    if not isinstance(image, Image.Image):
        raise TypeError(f"image: a PIL image is accepted (see load_image), got {type(image).__name__}")
    picture = bright_ink(image) if made.ink else _convert(image, made.channels)
    if made.scan:
        picture = _center_crop(_resize(picture, made.scan, "box"), made.scan, made.scan)
    return picture


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion to 8 bits clips
        grey = np.clip(np.asarray(image), 0, 65535) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if "transparency" in image.info or image.mode.endswith(("A", "a")):
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _convert(image: Image.Image, channels: int) -> Image.Image:
    return image.convert("L" if channels == 1 else "RGB")


def _resize(image: Image.Image, shorter: int, filter: str) -> Image.Image:
    """The shorter side becomes `shorter`, the longer one floor(shorter * long / short), as torchvision rounds it."""
    if filter not in _FILTERS:
        raise ValueError(f"filter: one of {', '.join(_FILTERS)} is accepted, got {filter!r}")
    if shorter < 1:
        raise ValueError(f"resize: a positive number of pixels is accepted, got {shorter}")
    width, height = image.size
    short, long = min(width, height), max(width, height)
    if short == 0:
        raise ValueError(f"image: at least one pixel is accepted, got {width}x{height}")
    longer = int(shorter * long / short)
    if shorter * longer > _MAX_PIXELS:
        raise ValueError(f"image: {width}x{height} pixels, resized to a shorter side of {shorter}, is too large")
    if short == shorter:
        return image
    return image.resize((shorter, longer) if width < height else (longer, shorter), _FILTERS[filter])


def _center_crop(image: Image.Image, height: int, width: int) -> Image.Image:
    """The middle, black where the image is smaller than the crop."""
    left, top = (max(want - have, 0) // 2 for want, have in zip((width, height), image.size))
    if width > image.size[0] or height > image.size[1]:
        paper = Image.new(image.mode, (max(width, image.size[0]), max(height, image.size[1])))
        paper.paste(image, (left, top))
        image = paper
    # Halves round to even, as in torchvision.
    left, top = round((image.size[0] - width) / 2), round((image.size[1] - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _per_channel(values: Sequence[float]) -> np.ndarray:
    return np.asarray(values, dtype=np.float32).reshape(-1, 1, 1)
