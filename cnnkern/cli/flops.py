"""`cnnkern flops`: theory, predicted and executed operations, in columns that never mix."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from .common import (
    GOOD,
    WRONG,
    add_json,
    add_place,
    backend_reasons,
    choose_backend,
    choose_isas,
    create_model,
    forced,
    model_names,
    positive,
    thread_count,
    warn,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="*", default=["all"], metavar="MODEL", help="default: all, a line each")
    parser.add_argument("--batch", type=positive, default=1, metavar="N")
    add_place(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from ..measure import schema
    from ..report import console
    from ..report import flops as tables

    names = model_names(args.models)
    backend = _place(args.backend)
    brief = "all" in args.models
    out = console.output()
    results = []
    for isa in choose_isas(args.isa, backend):
        rows = []
        for name in names:
            with console.progress() as line:
                line.say(f"{name}: counting", len(rows) / len(names) if len(names) > 1 else None)
                result, hardware = _count(name, args.batch, backend, isa, thread_count(args.threads))
            rows.append((name, result, hardware))
            results.append((name, isa, result, hardware))
            if args.json != "-" and not brief:
                out.print(tables.flops(name, args.batch, backend, isa, result, out.width, hardware))
        if args.json != "-" and brief:
            out.print(tables.flops_all(rows, args.batch, backend, isa))
    verdicts = [result.agrees for _, _, result, _ in results]
    read = [hardware.agrees for _, _, _, hardware in results]
    good = None if all(v is None for v in verdicts) else all(v is True for v in verdicts) and False not in read
    if args.json:
        models = [
            {**_as_dict(name, args.batch, backend, isa, result), "hardware": hardware.as_dict()}
            for name, isa, result, hardware in results
        ]
        schema.write(schema.document("flops", good=good, models=models), args.json)
    return WRONG if good is False else GOOD


def _place(wanted: str | None) -> str:
    """The backend; for cuda where there is no GPU, the planner that makes the same plans without one."""
    from .. import config

    reason = backend_reasons()["cuda"] if (wanted or config.get("backend")) == "cuda" else ""
    if not reason:
        return choose_backend(wanted)
    warn(f"no GPU ({reason}): the plan for sm_90a, predicted and not run")
    return "null"


def _count(name, batch, backend, isa, threads):
    """The account of a model, and what the processor's counters say, where they say something."""
    from ..measure import counters
    from ..measure.accounting import account
    from ..measure.accuracy import shapes
    from ..measure.pictures import inputs

    model = create_model(name)
    x = inputs(name, model, batch)
    with forced(isa):
        executable = model.compile(input_shape=shapes(x), backend=backend, threads=threads)
        counts = account(executable, x)
        hardware = counters.measure(executable, x, counters.whole(counts.layers)) if isa else counters.NOT_HERE
        return counts, hardware


def _as_dict(name, batch, backend, isa, result) -> dict:
    return {
        "model": name,
        "backend": backend,
        "isa": isa,
        "batch": batch,
        "theory": asdict(result.theory),
        "predicted": asdict(result.predicted) if result.predicted else None,
        "executed": asdict(result.executed) if result.executed else None,
        "itemised": {item: asdict(counts) for item, counts in result.itemised.items()},
        "agrees": result.agrees,
        "faults": result.faults,
        "layers": [layer.as_dict() for layer in result.layers],
    }
