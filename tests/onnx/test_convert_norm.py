"""ONNX's normalisations against onnxruntime, or the evaluator where that has none."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")

from nodecase import BACKENDS, Case, check, in_cnnkern  # noqa: E402  needs onnx

CLOSE = 1e-5  # means, differences, squares, sums, a root: a dozen roundings more than one sum has


def image(rng, rank: int = 4, channels: int = 6) -> np.ndarray:
    spatial = [int(v) for v in rng.integers(2, 7, rank - 2)]
    return rng.standard_normal((2, channels, *spatial), np.float32) * 2 + 1


def vectors(rng, size: int, count: int) -> list[np.ndarray]:
    return [rng.standard_normal(size, np.float32) for _ in range(count)]


@pytest.mark.parametrize("rank", (2, 3, 4, 5))
@pytest.mark.parametrize("opset", (7, 9, 14, 15))
def test_batch_norm(rank, opset, rng):
    x = image(rng, rank)
    scale, bias, mean, var = vectors(rng, 6, 4)
    for constant in ([], [1, 2, 3, 4]):
        check(Case("BatchNormalization", [x, scale, bias, mean, var**2], {"epsilon": 1e-3}, constant, opset))


def test_batch_norm_training(rng):
    x = image(rng)
    scale, bias, mean, var = vectors(rng, 6, 4)
    case = Case("BatchNormalization", [x, scale, bias, mean, var**2], {"training_mode": 1, "momentum": 0.8}, outputs=3)
    check(case, "evaluator", tolerance=CLOSE)


@pytest.mark.parametrize("rank", (3, 4, 5))
def test_instance_norm(rank, rng):
    for constant in ([], [1, 2]):
        check(Case("InstanceNormalization", [image(rng, rank), *vectors(rng, 6, 2)], {}, constant), tolerance=CLOSE)


@pytest.mark.parametrize("groups", (1, 2, 3, 6))
def test_group_norm(groups, rng):
    for rank in (3, 4):
        for constant in ([], [1, 2]):
            x, given = image(rng, rank), {"num_groups": groups, "epsilon": 1e-3}
            new = Case("GroupNormalization", [x, *vectors(rng, 6, 2)], given, constant, 21)
            check(new, "evaluator", tolerance=CLOSE)


def test_layer_norm(rng):
    x = image(rng)
    for axis in (-1, 1, 2, -4):
        shape = x.shape[axis:] if axis != -4 else x.shape
        for outputs, inputs in ((1, 2), (1, 3), (3, 3)):
            given = [x, *(rng.standard_normal(shape, np.float32) for _ in range(inputs - 1))]
            case = Case("LayerNormalization", given, {"axis": axis}, [1], 17, outputs)
            check(case, "evaluator", tolerance=CLOSE)
        check(Case("RMSNormalization", [x, rng.standard_normal(shape, np.float32)], {"axis": axis}), "evaluator",
              tolerance=CLOSE)  # fmt: skip


def test_mean_variance_norm(rng):
    for axes in ([0, 2, 3], [1, -1], [0]):
        check(Case("MeanVarianceNormalization", [image(rng)], {"axes": axes}, opset=13), tolerance=CLOSE)


def test_lp_norm(rng):
    x = image(rng)
    x[0, :, 0, 0] = 0
    for p in (1, 2):
        for axis in (-1, 1):
            y = check(Case("LpNormalization", [x], {"p": p, "axis": axis}))
            assert np.isfinite(y).all()


@pytest.mark.parametrize("size", (1, 2, 3, 4, 5, 8))
def test_lrn(size, rng):
    given = {"size": size, "alpha": 0.3, "beta": 0.6, "bias": 1.5}
    x = image(rng)
    if size % 2:
        check(Case("LRN", [x], given))
    squares = np.pad(x.astype(np.float64) ** 2, ((0, 0), ((size - 1) // 2, size // 2), (0, 0), (0, 0)))
    total = sum(squares[:, i : i + 6] for i in range(size))  # the specification's window
    for backend in BACKENDS:
        y = in_cnnkern(Case("LRN", [x], given), backend)[0]
        assert np.allclose(y, x / (1.5 + 0.3 / size * total) ** 0.6, rtol=1e-5, atol=1e-6)


def test_of_nothing(rng):
    """No images, or images without pixels, are nothing still."""
    for shape in ((0, 6, 3, 3), (2, 6, 0, 3)):
        x, given = np.zeros(shape, np.float32), vectors(rng, 6, 4)
        for case in (Case("BatchNormalization", [x, *given]), Case("LRN", [x], {"size": 3})):
            for backend in BACKENDS:
                assert in_cnnkern(case, backend)[0].shape == shape
