"""What networks are checked and timed on: the shipped photograph, and the answers of the oracle to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import images
from . import accuracy


def photographs(model_name: str, input_shape: tuple[int, ...], batch: int, first: int = 0) -> np.ndarray:
    """The photograph as `batch` images that alternate between it and the same upside down with its colours reversed
    (`first` = 1 begins with that), so that two images differ and a mixed-up batch shows. Shape (batch, C, H, W). What
    takes more channels than a picture has, a module from within a network, gets its three again and again, shifted."""
    channels, *size = input_shape
    picture = images.prepare(images.photograph(), model_name, (channels if channels in (1, 3) else 3, *size))
    if picture.shape[1] != channels:
        shifted = [np.roll(picture, i, axis=3) for i in range(-(-channels // picture.shape[1]))]
        picture = np.concatenate(shifted, axis=1)[:, :channels]
    other = picture[:, ::-1, ::-1]
    return alternating((picture, other), batch, first)


def alternating(pair: Any, batch: int, first: int = 0) -> np.ndarray:
    """`batch` items, each (1, ...), taken from `pair` in turns."""
    return np.ascontiguousarray(np.concatenate([pair[(first + i) % 2] for i in range(batch)]))


class Course:
    """A model, what it is asked, and the float64 reference's answers, computed once for every batch size.

    Attributes: `varies`, how far the answers to the two pictures lie apart (`accuracy.variation`).
    """

    def __init__(self, name: str, model: Any):
        self.name, self.model = name, model
        self.output = model.graph.outputs[0]
        pair = photographs(name, model.input_shape, 2)
        answer = accuracy.reference_taps(model, pair, self.output.__eq__)[self.output]
        self.varies = accuracy.variation(answer)
        self._pair, self._answers = np.split(pair, 2), np.split(answer, 2)

    def pictures(self, batch: int, first: int = 0) -> np.ndarray:
        return alternating(self._pair, batch, first)

    def answers(self, batch: int, first: int = 0) -> np.ndarray:
        return alternating(self._answers, batch, first)
