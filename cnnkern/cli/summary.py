"""`cnnkern summary`: a network's layers, from the graph alone; no weight is made."""

from __future__ import annotations

import argparse

from .common import GOOD, add_json, create_model, model_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name from `cnnkern models`, or an .onnx file")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from ..measure import schema
    from ..report import console
    from ..report import summary as tables

    [name] = model_names([args.model])
    model = create_model(name)
    summary = model.summary()
    if args.json:
        document = schema.document(
            "summary",
            model=name,
            input_shape=model.input_shape,
            parameters=summary.params,
            statistics=summary.buffers,
            total_parameters=summary.total_params,
            trainable_tensors=summary.tensors,
            statistics_tensors=summary.buffer_tensors,
            macs=summary.macs,
            flops=summary.flops,
            activation_bytes=summary.activation_bytes,
            memory_bytes=summary.memory_bytes,
            layers=[_layer(layer) for layer in summary.layers],
        )
        schema.write(document, args.json)
    if args.json != "-":
        out = console.output()
        out.print(tables.summary(summary, out.width))
    return GOOD


def _layer(layer) -> dict:
    return {
        "name": layer.name,
        "op": layer.op,
        "output_shape": layer.output_shape,
        "parameters": layer.params,
        "statistics": layer.buffers,
        "trainable_tensors": layer.tensors,
        "statistics_tensors": layer.buffer_tensors,
        "macs": layer.macs,
        "flops": layer.counts.flops,
        "activation_bytes": layer.activation_bytes,
        "in_place": layer.in_place,
        "receptive_field": layer.receptive_field,
        "jump": layer.jump,
    }
