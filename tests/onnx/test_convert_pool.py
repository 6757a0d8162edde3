"""ONNX's pooling against onnxruntime: windows of one to three axes, whole maps, regions."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")

from nodecase import BACKENDS, NEWEST, Case, check, in_cnnkern, in_onnxruntime  # noqa: E402  needs onnx

DRAWS = 12


def draw(rng, rank: int, dilated: bool = True):
    kernel = [int(v) for v in rng.integers(1, 4, rank)]
    strides = [int(v) for v in rng.integers(1, 4, rank)]
    dilations = [int(v) if dilated else 1 for v in rng.integers(1, 3, rank)]
    extent = [d * (k - 1) + 1 for d, k in zip(dilations, kernel)]
    spatial = [int(e + rng.integers(0, 6)) for e in extent]
    attributes = {"kernel_shape": kernel, "strides": strides}
    if dilated:
        attributes["dilations"] = dilations
    rule = rng.choice(["numbers", "SAME_UPPER", "SAME_LOWER", "VALID", "none"])
    if rule == "numbers":
        attributes["pads"] = [int(rng.integers(0, k)) for _ in range(2) for k in kernel]
    elif rule != "none":
        attributes["auto_pad"] = str(rule)
        if rule != "VALID":
            attributes.pop("dilations", None)
            attributes["strides"] = [min(s, k) for s, k in zip(strides, kernel)]  # else onnxruntime pads by less than 0
    return rng.standard_normal((2, 3, *spatial), np.float32), attributes


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("op", ("MaxPool", "AveragePool"))
def test_max_and_average_pool(op, rank, rng):
    for _ in range(DRAWS):
        x, attributes = draw(rng, rank)
        if op == "AveragePool":
            attributes["count_include_pad"] = int(rng.integers(0, 2))
        if "auto_pad" not in attributes:
            attributes["ceil_mode"] = int(rng.integers(0, 2))
        check(Case(op, [x], attributes))
    x, attributes = draw(rng, rank, dilated=False)
    check(Case(op, [x], attributes, opset=7))


@pytest.mark.parametrize("rank", (1, 2, 3))
def test_lp_pool(rank, rng):
    for p in (1, 2, 3):
        for _ in range(DRAWS // 3):
            x, attributes = draw(rng, rank, dilated=rank < 3)
            check(Case("LpPool", [x], {**attributes, "p": p}), tolerance=5e-6)


@pytest.mark.parametrize("rank", (1, 2, 3))
def test_whole_maps(rank, rng):
    x = rng.standard_normal((2, 3, *(int(v) for v in rng.integers(1, 6, rank))), np.float32)
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        check(Case(op, [x]))
    for p in (1, 2, 3):
        check(Case("GlobalLpPool", [x], {"p": p}, opset=13), tolerance=5e-6)


def test_windows_of_padding_alone(rng):
    """Their maximum is -inf."""
    x = rng.standard_normal((1, 2, 4, 4), np.float32)
    y = in_cnnkern(Case("MaxPool", [x], {"kernel_shape": [1, 1], "pads": [1, 0, 0, 0]}), "reference")[0]
    assert np.isneginf(y[:, :, 0]).all() and np.array_equal(y[:, :, 1:], x)


def test_max_roi_pool(rng):
    x = rng.standard_normal((2, 3, 9, 11), np.float32)
    rois = np.array([[0, 0, 0, 7, 7], [1, 3, 2, 15, 12], [1, 2, 2, 2, 2]], np.float32)
    check(Case("MaxRoiPool", [x, rois], {"pooled_shape": [2, 3], "spatial_scale": 0.5}, opset=13))


@pytest.mark.parametrize("rank", (1, 2))
def test_indices(rank, rng):
    """Counted through the whole array; the maxima differ, so that onnxruntime's are the same."""
    for order in (0, 1):
        x, attributes = draw(rng, rank)
        x = rng.permutation(x.size).reshape(x.shape).astype(np.float32)
        case = Case("MaxPool", [x], {**attributes, "storage_order": order}, outputs=2, opset=NEWEST)
        expected = in_onnxruntime(case)
        for backend in BACKENDS:
            found = in_cnnkern(case, backend)
            assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])
            assert found[1].dtype == np.int64
