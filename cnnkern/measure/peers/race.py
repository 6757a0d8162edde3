"""A heat: one network at one batch size on several engines, their answers compared, then timed in turns.

Every engine has a process of its own and only one is awake at any time. The referee is the float64 reference: an engine
that answers otherwise, before or after, gets no time. A peer that is missing, cannot build or fails is named and left
out; only our own failure is an error.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ... import onnx
from ...errors import UnsupportedError
from .. import peak
from ..accuracy import VARIATION_LIMIT, range_error
from ..pictures import Course
from ..timing import Timing, summarise
from . import ENGINES, TOLERANCE, Task, missing
from .worker import EngineError, Worker

ROUND_MS = 150.0  # what a round of one engine takes, about
MAX_ITERATIONS = 200
Say = Callable[[str, float | None], None]


@dataclass
class Entry:
    """One engine in one heat. `time` is None where an answer was wrong, or none came."""

    engine: str
    version: str = ""
    notes: list[str] = field(default_factory=list)
    build_s: float | None = None
    error: float | None = None  # against the reference, a share of its range; infinite where not even comparable
    reason: str = ""  # why it is out: not installed, cannot build, failed
    time: Timing | None = None
    iterations: int = 0  # calls per round
    rounds_ms: list[float] = field(default_factory=list)  # the median of each round, in order
    spun_ms: float | None = None  # median CPU time its threads used up after a round

    @property
    def correct(self) -> bool:
        return not self.reason and self.error is not None and self.error <= TOLERANCE

    def leave(self, reason: str) -> None:
        self.reason, self.time, self.rounds_ms, self.spun_ms = reason, None, [], None


@dataclass
class Heat:
    """One network at one batch size: ours first, the others behind."""

    task: Task
    entries: list[Entry]
    variation: float  # how far the reference's answers to two pictures lie apart, a share of the range
    rounds: int = 0
    neighbours: float | None = None  # share of the machine that other processes took while the rounds ran
    clock: peak.Clock | None = None  # the FMA peak between the rounds

    @property
    def ours(self) -> Entry:
        return self.entries[0]

    @property
    def correct(self) -> bool:
        """Ours is right, and outputs that vary say so; a peer's wrong answer is the peer's own affair."""
        return self.variation > VARIATION_LIMIT and self.ours.correct

    @property
    def best(self) -> Entry | None:
        """The fastest peer."""
        timed = [entry for entry in self.entries[1:] if entry.time is not None]
        return min(timed, key=lambda entry: entry.time.median_ms, default=None)

    def ratio(self, entry: Entry | None, figure: str = "median_ms") -> float | None:
        """Its time over ours: above 1 we are faster. None without times, and for ours."""
        if entry is None or entry is self.ours or self.ours.time is None or entry.time is None:
            return None
        return getattr(entry.time, figure) / getattr(self.ours.time, figure)

    def as_dict(self) -> dict[str, Any]:
        """The heat as contract.HEAT has it."""
        entries = [
            {
                **asdict(entry),
                "correct": entry.correct,
                "ratio_median": self.ratio(entry),
                "ratio_minimum": self.ratio(entry, "minimum_ms"),
            }
            for entry in self.entries
        ]
        return {
            **{key: getattr(self.task, key) for key in ("model", "batch", "size", "threads", "seed", "isa")},
            "correct": self.correct,
            "variation": self.variation,
            "tolerance": TOLERANCE,
            "rounds": self.rounds,
            "neighbours": self.neighbours,
            "peak_fma": self.clock.as_dict() if self.clock else None,
            "best_peer": self.best.engine if self.best else None,
            "best_ratio": self.ratio(self.best),
            "engines": entries,
        }


def hold(course: Course, task: Task, engines: Sequence[str], rounds: int, say: Say, start=Worker) -> Heat:
    """Build the engines, compare their answers, and time them in turns.

    Args: `engines`, ours first; `say(text, share)` hears what goes on; `start(engine, task)` makes a Worker.
    Raises: EngineError where ours cannot build or fails. Returns: the heat, without times where ours is wrong.
    """
    label = f"{task.model} batch {task.batch}" + (f" size {task.size}" if task.size else "")
    heat = Heat(task, [Entry(engine) for engine in engines], course.varies)
    with ExitStack() as stack:
        workers = build(heat, course, stack, start, lambda text: say(f"{label}: {text}", None))
        say(f"{label}: comparing", None)
        compare(heat, workers, course)
        if heat.correct:
            with Neighbours(workers) as neighbours:
                time_in_turns(heat, workers, rounds, lambda share: say(f"{label}: measuring", share))
            heat.neighbours = neighbours.share
            compare(heat, workers, course)  # what was timed must still be right
    if not heat.correct:
        for entry in heat.entries:
            entry.time, entry.rounds_ms = None, []
    return heat


def build(heat: Heat, course: Course, stack: ExitStack, start, say: Callable[[str], None]) -> list[Worker]:
    """A worker per engine that builds, in the order of the entries; the others leave the heat with a reason."""
    with tempfile.TemporaryDirectory(prefix="cnnkern-race-") as folder:
        for entry in heat.entries:
            entry.reason = missing(entry.engine) if entry.engine in ENGINES else ""
        task, reason = heat.task, ""
        if any(not entry.reason and reads_onnx(entry.engine) for entry in heat.entries):
            say("writing it as ONNX")
            try:
                task = written(task, course, Path(folder))
            except UnsupportedError as error:
                reason = f"ONNX cannot express this network: {error}"
        workers = []
        for entry in heat.entries:
            if reason and reads_onnx(entry.engine):
                entry.reason = entry.reason or reason
            if entry.reason:
                continue
            say(f"building {entry.engine}")
            with sparing(heat, entry):
                worker = stack.enter_context(start(entry.engine, task))
                entry.version, entry.notes = worker.built["version"], worker.built["notes"]
                entry.build_s = worker.built["build_s"]
                workers.append(worker)
    return workers


def reads_onnx(engine: str) -> bool:
    return engine in ENGINES and bool(ENGINES[engine].packages)


def written(task: Task, course: Course, folder: Path) -> Task:
    """The task with its network's files, at its own batch size and for one image."""
    files = {}
    fixed = getattr(course.model, "batch", None)  # by the file it was loaded from
    for batch in (task.batch,) if fixed else (task.batch, 1):
        files[batch] = str(folder / f"batch_{batch}.onnx")
        if not Path(files[batch]).exists():
            onnx.save(course.model, files[batch], batch=batch)
    return replace(task, onnx=files[task.batch], onnx_single=files.get(1, files[task.batch]))


