"""Classify a picture with an ONNX model: a script written for onnxruntime, of which the import alone was changed.

    pip install '.[onnx]'
    python -c "import cnnkern; cnnkern.onnx.save(cnnkern.models.create('lenet5-digits'), 'digits.onnx')"
    python examples/classify_onnx.py digits.onnx cnnkern/data/digit_7.png
    python examples/classify_onnx.py resnet50.onnx photograph.jpg --top 5

Any model with one picture as input, (N, 3, H, W) or (N, 1, H, W), and one row of class scores as output will do; sizes
that the model leaves open are taken to be 224.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import cnnkern as ort  # was: import onnxruntime as ort

MEAN_STD = {1: ([0.3], [0.32]), 3: ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])}  # digits, ImageNet


def prepare(path: Path, channels: int, height: int, width: int) -> np.ndarray:
    """The picture as float32 (1, channels, height, width)."""
    image = Image.open(path).convert("L" if channels == 1 else "RGB")
    if channels == 1:
        image = ImageOps.invert(image)  # dark ink on white; digits are learnt as bright ink on black
    image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    mean, std = (np.float32(values) for values in MEAN_STD[channels])
    pixels = np.asarray(image, np.float32).reshape(height, width, channels) / 255
    return ((pixels - mean) / std).transpose(2, 0, 1)[np.newaxis]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Classify a picture with an ONNX model.")
    parser.add_argument("model", type=Path, help="an .onnx file")
    parser.add_argument("image", type=Path, help="a picture")
    parser.add_argument("--top", type=int, default=3, help="classes to print; default: 3")
    parser.add_argument("--threads", type=int, default=0, help="default: all cores")
    args = parser.parse_args(argv)

    options = ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(str(args.model), sess_options=options, providers=["CPUExecutionProvider"])

    first, last = session.get_inputs()[0], session.get_outputs()[0]
    _, channels, height, width = (size if isinstance(size, int) else 224 for size in first.shape)
    x = prepare(args.image, channels, height, width)
    (scores,) = session.run([last.name], {first.name: x})

    e = np.exp(scores[0] - scores[0].max())
    probabilities = e / e.sum()
    print(f"{args.model.name}: input {first.name} {first.type}, {session.get_providers()[0]}")
    for index in probabilities.argsort()[::-1][: args.top]:
        print(f"class {index:4d}  {probabilities[index]:.4f}")


if __name__ == "__main__":
    main()
