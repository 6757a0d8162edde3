"""ONNX's convolutions against onnxruntime: lines, planes, volumes; padding by numbers and by rule; weights that are
constants and that are not."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")

from nodecase import NEWEST, Case, check  # noqa: E402  needs onnx

DRAWS = 12


def draw(rng, rank: int, transposed: bool):
    """(x, weight, bias or None, attributes) of a random layer with an output."""
    groups, c, k = (int(rng.integers(1, n)) for n in (4, 4, 4))
    kernel = [int(v) for v in rng.integers(1, 4, rank)]
    strides, dilations = ([int(v) for v in rng.integers(1, n, rank)] for n in (4, 3))
    extent = [d * (v - 1) + 1 for d, v in zip(dilations, kernel)]
    spatial = [int(v + rng.integers(0, 6)) for v in extent]
    attributes = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "group": groups}
    x = rng.standard_normal((int(rng.integers(1, 3)), groups * c, *spatial), np.float32)
    lead = (groups * c, k) if transposed else (groups * k, c)
    weight = rng.standard_normal((*lead, *kernel), np.float32)
    bias = rng.standard_normal(groups * k, np.float32) if rng.random() < 0.7 else None
    return x, weight, bias, attributes


def pad_somehow(rng, attributes: dict, rank: int) -> None:
    rule = rng.choice(["numbers", "SAME_UPPER", "SAME_LOWER", "VALID", "none"])
    if rule == "numbers":
        attributes["pads"] = [int(v) for v in rng.integers(0, 3, 2 * rank)]
    elif rule != "none":
        attributes["auto_pad"] = str(rule)


def held(rng, bias) -> list[int]:
    return [[], [1], [1, 2]][int(rng.integers(0, 3)) if bias is not None else int(rng.integers(0, 2))]


@pytest.mark.parametrize("rank", (1, 2, 3))
def test_conv(rank, rng):
    for _ in range(DRAWS):
        x, weight, bias, attributes = draw(rng, rank, False)
        pad_somehow(rng, attributes, rank)
        if "SAME" in attributes.get("auto_pad", ""):
            attributes["dilations"] = [1] * rank  # onnxruntime before 1.32 pads as if they were 1
        opset = int(rng.choice([7, 11, NEWEST]))
        check(Case("Conv", [x, weight, bias][: 2 + (bias is not None)], attributes, held(rng, bias), opset))


@pytest.mark.parametrize("rank", (1, 2, 3))
def test_conv_transpose(rank, rng):
    for _ in range(DRAWS):
        x, weight, bias, attributes = draw(rng, rank, True)
        attributes["output_padding"] = [int(rng.integers(0, s)) for s in attributes["strides"]]
        whole = [
            s * (n - 1) + o + d * (k - 1) + 1
            for n, s, o, d, k in zip(x.shape[2:], *(attributes[name] for name in
                                     ("strides", "output_padding", "dilations", "kernel_shape")))
        ]  # fmt: skip
        rule = rng.choice(["numbers", "sizes", "SAME_UPPER", "SAME_LOWER", "none"])
        if rule == "numbers":
            cut = [int(rng.integers(0, min(3, (n - 1) // 2 + 1))) for n in whole]
            attributes["pads"] = cut + [int(rng.integers(0, v + 1)) for v in cut]
        elif rule == "sizes":
            attributes["output_shape"] = [int(rng.integers(max(1, n - 3), n + 1)) for n in whole]
        elif rule != "none":
            attributes["auto_pad"] = str(rule)
            attributes.pop("output_padding")  # of both together onnx's shape inference and onnxruntime say different
        check(Case("ConvTranspose", [x, weight, bias][: 2 + (bias is not None)], attributes, held(rng, bias)))


def test_conv_same_with_dilation(rng):
    """The specification's padding, which the evaluator computes."""
    x, weight = (rng.standard_normal(shape, np.float32) for shape in ((1, 2, 9, 8), (3, 2, 3, 2)))
    for rule in ("SAME_UPPER", "SAME_LOWER"):
        given = {"auto_pad": rule, "dilations": [2, 3], "strides": [2, 1]}
        y = check(Case("Conv", [x, weight], given, [1]), "evaluator")
        assert y.shape == (1, 3, 5, 8)
