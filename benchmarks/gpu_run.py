"""Everything that only a GPU can show, in one run of a few minutes: checked first, then timed.

    python3 benchmarks/gpu_run.py [--out FOLDER] [--minutes 9] [--only info,convs,...] [--quick]

Runs from the checkout with neither the native CPU module nor a network. Without a GPU it says why and ends with exit
code 0. Stages, each in a process of its own and within its share of the time: info (versions, ceilings, every kernel
compiled), fixtures (every primitive; primitives.npz), correctness (every operation, tile and some networks against the
float64 oracle), sanitizers, convs (against cuDNN), nets (against PyTorch), profile (ncu). FOLDER gets gpu.json and
gpu.txt, written anew as results come, primitives.npz, sanitizers.txt, ncu.txt and log.txt. Exit codes: 0 good or no
GPU, 1 something was wrong or did not run, 2 bad usage.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]  # cnnkern of this checkout, and the folder gpu

from gpu import harness, text  # noqa: E402
from gpu.place import Extent, Place, on_gpu  # noqa: E402

import cnnkern  # noqa: E402
from cnnkern import backends  # noqa: E402
from cnnkern.measure import provenance  # noqa: E402

SCHEMA = "cnnkern.gpu_run/1"
STAGES = {"info": 60, "fixtures": 15, "correctness": 100, "sanitizers": 60, "convs": 150, "nets": 150, "profile": 40}
RESERVE_S = 20.0  # of the minutes, for what a stage takes beyond its share
WRITE_S = 10.0  # between two versions of gpu.json while a stage runs
LOG_CHARACTERS = 400_000  # of a stage's processes
HIDDEN_S = 110  # after which a process that a tool watches ends itself


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("gpu_run.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path("gpu_results"), metavar="FOLDER", help="where the results go (gpu_results)"
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="for all of it (9)")
    parser.add_argument("--only", type=stages, default=list(STAGES), metavar="A,B", help=f"of {', '.join(STAGES)}")
    parser.add_argument("--quick", action="store_true", help="a little of every stage")
    for hidden in ("--stage", "--work", "--layer"):
        parser.add_argument(hidden, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    parsed = parser.parse_args(argv)
    if parsed.minutes <= 0:
        parser.error("--minutes takes a positive number")
    return parsed


def stages(words: str) -> list[str]:
    names = words.split(",")
    if unknown := [name for name in names if name not in STAGES]:
        raise argparse.ArgumentTypeError(f"no stage {', '.join(unknown)}; there are {', '.join(STAGES)}")
    return [name for name in STAGES if name in names]


def main(argv: Sequence[str] | None = None) -> int:
    asked = arguments(argv)
    if asked.tiny or asked.layer:
        return hidden(asked)
    if asked.stage:
        return stage(asked)
    if why := backends.available()["cuda"]:
        print(f"no GPU was run: {why}")
        return 0
    return run(asked, sys.argv[1:] if argv is None else argv)


# --- all of it


def run(asked: argparse.Namespace, argv: Sequence[str]) -> int:
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cnnkern-gpu-", ignore_cleanup_errors=True) as folder:
        for name in ("CNNKERN_CACHE", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
            os.environ.setdefault(name, str(Path(folder) / name.lower()))
        made = Document(asked, argv)
        run_stages(asked, Path(folder), made)
    print(text.essence(made.document), flush=True)
    return 0 if made.good else 1


def run_stages(asked: argparse.Namespace, work: Path, made: Document) -> None:
    """One after the other; what a stage leaves of its share goes to the later ones."""
    start = time.monotonic()
    for i, name in enumerate(asked.only):
        left = 60 * asked.minutes - RESERVE_S - (time.monotonic() - start)
        budget_s = max(0.0, left * STAGES[name] / sum(STAGES[later] for later in asked.only[i:]))
        say(start, f"{name}: {budget_s:.0f} s")
        log = work / f"{name}.log"
        outcome = harness.run_stage(
            name,
            lambda seconds, name=name: stage_command(asked, work, name, seconds),
            harness.Journal(work / f"{name}.jsonl"),
            budget_s,
            log,
            on_tick=made.progress(start, name),
        )
        made.add(outcome)
        said = log.read_text(encoding="utf-8", errors="replace")[-LOG_CHARACTERS:] if log.exists() else ""
        append(asked.out / "log.txt", f"--- {name}\n{said}\n")


def stage_command(asked: argparse.Namespace, work: Path, name: str, seconds: float) -> list[str]:
    words = ["--stage", name, "--out", str(asked.out), "--work", str(work), "--seconds", f"{seconds:.1f}"]
    return [*command(), *words, *["--quick"] * asked.quick]


def command(*words: str) -> list[str]:
    return [sys.executable, str(Path(__file__).resolve()), *words]


def say(start: float, words: str) -> None:
    print(f"[{time.monotonic() - start:5.0f} s] {words}", flush=True)


def append(file: Path, words: str) -> None:
    with open(file, "a", encoding="utf-8") as out:
        out.write(words)


class Document:
    """gpu.json and gpu.txt: written anew with every stage, and while it runs."""

    def __init__(self, asked: argparse.Namespace, argv: Sequence[str]):
        self._out = asked.out
        self.outcomes: list[harness.Outcome] = []
        self._head = {
            "schema": SCHEMA,
            "cnnkern": cnnkern.__version__,
            "command": shlex.join(["python3", "benchmarks/gpu_run.py", *argv]),
            "date": provenance.date(),
            "commit": provenance.commit(Path(__file__)),
            "minutes": asked.minutes,
            "quick": asked.quick,
        }
        self._write([])

    def add(self, outcome: harness.Outcome) -> None:
        self.outcomes.append(outcome)
        self._write(self.outcomes)

    def progress(self, start: float, name: str):
        """What hears a stage's entries as they come."""
        began, last = time.monotonic(), [time.monotonic()]

        def tick(entries: list[dict[str, Any]]) -> None:
            now = time.monotonic()
            if now - last[0] < WRITE_S:
                return
            last[0] = now
            item = harness.open_item(entries)
            say(
                start,
                f"{name}: {sum('end' in e for e in entries)} items, now {item['begin'] if item else 'between two'}",
            )
            running = harness.Outcome(name, 0.0, now - began, entries=entries)
            self._write([*self.outcomes, running])

        return tick

    def _write(self, outcomes: Sequence[harness.Outcome]) -> None:
        self.document = assembled(self._head, outcomes)
        for name, content in (
            ("gpu.json", json.dumps(self.document, indent=1, allow_nan=False) + "\n"),
            ("gpu.txt", text.whole(self.document)),
        ):
            draft = self._out / f"{name}.part"
            draft.write_text(content, encoding="utf-8")
            os.replace(draft, self._out / name)

    @property
    def good(self) -> bool:
        """Whether all that ran was right, and no stage failed altogether."""
        found = self.document
        return not any(
            (
                any(stage["failures"] or not stage["items"] for stage in found["stages"]),
                found["info"] and found["info"]["failures"],
                found["fixtures"] and any(row["wrong"] for row in found["fixtures"]["rows"]),
                found["correctness"] and any(row["failures"] for row in found["correctness"]["rows"]),
                found["sanitizers"] and any(row["outcome"] != "clean" for row in found["sanitizers"]["rows"]),
                found["convs"] and any(row["wrong"] for row in found["convs"]["rows"]),
                found["nets"] and not all(e["correct"] for r in found["nets"]["rows"] for e in r["engines"].values()),
            )
        )


