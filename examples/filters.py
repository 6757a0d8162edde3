"""Filters made by hand, run over the photograph through cnnkern.conv2d: edges, sharpening, a curve, and correlation.

    pip install '.[bench]'
    python examples/filters.py --out filters.png                      # a second or two

Sobel's Gx and Gy and their magnitude, the sharpening kernel, and the 7x7 filter with which Adit Deshpande's "A
beginner's guide to understanding convolutional neural networks" looks for a curve. What frameworks call convolution is
cross-correlation; `flip_kernel=True` gives the mathematicians' one, in which Sobel's answer has the other sign. At the
end a piece of the picture is found again by normalised cross-correlation, and correlated with itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import cnnkern
from cnnkern import images

SOBEL_X = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
SOBEL_Y = [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]
SHARPEN = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
CURVE = np.zeros((7, 7), np.float32)
CURVE[(0, 1, 2, 3, 4, 5), (5, 4, 3, 3, 3, 3)] = 30  # a stroke that comes down from the right
BIG = {"padding": 0, "algo": "fft"}  # kernels of thousands of taps, by the convolution theorem
PIECE = (slice(246, 318), slice(212, 300))  # mouth and chin, rows and columns of the photograph


def correlate(plane: np.ndarray, kernel, **options) -> np.ndarray:
    """A grey picture (H, W) under one kernel (R, S), as large as it was unless `padding` says otherwise."""
    weight = np.asarray(kernel, np.float32)[np.newaxis, np.newaxis]
    options = {"padding": "same", **options}
    return cnnkern.conv2d(plane[np.newaxis, np.newaxis], weight, **options)[0, 0]


def find(plane: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """Normalised cross-correlation: at every place, how alike `piece` and what lies under it are, from -1 to 1.

    sum (x - mean x)(t - mean t) / (|x - mean x| |t - mean t|), whose sums over windows are three convolutions.
    """
    ones, n = np.ones(piece.shape, np.float32), piece.size
    plane = plane - plane.mean()  # keeps the squares small
    template = piece - piece.mean()
    deviation = correlate(plane**2, ones, **BIG) - correlate(plane, ones, **BIG) ** 2 / n
    return correlate(plane, template, **BIG) / (np.sqrt(np.maximum(deviation, 1e-6)) * np.linalg.norm(template))


def responses(plane: np.ndarray) -> dict[str, np.ndarray]:
    """The filtered pictures by name."""
    gx, gy = correlate(plane, SOBEL_X), correlate(plane, SOBEL_Y)
    return {
        "the photograph": plane,
        "Sobel Gx": gx,
        "Sobel Gy": gy,
        "magnitude": np.hypot(gx, gy),
        "sharpened": correlate(plane, SHARPEN).clip(0, 255),
        "curve filter": correlate(plane, CURVE - CURVE.mean()),  # less its mean, or it would show all that is bright
    }


def draw(shown: dict[str, np.ndarray], found: np.ndarray, itself: np.ndarray, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), layout="constrained")
    for axes, (name, plane) in zip(figure.subplots(2, 4).flat, {**shown, "found": found, "itself": itself}.items()):
        signed = plane.min() < 0
        limit = np.percentile(np.abs(plane), 99.5) if name not in ("found", "itself") else 1
        axes.imshow(plane, cmap="gray", vmin=-limit if signed else 0, vmax=limit)
        titles = {"found": "mouth and chin looked for", "itself": "their autocorrelation"}
        axes.set_title(titles.get(name, name), fontsize=11)
        axes.axis("off")
        if name == "found":
            y, x = np.unravel_index(plane.argmax(), plane.shape)
            axes.plot(x, y, "o", markersize=14, markerfacecolor="none", markeredgecolor="tab:red", markeredgewidth=2)
    figure.savefig(path, dpi=100)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Sobel, sharpening, curve and correlation filters on a photograph.")
    parser.add_argument("--out", type=Path, default=Path("filters.png"), help="the picture; default: filters.png")
    parser.add_argument("--image", type=Path, help="another photograph; default: the packaged one")
    args = parser.parse_args(argv)
    image = images.load_image(args.image) if args.image else images.photograph()
    plane = np.asarray(image.convert("L"), np.float32)

    shown = responses(plane)
    turned = correlate(plane, SOBEL_X, flip_kernel=True)
    print(f"Gx by true convolution is -1 times it: {np.array_equal(turned, -shown['Sobel Gx'])}")
    ramp = np.tile(np.arange(9, dtype=np.float32), (9, 1))
    signs = correlate(ramp, SOBEL_X)[4, 4], correlate(ramp, SOBEL_X, flip_kernel=True)[4, 4]
    print(f"on a ramp that rises by 1: cross-correlation {signs[0]:+.0f}, convolution {signs[1]:+.0f}")
    for name in ("Sobel Gx", "Sobel Gy", "magnitude"):
        print(f"{name:10}  mean strength {np.abs(shown[name]).mean():6.2f}, largest {np.abs(shown[name]).max():7.1f}")

    piece = plane[PIECE] if not args.image else plane[: plane.shape[0] // 4, : plane.shape[1] // 4]
    found = find(plane, piece)
    row, column = np.unravel_index(found.argmax(), found.shape)
    print(f"the piece is found at row {row}, column {column}, with a correlation of {found.max():.4f}")
    template = piece - piece.mean()
    itself = correlate(template, template, padding=tuple(size - 1 for size in piece.shape)) / np.sum(template**2)
    middle = tuple(int(i) for i in np.unravel_index(itself.argmax(), itself.shape))
    symmetric = np.abs(itself - itself[::-1, ::-1]).max()
    print(f"its autocorrelation peaks at a shift of {middle[0] - piece.shape[0] + 1}, {middle[1] - piece.shape[1] + 1} "
          f"and is symmetric to {symmetric:.0e}")  # fmt: skip
    draw(shown, found, itself, args.out)
    print(f"-> {args.out}")


if __name__ == "__main__":
    main()
