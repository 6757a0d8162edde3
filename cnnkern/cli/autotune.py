"""`cnnkern autotune`: measure the selector's choices here and keep the best for this machine."""

from __future__ import annotations

import argparse

from .common import GOOD, add_json, forced, model_names, thread_count
from .regret import MODELS, add_problems, cpu_isa


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_problems(parser, f"default: {' '.join(MODELS)}")
    parser.add_argument("--again", action="store_true", help="measure also what an earlier run has kept")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from .. import backends
    from ..backends.cpu import kept, trial
    from ..measure import regret, schema
    from ..measure.profile import machine_profile
    from ..report import console
    from ..report import regret as tables

    isa, threads = cpu_isa(args.isa), thread_count(args.threads)
    shapes = []
    with forced(isa), console.progress() as line:
        backend = backends.get("cpu")
        problems = {}
        for name in model_names(args.models or MODELS):
            problems.update(regret.network_problems(name, backend, args.batch, threads))

        def measured(problem, trials):
            shapes.append(regret.ShapeRegret(problem, tuple(trials), trials[0]))
            line.say(problem.text, len(shapes) / len(problems))

        trial.tune(backend, problems, measured, again=args.again)
        file = kept.path(backend.cpu, isa)
        machine = machine_profile(threads=threads, isa=isa, peaks=False)
    if args.json != "-":
        console.output().print(tables.autotune(shapes, len(problems), file, machine))
    if args.json:
        body = {"file": str(file), "problems": len(problems), "shapes": [s.as_dict() for s in shapes]}
        schema.write(schema.document("autotune", machine=machine.as_dict(), **body), args.json)
    return GOOD
