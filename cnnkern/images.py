"""From a picture on disk to the array a network takes: loading, torchvision's evaluation preprocessing, digits.

Needs Pillow; NumPy arrays out. The recipe is Resize (shorter side) -> CenterCrop -> ToTensor -> Normalize, to the bit
as `torchvision.transforms` does it on PIL images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from . import data

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DIGIT_MEAN = (0.3,)  # of the training scans after upsampling, rounded
DIGIT_STD = (0.32,)

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_MAX_PIXELS = 1 << 28  # of a resized picture; more comes only from a picture far longer than wide
_HALF = (0.5, 0.5, 0.5)

# How the published weights of a network were evaluated, where that is not the default of `preprocess`.
RECIPES: dict[str, dict[str, Any]] = {
    "alexnet_227": {"resize": 256},
    "efficientnet_b0": {"filter": "bicubic"},
    "mobilenet_v1_100": {"filter": "bicubic", "mean": _HALF, "std": _HALF},
    "xception41": {"resize": 331, "filter": "bicubic", "mean": _HALF, "std": _HALF},
}


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
    planes = np.asarray(pixels).reshape(height, width, len(mean)).transpose(2, 0, 1)
    unit = planes.astype(np.float32, order="C") / np.float32(255)
    return ((unit - _per_channel(mean)) / _per_channel(std))[np.newaxis]


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
    scan = _center_crop(_resize(bright_ink(image), 8, "box"), 8, 8)
    return preprocess(scan, 32, resize=32, mean=DIGIT_MEAN, std=DIGIT_STD)


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

    One-channel networks (the LeNets) get bright ink on black in [0, 1], as MNIST is; `lenet5-digits` see
    `preprocess_digit`; all others `preprocess` with their entry in `RECIPES`.

    Args:
        image: a PIL image.
        model: an id of `cnnkern.models.list()`, or any name for a network of one's own.
        input_shape: ..., C, H, W; what stands in front is ignored.
    Returns:
        float32 array (1, C, H, W).
    Raises:
        ValueError: the network does not take pictures of 1 or 3 channels.
    Example:
        >>> from cnnkern import images
        >>> images.prepare(images.photograph(), "inception_v3", (3, 299, 299)).shape
        (1, 3, 299, 299)
    """
    if len(input_shape) < 3 or input_shape[-3] not in (1, 3):
        raise ValueError(f"{model} takes an input of {tuple(input_shape)}; pictures suit (..., 1 or 3, H, W)")
    channels, height, width = input_shape[-3:]
    if model == "lenet5-digits":
        return preprocess_digit(image)
    if channels == 1:
        return preprocess(bright_ink(image), (height, width), resize=max(height, width), mean=(0.0,), std=(1.0,))
    return preprocess(image, (height, width), **RECIPES.get(model, {}))


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
