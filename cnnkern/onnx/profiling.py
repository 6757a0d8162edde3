"""What SessionOptions.enable_profiling keeps: every session call and every step of its plans, as a JSON trace.

Format: the list of complete events ("ph": "X") of the Trace Event Format that Chrome's chrome://tracing and Perfetto
read, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU, times in microseconds.
"""

from __future__ import annotations

import json
import os
import threading
import time
import warnings
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..backends.base import Step
from ..graph.watch import Fetch, listening

MAX_EVENTS = 1_000_000  # as many as onnxruntime keeps; what comes after is counted, not kept


class Trace:
    """Events of one session, until they are written; threads may add at once.

    Args:
        prefix: of the file's name; the date and time stand behind it.
    """

    def __init__(self, prefix: str):
        self._prefix, self._begun = prefix, datetime.now()
        self.start_ns = time.perf_counter_ns()
        self._events: list[dict[str, Any]] = []
        self._left_out, self._written = 0, False
        self._lock = threading.Lock()

    def call(self, name: str, work: Callable[[], Any]) -> Any:
        """Do it, and keep how long it took, with the steps that ran inside."""
        if self._written:
            return work()
        begin = time.perf_counter_ns()
        with listening(self._heard):
            result = work()
        self._add(name, "Session", begin, time.perf_counter_ns() - begin, {})
        return result

    def write(self) -> str:
        """Write the file and stop; its name, "" where that was done before."""
        with self._lock:
            if self._written:
                return ""
            events = sorted(self._events, key=lambda event: event["ts"])
            if self._left_out:
                last = events[-1]["ts"]
                more = {"events": self._left_out}
                events.append({"name": "left out", "cat": "Session", "ph": "X", "ts": last, "dur": 0, "args": more})
            name = f"{self._prefix}_{self._begun:%Y-%m-%d_%H-%M-%S}_{self._begun.microsecond // 1000:03d}.json"
            with open(name, "w", encoding="utf-8") as file:
                file.write("[\n" + ",\n".join(map(json.dumps, events)) + "\n]\n")
            self._written, self._events = True, []
        return name

    def close(self) -> None:
        """Write, if nobody has; what cannot be written is said as a warning, for nobody hears an exception any more."""
        try:
            self.write()
        except OSError as error:
            warnings.warn(f"cnnkern: the session's profile is lost: {error}", UserWarning, stacklevel=1)

    def _heard(self, step: Step, ms: float, fetch: Fetch) -> None:
        taken_ns = round(1e6 * ms)
        shapes = [list(shape) for shape in step.in_shapes if shape is not None]
        args = {
            "op_name": step.spec.op,
            "kernel": step.kernel,
            "input_shape": shapes,
            "output_shape": [list(shape) for shape in step.out_shapes],
            "flops": step.theory.flops,
            "gflops": round(step.theory.flops / ms / 1e6, 3) if ms > 0 else 0.0,
        }
        self._add(step.name, "Node", time.perf_counter_ns() - taken_ns, taken_ns, args)

    def _add(self, name: str, kind: str, begin_ns: int, taken_ns: int, args: dict[str, Any]) -> None:
        event = {
            "name": name,
            "cat": kind,
            "ph": "X",
            "pid": os.getpid(),
            "tid": threading.get_native_id(),
            "ts": (begin_ns - self.start_ns) // 1000,
            "dur": taken_ns // 1000,
            "args": args,
        }
        with self._lock:
            if len(self._events) < MAX_EVENTS:
                self._events.append(event)
            else:
                self._left_out += 1
