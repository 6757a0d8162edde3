"""Transfer: a network without its classifier makes features, and a linear classifier learns on them.

    pip install . scikit-learn
    python examples/transfer.py                                       # about ten seconds on two cores
    python examples/transfer.py --model squeezenet1_1 --weights squeezenet1_1.pth --size 64

The data are scikit-learn's 1797 handwritten digits. `models.create(..., include_top=False)` is a network that ends in
its last feature map; scikit-learn's logistic regression is fitted to the features of the training scans and scored on
the held-out quarter, the one that lenet5-digits was not trained on either (examples/train_lenet5_digits.py). Beside it:
the same classifier on the 64 pixels of a scan, and on the features of a network with random weights.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cnnkern import images, models
from cnnkern.model import Model

SEED = 0  # of the split; train_lenet5_digits.py has the same
MOST = 1024  # features per scan; a larger map is averaged over blocks of pixels


def split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(training scans, held-out scans, training labels, held-out labels); scans are uint8 (n, 8, 8), ink = 255."""
    digits = load_digits()
    scans = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    return train_test_split(scans, labels, test_size=0.25, stratify=labels, random_state=SEED)


def features(model: Model, scans: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """(n, d): the network's last feature map, averaged over blocks of pixels until d is at most `MOST`."""
    rows = []
    for start in range(0, len(scans), batch_size):
        part = [Image.fromarray(scan) for scan in scans[start : start + batch_size]]
        part += part[:1] * (batch_size - len(part))  # one size of batch, so that the network is compiled once
        maps = model(np.concatenate([images.prepare(image, model.name, model.input_shape) for image in part]))
        rows.append(shrink(maps)[: len(scans) - start])
    return np.concatenate(rows)


def shrink(maps: np.ndarray) -> np.ndarray:
    """(n, c, h, w) -> (n, c * k * k): means over k x k parts of the map, with the largest k that `MOST` allows."""
    n, c, h, w = maps.shape
    k = max(1, min(h, w, math.isqrt(MOST // c) if c <= MOST else 1))
    if (h, w) == (k, k):
        return maps.reshape(n, -1)
    rows, columns = (np.linspace(0, side, k + 1).astype(int) for side in (h, w))
    parts = [
        maps[:, :, a:b, d:e].mean(axis=(2, 3)) for a, b in zip(rows, rows[1:]) for d, e in zip(columns, columns[1:])
    ]
    return np.concatenate(parts, axis=1)


def accuracy(fitted: tuple[np.ndarray, np.ndarray], scored: tuple[np.ndarray, np.ndarray]) -> float:
    """The share of `scored` that a logistic regression fitted to the other pair has right."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return classifier.fit(*fitted).score(*scored)


def report(what: str, x: np.ndarray, labels: np.ndarray, x_new: np.ndarray, labels_new: np.ndarray) -> None:
    share = accuracy((x, labels), (x_new, labels_new))
    right = round(share * len(labels_new))
    print(f"{what:44} {x.shape[1]:5} features  {right} of {len(labels_new)} right, {100 * share:.2f} %", flush=True)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Fit a linear classifier to a network's features of digits.")
    parser.add_argument("--model", default="lenet5-digits", help="a name from `cnnkern models`")
    parser.add_argument("--weights", type=Path, help="a state dict: .safetensors, .npz or .pth")
    parser.add_argument("--random", default="resnet20_cifar", help="a network with random weights to compare with")
    parser.add_argument("--size", type=int, help="side of the network's input in pixels; default: its own")
    parser.add_argument("--scans", type=int, help="train on so many of the 1347 scans; default: all")
    args = parser.parse_args(argv)
    train, new, labels, labels_new = split()
    train, labels = train[: args.scans], labels[: args.scans]
    print(f"{len(train)} scans to train on, {len(new)} held out")

    report("raw pixels", train.reshape(len(train), -1), labels, new.reshape(len(new), -1), labels_new)
    for name, weights in ((args.random, None), (args.model, args.weights)):
        channels = models.get(name).input_shape[0]
        shape = (channels, args.size, args.size) if args.size and name == args.model else None
        model = models.create(name, include_top=False, input_shape=shape)
        if weights:
            model.load_state_dict(weights, strict=False)
        kind = weights or models.get(name).weights or "random"
        report(f"{name}, weights {kind}", features(model, train), labels, features(model, new), labels_new)


if __name__ == "__main__":
    main()
