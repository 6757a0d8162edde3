"""The nine networks inside the onnx wheel, with random weights, beside onnxruntime: lightmodels.py says how."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")

import lightmodels  # noqa: E402  beside this file; needs onnx

from cnnkern import backends  # noqa: E402

TOLERANCE = 1e-4  # of the range; the softmax at the end is in it
VARIATION = 0.03  # of the range: how far the outputs of two inputs must lie apart
BACKEND = "cpu" if not backends.available()["cpu"] else None

NAMES = {
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19",
    "zfnet512",
}  # fmt: skip


def test_all_nine_are_here():
    assert set(lightmodels.NAMES) == NAMES


@pytest.mark.parametrize("name", lightmodels.NAMES)
def test_the_same_scores_as_onnxruntime(name, rng, record_property):
    error, variation, fallbacks = lightmodels.compare(name, rng, BACKEND)
    record_property("error", error)
    record_property("variation", variation)
    print(f"{name}: error {error:.1e} of the range, the two inputs move the output by {variation:.2f} of it")
    assert variation > VARIATION, "the outputs hardly vary: they prove nothing"
    assert error <= TOLERANCE
    assert fallbacks == []
