"""ONNX's functions of one array, of two and of many, against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")

from nodecase import BACKENDS, NEWEST, Case, check, in_cnnkern, in_evaluator  # noqa: E402  needs onnx

PLAIN = (
    "Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Softsign", "Mish", "Exp", "Log", "Sqrt", "Reciprocal", "Neg",
    "Abs", "Floor", "Ceil", "Round", "Erf", "Sign",
)  # fmt: skip
WITH = {
    "LeakyRelu": ({}, {"alpha": 0.3}, {"alpha": 2.5}, {"alpha": -0.5}),
    "Elu": ({}, {"alpha": 2.0}),
    "Selu": ({}, {"alpha": 1.2, "gamma": 0.7}),
    "Celu": ({}, {"alpha": 0.5}),
    "ThresholdedRelu": ({}, {"alpha": 0.4}, {"alpha": -0.4}),
    "HardSigmoid": ({}, {"alpha": 1 / 6}, {"alpha": 0.3, "beta": 0.7}),
    "Gelu": ({}, {"approximate": "tanh"}),
    "Shrink": ({}, {"lambd": 0.6, "bias": 0.25}, {"lambd": 0.0, "bias": -0.5}),
    "Clip": ({}, {"min": 0.0}, {"min": 0.0, "max": 6.0}, {"max": 0.5}, {"min": -0.4, "max": 0.7}),
}
ACCURATE = 5e-6  # float32 approximations of elementary functions, theirs and ours


def numbers(rng, shape=(2, 5, 3, 7), positive: bool = False) -> np.ndarray:
    x = np.asarray(rng.standard_normal(shape, np.float32)) * np.float32(3)
    return np.abs(x) + np.float32(0.01) if positive else x


@pytest.mark.parametrize("op", PLAIN)
def test_plain(op, rng):
    for shape in ((2, 5, 3, 7), (4,), (), (3, 1)):
        x = numbers(rng, shape, op in ("Log", "Sqrt", "Reciprocal"))
        if op == "Round" and x.size > 1:
            x.flat[:4] = (0.5, 1.5, -0.5, 2.5)[: min(4, x.size)] if x.size > 3 else x.flat[:4]
        check(Case(op, [x], opset={"HardSwish": 14, "Mish": 18}.get(op, NEWEST)), tolerance=ACCURATE)


@pytest.mark.parametrize("op", WITH)
def test_with_parameters(op, rng):
    for given in WITH[op]:
        opset = {"Clip": 7, "Gelu": 20, "Celu": 12}.get(op, NEWEST)
        check(Case(op, [numbers(rng)], given, opset=opset), tolerance=ACCURATE)


def test_swish(rng):
    for alpha in (1.0, 0.5):
        x, y = numbers(rng), numbers(rng)
        check(Case("Swish", [x], {"alpha": alpha}, opset=24), "evaluator", tolerance=ACCURATE)
    check(Case("SwiGLU", [x, y], {"alpha": alpha}, opset=28), "evaluator", tolerance=ACCURATE)


@pytest.mark.parametrize("opset", (11, 12, 13))
def test_clip_by_inputs(opset, rng):
    low, high = (np.array(v, np.float32) for v in (-0.5, 1.25))
    for bounds in ([low], [low, high], [None, high], [high, low], [np.array(0, np.float32), np.array(6, np.float32)]):
        for constant in (False, True):
            held = [i + 1 for i, bound in enumerate(bounds) if bound is not None and constant]
            check(Case("Clip", [numbers(rng), *bounds], constant=held, opset=opset))


@pytest.mark.parametrize("op", ("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu"))
def test_two(op, rng):
    """Broadcasting both ways, and constants of one element on either side."""
    shapes = [((2, 3, 4, 5),) * 2, ((2, 3, 4, 5), (3, 1, 1)), ((2, 3, 4, 5), ()), ((2, 3, 4, 5), (1, 1, 1, 5))]
    if op != "PRelu":
        shapes += [((4, 1), (1, 6)), ((), (2, 3)), ((1,), (2, 3)), ((2,), (3, 1, 1))]
    for a, b in shapes:
        x, y = numbers(rng, a), numbers(rng, b)
        for constant in ((), (0,), (1,)):
            if constant == (0,) and op == "PRelu":
                continue
            check(Case(op, [x, y], constant=constant))


def test_divided_by_powers_of_two(rng):
    for value in (2.0, -0.25, 3.0, 0.0, np.inf, 2.0**-126):
        y = np.array(value, np.float32)
        with np.errstate(all="ignore"):
            check(Case("Div", [numbers(rng), y], constant=[1]))
    check(Case("Div", [np.array([1.0], np.float32), numbers(rng)], constant=[0]))


def test_signed_zeros(rng):
    """x * c and x - 0 keep the zero's sign, as IEEE says."""
    x = np.array([0.0, -0.0, 1.0], np.float32)
    for op, value in (("Mul", 2.0), ("Mul", -1.0), ("Sub", 0.0), ("Add", -0.0), ("Add", 0.0)):
        case = Case(op, [x, np.array(value, np.float32)], constant=[1])
        for backend in BACKENDS:
            assert np.array_equal(np.signbit(in_cnnkern(case, backend)[0]), np.signbit(in_evaluator(case)[0])), case


