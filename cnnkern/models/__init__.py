"""Architectures by name.

`list` and `create` are the public calls; a family is a file here: a table, a short builder, the paper, and the
published parameter and operation counts, which are tested.
"""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from . import (  # noqa: F401  (each family registers its rows)
    alexnet,
    deepface,
    densenet,
    digits,
    efficientnet,
    fast_rcnn,
    fractalnet,
    googlenet,
    inception,
    inception_resnet,
    keras_inception,
    keras_mnist,
    keras_mobilenet,
    keras_resnet,
    keras_sequential,
    keras_vgg,
    lenet,
    mobilenet,
    nasnet,
    nin,
    resnet,
    resnet_cifar,
    resnet_v2,
    senet,
    shufflenet,
    shufflenet_v1,
    squeezenet,
    vgg,
    xception,
    zfnet,
)
from .registry import ALIASES, ARCHITECTURES, Architecture

if TYPE_CHECKING:
    from ..model import Model

__all__ = ["Architecture", "create", "get", "list"]


def list(pattern: str = "*") -> tuple[str, ...]:
    """The names of the architectures, sorted; `pattern` as in a shell, an alias resolves to the name it stands for.

    Example:
        >>> cnnkern.models.list("resnet??")
        ('resnet18', 'resnet34', 'resnet50')
    """
    found = {name for name in ARCHITECTURES if fnmatchcase(name, pattern)}
    found |= {name for alias, name in ALIASES.items() if fnmatchcase(alias, pattern)}
    return tuple(sorted(found))


def get(name: str) -> Architecture:
    """The registered architecture of this name or alias.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    if not isinstance(name, str):
        raise TypeError(f"name: expected the name of an architecture (a str), got {type(name).__name__}")
    known = ALIASES.get(name, name)
    if known in ARCHITECTURES:
        return ARCHITECTURES[known]
    nearest = difflib.get_close_matches(name, [*ARCHITECTURES, *ALIASES], n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(nearest)}" if nearest else "cnnkern.models.list() has them all"
    raise ValueError(f"unknown architecture {name!r}; {hint}")


def create(
    name: str,
    num_classes: int | None = None,
    include_top: bool = True,
    input_shape: tuple[int, int, int] | None = None,
    seed: int = 0,
) -> Model:
    """A network with seeded random weights (or the trained ones it ships with), made when first needed.

    Args:
        name: an id of `list()`, or torchvision's or timm's name of the very same network.
        num_classes: the width of the classifier; default the published one (1000, 10 for the digit networks).
        include_top: False ends the network in its last feature map, before pooling and classifier.
        input_shape: (C, H, W); default the published one.
        seed: of the random weights; the same seed gives the same weights on every machine.

    Returns:
        A `cnnkern.Model`.

    Raises:
        ValueError: an unknown name (the nearest ones are named), or an input_shape the network cannot take.

    Example:
        >>> m = cnnkern.models.create("resnet50")
        >>> m.param_count, m.macs
        (25557032, 4089184256)
    """
    from ..model import Model

    return Model.of(get(name), num_classes=num_classes, include_top=include_top, input_shape=input_shape, seed=seed)
