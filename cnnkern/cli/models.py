"""`cnnkern models`: the architectures, from their tables alone; no weight is made."""

from __future__ import annotations

import argparse

from .common import GOOD, UsageError, add_json, nearest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="a name or a pattern: 'resnet*'")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from .. import models
    from ..measure import schema
    from ..report import console, tables

    found = [models.get(name) for name in models.list(args.pattern)]
    if not found:
        hint = nearest(args.pattern.strip("*?"), models.list(), "`cnnkern models` lists them all")
        raise UsageError(f"no model matches {args.pattern!r}; {hint}")
    if args.json:
        rows = [
            {
                "name": a.name,
                "parameters": a.params,
                "macs": a.macs,
                "input_shape": a.input_shape,
                "classes": a.num_classes,
                "aliases": a.aliases,
                "weights": a.weights,
                "paper": a.paper,
            }
            for a in found
        ]
        schema.write(schema.document("models", models=rows), args.json)
    if args.json != "-":
        console.output().print(tables.models(found))
    return GOOD
