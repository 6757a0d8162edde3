"""ONNX's moves against onnxruntime: reshapes, transpositions, parts, padding."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")

from nodecase import NEWEST, Case, check  # noqa: E402  needs onnx


def numbers(rng, shape=(2, 3, 4, 5)) -> np.ndarray:
    return np.asarray(rng.standard_normal(shape, np.float32))


def exact(case: Case, *oracles: str) -> np.ndarray:
    return check(case, *oracles, tolerance=0)


def test_reshape(rng):
    x = numbers(rng)
    for shape in ([2, -1], [0, 0, -1], [120], [-1, 5], [4, 0, 2, 5], [1, 2, 3, 4, 5], [0, 0, 0, 0], [6, 20], [2, 60]):
        for constant in ([], [1]):
            exact(Case("Reshape", [x, np.array(shape)], {}, constant))
    exact(Case("Reshape", [numbers(rng, (1, 1)), np.zeros(0, np.int64)], {}, [1]))
    exact(Case("Reshape", [numbers(rng, ()), np.array([1, 1])], {}, [1]))
    exact(Case("Reshape", [numbers(rng, (0, 3, 4)), np.array([3, 4, 0])], {"allowzero": 1}, [1]))


def test_flatten(rng):
    for shape in ((2, 3, 4, 5), (3,), (2, 3)):
        for axis in range(-len(shape), len(shape) + 1):
            exact(Case("Flatten", [numbers(rng, shape)], {"axis": axis}))
    exact(Case("Flatten", [numbers(rng)], opset=7))


def test_squeeze_and_unsqueeze(rng):
    x = numbers(rng, (1, 3, 1, 5))
    for axes in ([0], [2], [0, 2], [-2], [0, -2]):
        exact(Case("Squeeze", [x], {"axes": axes}, opset=11))
        exact(Case("Squeeze", [x, np.array(axes)], {}, [1]))
    exact(Case("Squeeze", [x]))
    for axes in ([0], [2, 0], [-1], [1, -1], [4]):
        exact(Case("Unsqueeze", [x], {"axes": axes}, opset=11))
        exact(Case("Unsqueeze", [x, np.array(axes)], {}, [1]))


def test_transpose(rng):
    for shape in ((2, 3, 4, 5), (2, 1, 4, 1), (4, 3), (5,), (2, 3, 4, 5, 2)):
        exact(Case("Transpose", [numbers(rng, shape)]))
        for _ in range(4):
            exact(Case("Transpose", [numbers(rng, shape)], {"perm": rng.permutation(len(shape)).tolist()}))


def test_concat(rng):
    for axis in (-4, -1, 0, 1, 2):
        shapes = [[2, 3, 4, 5] for _ in range(3)]
        for i, shape in enumerate(shapes):
            shape[axis] = i + 1
        exact(Case("Concat", [numbers(rng, shape) for shape in shapes], {"axis": axis}, [2]))
    exact(Case("Concat", [numbers(rng)], {"axis": 1}))
    exact(Case("Concat", [numbers(rng, (2, 0)), numbers(rng, (2, 3))], {"axis": 1}))


def test_expand_and_tile(rng):
    for shape, to in (((3, 1), (2, 3, 4)), ((2, 3), (1, 1)), ((1,), (4, 5)), ((), (2, 2)), ((2, 3, 4), (2, 3, 4))):
        exact(Case("Expand", [numbers(rng, shape), np.array(to)], {}, [1]))
        exact(Case("Expand", [numbers(rng, shape), np.array(to)]))
    for repeats in ([1, 2, 1, 3], [1, 1, 1, 1], [2, 1, 1, 1]):
        exact(Case("Tile", [numbers(rng), np.array(repeats)], {}, [1]))


@pytest.mark.parametrize("block", (1, 2, 3))
def test_blocks(block, rng):
    x = numbers(rng, (2, 2 * block * block, 3, 2))
    for given in ({}, {"mode": "DCR"}, {"mode": "CRD"}):
        exact(Case("DepthToSpace", [x], {"blocksize": block, **given}, opset=13))
    exact(Case("SpaceToDepth", [numbers(rng, (2, 3, 2 * block, 3 * block))], {"blocksize": block}, opset=13))


def test_split(rng):
    x = numbers(rng, (2, 7, 6))
    exact(Case("Split", [x], {"axis": 1, "split": [2, 5]}, opset=11, outputs=2))
    exact(Case("Split", [x], {"axis": -1}, opset=7, outputs=3))
    exact(Case("Split", [x], opset=11, outputs=2))
    for constant in ([], [1]):
        exact(Case("Split", [x, np.array([1, 0, 6])], {"axis": 1}, constant, 13, 3))
    exact(Case("Split", [x], {"axis": 2}, opset=13, outputs=3))
    for count in (1, 2, 3, 4):
        exact(Case("Split", [x], {"axis": 1, "num_outputs": count}, outputs=count))


def test_slice(rng):
    """Any bounds, within and beyond the ends, both ways, against the specification's clamping (onnxruntime)."""
    x = numbers(rng, (3, 7, 6))
    for _ in range(60):
        axes = [int(axis) for axis in rng.permutation(3)[: int(rng.integers(1, 4))]]
        starts, ends = (rng.integers(-10, 11, len(axes)) for _ in range(2))
        steps = rng.choice([-3, -2, -1, 1, 2, 3], len(axes))
        exact(Case("Slice", [x, starts, ends, np.array(axes), steps], {}, [1, 2, 3, 4]))
        given = {"starts": starts.tolist(), "ends": ends.tolist(), "axes": axes}
        exact(Case("Slice", [x], given, opset=9))
    huge = np.iinfo(np.int64).max
    for start, end, step in ((0, huge, 1), (-1, -huge, -1), (huge, -huge - 1, -2), (2, huge, 2)):
        exact(Case("Slice", [x, *(np.array([v]) for v in (start, end, 1, step))]))
    exact(Case("Slice", [x, np.array([1]), np.array([3])], {}, [1, 2]))


