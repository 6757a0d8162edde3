"""Networks against other engines: same machine, threads, weights and input, checked, then timed in turns.

    python benchmarks/race.py resnet50 mobilenet_v2 --batch 1,16 --threads 2 --rounds 20 --json out.json

README.md in this folder says what is measured and how to read it. Exit codes: 0 good, 1 an answer was wrong or an
engine failed, 2 bad usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import race_report
from engines import ENGINES, Task
from worker import EngineError, Worker

import cnnkern
from cnnkern import images
from cnnkern.measure.accuracy import VARIATION_LIMIT, range_error, variation
from cnnkern.measure.profile import machine_profile
from cnnkern.measure.timing import Timing, summarise
from cnnkern.report import console

TOLERANCE = 1e-3  # of the output's range; float32 with Winograd stays below 1e-4 in the deepest networks
ROUND_MS = 150.0  # what a round of the slowest engine takes, about
MAX_ITERATIONS = 200
Say = Callable[[str, float | None], None]


@dataclass
class Entry:
    """One engine in one heat. `time` is None where its answer, or another's, was wrong."""

    engine: str
    version: str
    build_s: float
    error: float = 0.0  # against the judge's output, a share of its range; infinite where it is not even comparable
    time: Timing | None = None
    rounds_ms: list[float] = field(default_factory=list)  # the median of each round, in order
    spun_ms: float | None = None  # median CPU time its threads used up after a round


@dataclass
class Heat:
    """One network at one batch size: ours first, the others behind; the last engine judges the answers."""

    task: Task
    entries: list[Entry]
    variation: float = 0.0  # how far the outputs of two images lie apart, a share of the range
    iterations: int = 0  # calls per round
    rounds: int = 0
    neighbours: float | None = None  # share of the machine that other processes took while the rounds ran

    @property
    def correct(self) -> bool:
        return self.variation > VARIATION_LIMIT and all(e.error <= TOLERANCE for e in self.entries)

    def ratio(self, entry: Entry, figure: str = "median_ms") -> float | None:
        """Its time over ours: above 1 we are faster. None without times, and for ours."""
        ours = self.entries[0]
        if entry is ours or ours.time is None or entry.time is None:
            return None
        return getattr(entry.time, figure) / getattr(ours.time, figure)

    def as_dict(self) -> dict[str, Any]:
        entries = [
            {
                **asdict(e),
                "judge": e is self.entries[-1],
                "error": e.error if np.isfinite(e.error) else None,
                "ratio_median": self.ratio(e),
                "ratio_minimum": self.ratio(e, "minimum_ms"),
            }
            for e in self.entries
        ]
        return {
            **asdict(self.task),
            "input": "photograph",
            "correct": self.correct,
            "variation": self.variation,
            "iterations": self.iterations,
            "rounds": self.rounds,
            "neighbours": self.neighbours,
            "engines": entries,
        }


def batch_of(task: Task, shape: Sequence[int]) -> np.ndarray:
    """The photograph, prepared for the network; every further image is a smaller cut of it."""
    photo = images.photograph()
    width, height = photo.size
    margins = [0.4 * i / task.batch for i in range(task.batch)]
    cuts = [photo.crop((0, int(m * height), int(width * (1 - m)), height)) for m in margins]
    return np.concatenate([images.prepare(cut, task.model, shape) for cut in cuts])


def hold(task: Task, engines: Sequence[str], rounds: int, say: Say, start=Worker) -> Heat:
    """Build the engines, compare their answers, and time them in turns, only one awake at any time.

    Raises: EngineError. Returns: the heat, without times where the answers differ.
    """
    label = f"{task.model} batch {task.batch}"
    x = batch_of(task, task.network().input_shape)
    with ExitStack() as stack:
        workers = []
        for engine in engines:
            say(f"{label}: building {engine}", None)
            workers.append(stack.enter_context(start(engine, task)))
        say(f"{label}: comparing", None)
        heat = Heat(task, [Entry(w.engine, w.version, w.built["build_s"]) for w in workers])
        compare(heat, workers, x)
        if heat.correct:
            with Neighbours(workers) as neighbours:
                time_in_turns(heat, workers, rounds, lambda share: say(f"{label}: measuring", share))
            heat.neighbours = neighbours.share
            compare(heat, workers, x)  # what was timed must still be right
        if not heat.correct:
            for entry in heat.entries:
                entry.time, entry.rounds_ms = None, []
    return heat


def compare(heat: Heat, workers: Sequence[Worker], x: np.ndarray) -> None:
    """Errors against the judge's answers to `x` upside down and to `x`, which stays loaded. Keeps the largest."""
    flipped = np.ascontiguousarray(x[:, :, ::-1])
    outputs = [np.concatenate([worker.run(flipped), worker.run(x)]) for worker in workers]
    judge = outputs[-1]
    heat.variation = variation(judge[[0, len(x)]])  # the first image, both ways up
    for entry, output in zip(heat.entries[:-1], outputs):
        error = range_error(output, judge)
        entry.error = max(entry.error, error if np.isfinite(error) else np.inf)


