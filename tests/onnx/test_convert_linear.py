"""ONNX's products of matrices against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")

from nodecase import Case, check  # noqa: E402  needs onnx

CLOSE = 5e-6


def numbers(rng, shape) -> np.ndarray:
    return np.asarray(rng.standard_normal(shape, np.float32))


@pytest.mark.parametrize("constant", ([], [1], [1, 2], [0], [2]))
def test_gemm(constant, rng):
    m, k, n = (int(v) for v in rng.integers(2, 9, 3))
    for a in (0, 1):
        for b in (0, 1):
            left, right = numbers(rng, (k, m) if a else (m, k)), numbers(rng, (n, k) if b else (k, n))
            for bias in ((n,), (1, n), (m, n), (m, 1), (1,), (), (1, 1)):
                for scales in ({}, {"alpha": 0.5, "beta": 0.25}):
                    given = {"transA": a, "transB": b, **scales}
                    check(Case("Gemm", [left, right, numbers(rng, bias)], given, constant), tolerance=CLOSE)
            if 2 not in constant:
                check(Case("Gemm", [left, right], {"transA": a, "transB": b}, constant), tolerance=CLOSE)


@pytest.mark.parametrize("constant", ([], [0], [1]))
def test_matmul(constant, rng):
    shapes = [((4, 5), (5, 3)), ((2, 4, 5), (5, 3)), ((2, 3, 4, 5), (5, 2)), ((2, 4, 5), (2, 5, 3)), ((5,), (5, 3)),
              ((4, 5), (5,)), ((5,), (5,)), ((3, 1, 4, 5), (2, 5, 3)), ((1, 4, 5), (6, 5, 2))]  # fmt: skip
    for a, b in shapes:
        check(Case("MatMul", [numbers(rng, a), numbers(rng, b)], {}, constant), tolerance=CLOSE)


@pytest.mark.parametrize(
    "equation, shapes",
    [
        ("ij,jk->ik", ((3, 4), (4, 5))),
        ("ij,jk", ((3, 4), (4, 5))),
        ("bij,bjk->bik", ((2, 3, 4), (2, 4, 5))),
        ("bhwc,hkc->bhwk", ((2, 3, 4, 5), (3, 6, 5))),
        ("i,j->ij", ((3,), (4,))),
        ("i,i->", ((3,), (3,))),
        ("ij->ji", ((3, 4),)),
        ("ij->", ((3, 4),)),
        ("ijk->kj", ((3, 4, 5),)),
        ("ii->i", ((4, 4),)),
        ("ii->", ((4, 4),)),
        ("ij,kl->il", ((3, 4), (2, 5))),
        ("...ij,...jk->...ik", ((2, 6, 3, 4), (1, 6, 4, 5))),
        ("...ij,jk", ((2, 6, 3, 4), (4, 5))),
        ("ij,jk,kl->il", ((3, 4), (4, 5), (5, 2))),
        ("bchw,bcuv->bhwuv", ((2, 3, 2, 4), (2, 3, 3, 2))),
        ("ab,ab->ab", ((3, 4), (3, 4))),
    ],
)
def test_einsum(equation, shapes, rng):
    arrays = [numbers(rng, shape) for shape in shapes]
    for constant in ([], [len(arrays) - 1] * (len(arrays) > 1)):
        y = check(Case("Einsum", arrays, {"equation": equation}, constant), "evaluator", tolerance=CLOSE)
        assert np.isfinite(y).all()
