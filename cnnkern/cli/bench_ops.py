"""`cnnkern bench --ops`: single operations, checked, counted and timed as in a network, on any backend."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .common import (
    GOOD,
    WRONG,
    UsageError,
    backend_reasons,
    choose_backend,
    choose_isas,
    forced,
    nearest,
    thread_count,
)


def add_ops(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ops",
        nargs="*",
        metavar="WORD",
        help="single operations instead: problem lines as CNNKERN_VERBOSE=1 prints them, files of them, networks (each "
        "distinct layer) or patterns over a short list; default: that list. --backend takes several, or all",
    )
    parser.add_argument(
        "--algo", metavar="A,B", help="of convolutions, with --ops: names, or all that serve; default: auto, the plan's"
    )
    parser.add_argument(
        "--caches",
        metavar="STATE",
        help="with --ops: network (weights from memory, input just written), warm, or both with a comma; "
        "default: network",
    )


class LeftOut(NamedTuple):
    """An operation that a backend, or an algorithm, does not serve."""

    problem: str
    backend: str
    isa: str | None
    algo: str
    reason: str


def bench_ops(args: argparse.Namespace) -> int:

    from ..measure import schema
    from ..measure.opshapes import resolve
    from ..measure.profile import machine_profile
    from ..measure.provenance import provenance
    from ..report import console, opbench

    problems = _problems(args, resolve)
    places = _places(args)
    algos, states, threads = _algos(args.algo), _states(args.caches), thread_count(args.threads)
    rows, left_out = [], []
    with console.progress() as line:
        for found in _rows(args, problems, places, algos, states, threads, line):
            (left_out if isinstance(found, LeftOut) else rows).append(found)
    if not rows:
        raise UsageError(f"--ops: {left_out[0].reason}")
    good = all(row.good for row in rows)
    if args.json != "-":
        out = console.output()
        out.print(opbench.opbench(rows, [item._asdict() for item in left_out], out.width))
    if args.json:
        isa = next((isa for _, isa in places if isa), None)
        machine = machine_profile(threads=threads, isa=isa).as_dict()
        body = {"results": [row.as_dict() for row in rows], "left_out": [item._asdict() for item in left_out]}
        made = schema.document("bench_ops", **provenance("cnnkern", *args.argv), machine=machine, good=good, **body)
        schema.write(made, args.json)
    return GOOD if good else WRONG


def _problems(args: argparse.Namespace, resolve) -> list:
    """What is to be timed, for every batch asked for."""
    if args.models or args.peers or args.worst or args.compare:
        raise UsageError("--ops times single operations: no MODEL (write --ops MODEL), --peers, --worst or --compare")
    try:
        found = resolve(args.ops)
        if args.batch:
            found = [problem.batched(batch) for batch in args.batch for problem in found]
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None
    return found


def _places(args: argparse.Namespace) -> list[tuple[str, str | None]]:
    """Every (backend, ISA); --isa is for the cpu backend alone."""
    if args.backend == "all":
        names = [name for name, reason in backend_reasons().items() if not reason]
    else:
        names = [choose_backend(name) for name in (args.backend.split(",") if args.backend else (None,))]
    if args.isa and "cpu" not in names:
        choose_isas(args.isa, names[0])  # says why that cannot be
    return [(name, isa) for name in names for isa in choose_isas(args.isa if name == "cpu" else None, name)]


def _algos(wanted: str | None) -> tuple[str, ...] | None:
    """The algorithms asked for; None: all that serve the problem."""
    from ..measure.opbench import ALGOS

    names = ("auto",) if wanted is None else tuple(wanted.split(","))
    for name in () if wanted == "all" else names:
        if name not in ("auto", *ALGOS):
            raise UsageError(f"--algo: no algorithm {name!r}; {nearest(name, ('auto', *ALGOS))}")
    return None if wanted == "all" else names


def _states(wanted: str | None) -> tuple[str, ...]:
    from ..measure.opbench import CACHES, NETWORK

    names = tuple(wanted.split(",")) if wanted else (NETWORK,)
    for name in names:
        if name not in CACHES:
            raise UsageError(f"--caches: no state {name!r}; {nearest(name, CACHES)}")
    return names


def _rows(
    args: argparse.Namespace,
    problems: Sequence,
    places: Sequence[tuple[str, str | None]],
    algos: Sequence[str] | None,
    states: Sequence[str],
    threads: int,
    line: Any,
) -> Iterator:
    """A row for every problem, place, algorithm and state; the oracle answers once for each problem."""
    from ..errors import UnsupportedError
    from ..measure.opbench import OpCourse, algorithms, bench_op

    for i, problem in enumerate(problems):
        line.say(f"{problem.text}: the float64 reference", i / len(problems))
        course = OpCourse(problem)
        for backend, isa in places:
            for algo in algos or algorithms(problem):
                line.say(f"{isa or backend}: {problem.text}", i / len(problems))
                try:
                    for caches in states:
                        with forced(isa):
                            yield bench_op(course, backend, isa=isa, algo=algo, threads=threads, caches=caches,
                                           seconds=args.seconds)  # fmt: skip
                except UnsupportedError as error:
                    if algos is None and algo != "auto":
                        continue  # of all algorithms, those that serve were asked for
                    yield LeftOut(problem.text, backend, isa, algo, str(error))
