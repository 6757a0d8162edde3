from __future__ import annotations

import numpy as np
import pytest

from cnnkern.evaluate import topk


def test_sorted_best_first():
    scores = np.random.default_rng(0).standard_normal((3, 4, 17)).astype(np.float32)
    indices, values = topk(scores, 5)
    assert indices.shape == values.shape == (3, 4, 5)
    assert values.dtype == np.float32 and indices.dtype == np.int64
    np.testing.assert_array_equal(values, -np.sort(-scores, axis=-1)[..., :5])
    np.testing.assert_array_equal(np.take_along_axis(scores, indices, -1), values)


def test_ties_keep_the_order_of_the_classes():
    assert topk([1, 3, 3, 0, 3, 1], 6).indices.tolist() == [1, 2, 4, 0, 5, 3]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64])
def test_any_number_type(dtype):
    result = topk(np.array([0, 200 if dtype is not np.float16 else 2, 1], dtype=dtype), 2)
    assert result.indices.tolist() == [1, 2]
    assert result.values.dtype == dtype


def test_infinities_and_nan():
    assert topk([-np.inf, np.inf, 0.0], 3).indices.tolist() == [1, 2, 0]
    assert topk([1.0, np.nan, np.inf], 2).indices.tolist() == [1, 2]


def test_no_rows():
    assert topk(np.zeros((0, 10)), 3).indices.shape == (0, 3)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_k_out_of_range(k):
    with pytest.raises(ValueError, match=f"k: 1 to 3.*got {k}"):
        topk([1.0, 2.0, 3.0], k)


def test_scores_without_an_axis():
    with pytest.raises(ValueError, match="scores"):
        topk(3.0, 1)
