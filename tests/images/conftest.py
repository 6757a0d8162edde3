"""torchvision beside a build of torch that its compiled operations do not fit: the transforms need none of them."""

from __future__ import annotations

import os
import sys

import pytest


@pytest.fixture(scope="session")
def transforms():
    """The module torchvision.transforms; skips where torch or torchvision is not installed."""
    torch = pytest.importorskip("torch")
    if "torchvision" not in sys.modules:
        try:
            import torchvision  # noqa: F401
        except RuntimeError:  # "operator torchvision::nms does not exist": empty ones satisfy the import
            sys.modules.pop("torchvision", None)
            library = torch.library.Library("torchvision", "DEF")
            for name in ("nms", "qnms"):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            pytest.torchvision_operations = library  # the definitions last as long as the library object
    return pytest.importorskip("torchvision.transforms")


@pytest.fixture(scope="session")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")  # TensorFlow is no part of the test extra
    pytest.importorskip("torch")
    return pytest.importorskip("keras")
