"""`cnnkern run`: classify a picture."""

from __future__ import annotations

import argparse

from .common import (
    GOOD,
    add_json,
    add_place,
    choose_backend,
    choose_isas,
    create_model,
    forced,
    known_weights,
    model_names,
    positive,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name from `cnnkern models`, or an .onnx file")
    parser.add_argument("--image", required=True, metavar="FILE", help="a picture in any format that Pillow reads")
    parser.add_argument("--weights", metavar="FILE", help="a state dict: .safetensors, .npz or .pth; default: random")
    parser.add_argument("--top", type=positive, default=5, metavar="N", help="how many classes to print; default: 5")
    add_place(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from .. import evaluate, images
    from ..measure import accuracy, pictures, schema
    from ..report import console, tables

    [name] = model_names([args.model])
    backend = choose_backend(args.backend)
    picture = images.load_image(args.image)
    model = create_model(name)
    with console.progress() as line:
        line.say(f"{name}: weights")
        if args.weights:
            model.load_state_dict(args.weights)
        x = pictures.with_regions(model, images.prepare(picture, pictures.recipe_name(name), model.input_shape))
        line.say(f"{name}: building")
        with forced(choose_isas(args.isa, backend)[0]):
            scores = model.compile(input_shape=accuracy.shapes(x), backend=backend, threads=args.threads)(x)
    if isinstance(scores, tuple):  # boxes or auxiliary heads follow
        scores = scores[0]
    # Of the image, or of the first region, which is all of it.
    rows = top(evaluate.probabilities(model, scores)[0], args.top, class_names(model, scores.shape[-1]))
    weights = args.weights or known_weights(name) or "random"
    if args.json:
        document = schema.document("run", model=name, image=args.image, weights=weights, backend=backend, top=rows)
        schema.write(document, args.json)
    if args.json != "-":
        console.output().print(tables.run(name, args.image, weights, backend, rows))
    return GOOD


def class_names(model, classes: int) -> list[str] | None:
    """The names of the classes where they are known: the ten digits, or what the model carries."""
    known = getattr(model, "class_names", None)
    if known is None and classes == 10 and model.input_shape[0] == 1:
        known = [str(digit) for digit in range(10)]
    return list(known) if known is not None else None


def top(probability, count: int, names: list[str] | None) -> list[dict]:
    """The `count` likeliest classes, likeliest first; equal ones by index."""
    import numpy as np

    order = np.argsort(-probability, kind="stable")[:count]
    return [{"index": int(i), "name": names[i] if names else None, "probability": float(probability[i])} for i in order]