def test_power(rng):
    x = numbers(rng, positive=True)
    for exponent in (0.0, 1.0, 2.0, 3.0, -1.0, 0.5, 1.7, -2.0):
        for constant in ((), (1,)):
            check(Case("Pow", [x, np.array(exponent, np.float32)], constant=constant), tolerance=ACCURATE)
    check(Case("Pow", [x, np.array(2, np.int64)], constant=[1]), tolerance=ACCURATE)
    check(Case("Pow", [x, numbers(rng, (5, 1, 1))]), tolerance=ACCURATE)
    check(Case("Pow", [numbers(rng), np.array([2.0, 3.0, 4.0, 5.0, 1.0, 2.0, 0.0], np.float32)]), tolerance=ACCURATE)


@pytest.mark.parametrize("op", ("Sum", "Mean", "Max", "Min"))
def test_many(op, rng):
    for count in (1, 2, 3, 5):
        shapes = [(2, 3, 4), (3, 1), (1, 4), (), (2, 1, 1)][:count]
        check(Case(op, [numbers(rng, shape) for shape in shapes], opset=8 if count == 3 else NEWEST))


@pytest.mark.parametrize("op", ("Relu", "LeakyRelu", "Clip", "Max", "Floor", "Sign", "Abs", "Softplus", "Softsign"))
def test_not_a_number(op, rng):
    x = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
    inputs = {"Clip": [x, np.array(-1, np.float32)], "Max": [x, np.zeros(4, np.float32)]}.get(op, [x])
    for backend in BACKENDS:
        y = in_cnnkern(Case(op, inputs, constant=range(1, len(inputs))), backend)[0]
        assert np.isnan(y[0]), backend


@pytest.mark.parametrize("op", ("Identity", "Dropout"))
def test_identity(op, rng):
    check(Case(op, [numbers(rng)], opset=7))
    check(Case(op, [numbers(rng)]))
    if op == "Dropout":
        check(Case(op, [numbers(rng), np.array(0.4, np.float32), np.array(False)], constant=[1, 2]))
        for opset in (10, NEWEST):
            check(Case(op, [numbers(rng)], opset=opset, outputs=2))


def test_cast(rng):
    """Between floating types; the output has the declared one."""
    for dtype, number in ((np.float64, 11), (np.float16, 10), (np.float32, 1)):
        check(Case("Cast", [numbers(rng)], {"to": number}))
        check(Case("CastLike", [numbers(rng), np.zeros(1, dtype)]), "evaluator")
        check(Case("Cast", [numbers(rng).astype(dtype)], {"to": 1}))
    assert in_cnnkern(Case("Cast", [numbers(rng)], {"to": 7}), "reference", fallback=True)[0].dtype == np.int64