def time_in_turns(heat: Heat, workers: Sequence[Worker], rounds: int, on_share: Callable[[float], None]) -> None:
    """Rounds of as many calls as ROUND_MS holds, the same number for all; who begins changes from round to round."""
    slowest = max(min(worker.round(2)["times_ms"]) for worker in workers)
    heat.iterations, heat.rounds = int(min(max(ROUND_MS // slowest, 1), MAX_ITERATIONS)), rounds
    times: dict[str, list[list[float]]] = {worker.engine: [] for worker in workers}
    spun: dict[str, list[float]] = {worker.engine: [] for worker in workers}
    for index in range(rounds):
        for worker in rotated(workers, index):
            result = worker.round(heat.iterations, warmups=1 + heat.iterations // 10)
            times[worker.engine].append(result["times_ms"])
            spun[worker.engine].append(result["spun_ms"])
        on_share((index + 1) / rounds)
    for entry in heat.entries:
        entry.rounds_ms = [float(np.median(r)) for r in times[entry.engine]]
        entry.time = summarise([t for r in times[entry.engine] for t in r])
        entry.spun_ms = float(np.median(spun[entry.engine]))


def rotated(workers: Sequence[Worker], index: int) -> Iterator[Worker]:
    for i in range(len(workers)):
        yield workers[(index + i) % len(workers)]


class Neighbours:
    """Which share of the machine other processes, or other guests of its host, took inside the `with` block."""

    def __init__(self, workers: Sequence[Worker]):
        self._workers, self.share = workers, None

    def __enter__(self) -> Neighbours:
        self._before = self._others_s(), machine_s()
        return self

    def __exit__(self, *exception) -> None:
        if exception[0] is not None or self._before[1] is None:
            return
        busy, total = (now - then for now, then in zip(machine_s(), self._before[1]))
        own = self._others_s() - self._before[0]
        self.share = min(1.0, max(0.0, (busy - own) / total)) if total > 0 else None

    def _others_s(self) -> float:
        return time.process_time() + sum(worker.cpu_s() for worker in self._workers)


def machine_s() -> tuple[float, float] | None:
    """CPU seconds of all cores so far: (busy or stolen, total); None where the system does not say."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except (OSError, IndexError):
        return None
    seconds = [int(f) / os.sysconf("SC_CLK_TCK") for f in fields]  # user nice system idle iowait irq softirq steal
    return sum(seconds) - seconds[3] - seconds[4], sum(seconds)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("race.py", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL", help="ids of cnnkern.models.list()")
    parser.add_argument("--batch", default="1", type=numbers, metavar="N,N", help="batch sizes (1)")
    parser.add_argument("--threads", default=None, type=int, metavar="N", help="for every engine (all usable cores)")
    parser.add_argument("--rounds", default=20, type=int, metavar="N", help="turns of every engine (20)")
    parser.add_argument("--engines", default="cnnkern,onnxruntime", metavar="A,B", help=f"ours first: {names(ENGINES)}")
    parser.add_argument("--seed", default=0, type=int, metavar="N", help="of the weights (0)")
    parser.add_argument("--json", default=None, metavar="FILE", help="write the figures here as well")
    parsed = parser.parse_args(argv)
    parsed.engines = parsed.engines.split(",")
    parsed.threads = parsed.threads or cnnkern.get_num_threads()
    try:
        parsed.models = [cnnkern.models.get(name).name for name in parsed.models]
    except ValueError as error:
        parser.error(str(error))
    if unknown := set(parsed.engines) - set(ENGINES):
        parser.error(f"unknown engine {names(unknown)}; there are {names(ENGINES)}")
    if len(parsed.engines) < 2 or len(set(parsed.engines)) < len(parsed.engines):
        parser.error("a race needs two engines or more, each once")
    if parsed.rounds < 1 or parsed.threads < 1 or min(parsed.batch) < 1:
        parser.error("--rounds, --threads and --batch take positive numbers")
    return parsed


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def names(found: Mapping[str, Any] | set[str]) -> str:
    return ", ".join(sorted(found))


def main(argv: Sequence[str] | None = None) -> int:
    asked = arguments(argv)
    out = console.output()
    heats, failures = [], []
    with console.progress() as line:
        for model in asked.models:
            for batch in asked.batch:
                task = Task(model, batch, asked.threads, asked.seed)
                try:
                    heats.append(hold(task, asked.engines, asked.rounds, line.say))
                except EngineError as error:
                    failures.append(f"{model} batch {batch}: {error}")
                    print(failures[-1], error.details, sep="\n", file=sys.stderr)
    document = {
        "schema": "cnnkern.race/1",
        "cnnkern": cnnkern.__version__,
        "command": race_report.command(sys.argv[1:] if argv is None else argv),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": race_report.commit(),
        "machine": machine_profile(threads=asked.threads, peaks=False).as_dict(),
        "versions": race_report.versions(heats),
        "tolerance": TOLERANCE,
        "heats": [heat.as_dict() for heat in heats],
        "failures": failures,
    }
    out.print(race_report.table(document))
    if asked.json:
        Path(asked.json).write_text(json.dumps(document, indent=1) + "\n")
    return 0 if heats and not failures and all(heat.correct for heat in heats) else 1


if __name__ == "__main__":
    sys.exit(main())
