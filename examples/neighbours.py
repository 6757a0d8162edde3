"""Nearest neighbours in feature space: what a network's layer takes for alike, against what pixels do.

    pip install '.[bench]' scikit-learn
    python examples/neighbours.py --out neighbours.png                # about ten seconds on two cores
    python examples/neighbours.py --model alexnet --weights alexnet.pth --layer classifier.5 --out fc7.png

Photographs: pieces of three (scikit-learn's china.jpg and flower.jpg, the package's grace_hopper.jpg). A quarter of the
pieces, every second of every second row, are queries, and the rest is searched for their nearest neighbours in the
features of one layer (DeCAF-style, https://arxiv.org/abs/1310.1531; Krizhevsky et al. 2012, section 6.1) and in raw
pixels: is a piece's neighbour from the same photograph? Without --weights the network's weights are random.

Digits: held-out scans of scikit-learn's digits among those that lenet5-digits was trained on, in the features of its
last hidden layer, and in pixels: has the neighbour the same label?
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images
from sklearn.model_selection import train_test_split

from cnnkern import evaluate, images, models

SHOWN = 4  # neighbours in the picture
NETWORK_BATCH = 16


def pieces(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 (n, size, size, 3) side by side from the photographs, the number of each one's, and which are queries."""
    photographs = [*load_sample_images().images, np.asarray(images.photograph())]
    cut, source, held_out = [], [], []
    for number, pixels in enumerate(photographs):
        for i in range(pixels.shape[0] // size):
            for j in range(pixels.shape[1] // size):
                cut.append(pixels[i * size : (i + 1) * size, j * size : (j + 1) * size])
                source.append(number)
                held_out.append(i % 2 == 1 and j % 2 == 1)
    return np.stack(cut), np.array(source), np.array(held_out)


def layer_features(model, pictures: list[Image.Image], layer: str) -> np.ndarray:
    """(n, d): one layer's activations; whole pictures, without the margin that evaluation cuts off."""
    shape, rows = model.input_shape, []
    recipe = images.recipe(model.name, shape[0])
    for start in range(0, len(pictures), NETWORK_BATCH):
        part = pictures[start : start + NETWORK_BATCH]
        full = part + part[:1] * (NETWORK_BATCH - len(part))  # the network is compiled for one size of batch
        crops = np.concatenate([images.crops(picture, model.name, shape, max(shape[1:]), 1) for picture in full])
        found = model.features(images.normalise(crops, recipe), layer)[layer]
        rows.append(found.reshape(len(full), -1)[: len(part)])
    return np.concatenate(rows)


def judge(what: str, features: np.ndarray, queries: np.ndarray, labels, expected, k: int) -> np.ndarray:
    """Prints how many of the first neighbours, and of all k, have their query's label; returns the neighbours."""
    indices = evaluate.nearest(features, queries, k).indices
    same = labels[indices] == np.asarray(expected)[:, np.newaxis]
    print(f"  {what:36} {features.shape[1]:6} values  first: {same[:, 0].sum():3} of {len(same)} "
          f"({100 * same[:, 0].mean():.1f} %), of {k}: {100 * same.mean():.1f} %")  # fmt: skip
    return indices


def draw(cut: np.ndarray, queries: np.ndarray, found: dict[str, np.ndarray], path: Path) -> None:
    """Queries in rows; beside each its neighbours by each kind of feature."""
    from matplotlib.figure import Figure

    chosen = np.linspace(0, len(queries) - 1, 6).round().astype(int)
    figure = Figure(figsize=(11, 7.6), layout="constrained")
    parts = figure.subfigures(1, 1 + len(found), width_ratios=[1, *([SHOWN] * len(found))])
    for part, (title, indices) in zip(parts, {"query": queries[:, np.newaxis], **found}.items()):
        part.suptitle(title, fontsize=11)
        grid = part.subplots(len(chosen), indices.shape[1], squeeze=False)
        for row, number in zip(grid, chosen):
            for axes, index in zip(row, indices[number]):
                axes.imshow(cut[index])
                axes.axis("off")
    figure.savefig(path, dpi=100)


def photographs(args: argparse.Namespace) -> None:
    cut, source, held_out = pieces(args.piece)
    queries, searched = np.flatnonzero(held_out), np.flatnonzero(~held_out)
    k = min(SHOWN, len(searched))
    chance = np.mean([(source[searched] == source[q]).mean() for q in queries])
    print(f"{len(queries)} pieces among {len(searched)} others: from the same photograph? (by chance {chance:.0%})")
    model = models.create(args.model)
    if args.weights:
        model.load_state_dict(args.weights)
    features = layer_features(model, [Image.fromarray(piece) for piece in cut], args.layer)
    pixels = cut.reshape(len(cut), -1).astype(np.float32)
    found = {}
    for what, values in (("raw pixels", pixels), (f"{args.model} {args.layer}", features)):
        near = judge(what, values[searched], values[queries], source[searched], source[queries], k)
        found[what] = searched[near]
    draw(cut, queries, found, args.out)
    print(f"  -> {args.out}")


def digits(count: int | None) -> None:
    data = load_digits()
    scans, labels = np.rint(data.images * (255 / 16)).astype(np.uint8), data.target
    split = train_test_split(scans, labels, test_size=0.25, stratify=labels, random_state=0)  # the training's own
    (train, new), (labels, expected) = split[:2], split[2:]
    new, expected = new[:count], expected[:count]
    print(f"{len(new)} held-out scans among {len(train)}: the same digit?")
    model = models.create("lenet5-digits")
    rows = [layer_features(model, [Image.fromarray(scan) for scan in part], "tanh_3") for part in (train, new)]
    pixels = [part.reshape(len(part), -1).astype(np.float32) for part in (train, new)]
    judge("raw pixels", *pixels, labels, expected, SHOWN)
    judge("lenet5-digits, last hidden layer", *rows, labels, expected, SHOWN)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Nearest neighbours in a layer's features and in pixels.")
    parser.add_argument("--out", type=Path, default=Path("neighbours.png"), help="default: neighbours.png")
    parser.add_argument("--model", default="alexnet", help="a name from `cnnkern models`; default: alexnet")
    parser.add_argument("--weights", type=Path, help="a state dict: .safetensors, .npz or .pth; default: random")
    parser.add_argument("--layer", default="classifier.5", help="default: classifier.5, AlexNet's last hidden layer")
    parser.add_argument("--piece", type=int, default=80, help="side of the photographs' pieces in pixels; default: 80")
    parser.add_argument("--scans", type=int, help="so many of the 450 held-out scans; default: all")
    args = parser.parse_args(argv)
    photographs(args)
    digits(args.scans)


if __name__ == "__main__":
    main()