class sparing:
    """`with sparing(heat, entry)`: a peer's EngineError takes it out of the heat; ours goes on to the caller."""

    def __init__(self, heat: Heat, entry: Entry):
        self._entry, self._ours = entry, entry is heat.ours

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> bool:
        if self._ours or not isinstance(error, EngineError):
            return False
        self._entry.leave(error.reason)
        return True


def racing(heat: Heat, workers: Sequence[Worker]) -> list[tuple[Entry, Worker]]:
    """The entries that are still in, with their workers."""
    by_name = {worker.engine: worker for worker in workers}
    return [(e, by_name[e.engine]) for e in heat.entries if not e.reason and e.engine in by_name]


def compare(heat: Heat, workers: Sequence[Worker], course: Course) -> None:
    """Errors of the answers to two inputs, of which the second stays loaded. Keeps the largest of each engine."""
    batch = heat.task.batch
    for entry, worker in racing(heat, workers):
        with sparing(heat, entry):
            errors = [entry.error or 0.0]
            for first in (1, 0):
                error = range_error(worker.run(course.pictures(batch, first)), course.answers(batch, first))
                errors.append(error if np.isfinite(error) else np.inf)
            entry.error = max(errors)
            if not entry.correct and entry is not heat.ours:
                entry.leave(f"wrong answer, by {entry.error:.1e} of the range")


def time_in_turns(heat: Heat, workers: Sequence[Worker], rounds: int, on_share: Callable[[float], None]) -> None:
    """Rounds of about ROUND_MS; who begins changes from round to round, and the machine's peak is probed between."""
    heat.rounds = rounds
    heat.clock = peak.Clock(heat.task.isa, heat.task.threads)
    times: dict[str, list[list[float]]] = {entry.engine: [] for entry in heat.entries}
    spun: dict[str, list[float]] = {entry.engine: [] for entry in heat.entries}
    for entry, worker in racing(heat, workers):
        with sparing(heat, entry):
            fastest = min(worker.round(2)["times_ms"])
            entry.iterations = int(min(max(ROUND_MS // fastest, 1), MAX_ITERATIONS))
    for index in range(rounds):
        heat.clock.probe()
        for entry, worker in rotated(racing(heat, workers), index):
            with sparing(heat, entry):
                result = worker.round(entry.iterations, warmups=1 + entry.iterations // 10)
                times[entry.engine].append(result["times_ms"])
                spun[entry.engine].append(result["spun_ms"])
        on_share((index + 1) / rounds)
    for entry, _ in racing(heat, workers):
        entry.rounds_ms = [float(np.median(r)) for r in times[entry.engine]]
        entry.time = summarise([t for r in times[entry.engine] for t in r])
        entry.spun_ms = float(np.median(spun[entry.engine]))


def rotated(items: Sequence[Any], index: int) -> Iterator[Any]:
    for i in range(len(items)):
        yield items[(index + i) % len(items)]


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
        try:
            own = self._others_s() - self._before[0]
        except EngineError:  # one has died meanwhile, and took its account along
            return
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
