"""What the tests of the door to PyTorch share."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from ..models.conftest import make_pictures, timm, torch, torchvision  # noqa: F401  fixtures

TOLERANCE = 1e-4  # of the range of the output


@pytest.fixture(autouse=True)
def _fresh(torch):  # noqa: F811
    """No graph of another test, and no gradients."""
    torch._dynamo.reset()
    with torch.no_grad():
        yield


@pytest.fixture
def compiled(torch):  # noqa: F811
    """compiled(module, **options) -> what torch.compile makes of it with our backend; `.graphs` are our sides of it."""
    import cnnkern.torch

    def compile_(module, **options):
        graphs = []

        def backend(gm, example_inputs, **given):
            graphs.append(cnnkern.torch.backend(gm, example_inputs, **given))
            return graphs[-1]

        made = torch.compile(module, backend=backend, options=options or None)
        made.graphs = graphs
        return made

    return compile_


@pytest.fixture
def silent():
    """A warning is a failure: nothing falls back in silence, and nothing says that it did."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="cnnkern")
        warnings.filterwarnings("ignore", message=".*runs on the reference")
        yield


@pytest.fixture
def pictures(rng):
    """pictures(n, size) -> a tensor of images that differ."""
    import torch as pytorch

    return lambda n, size: pytorch.from_numpy(make_pictures((n, 3, size, size), seed=int(rng.integers(1 << 31))))


def error(mine, theirs) -> float:
    """The largest difference, a share of the range of what is expected."""
    assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
    if theirs.numel() == 0:
        return 0.0
    spread = float(theirs.max() - theirs.min()) or float(theirs.abs().max()) or 1.0
    return float((mine - theirs).abs().max()) / spread


def assert_same(mine, theirs) -> None:
    """The same structure of tensors, with values within the tolerance."""
    if isinstance(theirs, dict):
        assert list(mine) == list(theirs)
        mine, theirs = list(mine.values()), list(theirs.values())
    if isinstance(theirs, (tuple, list)):
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs):
            assert_same(a, b)
        return
    found = error(mine, theirs)
    assert found < TOLERANCE, found
    assert not np.isnan(found)
