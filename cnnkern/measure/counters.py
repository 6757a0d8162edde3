"""Floating-point operations as the processor's own counters see them: the check on what counting kernels say.

Linux's perf events, by system call, for this process alone and outside the kernel. Where they are not granted (a
virtual machine without counters, a container's filter, `perf_event_paranoid`, another processor) the reason is a
sentence, and operations are counted by the counting kernels alone.

What is read, from the vendors' event lists (the same encodings stand in Linux, tools/perf/pmu-events/arch/x86):

* Intel since Broadwell, FP_ARITH_INST_RETIRED (0xC7), single precision: an event per width, whose increment stands for
  1, 4, 8 or 16 operations; a fused multiply-add increments twice. ADD SUB MUL DIV SQRT MIN MAX and FMA.
* AMD Zen 2 to 5, retired SSE and AVX FLOPs (PMCx003), the sum of add/subtract, multiply, divide/square root and
  multiply-accumulate, which counts twice. No MIN or MAX; double precision is in it too, of which a run has next to
  none.

Like with like: `seen` makes of counted operations what such a counter would say. Comparisons are left out where it has
none, and compared with `slack` where it has some: a maximum is an instruction that Intel's counter sees, a compare with
a select is none, and both are a `max` to us. Not modelled, for they come with a softmax or an exponential and are far
below a percent of a network: rounding to an integer, scaling by 2^n, sums across a vector's lanes. Both sides count
every lane of a vector, tails included. Half a vector that is masked off is thought to count; AMD does not say.
"""

from __future__ import annotations

import errno
import os
import platform
import statistics
import struct
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from ..ops.base import Counts

AGREE = 0.02  # what may lie between the counters and the counting kernels, a share
BRIEF = 0.01  # of the longest time that a thread counted
RUNS = 3  # of which the median counts: whatever else the process did meanwhile is in one of them

# struct perf_event_attr as it was first published, 64 bytes, which every kernel takes: type, size, config,
# sample_period, sample_type, read_format, flags, wakeup_events, bp_type, config1.
ATTR = struct.Struct("=IIQQQQQIIQ")
TYPE_RAW = 4
FORMAT_TIMES = 1 | 2  # a read gives value, time enabled, time running
INHERIT, EXCLUDE_KERNEL, EXCLUDE_HV = 1 << 1, 1 << 5, 1 << 6
CLOSE_ON_EXEC = 1 << 3
READING = struct.Struct("=QQQ")
SYSCALLS = {"x86_64": 298}  # perf_event_open

BROADWELL_ON = frozenset(  # models of family 6: Broadwell, Skylake and its heirs, Ice Lake, Tiger Lake, Rocket Lake,
    (0x3D, 0x47, 0x4F, 0x56, 0x4E, 0x5E, 0x55, 0x8E, 0x9E, 0xA5, 0xA6, 0x66, 0x7D, 0x7E, 0x6A, 0x6C, 0x8C, 0x8D, 0xA7)
    + (0x8F, 0xCF, 0xAD, 0xAE)  # Sapphire, Emerald and Granite Rapids
)


class Event(NamedTuple):
    """A raw event and how many operations an increment stands for."""

    config: int
    weight: int


