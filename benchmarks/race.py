"""Networks against other engines: same machine, threads, weights and input, checked, then timed in turns.

    python benchmarks/race.py resnet50 mobilenet_v2 --peers all --batch 1,16 --threads 2 --rounds 20 --json out.json
    python benchmarks/race.py --show out.json

README.md in this folder says what is measured and how to read it; cnnkern/measure/peers does it. The JSON is written
after every heat. Exit codes: 0 good, 1 our own answer was wrong or we failed, 2 bad usage.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import platform
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cnnkern
from cnnkern import config
from cnnkern.measure import peers, schema
from cnnkern.measure.peers.race import Heat, hold
from cnnkern.measure.peers.worker import EngineError
from cnnkern.measure.pictures import Course
from cnnkern.measure.profile import machine_profile
from cnnkern.measure.provenance import provenance
from cnnkern.report import console
from cnnkern.report.race import race


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("race.py", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="ids of cnnkern.models.list()")
    parser.add_argument("--batch", default="1", type=numbers, metavar="N,N", help="batch sizes (1)")
    parser.add_argument("--size", default=[None], type=numbers, metavar="N,N", help="of the images (the network's own)")
    parser.add_argument("--threads", default=None, type=int, metavar="N", help="for every engine (all usable cores)")
    parser.add_argument("--rounds", default=20, type=int, metavar="N", help="turns of every engine (20)")
    known = f"of {', '.join(peers.PEERS)}; all: those but tvm (all)"
    parser.add_argument("--peers", default="all", type=peer_names, metavar="A,B", help=known)
    parser.add_argument("--ours", default=peers.OURS, choices=(peers.OURS, "reference"), help="who is compared")
    parser.add_argument("--seed", default=0, type=int, metavar="N", help="of the weights (0)")
    parser.add_argument("--json", default=None, metavar="FILE", help="write the figures here as well")
    parser.add_argument("--show", default=None, metavar="FILE", help="print the table of an old run again, and end")
    parsed = parser.parse_args(argv)
    parsed.threads = parsed.threads or cnnkern.get_num_threads()
    if bool(parsed.models) == bool(parsed.show):
        parser.error("which MODELs, or --show which file?")
    try:
        parsed.models = [cnnkern.models.get(name).name for name in parsed.models]
    except ValueError as error:
        parser.error(str(error))
    if min(parsed.rounds, parsed.threads, *parsed.batch, *(size or 1 for size in parsed.size)) < 1:
        parser.error("--rounds, --threads, --batch and --size take positive numbers")
    return parsed


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def peer_names(text: str) -> list[str]:
    try:
        return peers.chosen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(argv: Sequence[str] | None = None) -> int:
    asked = arguments(argv)
    out = console.output()
    if asked.show:
        out.print(race(json.loads(Path(asked.show).read_text())))
        return 0
    heats: list[Heat] = []
    failures: list[str] = []
    head = {
        **provenance("python", "benchmarks/race.py", *(sys.argv[1:] if argv is None else argv), file=Path(__file__)),
        "machine": machine_profile(threads=asked.threads).as_dict(),
    }
    with console.progress() as line:
        for model, size in itertools.product(asked.models, asked.size):
            line.say(f"{model}: weights and the float64 reference")
            asks = [
                peers.Task(model, batch, asked.threads, asked.seed, config.get("isa"), size) for batch in asked.batch
            ]
            shape = asks[0].input_shape
            course = Course(model, cnnkern.models.create(model, input_shape=shape, seed=asked.seed))
            for task in asks:
                try:
                    heats.append(hold(course, task, [asked.ours, *asked.peers], asked.rounds, line.say))
                except EngineError as error:
                    failures.append(f"{model} batch {task.batch}: {error}")
                    print(failures[-1], error.details, sep="\n", file=sys.stderr)
                document = made(head, heats, failures)
                if asked.json:
                    schema.write(document, asked.json)
    out.print(race(document))
    return 0 if heats and not failures and all(heat.correct for heat in heats) else 1


def made(head: dict[str, Any], heats: Sequence[Heat], failures: Sequence[str]) -> dict[str, Any]:
    rows = [heat.as_dict() for heat in heats]
    return schema.document("race", **head, versions=versions(heats), heats=rows, failures=failures)


def versions(heats: Iterable[Heat]) -> dict[str, str]:
    """Releases of the engines as they introduced themselves, and of what they stand on."""
    found = {entry.engine: entry.version for heat in heats for entry in heat.entries if entry.version}
    for name in ("onnx", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "python": platform.python_version()}


if __name__ == "__main__":
    sys.exit(main())
