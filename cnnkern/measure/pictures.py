"""What networks are checked and timed on: the shipped photograph, and the answers of the oracle to it."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from .. import images
from . import accuracy

LARGE_MACS = 12_000_000_000  # beyond that the float64 reference takes a minute a network
REDUCED_MACS = 4_000_000_000


def photographs(model_name: str, input_shape: tuple[int, ...], batch: int, first: int = 0) -> np.ndarray:
    """The photograph as `batch` images that alternate between it and the same upside down with its colours reversed
    (`first` = 1 begins with that), so that two images differ and a mixed-up batch shows. Shape (batch, C, H, W). What
    takes more channels than a picture has, a module from within a network, gets its three again and again, shifted."""
    channels, *size = input_shape
    shape = (channels if channels in (1, 3) else 3, *size)
    # Random weights are drawn for inputs of about unit variance: on Caffe's 0..255 a softmax would say 0 and 1 alone.
    model_name = recipe_name(model_name)
    recipe_of = model_name if images.recipe(model_name, shape[0]).white == 1 else "any other"
    picture = images.prepare(images.photograph(), recipe_of, shape)
    if picture.shape[1] != channels:
        shifted = [np.roll(picture, i, axis=3) for i in range(-(-channels // picture.shape[1]))]
        picture = np.concatenate(shifted, axis=1)[:, :channels]
    other = picture[:, ::-1, ::-1]
    return alternating((picture, other), batch, first)


def recipe_name(name: str) -> str:
    """The name whose recipe prepares a model's pictures: "resnet50" for models/resnet50.onnx."""
    return Path(name).stem if name.lower().endswith(".onnx") else name


def alternating(pair: Any, batch: int, first: int = 0) -> np.ndarray:
    """`batch` items, each (1, ...), taken from `pair` in turns."""
    return np.ascontiguousarray(np.concatenate([pair[(first + i) % 2] for i in range(batch)]))


# Corners as shares of a picture's width and height: all of it, parts, a sliver, one that reaches beyond it.
BOXES = ((0, 0, 1, 1), (0.25, 0.05, 0.75, 0.6), (0.1, 0.4, 0.95, 0.9), (0.48, 0.2, 0.5, 0.8), (0.6, 0.5, 1.3, 1.1))


def inputs(name: str, model: Any, batch: int, first: int = 0) -> Any:
    """What a model takes for `batch` photographs: those, or a tuple of those and regions of them. A loaded model that
    says how many images it takes gets so many."""
    if hasattr(model, "batch"):
        return _declared(name, model, batch if model.batch is None else model.batch, first)
    return with_regions(model, photographs(name, model.input_shape, batch, first))


def with_regions(model: Any, x: np.ndarray) -> Any:
    """Images, and where the model takes regions too, BOXES of each: the first of all images, then the second ..."""
    if len(model.graph.inputs) == 1:
        return x
    n, _, h, w = x.shape
    rois = [[image, *np.multiply(box, (w - 1, h - 1) * 2)] for box in BOXES for image in range(n)]
    return x, np.array(rois, np.float32)


def _declared(name: str, model: Any, batch: int, first: int) -> Any:
    """What a loaded model declares: photographs for its images, seeded numbers of about unit variance for the rest."""
    arrays = []
    for port, shape in zip(model.inputs, model.default_shapes()):
        images_in = port.shape and (port.shape[0] == model.batch or not isinstance(port.shape[0], int))
        shape = (batch, *shape[1:]) if images_in else shape
        dtype = np.dtype("float32" if port.dtype in ("float16", "float64", "bfloat16") else port.dtype)
        if dtype == np.float32 and len(shape) == 4 and images_in and min(shape[2:]) >= 8:
            arrays.append(photographs(name, shape[1:], batch, first))
            continue
        drawn = [np.random.default_rng([zlib.crc32(port.name.encode()), i]) for i in (0, 1)]
        one = shape[1:] if images_in else shape
        pair = [r.standard_normal((1, *one)) if dtype.kind == "f" else r.integers(0, 2, (1, *one)) for r in drawn]
        made = alternating(pair, batch, first) if images_in else pair[first % 2][0]
        arrays.append(made.astype(dtype))
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def smaller(architecture: Any) -> tuple[int, int, int] | None:
    """A picture for the largest networks, of whole 32 pixels, on which they compute about REDUCED_MACS; None for the
    others."""
    if architecture.macs <= LARGE_MACS:
        return None
    channels, *size = architecture.input_shape
    scale = (REDUCED_MACS / architecture.macs) ** 0.5
    return (channels, *(max(64, 32 * round(side * scale / 32)) for side in size))


def two_answers(name: str, model: Any, output: str) -> np.ndarray:
    """The oracle's answer to two pictures; one after the other for a model that takes one at a time."""

    def answer(first: int) -> np.ndarray:
        return accuracy.reference_taps(model, inputs(name, model, 2, first), output.__eq__)[output]

    fixed = getattr(model, "batch", None)
    return np.concatenate([answer(0), answer(1)]) if fixed == 1 else answer(0)[: 2 if fixed else None]


class Course:
    """A model, what it is asked, and the float64 reference's answers, computed once for every batch size.

    Attributes: `varies`, how far the answers to the two pictures lie apart (`accuracy.variation`).
    """

    def __init__(self, name: str, model: Any):
        self.name, self.model = name, model
        self.output = model.graph.outputs[0]
        answer = two_answers(name, model, self.output)
        self.varies = accuracy.variation(answer)
        self._answers = np.split(answer, len(answer) // 2)  # of a box on both pictures

    def pictures(self, batch: int, first: int = 0) -> Any:
        """What the model takes for so many pictures, as `inputs`."""
        return inputs(self.name, self.model, batch, first)

    def answers(self, batch: int, first: int = 0) -> np.ndarray:
        return np.concatenate([alternating(np.split(both, 2), batch, first) for both in self._answers])
