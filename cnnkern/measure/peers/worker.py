"""A process per engine, driven over a pipe. It answers only when its threads have come to rest.

Engines kept in one process disturb each other by 30-50 %: the threads of a pool spin for a while after a call, on the
cores that the next engine wants. In a process of its own an engine may spin as it likes while it is measured; before it
answers, `settle` waits until the whole process uses no more CPU time, so that the next engine finds the machine idle.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from . import ENGINES, ISA_LIMITS, Task

WINDOW_S = 0.02  # several scheduler ticks: the CPU time of threads that run is brought up to date at those
IDLE_SHARE = 0.02  # of one core, within a window
PATIENCE_S = 5.0
LAST_WORDS = 2000  # characters of what a process printed before it died


class EngineError(RuntimeError):
    """An engine that cannot build, fails, or does not come to rest. `details`: the traceback in its own process."""

    def __init__(self, engine: str, reason: str, details: str = ""):
        super().__init__(f"{engine}: {reason}")
        self.reason, self.details = reason, details


class Worker:
    """The parent's end of one engine's process. Every method waits for the answer.

    What the engine prints goes into a file that is read only when its process dies. Raises EngineError, from the
    constructor too. Use as a context manager: leaving it ends the process.
    """

    def __init__(self, engine: str, task: Task, serve: Callable[..., None] | None = None):
        self.engine = engine
        context = multiprocessing.get_context("spawn")  # a fork would share the parent's thread pools
        self._pipe, theirs = context.Pipe()
        self._log = tempfile.NamedTemporaryFile(prefix=f"cnnkern-{engine}-")  # noqa: SIM115  closed in close()
        arguments = (theirs, engine, task, self._log.name)
        self._process = context.Process(target=serve or _serve, args=arguments, daemon=True)
        with _environment(ISA_LIMITS.get(task.isa or "", {})):
            self._process.start()
        theirs.close()
        try:
            self.built: dict[str, Any] = self._answer()
        except BaseException:
            self.close()
            raise

    def run(self, x: np.ndarray) -> np.ndarray:
        """One call: the output. `x` stays the input of the rounds that follow."""
        return self._ask("run", x)

    def round(self, iterations: int, warmups: int = 1) -> dict[str, Any]:
        """Times of consecutive calls, after unmeasured ones that wake threads and caches up.

        Returns: {"times_ms": [...], "spun_ms": CPU time that its threads used up after the last call}.
        """
        return self._ask("round", iterations, warmups)

    def cpu_s(self) -> float:
        """CPU time of the process so far, all threads."""
        return self._ask("cpu_s")

    def close(self) -> None:
        self._pipe.close()  # the end of its loop
        self._process.join(PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _ask(self, *message: Any) -> Any:
        self._pipe.send(message)
        return self._answer()

    def _answer(self) -> Any:
        try:
            good, content = self._pipe.recv()
        except EOFError:
            self._process.join(PATIENCE_S)
            printed = self._log.read().decode(errors="replace")[-LAST_WORDS:]
            reason = f"its process ended, exit code {self._process.exitcode}"
            raise EngineError(self.engine, reason, printed) from None
        if not good:
            raise EngineError(self.engine, *content)
        return content


def settle(
    cpu: Callable[[], float] = time.process_time,
    wall: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Wait until no thread of this process is busy; returns the CPU seconds they used up until then.

    Raises TimeoutError where that takes more than PATIENCE_S.
    """
    begin, first = wall(), cpu()
    while wall() - begin < PATIENCE_S:
        before, at = cpu(), wall()
        sleep(WINDOW_S)
        if cpu() - before <= IDLE_SHARE * (wall() - at):
            return before - first
    raise TimeoutError(f"still busy {PATIENCE_S:g} s after its last call: it would disturb the other engines")


def measure_round(engine: Callable[[np.ndarray], Any], x: np.ndarray, iterations: int, warmups: int) -> list[float]:
    """Milliseconds of each of `iterations` calls after `warmups` unmeasured ones, no garbage collection between."""
    gc.disable()
    try:
        for _ in range(warmups):
            engine(x)
        times = []
        for _ in range(iterations):
            start = time.perf_counter()
            engine(x)
            times.append(1e3 * (time.perf_counter() - start))
        return times
    finally:
        gc.enable()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables that a process started in the block inherits: libraries read them as they are loaded."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _serve(pipe: Connection, name: str, task: Task, log: str) -> None:
    """The child: build, then obey until the parent hangs up."""
    try:
        with open(log, "ab") as file:  # some engines print from native code
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        start = time.perf_counter()
        entry = ENGINES[name]
        engine = getattr(importlib.import_module(f".{entry.module}", __package__), entry.cls)(task)
        notes = list(engine.notes)
        if task.isa and ISA_LIMITS.get(task.isa) and not entry.isa_switch:
            notes.append(f"cannot be held to {task.isa}: uses all that the CPU has")
        built = {"version": engine.version, "notes": notes, "build_s": time.perf_counter() - start}
        gc.collect()
        settle()
        pipe.send((True, built))
        x = None
        while True:
            command, *given = pipe.recv()
            if command == "run":
                (x,) = given
                answer = np.array(engine(x))
                settle()
            elif command == "round":
                times = measure_round(engine, x, *given)
                answer = {"times_ms": times, "spun_ms": 1e3 * settle()}
            else:
                answer = time.process_time()
            pipe.send((True, answer))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):  # the parent hung up
        pass
    except Exception as error:
        pipe.send((False, (f"{type(error).__name__}: {error}", traceback.format_exc())))
