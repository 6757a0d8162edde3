"""ONNX's resizing against the evaluator (float64 coordinates, as the specification's code), and against onnxruntime
where rounding cannot decide."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")

from nodecase import Case, check  # noqa: E402  needs onnx

from cnnkern.onnx.convert.resize import Method, by_scales, by_sizes, source  # noqa: E402

CLOSE = 5e-6
NONE = np.zeros(0, np.float32)
COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")


def image(rng, shape=None) -> np.ndarray:
    return rng.standard_normal(shape or (2, 3, *rng.integers(2, 9, 2)), np.float32)


def case(x, given, scales=None, sizes=None, roi=NONE, opset=19) -> Case:
    inputs = [x, roi, NONE if scales is None else np.asarray(scales, np.float32)]
    if sizes is not None:
        inputs = [x, roi, None, np.asarray(sizes, np.int64)] if opset >= 13 else [*inputs, np.asarray(sizes, np.int64)]
    return Case("Resize", inputs, given, [i for i in range(1, len(inputs)) if inputs[i] is not None], opset)


def clear(coordinates: str, plan) -> bool:
    """Whether no pixel is hit, or halved, but for a rounding in float64: there the evaluator reads others."""
    for axis in plan:
        twice = 2 * source(Method(coordinates=coordinates), axis)
        beside = np.abs(twice - np.round(twice))
        if ((beside > 0) & (beside < 1e-9)).any():
            return False
    return True


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ("nearest", "linear", "cubic"))
def test_sizes_and_scales(mode, coordinates, rng):
    for _ in range(4):
        x = image(rng)
        given = {"mode": mode, "coordinate_transformation_mode": coordinates}
        if mode == "nearest":
            given["nearest_mode"] = str(rng.choice(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))
        if mode == "cubic":
            given.update(cubic_coeff_a=float(rng.choice([-0.5, -0.75])), exclude_outside=int(rng.integers(0, 2)))
        sizes = [*x.shape[:2], *(int(v) for v in rng.integers(1, 17, 2))]
        if clear(coordinates, by_sizes(x.shape, range(4), sizes, "stretch")):
            check(case(x, given, sizes=sizes), "evaluator", tolerance=CLOSE)
        scales = [1, 1, *(rng.integers(1, 9, 2) * 0.5)]
        if clear(coordinates, by_scales(x.shape, range(4), scales)):
            check(case(x, given, scales=scales, opset=11), "evaluator", tolerance=CLOSE)


@pytest.mark.parametrize("mode", ("linear", "cubic"))
def test_antialias(mode, rng):
    for exclude in (0, 1):
        x = image(rng, (1, 2, 11, 9))
        given = {"mode": mode, "antialias": 1, "exclude_outside": exclude}
        for sizes in ([4, 3], [5, 9], [1, 2], [13, 4]):
            check(case(x, given, sizes=[1, 2, *sizes]), "evaluator", tolerance=CLOSE)


def test_crop_and_resize(rng):
    x = image(rng, (1, 2, 7, 6))
    for mode in ("nearest", "linear", "cubic"):
        for roi in ((0.2, 0.1, 0.8, 0.7), (-0.3, 0.2, 1.2, 1.4), (0.9, 0.8, 0.1, 0.2)):
            given = {"mode": mode, "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 10.0}
            whole = np.array([0, 0, *roi[:2], 1, 1, *roi[2:]], np.float32)
            check(case(x, given, sizes=[1, 2, 5, 4], roi=whole), "evaluator", tolerance=CLOSE)
            some = {**given, "axes": [2, 3], "extrapolation_value": 0.0}
            check(case(x, some, sizes=[5, 4], roi=np.array(roi, np.float32)), "evaluator", tolerance=CLOSE)


def test_axes_and_aspect(rng):
    x = image(rng, (1, 2, 6, 8))
    for policy in ("stretch", "not_larger", "not_smaller"):
        for axes, sizes in (([2, 3], [9, 7]), ([3, 2], [5, 9]), ([3], [12])):
            given = {"axes": axes, "keep_aspect_ratio_policy": policy, "mode": "linear"}
            check(case(x, given, sizes=sizes), "evaluator", tolerance=CLOSE)


def test_other_ranks(rng):
    for shape, sizes in (((7,), [11]), ((3, 5), [3, 8]), ((2, 5, 6), [2, 9, 4]), ((1, 2, 3, 4, 5), [1, 2, 6, 3, 7])):
        for mode in ("nearest", "linear"):
            check(case(image(rng, shape), {"mode": mode}, sizes=sizes), "evaluator", tolerance=CLOSE)


def test_as_onnxruntime(rng):
    """Whole factors and half pixels, which float32 holds."""
    for mode in ("nearest", "linear", "cubic"):
        for coordinates in COORDINATES[:1] + COORDINATES[2:]:
            for scales in ((2.0, 2.0), (4.0, 2.0), (0.5, 0.5)):
                x = image(rng, (1, 3, 8, 4))
                given = {"mode": mode, "coordinate_transformation_mode": coordinates}
                check(case(x, given, scales=[1, 1, *scales], opset=13), tolerance=2e-5)


def test_before_opset_11(rng):
    """Upsample, and Resize with scales alone: coordinates i / scale; nearest rounds down, and up where it shrinks."""
    x = image(rng, (1, 2, 6, 4))
    scales = np.array([1, 1, 2, 3], np.float32)
    for mode in ("nearest", "linear"):
        check(Case("Upsample", [x], {"mode": mode, "scales": scales.tolist()}, opset=7))
        check(Case("Upsample", [x, scales], {"mode": mode}, [1], 9))
        check(Case("Resize", [x, scales], {"mode": mode}, [1], 10))
        for less in (0.5, 0.75):
            check(Case("Resize", [x, np.array([1, 1, less, 0.5], np.float32)], {"mode": mode}, [1], 10))
