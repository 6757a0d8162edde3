"""`cnnkern summary`: a network's layers, from the graph alone; no weight is made."""

from __future__ import annotations

import argparse

from .common import GOOD, add_json, model_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name from `cnnkern models`")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from .. import models
    from ..measure import schema

    [name] = model_names([args.model])
    model = models.create(name)
    summary = model.summary()
    if args.json:
        layers = [_layer(layer) for layer in summary.layers]
        document = schema.document(
            "summary",
            model=name,
            input_shape=model.input_shape,
            parameters=summary.params,
            macs=summary.macs,
            flops=summary.flops,
            activation_bytes=summary.activation_bytes,
            layers=layers,
        )
        schema.write(document, args.json)
    if args.json != "-":
        print(summary)
    return GOOD


def _layer(layer) -> dict:
    return {
        "name": layer.name,
        "op": layer.op,
        "output_shape": layer.output_shape,
        "parameters": layer.params,
        "macs": layer.macs,
        "flops": layer.counts.flops,
        "activation_bytes": layer.activation_bytes,
        "receptive_field": layer.receptive_field,
    }
