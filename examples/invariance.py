"""How invariant are features? Distance in feature space against translation, scale and rotation, layer by layer.

    pip install '.[bench]'
    python examples/invariance.py --out invariance.png                # about ten seconds on two cores
    python examples/invariance.py --model alexnet --weights alexnet.pth

The packaged photograph is moved, scaled and turned, and cut to the network's input so that no border shows. A layer's
distance is |f(moved) - f(photograph)| as a share of |f(upside down) - f(photograph)|: 0 is invariant, 1 is as far away
as the picture upside down. After Zeiler and Fergus 2013, figure 5, https://arxiv.org/abs/1311.2901, which measures a
trained network; without --weights this one's are random, and what pooling and strides alone do is seen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from cnnkern import images, models

ROOM = 400 / 224  # the photograph's shorter side, of a network's input: room to move in
SETTINGS = {
    "translation": ("share of the width", (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25)),
    "scale": ("factor", (0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4)),
    "rotation": ("degrees", (0.0, 5.0, 10.0, 20.0, 30.0, 45.0, 90.0)),
}


def transformed(photo: Image.Image, kind: str, amount: float, size: int) -> Image.Image:
    """The middle of the photograph under one transformation, size x size pixels."""
    scale = amount if kind == "scale" else 1.0
    times = size * ROOM * scale / min(photo.size)
    picture = photo.resize([round(side * times) for side in photo.size], Image.Resampling.BICUBIC)
    if kind == "rotation":
        picture = picture.rotate(amount, Image.Resampling.BICUBIC)
    shift = round(amount * size) if kind == "translation" else 0
    left, top = (picture.size[0] - size) // 2 + shift, (picture.size[1] - size) // 2
    return picture.crop((left, top, left + size, top + size))


def layers_of(model, wanted: list[str] | None) -> list[str]:
    """Those asked for; by default pixels, four layers spread over the network's depth, and its output."""
    if wanted:
        return wanted
    values = [node.outputs[0] for node in model.graph.nodes if node.spec.op != "flatten"]
    places = np.linspace(0, len(values) - 1, 5).round().astype(int)
    return [model.graph.inputs[0], *dict.fromkeys(values[i] for i in places)]


def distances(model, photo: Image.Image, layers: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """kind -> layer -> its distance at each amount."""
    size, recipe = model.input_shape[1], images.recipe(model.name)
    first = transformed(photo, "scale", 1.0, size)
    pictures = [first, first.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    pictures += [transformed(photo, kind, a, size) for kind, (_, amounts) in SETTINGS.items() for a in amounts]
    x = images.normalise(np.stack([np.asarray(picture) for picture in pictures]), recipe)
    inner = [layer for layer in layers if layer not in model.graph.inputs]
    found = {model.graph.inputs[0]: x, **model.features(x, inner)}
    table: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in SETTINGS}
    for layer in layers:
        rows = found[layer].reshape(len(x), -1).astype(np.float64)
        away = np.linalg.norm(rows - rows[0], axis=1)
        shares, start = away / max(away[1], 1e-30), 2
        for kind, (_, amounts) in SETTINGS.items():
            table[kind][layer] = shares[start : start + len(amounts)]
            start += len(amounts)
    return table


def draw(table: dict[str, dict[str, np.ndarray]], title: str, path: Path) -> None:
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    panels = figure.subplots(1, len(table), sharey=True)
    for axes, (kind, lines) in zip(panels, table.items()):
        unit, amounts = SETTINGS[kind]
        for i, (layer, shares) in enumerate(lines.items()):
            colour = colormaps["viridis"](0.9 * i / max(1, len(lines) - 1))
            axes.plot(amounts, shares, "o-", label=layer, color=colour, markersize=4)
        axes.set(title=kind, xlabel=unit)
        axes.grid(alpha=0.3)
    largest = max(shares.max() for lines in table.values() for shares in lines.values())
    panels[0].set(ylabel="distance (upside down = 1)", ylim=(0, 1.05 * largest))
    panels[-1].legend(title="layer", fontsize=8)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=100)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Distance in feature space against translation, scale and rotation.")
    parser.add_argument("--out", type=Path, default=Path("invariance.png"), help="default: invariance.png")
    parser.add_argument("--model", default="alexnet", help="a name from `cnnkern models`; default: alexnet")
    parser.add_argument("--weights", type=Path, help="a state dict: .safetensors, .npz or .pth; default: random")
    parser.add_argument("--layers", nargs="+", metavar="L", help="default: pixels and five spread over the depth")
    args = parser.parse_args(argv)
    model = models.create(args.model)
    if model.input_shape[0] != 3:
        parser.error(f"{args.model} takes {model.input_shape[0]} channels; one that sees colour photographs is wanted")
    if args.weights:
        model.load_state_dict(args.weights)
    title = f"{args.model}, weights {args.weights or 'random'}"
    table = distances(model, images.photograph(), layers_of(model, args.layers))
    print(f"{title}: distance from the photograph, upside down = 1")
    for kind, lines in table.items():
        unit, amounts = SETTINGS[kind]
        width = max(map(len, [f"{kind} ({unit})", *lines]))
        print(f"\n{f'{kind} ({unit})':{width}}" + "".join(f"{amount:8g}" for amount in amounts))
        for layer, shares in lines.items():
            print(f"{layer:{width}}" + "".join(f"{share:8.3f}" for share in shares))
    draw(table, title, args.out)
    print(f"\n-> {args.out}")


if __name__ == "__main__":
    main()
