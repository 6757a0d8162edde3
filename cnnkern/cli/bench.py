"""`cnnkern bench`: a network on a real photograph, checked, counted and timed, alone or against other engines; no speed
for a wrong answer. `--ops` does the same with single operations (bench_ops.py); `--compare` reads two of its documents
instead."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from .bench_ops import add_ops, bench_ops
from .bench_report import add_report, check_report, show, write_report
from .common import (
    GOOD,
    WRONG,
    UsageError,
    add_json,
    add_place,
    choose_backend,
    choose_isas,
    create_model,
    forced,
    model_names,
    positive,
    positives,
    seconds,
    thread_count,
    warn,
)

PICTURE = "grace_hopper.jpg"
MODEL = "resnet50"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"default: {MODEL}")
    parser.add_argument("--batch", type=positives, metavar="N,N", help="batch sizes; default: 1, or what an op has")
    parser.add_argument(
        "--seconds", type=seconds, default=1.0, metavar="S", help="measured time per figure; default: 1"
    )
    parser.add_argument("--peers", metavar="A,B", help="other engines to race against, or all; missing ones are named")
    parser.add_argument("--rounds", type=positive, default=10, metavar="N", help="turns in a race; default: 10")
    parser.add_argument("--worst", type=positive, metavar="N", help="only the N layers that lose most, over all MODELs")
    parser.add_argument(
        "--compare", nargs=2, metavar=("OLD", "NEW"), help="two files of --json: exit 1 on a regression beyond noise"
    )
    add_ops(parser)
    add_report(parser)
    add_place(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    check_report(args)
    if args.show:
        return show(args)
    if args.ops is not None:
        return bench_ops(args)
    args.batch = args.batch or (1,)
    if args.compare:
        return _compare(args)
    from ..measure import peers, schema
    from ..measure.profile import machine_profile
    from ..measure.provenance import provenance
    from ..report import bench, console, race

    names = model_names(args.models or [MODEL])
    backend = choose_backend(args.backend)
    isas = choose_isas(args.isa, backend)
    threads = thread_count(args.threads)
    rivals = peers.chosen(args.peers) if args.peers else []
    if rivals and backend not in ("cpu", "reference"):
        raise UsageError(f"--peers races the cpu backend; the backend here is {backend!r}")
    out = console.output()
    results = []
    for name in names:
        for result in _bench(name, args, backend, isas, threads, rivals):
            results.append(result)
            if args.json != "-" and not args.worst:
                out.print(bench.bench(result, out.width))
                if result.heat:
                    out.print(race.heats([result.heat.as_dict()]), "")
    if args.json != "-" and len(results) > 1:
        out.print(bench.bench_all(results))
        if rivals:
            out.print(race.heats([result.heat.as_dict() for result in results if result.heat]))
    if args.json != "-" and args.worst:
        out.print(bench.worst(results, args.worst))
    good = all(result.good for result in results)
    if args.json or args.html or args.png:
        machine = machine_profile(threads=threads, isa=isas[0]).as_dict()
        rows = [result.as_dict() for result in results]
        made = schema.document("bench", **provenance("cnnkern", *args.argv), machine=machine, good=good, results=rows)
        write_report(made, args)
    return GOOD if good else WRONG


def _bench(name: str, args: argparse.Namespace, backend: str, isas: list, threads: int, rivals: list[str]):
    """Every batch and ISA of one model; the reference of its two pictures is computed once for all of them."""
    from dataclasses import replace

    from ..measure.network import bench_network
    from ..measure.pictures import Course
    from ..report import console

    with console.progress() as line:
        line.say(f"{name}: weights and the float64 reference")
        course = Course(name, create_model(name))
    for batch in args.batch:
        for isa in isas:
            label = f"{name} batch {batch}" + (f" {isa}" if isa else "")
            with console.progress() as line, forced(isa):
                result = bench_network(
                    course,
                    batch,
                    backend=backend,
                    isa=isa,
                    threads=threads,
                    seconds=args.seconds,
                    input_name=PICTURE,
                    on_stage=partial(_say, line, label),
                )
                if rivals and len(course.model.graph.inputs) > 1:
                    warn(f"{name} has several inputs; engines are raced on networks with one")
                elif rivals and result.correct:
                    heat = _race(course, result, rivals, args.rounds, line)
                    result = replace(result, heat=heat)
            yield result


def _race(course: Any, result: Any, rivals: list[str], rounds: int, line):
    """The heat of one result; peers stay within the ISA that was asked for, but not within the best there is."""
    from ..backends import cpu_info
    from ..measure.peers import OURS, Task
    from ..measure.peers.race import hold

    best = result.isa is None or result.isa == cpu_info()["isas"][-1]
    task = Task(result.model, result.batch, result.threads, isa=None if best else result.isa)
    return hold(course, task, [OURS if result.backend == "cpu" else result.backend, *rivals], rounds, line.say)


def _compare(args: argparse.Namespace) -> int:
    from ..measure import schema
    from ..measure.compare import compare
    from ..report import bench, console

    if args.models or args.peers or args.worst:
        raise UsageError("--compare reads two files and measures nothing: no MODEL, --peers or --worst beside it")
    old, new = args.compare
    found = compare(_document(old), _document(new))
    if args.json != "-":
        console.output().print(bench.compare(found, old, new))
    if args.json:
        body = {"rows": [row.as_dict() for row in found.rows], "good": found.good, "old": old, "new": new}
        made = schema.document("compare", **body, only_old=found.only_old, only_new=found.only_new)
        schema.write(made, args.json)
    return GOOD if found.good else WRONG


def _document(path: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path}: not a JSON document: {error}") from None


def _say(line, label: str, stage: str, share: float) -> None:
    line.say(f"{label}: {stage}", share or None)
