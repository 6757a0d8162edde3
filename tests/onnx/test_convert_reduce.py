"""ONNX's reductions, softmax and its kin, and running sums, against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")

from nodecase import NEWEST, Case, check  # noqa: E402  needs onnx

CLOSE = 5e-6  # sums of powers and logarithms
KINDS = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")


def numbers(rng, shape=(2, 3, 4, 5), positive: bool = False) -> np.ndarray:
    x = np.asarray(rng.standard_normal(shape, np.float32))
    return np.abs(x) + np.float32(0.01) if positive else x


def draw_axes(rng, rank: int) -> list[int]:
    axes = rng.permutation(rank)[: int(rng.integers(1, rank + 1))]
    return [int(axis) - (rank if rng.random() < 0.5 else 0) for axis in axes]


@pytest.mark.parametrize("kind", KINDS)
def test_reductions(kind, rng):
    """Axes by attribute (before 18; of ReduceSum before 13) and by input, none, all, and the planes of an image."""
    op, positive = f"Reduce{kind}", kind in ("LogSum", "Prod")
    first = 13 if kind == "Sum" else 18
    for _ in range(6):
        shape = tuple(int(v) for v in rng.integers(1, 6, int(rng.integers(1, 6))))
        x, axes, keep = numbers(rng, shape, positive), draw_axes(rng, len(shape)), {"keepdims": int(rng.integers(0, 2))}
        check(Case(op, [x], {"axes": axes, **keep}, opset=11), tolerance=CLOSE)
        for constant in ([], [1]):
            check(Case(op, [x, np.array(axes)], keep, constant, first), tolerance=CLOSE)
    for axes, keep in (([2, 3], 0), ([2, 3], 1), ([-1, -2], 0)):
        check(Case(op, [numbers(rng, positive=positive)], {"axes": axes, "keepdims": keep}, opset=11), tolerance=CLOSE)
    for keep in (0, 1):
        check(Case(op, [numbers(rng, positive=positive)], {"keepdims": keep}), tolerance=CLOSE)
        check(Case(op, [numbers(rng, positive=positive)], {"keepdims": keep}, opset=7), tolerance=CLOSE)
    none = np.zeros(0, np.int64)
    for inputs in ([numbers(rng, positive=True)], [numbers(rng, positive=True), none]):
        case = Case(op, inputs, {"noop_with_empty_axes": 1}, list(range(1, len(inputs))), NEWEST)
        check(case, "evaluator", tolerance=CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_of_nothing(kind):
    """Empty groups have the neutral element."""
    check(Case(f"Reduce{kind}", [np.zeros((2, 0, 4), np.float32), np.array([1])], {"keepdims": 1}, [1]), "evaluator")


@pytest.mark.parametrize("op", ("Softmax", "LogSoftmax", "Hardmax"))
def test_rows(op, rng):
    """Along one axis from opset 13 on; before, along all from it on, as one."""
    for shape in ((2, 3, 4, 5), (4, 7), (5,), (2, 6, 1, 1)):
        x = numbers(rng, shape) * 3
        for axis in range(-len(shape), len(shape)):
            check(Case(op, [x], {"axis": axis}), tolerance=CLOSE)
            check(Case(op, [x], {"axis": axis}, opset=11), tolerance=CLOSE)
        check(Case(op, [x]), tolerance=CLOSE)
        if len(shape) > 1:
            check(Case(op, [x], opset=7), tolerance=CLOSE)


def test_hardmax_takes_the_first(rng):
    x = rng.integers(0, 3, (6, 5)).astype(np.float32)
    x[0], x[1] = np.inf, -np.inf
    y = check(Case("Hardmax", [x]))
    assert np.array_equal(y.sum(axis=1), np.ones(6)) and np.array_equal(y.argmax(axis=1), x.argmax(axis=1))


@pytest.mark.parametrize("exclusive", (0, 1))
@pytest.mark.parametrize("reverse", (0, 1))
def test_running_sums(exclusive, reverse, rng):
    for shape in ((7,), (1,), (3, 5, 2), (2, 33)):
        for axis in range(-len(shape), len(shape)):
            case = Case(
                "CumSum", [numbers(rng, shape), np.array(axis)], {"exclusive": exclusive, "reverse": reverse}, [1]
            )
            check(case, tolerance=CLOSE)
