"""`cnnkern features`: the channels of a layer, or a convolution's filters, as a picture."""

from __future__ import annotations

import argparse

from .common import (
    GOOD,
    UsageError,
    add_json,
    add_place,
    choose_backend,
    choose_isas,
    create_model,
    forced,
    known_weights,
    model_names,
    nearest,
    positive,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name from `cnnkern models`, or an .onnx file")
    parser.add_argument("--image", metavar="FILE", help="the picture that the network sees; filters need none")
    parser.add_argument(
        "--layer", metavar="L", help="a layer or block (see `cnnkern summary`), or a convolution's weight"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="the picture to write: .png, .pdf, .svg, .jpg")
    parser.add_argument("--weights", metavar="FILE", help="a state dict: .safetensors, .npz or .pth; default: random")
    parser.add_argument("--filters", action="store_true", help="the filters of --layer, or of the first convolution")
    parser.add_argument("--columns", type=positive, metavar="N", help="tiles in a row; default: 16, more beyond 512")
    add_place(parser, threads=False)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from ..measure import schema
    from ..report import console, grid

    [name] = model_names([args.model])
    try:
        grid.figure()  # before anything takes its time
    except ImportError as error:
        raise UsageError(str(error)) from None
    model = create_model(name)
    weight = _weight(model.graph, args.layer) if args.filters or args.layer in model.graph.params else None
    if weight is None and not (args.layer and args.image):
        raise UsageError("--image and --layer are needed, or --filters for the filters of a convolution")
    if args.weights:
        model.load_state_dict(args.weights)
    weights = args.weights or known_weights(name) or "random"
    facts = {"model": name, "weights": weights, "out": args.out, "image": None, "backend": None}
    if weight is None:
        facts |= {"image": args.image, "backend": choose_backend(args.backend)}
        pixels, shape, blank, what = _channels(model, args, facts["backend"])
    else:
        pixels, shape, blank, what = _filters(model, weight, args.columns)
    title = f"{weight or args.layer}: {what}" + (f", {blank} of them blank" if blank else "")
    seen = f" on {args.image}" if facts["image"] else ""
    grid.save(pixels, args.out, title, f"{name}{seen}, weights {weights}")
    if args.json:
        layer = weight or args.layer
        schema.write(schema.document("features", layer=layer, shape=shape, blank=blank, **facts), args.json)
    if args.json != "-":
        console.output().print(f"{title} ({name}{seen}, weights {weights}) -> {args.out}", markup=False, soft_wrap=True)
    return GOOD


def _channels(model, args: argparse.Namespace, backend: str) -> tuple:
    from .. import images
    from ..measure.pictures import with_regions
    from ..report import console, grid

    x = with_regions(model, images.prepare(images.load_image(args.image), model.name, model.input_shape))
    with console.progress() as line, forced(choose_isas(args.isa, backend)[0]):
        line.say(f"{model.name}: {args.layer}")
        activation = model.features(x, args.layer, backend=backend)[args.layer][:1]  # the first region is all of it
    shape = list(activation.shape[1:])
    sizes = "x".join(map(str, shape[1:]))
    if sizes in ("", "1x1"):
        return grid.channels(activation, args.columns), shape, 0, f"{shape[0]} values, row by row"
    return grid.channels(activation, args.columns), shape, grid.blank(activation), f"{shape[0]} channels of {sizes}"


def _filters(model, weight: str, columns: int | None) -> tuple:
    from .. import images
    from ..report import grid

    array = model.weights[weight]
    k, c, r, s = array.shape
    what = f"{k} filters of {r}x{s}" + (
        ", in colour" if c == 3 else f", each on {c} channels, a row of tiles" * (c > 1)
    )
    order = images.recipe(model.name).order if c == 3 else "RGB"
    return grid.filters(array, columns, order), list(array.shape), 0, what


def _weight(graph, layer: str | None) -> str:
    """The name of the filters that are meant: a weight's own name, its layer's, or the first convolution's."""
    of_layer = {
        node.name: node.inputs[1]
        for node in graph.nodes
        if node.spec.op == "conv2d" and graph.params[node.inputs[1]].kind == "conv_weight"
    }
    if not of_layer:
        raise UsageError(f"{graph.name} has no convolution")
    if layer is None:
        return next(iter(of_layer.values()))
    found = of_layer.get(layer, layer if layer in of_layer.values() else None)
    if found is None:
        names = [*of_layer, *of_layer.values()]
        raise UsageError(f"{graph.name} has no convolution {layer!r}; {nearest(layer, names, f'first: {names[0]}')}")
    return found