@dataclass(frozen=True)
class Source:
    """The events of a processor that add up to its floating-point operations."""

    name: str
    events: tuple[Event, ...]
    counts_max: bool

    def seen(self, executed: Counts) -> int:
        """What the counter says of these operations; of comparisons half, where it sees one kind of two."""
        rest = 2 * executed.fma + executed.mul + executed.add + executed.special
        return rest + (executed.max // 2 if self.counts_max else 0)

    def slack(self, executed: Counts) -> int:
        """How far from `seen` the comparisons alone may take it."""
        return -(-executed.max // 2) if self.counts_max else 0


INTEL = Source(
    "Intel's FP_ARITH_INST_RETIRED",
    (Event(0x02C7, 1), Event(0x08C7, 4), Event(0x20C7, 8), Event(0x80C7, 16)),
    counts_max=True,
)
AMD = Source("AMD's retired SSE and AVX FLOPs", (Event(0x0F03, 1),), counts_max=False)


class Kernel:
    """The system calls and files that counting needs; tests put another in its place."""

    def machine(self) -> str:
        """The architecture, "" where there are no perf events to ask for."""
        return platform.machine() if sys.platform == "linux" else ""

    def cpu(self) -> tuple[str, int, int]:
        """Vendor, family and model, as /proc/cpuinfo has them of the first processor."""
        found: dict[str, str] = {}
        for line in (self.read_text("/proc/cpuinfo") or "").split("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            found[key.strip()] = value.strip()
        family, model = (found.get(key, "") for key in ("cpu family", "model"))
        return found.get("vendor_id", ""), *(int(n) if n.isdigit() else -1 for n in (family, model))

    def hybrid(self) -> bool:
        """Whether cores of two kinds have counters of their own."""
        return os.path.exists("/sys/bus/event_source/devices/cpu_core")

    def read_text(self, path: str) -> str | None:
        try:
            with open(path, encoding="utf-8") as file:
                return file.read()
        except OSError:
            return None

    def threads(self) -> list[int]:
        """Of this process, running ones and those that sleep."""
        return sorted(int(name) for name in os.listdir("/proc/self/task"))

    def open(self, attributes: bytes, thread: int) -> int:
        """perf_event_open on any processor; OSError as the kernel has it."""
        import ctypes

        call = ctypes.CDLL(None, use_errno=True).syscall
        call.restype = ctypes.c_long
        number = ctypes.c_long(SYSCALLS[self.machine()])
        where = (ctypes.c_int(thread), ctypes.c_int(-1), ctypes.c_int(-1), ctypes.c_ulong(CLOSE_ON_EXEC))
        made = call(number, ctypes.create_string_buffer(attributes, len(attributes)), *where)
        if made < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return made

    def read(self, handle: int) -> bytes:
        return os.read(handle, READING.size)

    def close(self, handle: int) -> None:
        os.close(handle)


def attributes(config: int) -> bytes:
    """perf_event_attr of a raw event in user code, in threads that are born later as well, counting at once."""
    flags = INHERIT | EXCLUDE_KERNEL | EXCLUDE_HV
    return ATTR.pack(TYPE_RAW, ATTR.size, config, 0, 0, FORMAT_TIMES, flags, 0, 0, 0)


def source(kernel: Kernel) -> tuple[Source | None, str]:
    """(the events of this processor, "") or (None, why there are none)."""
    machine = kernel.machine()
    if machine not in SYSCALLS:
        return None, f"perf events are asked on Linux on x86-64, this is {machine or sys.platform}"
    vendor, family, model = kernel.cpu()
    if vendor == "GenuineIntel" and family == 6 and model in BROADWELL_ON:
        return (None, "a hybrid processor has counters of two kinds") if kernel.hybrid() else (INTEL, "")
    if vendor == "AuthenticAMD" and (family in (0x19, 0x1A) or (family == 0x17 and model >= 0x30)):
        return AMD, ""
    return None, f"no event is known here that counts operations on {vendor or 'this processor'} {family:#x}/{model:#x}"


def why_not(error: OSError, kernel: Kernel) -> str:
    """The kernel's refusal as a sentence."""
    if error.errno in (errno.EACCES, errno.EPERM):
        level = (kernel.read_text("/proc/sys/kernel/perf_event_paranoid") or "unknown").strip()
        return f"the kernel refuses: perf_event_paranoid is {level} (2 would do), or a container's filter says no"
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
        return "there are no hardware counters here: a virtual machine is seldom given any"
    if error.errno == errno.ENOSYS:
        return "the kernel has no perf events, or a container's filter hides them"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many open files: an event needs one for each thread"
    return f"the kernel does not take the event: {error.strerror}"


class Counter:
    """The events of `source` on every thread of this process, from now until `close`; a context manager.

    Raises OSError where the kernel refuses; a thread that ends meanwhile is passed over. Threads are listed before the
    first event is opened: one that is born later is counted with the thread that made it.
    """

    def __init__(self, found: Source, kernel: Kernel):
        self._kernel, self._handles = kernel, []
        try:
            for thread in kernel.threads():
                for event in found.events:
                    self._open(event, thread)
        except OSError:
            self.close()
            raise
        if not self._handles:
            raise OSError(errno.ESRCH, "no thread could be counted")

    def _open(self, event: Event, thread: int) -> None:
        try:
            self._handles.append((self._kernel.open(attributes(event.config), thread), event.weight))
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> list[Reading]:
        """Where every event stands."""
        return [
            Reading(weight, *READING.unpack(self._kernel.read(handle).ljust(READING.size, b"\0")))
            for handle, weight in self._handles
        ]

    def close(self) -> None:
        for handle, _ in self._handles:
            self._kernel.close(handle)
        self._handles = []


class Reading(NamedTuple):
    """An event of one thread: increments, and nanoseconds that it wanted to count and did."""

    weight: int
    value: int
    enabled_ns: int
    running_ns: int


class Span(NamedTuple):
    """What was counted between two readings. `running`: the least share of its time that an event had a counter."""

    flops: float
    running: float


def between(before: Sequence[Reading], after: Sequence[Reading]) -> Span:
    """Operations from one reading to the next. An event that shared its counter with others is scaled up to all of its
    time; one that never had it counts nothing, and `running` is 0."""
    rows = [(new.weight, *(b - a for a, b in zip(old[1:], new[1:]))) for old, new in zip(before, after)]
    longest = max((enabled for _, _, enabled, _ in rows), default=0)
    flops, least = 0.0, 1.0
    for weight, value, enabled, running in rows:
        if running > 0:
            flops += weight * value * (enabled / running)
        if enabled > BRIEF * longest:  # a thread that all but slept says nothing of the counters
            least = min(least, running / enabled)
    return Span(flops, least)


@dataclass(frozen=True)
class Hardware:
    """What the counters said of a network's run, or `reason`: why they said nothing.

    Attributes: `flops` of one run; `seen`, what was executed, as such a counter sees it, and `slack` how far
    comparisons alone may lie from that; `running`, below 1 where the events took turns; `layers`: the steps run singly.
    """

    reason: str = ""
    source: str = ""
    flops: int | None = None
    seen: int | None = None
    slack: int = 0
    running: float | None = None
    layers: Mapping[str, int] = field(default_factory=dict)

    @property
    def deviation(self) -> float | None:
        """How far the counters lie from what was executed, a share of it, beyond what comparisons explain."""
        if self.flops is None or not self.seen:
            return None
        gap = self.flops - self.seen
        beyond = max(0, abs(gap) - self.slack)
        return (beyond if gap > 0 else -beyond) / self.seen

    @property
    def agrees(self) -> bool | None:
        """Whether that is at most AGREE; None where nothing was read, or nothing counted to hold against it."""
        return None if self.deviation is None else abs(self.deviation) <= AGREE

    def as_dict(self) -> dict[str, Any]:
        """As contract.HARDWARE has it."""
        keys = ("reason", "source", "flops", "seen", "slack", "running", "deviation", "agrees")
        return {key: getattr(self, key) for key in keys} | {"layers": dict(self.layers)}


NOT_HERE = Hardware("asked for on the cpu backend alone")


@cache
def granted() -> tuple[str, str]:
    """(what counts here, "") or ("", why nothing does), of this process. Asked once."""
    return ask(Kernel())


def ask(kernel: Kernel) -> tuple[str, str]:
    """The same of any kernel: opens every event once."""
    found, reason = source(kernel)
    if found is None:
        return "", reason
    try:
        Counter(found, kernel).close()
    except OSError as error:
        return "", why_not(error, kernel)
    return found.name, ""


def whole(layers: Iterable[Any]) -> Counts | None:
    """The sum of what layers executed; None where one of them was not counted."""
    executed = [layer.executed for layer in layers]
    return None if None in executed else sum(executed, Counts())


def measure(executable: Any, x: Any, executed: Counts | None, kernel: Kernel | None = None) -> Hardware:
    """Run `executable` on `x` RUNS times, and once step by step, under the counters.

    Args: `executed`: what the counting kernels counted of one run; None where not every step was counted, and then
    there is nothing to hold the counters against. Returns: the figures, or the reason why there are none.
    """
    reason = granted()[1] if kernel is None else ask(kernel)[1]
    if reason:
        return Hardware(reason)
    kernel = kernel or Kernel()
    found, _ = source(kernel)
    executable(x)  # so that the team is there when threads are listed
    try:
        with Counter(found, kernel) as counter:
            spans = [_span(counter, lambda: executable(x)) for _ in range(RUNS)]
            layers = _layers(counter, executable, x)
    except OSError as error:
        return Hardware(why_not(error, kernel))
    running = min(span.running for span in spans)
    if running <= 0:
        return Hardware("the events never had a counter: another tool holds them", found.name)
    return Hardware(
        source=found.name,
        flops=round(statistics.median(span.flops for span in spans)),
        seen=None if executed is None else found.seen(executed),
        slack=0 if executed is None else found.slack(executed),
        running=running,
        layers=layers,
    )


def _span(counter: Counter, call: Callable[[], object]) -> Span:
    before = counter.read()
    call()
    return between(before, counter.read())


def _layers(counter: Counter, executable: Any, x: Any) -> dict[str, int]:
    """Operations by step, from a run that stops after each."""
    found: dict[str, int] = {}
    last = counter.read()

    def stop(step: Any, ms: float, fetch: object) -> None:
        nonlocal last
        now = counter.read()
        found[step.name] = round(between(last, now).flops)
        last = now

    executable.watch(x, stop)
    return found
