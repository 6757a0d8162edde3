"""What the model tests share: pictures that differ, and torchvision beside the CPU build of torch."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

TORCHVISION_OPS = (
    "nms", "qnms", "roi_align", "_roi_align_backward", "roi_pool", "_roi_pool_backward", "ps_roi_align",
    "_ps_roi_align_backward", "ps_roi_pool", "_ps_roi_pool_backward", "deform_conv2d", "_deform_conv2d_backward",
)  # fmt: skip


def make_pictures(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """`shape` (N, C, H, W) of mean 0 and variance 1 whose detail is spread over all scales, as a photograph's is.

    White noise would not do: to a network that averages at its end any two samples of it look alike.
    """
    random, (n, c, h, w) = np.random.default_rng(seed), shape
    total = np.zeros(shape)
    for step in (1, 2, 4, 8, 16, 32, 64):
        coarse = random.standard_normal((n, c, -(-h // step), -(-w // step)))
        total += np.repeat(np.repeat(coarse, step, 2), step, 3)[:, :, :h, :w]
    total -= total.mean(axis=(1, 2, 3), keepdims=True)
    return (total / total.std(axis=(1, 2, 3), keepdims=True)).astype(np.float32)


@pytest.fixture
def pictures():
    return make_pictures


@pytest.fixture(scope="session")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="session")
def torchvision(torch):
    """torchvision.models. Wheels of torchvision made for CUDA do not load their own operators beside the CPU build of
    torch; no network here uses one, so empty ones of the same names stand in."""
    pytest.importorskip("PIL")
    try:
        return importlib.import_module("torchvision.models")
    except ModuleNotFoundError:
        pytest.skip("could not import 'torchvision'")
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for op in TORCHVISION_OPS:
        library.define(f"{op}(Tensor x) -> Tensor")
    torchvision_models = importlib.import_module("torchvision.models")
    torchvision_models.empty_operators = library  # they live as long as the library object
    return torchvision_models


@pytest.fixture(scope="session")
def timm(torchvision):
    return pytest.importorskip("timm")
