"""`cnnkern regret`: what the choices for convolutions cost against the best measured, by shape and by network."""

from __future__ import annotations

import argparse

from .common import (
    GOOD,
    WRONG,
    UsageError,
    add_json,
    backend_reasons,
    choose_isas,
    forced,
    model_names,
    positive,
    thread_count,
)

MODELS = ("resnet50", "densenet121", "googlenet", "squeezenet1_0", "inception_v3", "mobilenet_v2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_problems(parser, f"default: {' '.join(MODELS)}")
    parser.add_argument("--random", type=positive, default=0, metavar="N", help="also N shapes drawn at random")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random shapes; default: 0")
    parser.add_argument("--selector", action="store_true", help="judge the cost model alone, not what autotune kept")
    add_json(parser)


def add_problems(parser: argparse.ArgumentParser, default: str) -> None:
    """Whose convolutions to measure, and on what."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help=default)
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="default: 1")
    parser.add_argument("--isa", metavar="ISA", help="default: $CNNKERN_ISA or the best")
    parser.add_argument("--threads", type=positive, metavar="N", help="default: as many as there are cores")


def cpu_isa(wanted: str | None) -> str:
    """The instruction set to measure; UsageError where there is no cpu backend, or not that set."""
    reason = backend_reasons().get("cpu", "not built")
    if reason:
        raise UsageError(f"choices are measured on the cpu backend, which is not available: {reason}")
    isas = choose_isas(wanted, "cpu")
    if len(isas) != 1:
        raise UsageError(f"--isa: one is measured at a time, received {wanted!r}")
    return isas[0]


def run(args: argparse.Namespace) -> int:
    from .. import backends
    from ..measure import regret, schema
    from ..measure.profile import machine_profile
    from ..report import console
    from ..report import regret as tables

    isa, threads = cpu_isa(args.isa), thread_count(args.threads)
    names = model_names(args.models or ([] if args.random else MODELS))
    with forced(isa), console.progress() as line:
        backend = backends.get("cpu")
        networks = {name: regret.network_problems(name, backend, args.batch, threads) for name in names}
        drawn = regret.random_problems(args.random, args.batch, threads, args.seed)
        problems = list(dict.fromkeys([problem for found in networks.values() for problem in found] + drawn))
        shapes = []
        for problem in problems:
            line.say(problem.text, len(shapes) / len(problems))
            shapes.append(regret.shape_regret(backend, problem, selector=args.selector))
        machine = machine_profile(threads=threads, isa=isa, peaks=False)
    totals = [regret.network_regret(name, found, shapes) for name, found in networks.items()]
    good = all(result.good for result in (*shapes, *totals))
    if args.json != "-":
        console.output().print(tables.regret(shapes, totals, machine))
    if args.json:
        body = {"shapes": [s.as_dict() for s in shapes], "networks": [n.as_dict() for n in totals]}
        schema.write(schema.document("regret", machine=machine.as_dict(), good=good, **body), args.json)
    return GOOD if good else WRONG
