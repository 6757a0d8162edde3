"""`cnnkern verify`: every available backend against the float64 reference."""

from __future__ import annotations

import argparse

from .common import (
    GOOD,
    WRONG,
    UsageError,
    add_json,
    add_place,
    backend_reasons,
    choose_backend,
    choose_isas,
    create_model,
    forced,
    is_file,
    model_names,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="names, or all (the largest then on smaller pictures); default: --ops",
    )
    parser.add_argument("--ops", action="store_true", help="every operation and algorithm, on random shapes")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the shapes of --ops; default: 0")
    add_place(parser, threads=False)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from ..measure import schema
    from ..report import console, verify

    names = model_names(args.models)
    if args.seed < 0:
        raise UsageError(f"--seed: expected a number of at least 0, received {args.seed}")
    places = _places(args, oracle_too=False) if names else []
    out = console.output()
    shown = args.json != "-"

    ops = _ops(_places(args, oracle_too=True), args.seed) if args.ops or not names else []
    if ops and shown:
        out.print(verify.ops(ops, args.seed))
    verdicts = []
    for i, name in enumerate(names):
        verdicts += _network(name, places, "all" in args.models, i / len(names) if len(names) > 1 else None)
    if verdicts and shown:
        out.print(verify.networks(verdicts))

    good = all(result.good for result in [*ops, *verdicts])
    if args.json:
        rows = {"ops": [r.as_dict() for r in ops], "models": [v.as_dict() for v in verdicts]}
        schema.write(schema.document("verify", seed=args.seed, good=good, **rows), args.json)
    return GOOD if good else WRONG


def _places(args: argparse.Namespace, oracle_too: bool) -> list[tuple[str, str | None]]:
    """Every (backend, ISA) to compare. Networks leave the reference out, which would compare with itself, unless there
    is nothing else or it was asked for."""
    if args.backend:
        wanted = [choose_backend(args.backend)]
    else:
        wanted = [name for name, reason in backend_reasons().items() if not reason]
        if not oracle_too and len(wanted) > 1:
            wanted.remove("reference")
    if args.isa and "cpu" not in wanted:
        choose_isas(args.isa, wanted[0])  # says why that cannot be
    return [(name, isa) for name in wanted for isa in choose_isas(args.isa if name == "cpu" else None, name)]


def _ops(places: list[tuple[str, str | None]], seed: int) -> list:
    from ..measure.opcases import CASES
    from ..measure.verify import verify_ops
    from ..report import console

    results = []
    with console.progress() as line:
        for backend, isa in places:
            with forced(isa):
                for i, result in enumerate(verify_ops(backend, isa, seed)):
                    line.say(f"{isa or backend}: {result.label}", (i + 1) / len(CASES))
                    results.append(result)
    return results


def _network(name: str, places: list[tuple[str, str | None]], reduced: bool, done: float | None) -> list:
    from .. import models
    from ..measure.accuracy import variation
    from ..measure.pictures import inputs, smaller, two_answers
    from ..measure.verify import verify_network
    from ..report import console

    with console.progress() as line:
        shape = smaller(models.get(name)) if reduced and not is_file(name) else None
        model = create_model(name, shape)
        x = inputs(name, model, 2)
        one = getattr(model, "batch", None) == 1
        varies = variation(two_answers(name, model, model.graph.outputs[0])) if one else None
        verdicts = verify_network(
            name, model, x, places, forced, lambda text: line.say(f"{name}: {text}", done), bool(shape), varies
        )
        return list(verdicts)