def test_gather(rng):
    x = numbers(rng, (3, 7, 6))
    for axis in (0, 1, -1):
        size = x.shape[axis]
        for indices in (1, -1, [0], [2, 1, 0], [0, 2], [1, 1], [-1, 0, 1], [[0, 1], [2, -2]], [[2]], []):
            exact(Case("Gather", [x, np.array(indices, np.int64)], {"axis": axis}, [1]))
        exact(Case("Gather", [x, rng.integers(-size, size, (2, 3, 2))], {"axis": axis}, [1]))


@pytest.mark.parametrize("mode", ("constant", "reflect", "edge", "wrap"))
def test_pad(mode, rng):
    for shape in ((2, 3, 4, 5), (5,), (2, 3, 4), (1, 2, 3, 4, 5)):
        for _ in range(4):
            room = [size - 1 if mode == "reflect" else size for size in shape]
            pads = np.array([int(rng.integers(0, min(r, 4) + 1)) for _ in range(2) for r in room])
            opset = 19 if mode == "wrap" else int(rng.choice([13, 18]))
            exact(Case("Pad", [numbers(rng, shape), pads], {"mode": mode}, [1], opset), "evaluator")
            if mode != "wrap":
                exact(Case("Pad", [numbers(rng, shape)], {"mode": mode, "pads": pads.tolist()}, opset=7))


def test_pad_of_axes_and_values(rng):
    x = numbers(rng)
    for value in (0.0, 1.5, -np.inf):
        for constant in ([1, 2], [1], []):
            inputs = [x, np.array([0, 0, 1, 2, 0, 0, 3, 0]), np.array(value, np.float32)]
            exact(Case("Pad", inputs, {}, constant))
        inputs = [x, np.array([1, 2, 0, 1]), np.array(value, np.float32), np.array([-1, 1])]
        exact(Case("Pad", inputs, {}, [1, 2, 3]))
    exact(Case("Pad", [x], {"pads": [0, 1, 0, 0, 0, 0, 0, 2], "value": 2.5}, opset=7))


def test_pad_that_crops(rng):
    x = numbers(rng)
    for pads in ([0, -1, 0, -1, 0, 0, -2, -1], [0, -1, 2, -1, 0, 1, -1, 2], [0, 0, -4, 0, 0, 0, 2, 0]):
        exact(Case("Pad", [x, np.array(pads)], {}, [1]))
    y = exact(Case("Pad", [x, np.array([0, 0, -1, 0, 0, 0, 2, 0])], {"mode": "reflect"}, [1]))
    assert y.shape == (2, 3, 5, 5)


def test_center_crop_pad(rng):
    for shape in ((5, 3, 4, 5), (2, 8, 3, 9), (1, 3, 5, 4)):
        exact(Case("CenterCropPad", [numbers(rng), np.array(shape)], {}, [1], 18), "evaluator")
    exact(Case("CenterCropPad", [numbers(rng), np.array([7, 2])], {"axes": [-1, 1]}, [1], 18), "evaluator")


def test_opsets_agree(rng):
    """What is the same in every opset."""
    for opset in range(7, NEWEST + 1):
        exact(Case("Transpose", [numbers(rng)], {"perm": [0, 2, 3, 1]}, opset=opset))
        exact(Case("Flatten", [numbers(rng)], opset=opset))
