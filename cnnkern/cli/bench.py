"""`cnnkern bench`: a network on a real photograph, checked, counted and timed; no speed for a wrong answer."""

from __future__ import annotations

import argparse
from functools import partial

from .common import (
    GOOD,
    WRONG,
    add_json,
    add_place,
    choose_backend,
    choose_isas,
    forced,
    model_names,
    photograph,
    positives,
    seconds,
    thread_count,
)

PICTURE = "grace_hopper.jpg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="*", default=["resnet50"], metavar="MODEL", help="default: resnet50")
    parser.add_argument("--batch", type=positives, default=(1,), metavar="N,N", help="batch sizes; default: 1")
    parser.add_argument(
        "--seconds", type=seconds, default=1.0, metavar="S", help="measured time per figure; default: 1"
    )
    add_place(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from ..measure import schema
    from ..measure.profile import machine_profile
    from ..report import bench, console

    names = model_names(args.models)
    backend = choose_backend(args.backend)
    isas = choose_isas(args.isa, backend)
    threads = thread_count(args.threads)
    out = console.output()
    results = []
    for name in names:
        for result in _bench(name, args, backend, isas, threads):
            results.append(result)
            if args.json != "-":
                out.print(bench.bench(result, out.width))
    if args.json != "-" and len(results) > 1:
        out.print(bench.bench_all(results))
    good = all(result.good for result in results)
    if args.json:
        machine = machine_profile(threads=threads, isa=isas[0]).as_dict()
        rows = [result.as_dict() for result in results]
        schema.write(schema.document("bench", machine=machine, good=good, results=rows), args.json)
    return GOOD if good else WRONG


def _bench(name: str, args: argparse.Namespace, backend: str, isas: list, threads: int):
    """Every batch and ISA of one model; the reference of its two pictures is computed once for all of them."""
    import numpy as np

    from .. import models
    from ..measure import accuracy
    from ..measure.network import bench_network
    from ..report import console

    with console.progress() as line:
        line.say(f"{name}: weights and the float64 reference")
        model = models.create(name)
        pair = photograph(name, model.input_shape, 2)
        output = model.graph.outputs[0]
        answer = accuracy.reference_taps(model, pair, output.__eq__)[output]
        varies = accuracy.variation(answer)
    for batch in args.batch:
        x = photograph(name, model.input_shape, batch)
        reference = {output: np.concatenate([answer[i % 2][None] for i in range(batch)])}
        for isa in isas:
            with console.progress() as line, forced(isa):
                result = bench_network(
                    name,
                    model,
                    x,
                    reference,
                    varies,
                    backend=backend,
                    isa=isa,
                    threads=threads,
                    seconds=args.seconds,
                    input_name=PICTURE,
                    on_stage=partial(_say, line, f"{name} batch {batch}" + (f" {isa}" if isa else "")),
                )
            yield result


def _say(line, label: str, stage: str, share: float) -> None:
    line.say(f"{label}: {stage}", share or None)