def assembled(head: dict[str, Any], outcomes: Sequence[harness.Outcome]) -> dict[str, Any]:
    """The document of these stages; a section is null where its stage was not asked for."""
    sections: dict[str, Any] = dict.fromkeys(STAGES)
    for outcome in outcomes:
        sections[outcome.name] = module(outcome.name).section(harness.rows(outcome.entries))
    return harness.plain({**head, "stages": [outcome.as_dict() for outcome in outcomes], **sections})


def module(name: str) -> Any:
    return importlib.import_module(f"gpu.{name}")


# --- one stage, in its process


def stage(asked: argparse.Namespace) -> int:
    deadline = time.monotonic() + asked.seconds
    work = Path(asked.work)
    journals = {name: harness.Journal(work / f"{name}.jsonl") for name in STAGES}
    place = on_gpu(
        asked.out,
        work,
        extent=Extent().quick() if asked.quick else Extent(),
        earlier=lambda name: journals[name].rows(),
        command=command,
    )
    return 0 if perform(place, asked.stage, journals[asked.stage], deadline) else 1


def perform(place: Place, name: str, journal: harness.Journal, deadline: float) -> bool:
    """A stage's items until the deadline (of time.monotonic); whether the device is still good."""
    return harness.work_through(module(name).items(place), journal, deadline, broken=place.broken)


def hidden(asked: argparse.Namespace) -> int:
    """What compute-sanitizer and ncu watch."""
    signal.alarm(HIDDEN_S)
    with tempfile.TemporaryDirectory() as folder:
        place = on_gpu(Path(folder), Path(folder))
        if asked.layer:
            module("profile").layer(place, json.loads(asked.layer))
        else:
            print(f"{module('sanitizers').tiny_on_a_gpu(place)} operations ran", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
